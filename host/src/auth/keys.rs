//! The keys that tokens are signed with: from files, or from where the issuer publishes them.
//!
//! A published set is asked for when the host starts, when it is older than a few minutes, and when a token names a key that is
//! not in it; never more often than a bound allows, whatever tokens come. Where it does not answer, the last good one serves
//! on for a while.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::error::AuthError;
use crate::clock;

/// A published set is asked for again after so long.
const FRESH: Duration = Duration::from_secs(300);

/// And at most once in so long, whatever tokens name.
const BETWEEN: Duration = Duration::from_secs(10);

/// The last good set serves on for so long when it can't be had.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What a set may take.
const FETCH: Duration = Duration::from_secs(5);
const SET_BYTES: usize = 1 << 20;
const SET_KEYS: usize = 100;

/// Algorithms that are accepted from issuers; each key is good for one of them alone.
pub(super) const ASYMMETRIC: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// A key, and the one algorithm that it is good for.
pub(super) struct Known {
    id: Option<String>,
    algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Where keys come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A secret that the host made for itself: for development.
    Secret(Vec<u8>),
    /// Files: public keys as PEM, or a set as JSON; read again when they change.
    Files(Vec<PathBuf>),
    /// A set that an issuer publishes.
    Url(String),
}

/// Keys, as they are now.
pub struct Keys {
    source: Source,
    table: ArcSwap<Table>,
    /// Held by who asks for a set, or reads files again.
    renewal: Arc<Mutex<()>>,
    client: reqwest::Client,
}

struct Table {
    keys: Vec<Arc<Known>>,
    /// Of the bytes that they were read from.
    fingerprint: [u8; 32],
    /// Counts the sets that differ: what was verified by an older one may be so no longer.
    generation: u64,
    /// When it was made.
    at: Instant,
    /// When it was last tried to be made anew.
    tried: Instant,
}

/// Why there are no keys to begin with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file can't be read.
    #[error("the key file `{}` can't be read: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A published set can't be had.
    #[error("the keys at `{url}` can't be had: {why}")]
    Url {
        /// Where.
        url: String,
        /// Why not.
        why: String,
    },
}

impl Keys {
    /// Reads them for the first time. A published set that can't be had yet is no error: the host starts, and tokens wait.
    ///
    /// # Errors
    /// Where a file can't be read, or is no key.
    pub async fn open(source: Source) -> Result<Self, KeyError> {
        // Says no where that was done before, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(FETCH).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| KeyError::Url { url: String::new(), why: error.to_string() })?;
        let now = clock::now();
        let (keys, fingerprint) = match read(&source, &client, false).await {
            Ok(read) => read,
            Err(error @ KeyError::Url { .. }) => {
                tracing::warn!(%error, "no token can be checked until they are there");
                (Vec::new(), [0; 32])
            }
            Err(error) => return Err(error),
        };
        let table = Table { keys, fingerprint, generation: 0, at: now, tried: now };
        Ok(Self { source, table: ArcSwap::from_pointee(table), renewal: Arc::default(), client })
    }

    /// Counts changes: what was verified by an older one must be verified again.
    pub(super) fn generation(&self) -> u64 {
        self.table.load().generation
    }

    /// Those that could be read once are so old that nobody knows whether they still count.
    pub(super) fn are_stale(&self) -> bool {
        !matches!(self.source, Source::Secret(_)) && self.table.load().at.elapsed() > LIFETIME
    }

    /// Those that a token may be signed with, and the generation that they are of.
    ///
    /// # Errors
    /// Where there is none, or nobody knows.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<(Vec<Arc<Known>>, u64), AuthError> {
        let accepted = match self.source {
            Source::Secret(_) => algorithm == Algorithm::HS256,
            Source::Files(_) | Source::Url(_) => ASYMMETRIC.contains(&algorithm),
        };
        if !accepted {
            return Err(AuthError::Algorithm);
        }
        let found = self.table.load().find(id, algorithm);
        self.renew(found.is_empty()).await;
        let table = self.table.load();
        let found = table.find(id, algorithm);
        if self.are_stale() || matches!(self.source, Source::Url(_)) && table.keys.is_empty() {
            return Err(AuthError::KeysUnavailable);
        }
        if found.is_empty() { Err(AuthError::UnknownKey) } else { Ok((found, table.generation)) }
    }

    /// Makes the table so much older.
    #[cfg(test)]
    pub(super) fn passed(&self, time: Duration) {
        let table = self.table.load_full();
        let back = |moment: Instant| moment.checked_sub(time).expect("the machine runs for longer");
        self.table.store(Arc::new(Table {
            keys: table.keys.clone(),
            fingerprint: table.fingerprint,
            generation: table.generation,
            at: back(table.at),
            tried: back(table.tried),
        }));
    }

    /// Has an old table made anew, and waits for nothing: what was verified by a key that is gone is then verified again.
    pub(super) fn keep_fresh(keys: &Arc<Self>) {
        let is_old = keys.table.load().tried.elapsed() >= FRESH;
        if !is_old || matches!(keys.source, Source::Secret(_)) {
            return;
        }
        // Whoever comes while somebody is at it need not start another.
        if let Ok(turn) = Arc::clone(&keys.renewal).try_lock_owned() {
            let keys = Arc::clone(keys);
            tokio::spawn(async move { keys.renew_now(turn, false).await });
        }
    }

    fn is_due(&self, table: &Table, lacks: bool) -> bool {
        let waited = table.tried.elapsed();
        !matches!(self.source, Source::Secret(_)) && waited >= BETWEEN && (lacks || waited >= FRESH)
    }

    /// Makes the table anew where it is old, or lacks what was looked for.
    async fn renew(&self, lacks: bool) {
        if self.is_due(&self.table.load(), lacks) {
            let turn = Arc::clone(&self.renewal).lock_owned().await;
            self.renew_now(turn, lacks).await;
        }
    }

    /// In one's turn; somebody else may just have done it.
    async fn renew_now(&self, _turn: OwnedMutexGuard<()>, lacks: bool) {
        let before = self.table.load_full();
        if !self.is_due(&before, lacks) {
            return;
        }
        let now = clock::now();
        let (keys, fingerprint, generation, at) = match read(&self.source, &self.client, true).await {
            Ok((keys, fingerprint)) => (keys, fingerprint, before.generation + u64::from(fingerprint != before.fingerprint), now),
            Err(error) => {
                tracing::warn!(%error, "keys can't be renewed; the last good ones serve on");
                (before.keys.clone(), before.fingerprint, before.generation, before.at)
            }
        };
        self.table.store(Arc::new(Table { keys, fingerprint, generation, at, tried: now }));
    }
}

impl Table {
    /// A key without a name of its own goes by any.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<Arc<Known>> {
        let fits = |known: &&Arc<Known>| known.algorithm == algorithm && (id.is_none() || known.id.is_none() || known.id.as_deref() == id);
        self.keys.iter().filter(fits).cloned().collect()
    }
}

/// The keys, and what stands for the bytes that they were read from. Files `may_lack` later: whoever removes one takes back its
/// keys.
async fn read(source: &Source, client: &reqwest::Client, may_lack: bool) -> Result<(Vec<Arc<Known>>, [u8; 32]), KeyError> {
    match source {
        Source::Secret(secret) => {
            Ok((vec![Arc::new(Known { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) })], [0; 32]))
        }
        Source::Files(paths) => {
            let (mut keys, mut hash) = (Vec::new(), Sha256::new());
            for path in paths {
                let failed = |why: String| KeyError::File { path: path.clone(), why };
                let bytes = match tokio::fs::read(path).await {
                    Err(error) if may_lack && error.kind() == std::io::ErrorKind::NotFound => {
                        tracing::warn!(path = %path.display(), "a file of keys is gone, and with it what it held");
                        continue;
                    }
                    read => read.map_err(|error| failed(error.to_string()))?,
                };
                keys.extend(of_file(&bytes).map_err(failed)?);
                hash.update(&bytes);
            }
            Ok((keys, hash.finalize().into()))
        }
        Source::Url(url) => fetch(client, url).await.map_err(|why| KeyError::Url { url: url.clone(), why }),
    }
}

/// A public key as PEM, or a set as JSON.
fn of_file(bytes: &[u8]) -> Result<Vec<Arc<Known>>, String> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        return of_set(bytes);
    }
    let known = |algorithm, key| vec![Arc::new(Known { id: None, algorithm, key })];
    if let Ok(key) = DecodingKey::from_rsa_pem(bytes) {
        return Ok(known(Algorithm::RS256, key));
    }
    if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
        return Ok(known(Algorithm::ES256, key));
    }
    DecodingKey::from_ed_pem(bytes)
        .map(|key| known(Algorithm::EdDSA, key))
        .map_err(|_| "expected a public key of RSA, P-256 or Ed25519 as PEM, or a set of keys (JWKS) as JSON".to_owned())
}

/// The keys of a set that are for signatures, by algorithms that are accepted. A set may have others.
fn of_set(bytes: &[u8]) -> Result<Vec<Arc<Known>>, String> {
    let set: JwkSet = serde_json::from_slice(bytes).map_err(|error| format!("no set of keys (JWKS): {error}"))?;
    if set.keys.len() > SET_KEYS {
        return Err(format!("a set of {} keys, and at most {SET_KEYS} are taken", set.keys.len()));
    }
    Ok(set.keys.iter().filter_map(of_jwk).map(Arc::new).collect())
}

fn of_jwk(jwk: &Jwk) -> Option<Known> {
    use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, PublicKeyUse};
    if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
        return None;
    }
    // By the kind of key, and not by what a token says: a public key must never be taken for a secret.
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P256 => (Algorithm::ES256, KeyAlgorithm::ES256),
        AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => (Algorithm::EdDSA, KeyAlgorithm::EdDSA),
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
        return None;
    }
    Some(Known { id: jwk.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(jwk).ok()? })
}

async fn fetch(client: &reqwest::Client, url: &str) -> Result<(Vec<Arc<Known>>, [u8; 32]), String> {
    let mut response = client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.to_string())? {
        if bytes.len() + chunk.len() > SET_BYTES {
            return Err(format!("more than {SET_BYTES} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((of_set(&bytes)?, Sha256::digest(&bytes).into()))
}
