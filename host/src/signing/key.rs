//! Keys of Ed25519, in the form in which other tools have them too: PKCS#8 and SPKI as PEM.

use std::fmt;
use std::str::FromStr;

use bulkhead_registry::Digest;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use super::{Signature, Statement};

/// Digits of a key's id: 128 bits of a hash, which nobody finds a second key for.
const ID_CHARS: usize = 32;

/// Names a public key: the first half of its SHA-256, as hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No public key.
    #[error("expected a public key of Ed25519 as PEM (`-----BEGIN PUBLIC KEY-----`), got something else")]
    Public,
    /// A private key in the place of a public one.
    #[error("expected a public key, got a private one: it is compromised now if it was sent over a network; make a new one")]
    Private,
    /// One of the few keys whose signatures fit to nearly anything.
    #[error("the public key is a weak one, whose signatures prove nothing: make another with `bulkhead sign keygen`")]
    Weak,
    /// No private key.
    #[error("expected a private key of Ed25519 as PEM (PKCS#8, `-----BEGIN PRIVATE KEY-----`), got something else")]
    Secret,
}

/// A key that signatures are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// A key that signs. It has no `Debug` that shows it, and is wiped when it is dropped.
pub struct SecretKey(SigningKey);

impl KeyId {
    /// As it stands in signatures.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let is_id = text.len() == ID_CHARS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_id { Ok(Self(text.to_owned())) } else { Err(KeyError::Public) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PublicKey {
    /// Names it.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut hex = Digest::of(self.0.as_bytes()).hex();
        hex.truncate(ID_CHARS);
        KeyId(hex)
    }

    /// Of its text.
    ///
    /// # Errors
    /// What else it is.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.contains("PRIVATE KEY") {
            return Err(KeyError::Private);
        }
        let key = VerifyingKey::from_public_key_pem(text.trim()).map_err(|_| KeyError::Public)?;
        if key.is_weak() { Err(KeyError::Weak) } else { Ok(Self(key)) }
    }

    /// Its text.
    #[must_use]
    pub fn to_pem(&self) -> String {
        // Thirty-two bytes have a text.
        self.0.to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }

    /// Whether a signature is this key's, of that. Strictly: of all that fit by the equation alone, only those that the one who
    /// has the key can make, and one form of each.
    #[must_use]
    pub fn signed(&self, statement: &Statement, signature: &Signature) -> bool {
        let bytes = ed25519_dalek::Signature::from_bytes(signature.bytes());
        *signature.key() == self.id() && self.0.verify_strict(&statement.bytes(), &bytes).is_ok()
    }
}

impl SecretKey {
    /// A new one, of the system's random numbers.
    ///
    /// # Errors
    /// Where the system has none.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Of its text.
    ///
    /// # Errors
    /// Where it is none.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(text.trim()).map(Self).map_err(|_| KeyError::Secret)
    }

    /// Its text, for its owner. Without the public key in it, as `openssl` writes it.
    ///
    /// # Errors
    /// Where it has none, which does not happen.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let pair = ed25519_dalek::pkcs8::KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        pair.to_pkcs8_pem(LineEnding::LF).map(|text| text.to_string()).map_err(|_| KeyError::Secret)
    }

    /// What its signatures are checked with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, statement: &Statement) -> Signature {
        Signature::new(self.public().id(), self.0.sign(&statement.bytes()).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`.
    const SECRET: &str = include_str!("../auth/fixtures/ed.pem");
    const PUBLIC: &str = include_str!("../auth/fixtures/ed.pub.pem");

    fn statement() -> Statement {
        Statement::plugin(&"image@0.1.0".parse().unwrap(), Digest::of(b"x"), "transform")
    }

    #[test]
    fn keys_of_other_tools_are_taken_and_ours_are_theirs() {
        let (secret, public) = (SecretKey::from_pem(SECRET).unwrap(), PublicKey::from_pem(PUBLIC).unwrap());
        assert_eq!(secret.public(), public);
        assert!(public.signed(&statement(), &secret.sign(&statement())));
        assert_eq!(PublicKey::from_pem(&public.to_pem()).unwrap(), public);
        assert_eq!(public.id().as_str().parse(), Ok(public.id()));
        let new = SecretKey::generate().unwrap();
        assert_ne!(new.public(), public);
        assert_eq!(SecretKey::from_pem(&new.to_pem().unwrap()).unwrap().public(), new.public());
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        for text in ["", "x", include_str!("../auth/fixtures/ec.pub.pem"), include_str!("../auth/fixtures/rsa.pub.pem")] {
            assert_eq!(PublicKey::from_pem(text), Err(KeyError::Public), "{text}");
        }
        assert_eq!(PublicKey::from_pem(SECRET), Err(KeyError::Private));
        assert_eq!(SecretKey::from_pem(PUBLIC).err(), Some(KeyError::Secret));
        // The neutral element: signatures of zeros fit to it, whatever is signed.
        let weak =
            VerifyingKey::from_bytes(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(PublicKey::from_pem(&weak.to_public_key_pem(LineEnding::LF).unwrap()), Err(KeyError::Weak));
    }

    #[test]
    fn a_signature_is_of_one_key() {
        let (one, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        let signature = one.sign(&statement());
        assert!(!other.public().signed(&statement(), &signature));
        let renamed = Signature::new(other.public().id(), *signature.bytes());
        assert!(!other.public().signed(&statement(), &renamed) && !one.public().signed(&statement(), &renamed));
    }
}
