//! A reader of JSON text, value by value.
//!
//! It exists because clients write what JSON does not know (`NaN`, `Infinity`), which every library refuses, and because
//! the numbers of a tensor go straight into its bytes.

use std::borrow::Cow;
use std::str::FromStr;

/// Nesting of values. Arbitrary; enough for the largest rank.
pub(super) const NESTING: usize = 100;

/// Characters of a number that a message shows.
const SHOWN: usize = 40;

/// Reads a text from its beginning to its end.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// What was expected and what came.
pub(super) type Outcome<T> = Result<T, String>;

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes back, or on, to where it was once.
    pub(super) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Goes on by so many bytes, which the caller has seen.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The next byte that is no space; none at the end.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\n' | b'\t' | b'\r' => self.at += 1,
                other => return Some(*other),
            }
        }
        None
    }

    /// Takes a byte if it is the next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Outcome<()> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(&format!("`{}`", char::from(byte)))) }
    }

    /// Takes a word if it is next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        self.peek();
        let is_next = self.rest().starts_with(word.as_bytes()) && !self.rest().get(word.len()).is_some_and(u8::is_ascii_alphanumeric);
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    /// Says what came in place of what was expected, and where.
    pub(super) fn unexpected(&mut self, expected: &str) -> String {
        let got = match self.peek() {
            None => "the end".to_owned(),
            Some(b'"') => "a string".to_owned(),
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "an array".to_owned(),
            Some(b'-' | b'0'..=b'9') => format!("the number {}", self.number_shown()),
            Some(byte) if byte.is_ascii_alphabetic() => {
                let end = self.rest().iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(self.rest().len());
                String::from_utf8_lossy(&self.rest()[..end.min(20)]).into_owned()
            }
            Some(_) => format!("`{}`", self.text[self.at..].chars().next().unwrap_or_default()),
        };
        format!("expected {expected}, got {got}{}", self.place())
    }

    /// Where the reader is, for people.
    pub(super) fn place(&self) -> String {
        let before = &self.text.as_bytes()[..self.at.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        format!(" at line {line} column {column}")
    }

    /// The text of the number that is next.
    pub(super) fn number(&self) -> &'a str {
        let end = self.rest().iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).unwrap_or(self.rest().len());
        &self.text[self.at..self.at + end]
    }

    /// As much of it as a message may show.
    pub(super) fn number_shown(&self) -> &'a str {
        let number = self.number();
        &number[..number.len().min(SHOWN)]
    }

    /// A whole number, as JSON writes one.
    fn whole<N: FromStr>(&mut self, what: &str) -> Outcome<N> {
        self.peek();
        let text = self.number();
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_written_so = digits == "0" || !digits.starts_with(['0', '+']);
        let number = text.parse().ok().filter(|_| is_written_so).ok_or_else(|| self.unexpected(what))?;
        self.at += text.len();
        Ok(number)
    }

    /// A string.
    pub(super) fn string(&mut self) -> Outcome<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a string"));
        }
        let start = self.at;
        let mut plain = true;
        let mut at = self.at + 1;
        loop {
            match self.text.as_bytes().get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    plain = false;
                    at += 2;
                }
                Some(0..=0x1f) => return Err(format!("a control character in a string{}", self.place())),
                Some(_) => at += 1,
                None => return Err(format!("a string without an end{}", self.place())),
            }
        }
        self.at = at + 1;
        if plain {
            return Ok(Cow::Borrowed(&self.text[start + 1..at]));
        }
        let text: String = serde_json::from_str(&self.text[start..self.at]).map_err(|error| format!("{error}{}", self.place()))?;
        Ok(Cow::Owned(text))
    }

    /// A whole number, zero or more.
    pub(super) fn unsigned(&mut self, what: &str) -> Outcome<u64> {
        self.whole(what)
    }

    /// A whole number.
    pub(super) fn signed(&mut self, what: &str) -> Outcome<i64> {
        self.whole(what)
    }

    /// Calls `each` for every key of an object; it must read the value.
    pub(super) fn object<E: From<String>>(&mut self, mut each: impl FnMut(&mut Self, &str) -> Result<(), E>) -> Result<(), E> {
        if !self.take(b'{') {
            return Err(self.unexpected("an object").into());
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            each(self, &key)?;
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Calls `each` for every element of an array, with its place; it must read the value.
    pub(super) fn array<E: From<String>>(&mut self, mut each: impl FnMut(&mut Self, usize) -> Result<(), E>) -> Result<(), E> {
        if !self.take(b'[') {
            return Err(self.unexpected("an array").into());
        }
        if self.take(b']') {
            return Ok(());
        }
        for at in 0.. {
            each(self, at)?;
            if self.take(b']') {
                break;
            }
            self.expect(b',')?;
        }
        Ok(())
    }

    /// Reads over a value, whatever it is.
    pub(super) fn value(&mut self) -> Outcome<()> {
        self.value_within(NESTING)
    }

    fn value_within(&mut self, depth: usize) -> Outcome<()> {
        if depth == 0 {
            return Err(format!("values are nested more than {NESTING} deep{}", self.place()));
        }
        match self.peek() {
            Some(b'{') => self.object(|reader, _| reader.value_within(depth - 1)),
            Some(b'[') => self.array(|reader, _| reader.value_within(depth - 1)),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') if !self.rest().starts_with(b"-I") => {
                let (text, shown) = (self.number(), self.number_shown());
                self.at += text.len();
                if text.parse::<f64>().is_ok() && is_written_as_json(text.trim_start_matches('-').as_bytes()) {
                    Ok(())
                } else {
                    Err(format!("`{shown}` is no number{}", self.place()))
                }
            }
            _ if ["true", "false", "null", "NaN", "Infinity", "-Infinity"].iter().any(|word| self.word(word)) => Ok(()),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Nothing is left.
    pub(super) fn end(&mut self) -> Outcome<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end")),
        }
    }
}

/// Whether a number without its sign, which a reader of floating-point numbers took, is one of JSON: the reader also takes
/// `007`, `1.` and `1.e5`.
#[inline]
pub(super) fn is_written_as_json(number: &[u8]) -> bool {
    let is_digit = |at: usize| number.get(at).is_some_and(u8::is_ascii_digit);
    let point = number.iter().position(|byte| *byte == b'.');
    is_digit(0) && !(number[0] == b'0' && is_digit(1)) && number.last().is_some_and(u8::is_ascii_digit) && point.is_none_or(|at| is_digit(at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_over() {
        for good in ["{}", "[]", r#"{"a": [1, -2.5e3, "x\"]", null], "b": {"c": true}}"#, " [NaN, -Infinity ] ", "0", "\"\""] {
            let mut reader = Reader::new(good);
            assert_eq!(reader.value().and_then(|()| reader.end()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "{",
            "[1",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "nul",
            "nullx",
            "1 2",
            "\"",
            "\"\u{1}\"",
            "-",
            "1.",
            "1.e5",
            "01",
            "-01.5",
            "-.5",
            "[1 2]",
            "{1:2}",
            "'a'",
            &"[".repeat(200),
        ] {
            let mut reader = Reader::new(bad);
            assert!(reader.value().and_then(|()| reader.end()).is_err(), "{bad}");
        }
    }

    #[test]
    fn strings_are_borrowed_or_unescaped() {
        assert_eq!(Reader::new(r#""plain é""#).string().unwrap(), "plain é");
        assert_eq!(Reader::new(r#""a\"\u00e9\n""#).string().unwrap(), "a\"é\n");
        assert!(Reader::new(r#""\x""#).string().is_err());
    }

    #[test]
    fn whole_numbers_are_as_json_writes_them() {
        for (text, expected) in
            [("0", Some(0)), (" 12", Some(12)), ("-7", Some(-7)), ("+2", None), ("007", None), ("-01", None), ("1.0", None), ("--1", None)]
        {
            assert_eq!(Reader::new(text).signed("a number").ok(), expected, "{text}");
            assert_eq!(Reader::new(text).unsigned("a number").ok(), expected.and_then(|number| u64::try_from(number).ok()), "{text}");
        }
        let error = Reader::new(&"1".repeat(1000)).unsigned("an extent").unwrap_err();
        assert!(error.len() < 120, "{error}");
    }

    #[test]
    fn what_came_is_named_with_its_place() {
        let mut reader = Reader::new("\n {\"a\"");
        assert_eq!(reader.unexpected("an array"), "expected an array, got an object at line 2 column 2");
        assert_eq!(Reader::new("12.5").unexpected("a string"), "expected a string, got the number 12.5 at line 1 column 1");
    }
}
