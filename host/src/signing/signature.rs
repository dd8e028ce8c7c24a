//! A signature as text: in a header of an upload, or as a line of a file.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::KeyId;

/// The algorithm, in front of each.
const ALGORITHM: &str = "ed25519";

/// A signature, and the key that it is said to be by.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    key: KeyId,
    bytes: [u8; 64],
}

/// A text that is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a signature such as `ed25519:<id of the key>:<64 bytes as base64>`, got `{got}`")]
pub struct MalformedSignature {
    /// What came instead, cut.
    got: String,
}

impl Signature {
    pub(super) fn new(key: KeyId, bytes: [u8; 64]) -> Self {
        Self { key, bytes }
    }

    /// The key that it is said to be by.
    #[must_use]
    pub fn key(&self) -> &KeyId {
        &self.key
    }

    pub(super) fn bytes(&self) -> &[u8; 64] {
        &self.bytes
    }

    /// The signature without the key, as it is kept.
    #[must_use]
    pub fn encoded(&self) -> String {
        STANDARD.encode(self.bytes)
    }

    /// Of what is kept.
    #[must_use]
    pub fn decoded(key: &str, encoded: &str) -> Option<Self> {
        let bytes = STANDARD.decode(encoded).ok()?;
        Some(Self { key: key.parse().ok()?, bytes: bytes.try_into().ok()? })
    }

    /// All of a text with one on each line; empty lines are passed over.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn lines(text: &str) -> Result<Vec<Self>, MalformedSignature> {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::parse).collect()
    }
}

impl FromStr for Signature {
    type Err = MalformedSignature;

    fn from_str(text: &str) -> Result<Self, MalformedSignature> {
        // What came is shown, and may be long or odd.
        let malformed = || MalformedSignature { got: text.chars().take(60).flat_map(char::escape_debug).collect() };
        let (key, encoded) = text.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(':')?.split_once(':')).ok_or_else(malformed)?;
        Self::decoded(key, encoded).ok_or_else(malformed)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}:{}:{}", self.key, self.encoded())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_there_and_back_and_what_is_none_is_told() {
        let signature = Signature::new("0123456789abcdef0123456789abcdef".parse().unwrap(), [7; 64]);
        let text = signature.to_string();
        assert_eq!(text.parse(), Ok(signature.clone()));
        assert_eq!(Signature::lines(&format!("\n{text}\r\n\n {text}")), Ok(vec![signature.clone(), signature]));
        let short = &text[..text.len() - 4];
        for wrong in ["", "ed25519", "ed25519:", "rsa:0:0", short, &text.to_uppercase(), &format!("{text}="), &text.replace("0123", "123")] {
            let error = wrong.parse::<Signature>().unwrap_err().to_string();
            assert!(error.starts_with("expected a signature such as `ed25519:<"), "{error}");
        }
        assert!("x\n".repeat(1000).parse::<Signature>().unwrap_err().to_string().len() < 300);
    }
}
