//! Who asks: from a credential to a caller with a tenant and scopes. Knows no HTTP.
//!
//! A credential is a token of an issuer, signed by a key that the host knows, or a key that the host issued itself. What was
//! verified is kept by its hash until it expires, or until keys change, so that a signature is checked once and not with each
//! request; a key of the host's own is looked up each time, so that a revocation counts at once.

mod attempts;
mod caller;
pub mod development;
mod error;
mod key;
mod keys;
mod memory;
#[cfg(test)]
mod properties;
mod scope;
#[cfg(test)]
mod tests;
mod token;

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};

use attempts::Attempts;
pub use caller::Caller;
pub use error::AuthError;
pub use key::{ApiKey, KeyHash};
pub use keys::{KeyError, Keys, Source};
pub use memory::Memory;
pub use scope::{Scope, Scopes, UnknownScope};
pub use token::{Expected, Verified};

use crate::clock;

/// Bytes of a credential: longer ones are not even hashed.
const CREDENTIAL_BYTES: usize = 8192;

/// Tokens that were verified and are kept. Arbitrary; each takes some hundred bytes.
const KEPT: u64 = 10_000;

/// So many seconds it is known why a key of the host's own is good no more; then it is one that nobody knows. A day: whoever issues
/// and revokes keys as fast as it may fills no memory.
const REMEMBERED_S: u64 = 24 * 3600;

/// A key that the host issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Of its secret.
    pub hash: KeyHash,
    /// Who brings it.
    pub caller: Arc<Caller>,
    /// Until when it is good, in seconds since the epoch; none for as long as it is not revoked.
    pub until_s: Option<u64>,
    /// When it was revoked, likewise.
    pub revoked_s: Option<u64>,
}

impl Issued {
    /// Whether it is worth knowing: it is good, or has not been bad for long.
    fn is_remembered(&self, now_s: u64) -> bool {
        let ended = self.until_s.into_iter().chain(self.revoked_s).min();
        ended.is_none_or(|ended| now_s < ended.saturating_add(REMEMBERED_S))
    }
}

/// What a request brings, as it stands there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presented<'a> {
    /// Behind `Bearer`.
    pub bearer: Option<&'a str>,
    /// Of a header of its own.
    pub api_key: Option<&'a str>,
}

/// What is known of a credential that may be good.
enum Look {
    /// Whose it is.
    Known(Arc<Caller>),
    /// A token by its hash, whose signature is to be checked.
    New([u8; 32]),
}

/// Checks credentials.
pub struct Authenticator {
    keys: Arc<Keys>,
    expected: Expected,
    issued: ArcSwap<HashMap<String, Issued>>,
    verified: moka::sync::Cache<[u8; 32], (Verified, u64)>,
    attempts: Attempts,
}

impl Authenticator {
    /// With the keys of issuers, what their tokens must say, and how many attempts may fail in a minute from one address.
    #[must_use]
    pub fn new(keys: Keys, expected: Expected, failed_per_minute: NonZeroU32) -> Self {
        let verified = moka::sync::Cache::new(KEPT);
        Self { keys: Arc::new(keys), expected, issued: ArcSwap::default(), verified, attempts: Attempts::new(failed_per_minute) }
    }

    /// Says which keys the host has issued, by their ids; from now on these count.
    pub fn issue(&self, mut issued: HashMap<String, Issued>) {
        let now = now_s();
        issued.retain(|_, issued| issued.is_remembered(now));
        self.issued.store(Arc::new(issued));
    }

    /// Adds a key that was just issued, or says anew what one is.
    pub fn issue_one(&self, id: &str, issued: &Issued) {
        let now = now_s();
        self.issued.rcu(|table| {
            let mut table: HashMap<_, _> =
                table.iter().filter(|(_, issued)| issued.is_remembered(now)).map(|(id, issued)| (id.clone(), issued.clone())).collect();
            table.insert(id.to_owned(), issued.clone());
            table
        });
    }

    /// A request is refused for what it brings. An attempt of an address that is not listened to is not told why, and any other is
    /// counted.
    #[must_use]
    pub fn refuse(&self, error: AuthError, source: Option<IpAddr>) -> AuthError {
        let Some(source) = source.filter(|_| error.is_attempt()) else { return error };
        if let Some(wait) = self.attempts.barred(source) {
            return AuthError::TooMany { wait };
        }
        self.attempts.failed(source);
        error
    }

    /// Who brings a single credential that is known to be good: a token that was verified, or a key. Where this knows nobody,
    /// [`Authenticator::authenticate`] says why, or finds out.
    #[must_use]
    pub fn recall(&self, presented: Presented<'_>, memory: &Memory) -> Option<Arc<Caller>> {
        let ((Some(credential), None) | (None, Some(credential))) = (presented.bearer, presented.api_key) else { return None };
        match self.look(credential, memory) {
            Ok(Look::Known(caller)) => Some(caller),
            Ok(Look::New(_)) | Err(_) => None,
        }
    }

    /// All that can be said of a credential without checking a signature.
    fn look(&self, credential: &str, memory: &Memory) -> Result<Look, AuthError> {
        if credential.len() > CREDENTIAL_BYTES {
            return Err(AuthError::Oversized);
        }
        if key::is_key(credential) {
            return self.key(&credential.parse()?).map(Look::Known);
        }
        Keys::keep_fresh(&self.keys);
        let good = (!self.keys.are_stale()).then(|| self.keys.generation());
        if let Some(caller) = good.and_then(|generation| memory.recall(credential, generation)) {
            return Ok(Look::Known(caller));
        }
        let hash = Sha256::digest(credential.as_bytes()).into();
        let known = self.verified.get(&hash).filter(|(_, generation)| good == Some(*generation));
        let Some((verified, generation)) = known else { return Ok(Look::New(hash)) };
        if now_s() >= verified.until_s {
            return Err(AuthError::Expired);
        }
        memory.keep(credential, &verified, generation);
        Ok(Look::Known(verified.caller))
    }

    /// Who asks, from which address.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn authenticate(&self, presented: Presented<'_>, source: Option<IpAddr>) -> Result<Arc<Caller>, AuthError> {
        self.check(presented, source).await.map_err(|error| self.refuse(error, source))
    }

    async fn check(&self, presented: Presented<'_>, source: Option<IpAddr>) -> Result<Arc<Caller>, AuthError> {
        match (presented.bearer, presented.api_key) {
            (None, None) => Err(AuthError::Missing),
            (Some(one), None) | (None, Some(one)) => self.one(one, source).await,
            (Some(one), Some(other)) if one == other => self.one(one, source).await,
            // Both must be good, and the same caller's: which of two was meant nobody can know.
            (Some(one), Some(other)) => {
                let (one, other) = (self.one(one, source).await?, self.one(other, source).await?);
                if (&one.tenant, &one.subject) == (&other.tenant, &other.subject) { Ok(one) } else { Err(AuthError::Disagree) }
            }
        }
    }

    async fn one(&self, credential: &str, source: Option<IpAddr>) -> Result<Arc<Caller>, AuthError> {
        let hash = match self.look(credential, &Memory::default())? {
            Look::Known(caller) => return Ok(caller),
            Look::New(hash) => hash,
        };
        // What was good before still is; only what is new must wait until that address is listened to again.
        let was_known = self.verified.contains_key(&hash);
        if let Some(wait) = source.filter(|_| !was_known).and_then(|source| self.attempts.barred(source)) {
            return Err(AuthError::TooMany { wait });
        }
        let (verified, generation) = token::verify(&self.keys, &self.expected, credential).await?;
        self.verified.insert(hash, (verified.clone(), generation));
        Ok(verified.caller)
    }

    fn key(&self, key: &ApiKey) -> Result<Arc<Caller>, AuthError> {
        let issued = self.issued.load();
        let found = issued.get(key.id()).filter(|found| found.hash.fits(key.hash())).ok_or(AuthError::Key)?;
        if found.revoked_s.is_some() {
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
