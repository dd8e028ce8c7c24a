//! Changes of who may come in: keys issued and revoked, tenants described. Each is written first, and holds at once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_registry::{ActorKind, KeyRecord, Origin, Put, Revoked, Store, StoreError, TenantId, TenantRecord};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::auth::{ApiKey, Authenticator, Caller, Issued, KeyHash, Scopes};
use crate::clock;
use crate::tenants::Tenants;

/// Characters of a key's name.
const NAME_CHARS: usize = 100;

/// A key lives no longer than so many seconds, where it is to end at all: a hundred years.
const LIFETIME_S: u64 = 100 * 365 * 24 * 3600;

/// Why a change did not happen.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// What is asked for is not what is expected.
    #[error("{0}")]
    Invalid(String),
    /// The tenant has asked for too many keys.
    #[error("the tenant may have {per_minute} keys issued in a minute")]
    TooMany {
        /// The bound.
        per_minute: u32,
        /// When to ask again.
        wait: Duration,
    },
    /// The tenant has as many keys as it may.
    #[error("the tenant has {most} keys that are good, which is `auth.keys_per_tenant`: revoke those that are not needed")]
    Enough {
        /// The bound.
        most: u32,
    },
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key that is wanted.
pub struct NewKey {
    /// Whose it is to be.
    pub tenant: TenantId,
    /// What it is to be called.
    pub name: String,
    /// What it may.
    pub scopes: Scopes,
    /// What it may in other tenants.
    pub across: Scopes,
    /// Seconds that it is good for.
    pub lifetime_s: Option<u64>,
}

/// How many keys one tenant may have issued.
#[derive(Debug, Clone, Copy)]
pub struct KeyBounds {
    /// In a minute.
    pub per_minute: NonZeroU32,
    /// That are good at one time.
    pub per_tenant: NonZeroU32,
}

/// Changes who may come in.
pub struct Identity {
    store: Arc<dyn Store>,
    authenticator: Option<Arc<Authenticator>>,
    tenants: Arc<Tenants>,
    limit: DefaultKeyedRateLimiter<TenantId>,
    bounds: KeyBounds,
    /// One change after the other: what holds must be what was written last.
    turn: tokio::sync::Mutex<()>,
}

impl Identity {
    /// Reads what the registry knows, which holds from then on.
    ///
    /// # Errors
    /// Where the registry can't be read.
    pub async fn open(
        store: Arc<dyn Store>,
        authenticator: Option<Arc<Authenticator>>,
        tenants: Arc<Tenants>,
        bounds: KeyBounds,
    ) -> Result<Self, StoreError> {
        if let Some(authenticator) = &authenticator {
            let keys = store.all_keys().await?;
            authenticator.issue(keys.iter().filter_map(|record| Some((record.id.clone(), issued(record)?))).collect());
        }
        for record in store.all_tenants().await? {
            tenants.say(&record);
        }
        let limit = RateLimiter::keyed(Quota::per_minute(bounds.per_minute));
        Ok(Self { store, authenticator, tenants, limit, bounds, turn: tokio::sync::Mutex::default() })
    }

    /// Issues a key: its record, and the key itself, which is kept nowhere.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub async fn issue(&self, new: NewKey, by: &Origin) -> Result<(KeyRecord, String), IdentityError> {
        let length = new.name.chars().count();
        if length == 0 || length > NAME_CHARS || new.name.chars().any(char::is_control) {
            return Err(IdentityError::Invalid(format!("`name`: expected 1 to {NAME_CHARS} characters without control characters")));
        }
        if new.lifetime_s.is_some_and(|seconds| seconds == 0 || seconds > LIFETIME_S) {
            return Err(IdentityError::Invalid(format!("`expires_in`: expected 1 to {LIFETIME_S} seconds")));
        }
        if let Err(not_until) = self.limit.check_key(&new.tenant) {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            return Err(IdentityError::TooMany { per_minute: self.bounds.per_minute.get(), wait });
        }
        let (key, now) = (ApiKey::generate(), clock::unix_ms());
        let record = KeyRecord {
            id: key.id().to_owned(),
            tenant: new.tenant,
            name: new.name,
            hash: key.hash().to_hex(),
            scopes: new.scopes.to_string(),
            across: new.across.to_string(),
            created_by: by.actor.to_string(),
            created_at: now,
            expires_at: new.lifetime_s.map(|seconds| now.saturating_add(i64::try_from(seconds * 1000).unwrap_or(i64::MAX))),
            revoked_at: None,
        };
        let _turn = self.turn.lock().await;
        let most = self.bounds.per_tenant.get();
        if self.store.live_keys(&record.tenant, now).await? >= u64::from(most) {
            return Err(IdentityError::Enough { most });
        }
        match self.store.put_key(record, by).await? {
            Put::Created(record) | Put::Same(record) => {
                self.tell(&record);
                Ok((record, key.reveal()))
            }
            Put::Conflict(_) => Err(IdentityError::Invalid("two keys with one name, which chance does not make: try again".to_owned())),
        }
    }

    /// Revokes a key; none where the tenant has no such.
    ///
    /// # Errors
    /// Where the registry fails.
    pub async fn revoke(&self, tenant: &TenantId, id: &str, by: &Origin) -> Result<Option<KeyRecord>, IdentityError> {
        let _turn = self.turn.lock().await;
        match self.store.revoke_key(tenant, id, clock::unix_ms(), by).await? {
            Revoked::Done(record) => {
                self.tell(&record);
                Ok(Some(record))
            }
            Revoked::NotFound => Ok(None),
        }
    }

    /// Says what a tenant is and may. True where it is trusted now and was not before, or the other way around.
    ///
    /// # Errors
    /// Where the registry fails.
    pub async fn set_tenant(&self, record: TenantRecord, by: &Origin) -> Result<bool, IdentityError> {
        let _turn = self.turn.lock().await;
        let was_trusted = self.tenants.said(&record.tenant).trusted;
        let record = self.store.put_tenant(record, by).await?;
        self.tenants.say(&record);
        Ok(was_trusted != record.trusted)
    }

    fn tell(&self, record: &KeyRecord) {
        if let (Some(authenticator), Some(issued)) = (&self.authenticator, issued(record)) {
            authenticator.issue_one(&record.id, &issued);
        }
    }
}

/// A row as the authenticator knows it; none of a hash that is none, which nobody's key fits.
fn issued(record: &KeyRecord) -> Option<Issued> {
    let seconds = |ms: i64| u64::try_from(ms / 1000).unwrap_or(0);
    let caller = Caller {
        tenant: record.tenant.clone(),
        subject: record.id.as_str().into(),
        actor: ActorKind::Key,
        scopes: Scopes::known(&record.scopes),
        across: Scopes::known(&record.across),
    };
    Some(Issued {
        hash: KeyHash::from_hex(&record.hash)?,
        caller: Arc::new(caller),
        until_s: record.expires_at.map(seconds),
        revoked_s: record.revoked_at.map(seconds),
    })
}
