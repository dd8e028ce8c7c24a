//! Base64 of the standard alphabet (RFC 4648), with or without padding.

/// What a byte that is no letter of the alphabet stands for.
const NONE: u8 = 0xff;

const VALUES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [NONE; 256];
    let mut at = 0;
    while at < alphabet.len() {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values
};

/// None where the text is something else. Line breaks are skipped: many tools wrap lines.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.trim_end().as_bytes();
    let bytes = bytes.strip_suffix(b"==").or_else(|| bytes.strip_suffix(b"=")).unwrap_or(bytes);
    decode_letters(bytes).or_else(|| {
        let letters: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        if letters.len() == bytes.len() { None } else { decode_letters(&letters) }
    })
}

fn decode_letters(letters: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; letters.len() / 4 * 3];
    let (fours, rest) = letters.as_chunks::<4>();
    // One check at the end: no letter's value has the upper bits.
    let mut all = 0;
    for (four, three) in fours.iter().zip(out.as_chunks_mut::<3>().0) {
        let [a, b, c, d] = four.map(|letter| VALUES[usize::from(letter)]);
        all |= a | b | c | d;
        *three = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
    }
    let value = |at: usize| rest.get(at).map_or(0, |letter| VALUES[usize::from(*letter)]);
    let [a, b, c] = [value(0), value(1), value(2)];
    all |= a | b | c;
    let last = [a << 2 | b >> 4, b << 4 | c >> 2];
    match rest.len() {
        0 => {}
        1 => return None,
        count => out.extend_from_slice(&last[..count - 1]),
    }
    (all < 64).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn decodes_with_and_without_padding() {
        for (text, expected) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zg", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE", "fooba"),
            ("Zm9v\r\nYmFy\n", "foobar"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(expected.as_bytes()), "{text:?}");
        }
        assert_eq!(decode("+/+/").unwrap(), [0xfb, 0xff, 0xbf]);
    }

    #[test]
    fn refuses_everything_else() {
        for text in ["Z", "Zm9vY", "Zm-v", "Zm9v!", "====", "Zg=a", "Zm9é"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
