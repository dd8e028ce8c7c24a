//! Keys that the host issues itself: shown once, kept as hashes.
//!
//! `bhk_<id>_<secret>`: the id finds the row, the secret is 256 random bits. A hash without salt or work factor is enough for
//! those: nobody can guess them, and equal ones don't occur.

use std::fmt;
use std::str::FromStr;

use bulkhead_registry::Digest;
use subtle::ConstantTimeEq as _;

use super::error::AuthError;

const PREFIX: &str = "bhk_";

/// Bytes of an id, and of a secret, as hexadecimal text.
const ID_CHARS: usize = 16;
const SECRET_CHARS: usize = 64;

/// A key as its owner has it. Never logged: it has no `Debug` of its own text.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    id: String,
    secret: String,
}

/// What is kept of a key's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(Digest);

impl ApiKey {
    /// A new one, of the system's random numbers.
    #[must_use]
    pub fn generate() -> Self {
        let (id, secret): ([u8; ID_CHARS / 2], [u8; SECRET_CHARS / 2]) = (random(), random());
        Self { id: hex(&id), secret: hex(&secret) }
    }

    /// Names it, in lists and in the audit.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is to be kept of it.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash(Digest::of(self.secret.as_bytes()))
    }

    /// The whole of it, for its owner.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }
}

/// Whether a credential has the form of a key, rather than of a token.
#[must_use]
pub(super) fn is_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

impl FromStr for ApiKey {
    type Err = AuthError;

    fn from_str(text: &str) -> Result<Self, AuthError> {
        let (id, secret) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(AuthError::Malformed)?;
        let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex(id, ID_CHARS) && is_hex(secret, SECRET_CHARS) {
            Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
        } else {
            Err(AuthError::Malformed)
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.id)
    }
}

impl KeyHash {
    /// As it is kept.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.hex()
    }

    /// Of what is kept.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        Digest::from_hex(text).map(Self)
    }

    /// Compares in a time that tells nothing of where they differ.
    #[must_use]
    pub fn fits(self, other: Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[expect(clippy::expect_used, reason = "a system without random numbers can't do anything securely")]
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}
