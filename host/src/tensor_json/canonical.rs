//! JSON text in the one form that all texts of the same value have: without spaces, with keys in order. Numbers and strings
//! stay as they are written.

use std::borrow::Cow;

use super::reader::{NESTING, Outcome, Reader};

/// Bytes of a text that is brought into the form: each level of its nesting costs a copy. Arbitrary.
const LONGEST: usize = 1 << 20;

/// The form; none for what is no JSON, is long, or has a key twice, which readers take differently.
#[must_use]
pub fn canonical(text: &str) -> Option<String> {
    if text.len() > LONGEST {
        return None;
    }
    let mut reader = Reader::new(text);
    let mut out = String::with_capacity(text.len());
    value(text, &mut reader, &mut out, NESTING).and_then(|()| reader.end()).ok()?;
    Some(out)
}

fn value(text: &str, reader: &mut Reader<'_>, out: &mut String, depth: usize) -> Outcome<()> {
    if depth == 0 {
        return Err("nested too deeply".to_owned());
    }
    match reader.peek() {
        Some(b'{') => {
            let mut members: Vec<(Cow<'_, str>, String)> = Vec::new();
            reader.object(|reader, key| {
                let mut own = String::new();
                value(text, reader, &mut own, depth - 1)?;
                members.push((Cow::Owned(key.to_owned()), own));
                Ok::<_, String>(())
            })?;
            members.sort();
            if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err("a key stands twice".to_owned());
            }
            out.push('{');
            for (key, own) in &members {
                // Its length keeps it apart from what follows.
                out.push_str(itoa::Buffer::new().format(key.len()));
                out.push(':');
                out.push_str(key);
                out.push_str(own);
                out.push(',');
            }
            out.push('}');
        }
        Some(b'[') => {
            out.push('[');
            reader.array(|reader, _| {
                value(text, reader, out, depth - 1)?;
                out.push(',');
                Ok::<_, String>(())
            })?;
            out.push(']');
        }
        _ => {
            let start = reader.at();
            reader.value()?;
            out.push_str(&text[start..reader.at()]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn texts_of_the_same_value_have_one_form() {
        let one = canonical(r#" {"b": [1, {"y": "a b", "x": null}],"a":true} "#).unwrap();
        assert_eq!(Some(&one), canonical(r#"{"a":true,"b":[1,{"x":null,"y":"a b"}]}"#).as_ref());
        for other in [r#"{"a":true,"b":[1,{"x":null,"y":"ab"}]}"#, r#"{"a":true,"b":[{"x":null,"y":"a b"},1]}"#, r#"{"a":true}"#] {
            assert_ne!(Some(&one), canonical(other).as_ref(), "{other}");
        }
        // A key can't pass for a value, nor a value for the length of a key.
        assert_ne!(canonical(r#"{"-":1,"01234567891":2}"#), canonical(r#"{"-":11,"0":12345678912}"#));
        assert_ne!(canonical(r#"{"a":1,"b":2}"#), canonical(r#"{"a":"1,b:2"}"#));
        for none in ["", "{", r#"{"a":1,"a":2}"#, "{} {}"] {
            assert_eq!(canonical(none), None, "{none}");
        }
    }
}
