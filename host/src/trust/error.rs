//! Why something is not taken in, may not run, or can't be said.

use std::sync::Arc;

use bulkhead_registry::{Digest, StoreError};

use crate::signing::KeyId;

/// Why something may not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Barred {
    /// It, or what it is made of, was revoked.
    #[error("{what} was revoked ({digest}): {reason}")]
    Revoked {
        /// Which.
        what: String,
        /// Its bytes.
        digest: Digest,
        /// As whoever revoked it says.
        reason: Arc<str>,
    },
    /// Nobody whose signatures count vouches for it.
    #[error("signatures are required here, and no trust root that counts has signed {what}: sign it, and upload it again with the signature")]
    Unsigned {
        /// Which.
        what: String,
    },
}

/// Why the signatures of an upload are not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("signatures are required here, and the upload of {what} brings none: sign it with the key of a trust root (`--sign-with`)")]
    Required {
        /// What it would be of.
        what: String,
    },
    /// None of them is by a trust root.
    #[error("the upload is signed by {}, and the tenant has no such trust root: add its public key (`bulkhead trust-root add`), or sign with another", .keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "))]
    Unknown {
        /// The keys that they are said to be by.
        keys: Vec<String>,
    },
    /// The trust root that it is by was revoked.
    #[error("the upload is signed by `{key}`, a trust root that was revoked: sign it with another")]
    Revoked {
        /// Which.
        key: KeyId,
    },
    /// It is of something else, or made by somebody else.
    #[error(
        "the signature by `{key}` is not of {what}: a signature is of kind, name, version, digest, world or runtime, the manifest's very text and its grants, and all of these must be those of the upload"
    )]
    Unfit {
        /// The key that it is said to be by.
        key: String,
        /// What it should be of.
        what: String,
    },
}

impl SignatureError {
    /// There is none, rather than a bad one.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Required { .. })
    }
}

/// Why a change did not happen.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// What is asked for is not what is expected.
    #[error("{0}")]
    Invalid(String),
    /// A trust root never comes back.
    #[error("the trust root `{key}` was revoked, and a revoked key never counts again: make another with `bulkhead sign keygen`")]
    WasRevoked {
        /// Which.
        key: String,
    },
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
