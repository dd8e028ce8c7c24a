//! Who asks: from a credential to a caller with a tenant and scopes. Knows no HTTP.
//!
//! A credential is a token of an issuer, signed by a key that the host knows, or a key that the host issued itself. What was
//! verified is kept by its hash until it expires, or until keys change, so that a signature is checked once and not with each
//! request; a key of the host's own is looked up each time, so that a revocation counts at once.

mod caller;
mod error;
mod key;
mod keys;
#[cfg(test)]
mod properties;
mod scope;
#[cfg(test)]
mod tests;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};

pub use caller::{Actor, Caller};
pub use error::AuthError;
pub use key::{ApiKey, KeyHash};
pub use keys::{KeyError, Keys, Source};
pub use scope::{Scope, Scopes, UnknownScope};
pub use token::{Expected, Verified};

use crate::clock;

/// Bytes of a credential: longer ones are not even hashed.
const CREDENTIAL_BYTES: usize = 8192;

/// Tokens that were verified and are kept. Arbitrary; each takes some hundred bytes.
const KEPT: u64 = 10_000;

/// A key that the host issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Of its secret.
    pub hash: KeyHash,
    /// Who brings it.
    pub caller: Arc<Caller>,
    /// Until when it is good, in seconds since the epoch; none for as long as it is not revoked.
    pub until_s: Option<u64>,
    /// It was revoked.
    pub revoked: bool,
}

/// What a request brings, as it stands there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presented<'a> {
    /// Behind `Bearer`.
    pub bearer: Option<&'a str>,
    /// Of a header of its own.
    pub api_key: Option<&'a str>,
}

/// Checks credentials.
pub struct Authenticator {
    keys: Arc<Keys>,
    expected: Expected,
    issued: ArcSwap<HashMap<String, Issued>>,
    verified: moka::sync::Cache<[u8; 32], (Verified, u64)>,
}

impl Authenticator {
    /// With the keys of issuers, and what their tokens must say.
    #[must_use]
    pub fn new(keys: Keys, expected: Expected) -> Self {
        Self { keys: Arc::new(keys), expected, issued: ArcSwap::default(), verified: moka::sync::Cache::new(KEPT) }
    }

    /// Says which keys the host has issued, by their ids; from now on these count.
    pub fn issue(&self, issued: HashMap<String, Issued>) {
        self.issued.store(Arc::new(issued));
    }

    /// Who asks.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn authenticate(&self, presented: Presented<'_>) -> Result<Arc<Caller>, AuthError> {
        match (presented.bearer, presented.api_key) {
            (None, None) => Err(AuthError::Missing),
            (Some(one), None) | (None, Some(one)) => self.one(one).await,
            (Some(one), Some(other)) if one == other => self.one(one).await,
            // Both must be good, and the same caller's: which of two was meant nobody can know.
            (Some(one), Some(other)) => {
                let (one, other) = (self.one(one).await?, self.one(other).await?);
                if (&one.tenant, &one.subject) == (&other.tenant, &other.subject) { Ok(one) } else { Err(AuthError::Disagree) }
            }
        }
    }

    async fn one(&self, credential: &str) -> Result<Arc<Caller>, AuthError> {
        if credential.len() > CREDENTIAL_BYTES {
            return Err(AuthError::Oversized);
        }
        if key::is_key(credential) {
            return self.key(&credential.parse()?);
        }
        Keys::keep_fresh(&self.keys);
        let hash: [u8; 32] = Sha256::digest(credential.as_bytes()).into();
        let (generation, now_s) = (self.keys.generation(), now_s());
        if let Some((verified, of)) = self.verified.get(&hash)
            && of == generation
        {
            return if now_s < verified.until_s { Ok(verified.caller) } else { Err(AuthError::Expired) };
        }
        let verified = token::verify(&self.keys, &self.expected, credential).await?;
        self.verified.insert(hash, (verified.clone(), self.keys.generation()));
        Ok(verified.caller)
    }

    fn key(&self, key: &ApiKey) -> Result<Arc<Caller>, AuthError> {
        let issued = self.issued.load();
        let found = issued.get(key.id()).filter(|found| found.hash.fits(key.hash())).ok_or(AuthError::Key)?;
        if found.revoked {
            return Err(AuthError::Revoked);
        }
        if found.until_s.is_some_and(|until| now_s() >= until) {
            return Err(AuthError::Expired);
        }
        Ok(Arc::clone(&found.caller))
    }
}

fn now_s() -> u64 {
    u64::try_from(clock::unix_ms() / 1000).unwrap_or(0)
}
