//! Whose signatures count, what was revoked, and whether something may run: what an operator says about where plugins and models
//! come from. It is written down first, and holds from then on; what it is held against, is in memory.

mod error;
mod known;
mod provenance;

use std::sync::Arc;

use arc_swap::ArcSwap;
use bulkhead_registry::{Digest, Origin, Put, Revocation, SignatureRecord, Store, StoreError, TenantId, TrustRoot};

pub use error::{Barred, SignatureError, TrustError};
use known::Known;
pub use provenance::{Part, Provenance};

use crate::clock;
use crate::signing::{KeyId, PublicKey, Signature, Statement};
use crate::tenants::Tenants;

/// Characters of a root's name, and of the reason of a revocation.
const NAME_CHARS: usize = 100;
const REASON_CHARS: usize = 500;

/// Trust roots of one tenant that are not revoked, and digests that one tenant revoked: all of them are in memory. Arbitrary, and
/// far more than anybody looks after.
const ROOTS: usize = 64;
const REVOCATIONS: usize = 10_000;

/// Whose signatures count, and what was revoked.
pub struct Trust {
    store: Arc<dyn Store>,
    tenants: Arc<Tenants>,
    /// Of every tenant.
    required: bool,
    known: ArcSwap<Known>,
    /// One change after the other: what holds must be what was written last.
    turn: tokio::sync::Mutex<()>,
}

/// A key that signed something, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The key.
    pub key: KeyId,
    /// What the tenant calls it.
    pub name: String,
    /// Its signatures don't count any more.
    pub revoked: bool,
}

impl Trust {
    /// Reads what the registry knows, which holds from then on. Signatures are required of every tenant, or of those that say so.
    ///
    /// # Errors
    /// Where the registry can't be read.
    pub async fn open(store: Arc<dyn Store>, tenants: Arc<Tenants>, required: bool) -> Result<Self, StoreError> {
        let mut known = Known::default();
        store.all_roots().await?.iter().for_each(|root| known.add_root(root));
        store.all_revocations().await?.iter().for_each(|revocation| known.revoke(revocation));
        Ok(Self { store, tenants, required, known: ArcSwap::from_pointee(known), turn: tokio::sync::Mutex::default() })
    }

    /// Whether a tenant takes in and runs only what is signed.
    #[must_use]
    pub fn requires(&self, tenant: &TenantId) -> bool {
        self.required || self.tenants.said(tenant).require_signatures
    }

    // === What is asked ===

    /// Whether something may run, or go on running.
    ///
    /// # Errors
    /// Why it may not.
    pub fn stands(&self, tenant: &TenantId, provenance: &Provenance) -> Result<(), Barred> {
        let known = self.known.load();
        for part in provenance.parts() {
            not_revoked(&known, tenant, &part.what, &part.digest)?;
        }
        if self.requires(tenant)
            && let Some(part) = provenance.parts().iter().find(|part| !part.keys.iter().any(|key| known.counts(tenant, key)))
        {
            return Err(Barred::Unsigned { what: part.what.clone() });
        }
        Ok(())
    }

    /// Whether these bytes may be taken in.
    ///
    /// # Errors
    /// Where they were revoked.
    pub fn takes(&self, tenant: &TenantId, what: &str, digest: &Digest) -> Result<(), Barred> {
        not_revoked(&self.known.load(), tenant, what, digest)
    }

    /// Checks the signatures of an upload: those by keys that count must all be of one of these statements. Gives which, and
    /// those; the others are nobody's that this tenant knows, and not kept.
    ///
    /// # Errors
    /// Where there is none though one is required, where none is by a key that counts, or where one that is does not fit.
    pub fn check(&self, tenant: &TenantId, statements: &[Statement], signatures: &[Signature]) -> Result<(usize, Vec<Signature>), SignatureError> {
        let what = || statements.first().map(ToString::to_string).unwrap_or_default();
        if signatures.is_empty() {
            return if self.requires(tenant) { Err(SignatureError::Required { what: what() }) } else { Ok((0, Vec::new())) };
        }
        let known = self.known.load();
        let counted: Vec<_> = signatures.iter().filter_map(|signature| Some((known.counting(tenant, signature.key())?, signature))).collect();
        if counted.is_empty() {
            let key = signatures.iter().find(|signature| known.root(tenant, signature.key()).is_some());
            return Err(match key {
                Some(revoked) => SignatureError::Revoked { key: revoked.key().clone() },
                None => SignatureError::Unknown { keys: signatures.iter().map(|signature| signature.key().to_string()).collect() },
            });
        }
        let fits = |statement: &Statement| counted.iter().all(|(key, signature)| key.signed(statement, signature));
        match statements.iter().position(fits) {
            Some(at) => Ok((at, counted.into_iter().map(|(_, signature)| signature.clone()).collect())),
            None => {
                let odd = counted.iter().find(|(key, signature)| !statements.iter().any(|statement| key.signed(statement, signature)));
                let key = odd.or(counted.first()).map(|(_, signature)| signature.key().to_string()).unwrap_or_default();
                Err(SignatureError::Unfit { key, what: what() })
            }
        }
    }

    /// The keys whose signatures, of those that are kept, fit to what they are on; whether they count is for [`Trust::stands`] to
    /// say, at any time.
    #[must_use]
    pub fn vouching(&self, tenant: &TenantId, kept: &[SignatureRecord], statement: impl Fn(&SignatureRecord) -> Statement) -> Vec<KeyId> {
        let known = self.known.load();
        let fits = |record: &SignatureRecord| {
            let signature = Signature::decoded(&record.key_id, &record.signature)?;
            let (key, _) = known.root(tenant, signature.key())?;
            key.signed(&statement(record), &signature).then(|| signature.key().clone())
        };
        kept.iter().filter_map(fits).collect()
    }

    /// These keys, as they are shown.
    #[must_use]
    pub fn signers(&self, tenant: &TenantId, kept: &[SignatureRecord]) -> Vec<Signer> {
        let known = self.known.load();
        let signer = |record: &SignatureRecord| {
            let key: KeyId = record.key_id.parse().ok()?;
            let name = known.name(tenant, &key)?.to_owned();
            Some(Signer { revoked: !known.counts(tenant, &key), key, name })
        };
        kept.iter().filter_map(signer).collect()
    }

    // === What is changed ===

    /// Adds a trust root. True where it was not there.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub async fn add_root(&self, tenant: &TenantId, name: &str, pem: &str, by: &Origin) -> Result<(TrustRoot, bool), TrustError> {
        words("name", name, NAME_CHARS)?;
        let key = PublicKey::from_pem(pem).map_err(|error| TrustError::Invalid(format!("`public_key`: {error}")))?;
        let _turn = self.turn.lock().await;
        if self.known.load().root(tenant, &key.id()).is_none() && self.known.load().counting_roots(tenant) >= ROOTS {
            return Err(TrustError::Invalid(format!("a tenant has at most {ROOTS} trust roots: revoke those that are not needed")));
        }
        let record = TrustRoot {
            tenant: tenant.clone(),
            key_id: key.id().to_string(),
            name: name.to_owned(),
            public_key: key.to_pem(),
            created_by: by.actor.to_string(),
            created_at: clock::unix_ms(),
            revoked_at: None,
        };
        let put = self.store.put_root(record, by).await?;
        let (record, new) = match put {
            Put::Created(record) => (record, true),
            Put::Same(record) => (record, false),
            Put::Conflict(record) => return Err(TrustError::WasRevoked { key: record.key_id }),
        };
        self.change(|known| known.add_root(&record));
        Ok((record, new))
    }

    /// Revokes a trust root; none where the tenant has no such.
    ///
    /// # Errors
    /// Where the registry fails.
    pub async fn revoke_root(&self, tenant: &TenantId, key: &str, by: &Origin) -> Result<Option<TrustRoot>, TrustError> {
        let _turn = self.turn.lock().await;
        let record = self.store.revoke_root(tenant, key, clock::unix_ms(), by).await?;
        if let Some(record) = &record {
            self.change(|known| known.add_root(record));
        }
        Ok(record)
    }

    /// Revokes a digest: a tenant's own, or with none everybody's. True where it was not revoked so before.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub async fn revoke(&self, tenant: Option<&TenantId>, digest: Digest, reason: &str, by: &Origin) -> Result<(Revocation, bool), TrustError> {
        words("reason", reason, REASON_CHARS)?;
        let _turn = self.turn.lock().await;
        if tenant.is_some_and(|tenant| self.known.load().revoked_by(tenant) >= REVOCATIONS) {
            return Err(TrustError::Invalid(format!("a tenant revokes at most {REVOCATIONS} digests: take back those that nobody has any more")));
        }
        let record = Revocation {
            seq: 0,
            digest,
            tenant: tenant.cloned(),
            reason: reason.to_owned(),
            created_by: by.actor.to_string(),
            created_at: clock::unix_ms(),
        };
        let (record, new) = match self.store.put_revocation(record, by).await? {
            Put::Created(record) => (record, true),
            Put::Same(record) | Put::Conflict(record) => (record, false),
        };
        self.change(|known| known.revoke(&record));
        Ok((record, new))
    }

    /// Takes a revocation back; none where there is no such.
    ///
    /// # Errors
    /// Where the registry fails.
    pub async fn restore(&self, tenant: Option<&TenantId>, digest: &Digest, by: &Origin) -> Result<Option<Revocation>, TrustError> {
        let _turn = self.turn.lock().await;
        let record = self.store.lift_revocation(tenant, digest, by).await?;
        if record.is_some() {
            self.change(|known| known.restore(tenant, digest));
        }
        Ok(record)
    }

    fn change(&self, change: impl Fn(&mut Known)) {
        let mut known = Known::clone(&self.known.load());
        change(&mut known);
        self.known.store(Arc::new(known));
    }
}

fn not_revoked(known: &Known, tenant: &TenantId, what: &str, digest: &Digest) -> Result<(), Barred> {
    match known.revoked(tenant, digest) {
        Some(reason) => Err(Barred::Revoked { what: what.to_owned(), digest: *digest, reason: Arc::clone(reason) }),
        None => Ok(()),
    }
}

fn words(field: &str, text: &str, most: usize) -> Result<(), TrustError> {
    let length = text.chars().count();
    if length == 0 || length > most || text.chars().any(char::is_control) {
        return Err(TrustError::Invalid(format!("`{field}`: expected 1 to {most} characters without control characters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
