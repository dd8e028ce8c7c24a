//! The store of rows: what a database has to do for us, by verb, and nothing about which database it is.
//!
//! `Ok(None)` means "no such thing", and what a caller answers differently is in the result, not in the error: an
//! error is the database failing, with the few exceptions that have a variant of their own. Every verb is one
//! transaction: it happened whole, or not at all.

pub(crate) mod sqlite;

use std::path::PathBuf;

use async_trait::async_trait;

use crate::audit::{AuditEntry, AuditFilter, AuditRecord, Origin};
use crate::identity::{Kept, KeyRecord, Revoked, TenantRecord};
use crate::ids::{Digest, IdError, ModelName, ModelRef, PluginName, PluginRef, TenantId, Version};
use crate::model::{ModelFilter, ModelRecord, Page, Paged, PluginRecord, Promotion, VersionRecord};
use crate::trust::{Revocation, SignatureRecord, TrustRoot};

/// Why a verb did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A transform or the predictor of the manifest is a plugin that this tenant does not have (any more).
    #[error("plugin `{0}` does not exist")]
    MissingPlugin(PluginRef),
    /// The manifest grants a version of a model that this tenant does not have (any more).
    #[error("version `{0}` does not exist")]
    MissingGraph(ModelRef),
    /// [`Page::after`] is not a key of this list.
    #[error("not the end of a page of this list: {0}")]
    Cursor(#[source] IdError),
    /// The database was busy for too long; the same call may succeed later.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    /// No room is left where the database lies.
    #[error("no space is left for the database")]
    Full(#[source] sqlx::Error),
    /// A row does not say what it must: somebody else wrote it, or the file is damaged.
    #[error("the database holds a row that cannot be read: {0}")]
    Corrupt(String),
    /// The file cannot be opened or made.
    #[error("the database `{}` cannot be opened: {source}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: sqlx::Error,
    },
    /// The tables cannot be brought to this release's form; those of a newer release cannot be brought back.
    #[error("the database's tables do not fit this release: {0}")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// Anything else that the database said.
    #[error("the database failed: {0}")]
    Database(#[source] sqlx::Error),
}

/// What came of putting something immutable. The stored record comes back in every case.
#[derive(Debug, Clone, PartialEq)]
pub enum Put<T> {
    /// It is there now.
    Created(T),
    /// The same was there already; nothing changed.
    Same(T),
    /// Something else is there under this name and version; nothing changed.
    Conflict(T),
}

/// Where a new version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutStage {
    /// In production if the model has no other version, else in staging.
    Auto,
    /// In staging.
    Staging,
}

/// What came of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Done,
    /// There was none.
    NotFound,
    /// Something needs it; nothing changed. Each line is one `model@version`, or says why.
    InUse(Vec<String>),
}

/// What came of a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promoted {
    /// Whether anything did; not where the version was in production already.
    pub changed: bool,
    /// The version in production before; the same as `to` where nothing changed.
    pub from: Option<Version>,
    /// The version in production now.
    pub to: Version,
}

/// What came of a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolledBack {
    /// What was in production before is so again.
    Done {
        /// Archived now.
        from: Version,
        /// In production now.
        to: Version,
    },
    /// No such model.
    NotFound,
    /// The model has no earlier production version; nothing changed.
    Nothing,
}

/// The rows. Whoever shares a store shares what it holds, so it is used behind an `Arc`.
///
/// Nothing of one tenant is visible to another: a verb with a tenant acts on that tenant's rows alone. What changes something
/// is told by whom, and writes that down in the same transaction: no change without its row in the audit, and no row without
/// its change.
///
/// # Errors
/// Every verb may fail with [`StoreError::Busy`], [`StoreError::Full`], [`StoreError::Corrupt`] or
/// [`StoreError::Database`]; the paged ones with [`StoreError::Cursor`] too.
#[async_trait]
pub trait Store: Send + Sync {
    /// Adds a plugin with its signatures. The same digest under the same name and version is [`Put::Same`]; signatures by keys
    /// that had not signed it are added to it then.
    async fn put_plugin(&self, record: PluginRecord, signatures: &[SignatureRecord], by: &Origin) -> Result<Put<PluginRecord>, StoreError>;

    /// One plugin.
    async fn plugin(&self, tenant: &TenantId, plugin: &PluginRef) -> Result<Option<PluginRecord>, StoreError>;

    /// All versions of all plugins, by name, then in semver's order. The key is `name@version`.
    async fn plugins(&self, tenant: &TenantId, page: &Page) -> Result<Paged<PluginRecord>, StoreError>;

    /// All versions of one plugin in semver's order; none where there is no such plugin.
    async fn plugin_versions(&self, tenant: &TenantId, name: &PluginName) -> Result<Vec<PluginRecord>, StoreError>;

    /// Removes a plugin, unless a version's manifest names it.
    async fn delete_plugin(&self, tenant: &TenantId, plugin: &PluginRef, by: &Origin) -> Result<Deleted, StoreError>;

    /// Adds a version; in production at once where `stage` says so, with a line of history. The same digest and an
    /// equal manifest under the same name and version are [`Put::Same`], whatever `stage` says; signatures by keys that had
    /// not signed it are added to it then.
    ///
    /// # Errors
    /// [`StoreError::MissingPlugin`] and [`StoreError::MissingGraph`] name the first that is not there.
    async fn put_version(
        &self,
        record: VersionRecord,
        stage: PutStage,
        signatures: &[SignatureRecord],
        by: &Origin,
    ) -> Result<Put<VersionRecord>, StoreError>;

    /// One version.
    async fn version(&self, tenant: &TenantId, model: &ModelRef) -> Result<Option<VersionRecord>, StoreError>;

    /// The versions of one model in semver's order; none where there is no such model. The key is the version.
    async fn versions(&self, tenant: &TenantId, model: &ModelName, filter: &ModelFilter, page: &Page) -> Result<Paged<VersionRecord>, StoreError>;

    /// One model.
    async fn model(&self, tenant: &TenantId, name: &ModelName) -> Result<Option<ModelRecord>, StoreError>;

    /// The models by name. The key is the name.
    async fn models(&self, tenant: &TenantId, filter: &ModelFilter, page: &Page) -> Result<Paged<ModelRecord>, StoreError>;

    /// All versions of all tenants, by tenant and model and in semver's order: what to load on start.
    async fn all_versions(&self) -> Result<Vec<VersionRecord>, StoreError>;

    /// All plugins of all tenants, by tenant and name and in semver's order: what to compile on start.
    async fn all_plugins(&self) -> Result<Vec<PluginRecord>, StoreError>;

    /// Removes a version, unless it is in production or a predictor is granted it, and takes it out of what a rollback may return to. The model
    /// goes with its last version.
    async fn delete_version(&self, tenant: &TenantId, model: &ModelRef, by: &Origin) -> Result<Deleted, StoreError>;

    /// Puts a version in production and archives the one that was; `None` if there is no such version. Promotions and
    /// rollbacks of one model happen one after the other.
    async fn promote(&self, tenant: &TenantId, model: &ModelRef, by: &Origin) -> Result<Option<Promoted>, StoreError>;

    /// Returns to the version that was in production before, and archives the one that is. Production versions are a
    /// stack: after 1, 2, 3 the first rollback gives 2 and the second gives 1.
    async fn rollback(&self, tenant: &TenantId, model: &ModelName, by: &Origin) -> Result<RolledBack, StoreError>;

    /// The version that a rollback would return to.
    async fn before_production(&self, tenant: &TenantId, model: &ModelName) -> Result<Option<Version>, StoreError>;

    /// Every promotion and rollback of one model, newest first; none where there is no such model. The key is
    /// [`Promotion::seq`].
    async fn history(&self, tenant: &TenantId, model: &ModelName, page: &Page) -> Result<Paged<Promotion>, StoreError>;

    /// Whether a plugin or version of any tenant refers to these bytes.
    async fn digest_in_use(&self, digest: &Digest) -> Result<bool, StoreError>;

    /// Adds a key. Equal ones are [`Put::Same`].
    async fn put_key(&self, record: KeyRecord, by: &Origin) -> Result<Put<KeyRecord>, StoreError>;

    /// The keys of a tenant by their ids, revoked ones too. The key of the list is the id.
    async fn keys(&self, tenant: &TenantId, page: &Page) -> Result<Paged<KeyRecord>, StoreError>;

    /// How many keys of a tenant are good at a moment, in milliseconds since the Unix epoch.
    async fn live_keys(&self, tenant: &TenantId, at: i64) -> Result<u64, StoreError>;

    /// All keys of all tenants: what to know on start.
    async fn all_keys(&self) -> Result<Vec<KeyRecord>, StoreError>;

    /// Revokes a key as of `at`, in milliseconds since the Unix epoch. One that is revoked stays so since then.
    async fn revoke_key(&self, tenant: &TenantId, id: &str, at: i64, by: &Origin) -> Result<Revoked, StoreError>;

    /// Says what a tenant is and may; the moment of its first such row stays.
    async fn put_tenant(&self, record: TenantRecord, by: &Origin) -> Result<TenantRecord, StoreError>;

    /// The tenants about which something was said, by name.
    async fn all_tenants(&self) -> Result<Vec<TenantRecord>, StoreError>;

    /// Adds a key whose signatures count. One that is there is [`Put::Same`], and [`Put::Conflict`] where it was revoked.
    async fn put_root(&self, record: TrustRoot, by: &Origin) -> Result<Put<TrustRoot>, StoreError>;

    /// The trust roots of a tenant by their ids, revoked ones too. The key of the list is the id.
    async fn roots(&self, tenant: &TenantId, page: &Page) -> Result<Paged<TrustRoot>, StoreError>;

    /// All trust roots of all tenants: what to know on start.
    async fn all_roots(&self) -> Result<Vec<TrustRoot>, StoreError>;

    /// Revokes a trust root as of `at`, in milliseconds since the Unix epoch. One that is revoked stays so since then.
    async fn revoke_root(&self, tenant: &TenantId, key_id: &str, at: i64, by: &Origin) -> Result<Option<TrustRoot>, StoreError>;

    /// The signatures on a plugin, by key.
    async fn plugin_signatures(&self, tenant: &TenantId, plugin: &PluginRef) -> Result<Vec<SignatureRecord>, StoreError>;

    /// The signatures on a version, by key.
    async fn version_signatures(&self, tenant: &TenantId, model: &ModelRef) -> Result<Vec<SignatureRecord>, StoreError>;

    /// Revokes a digest, of a tenant or of all. One that is revoked so already is [`Put::Same`].
    async fn put_revocation(&self, record: Revocation, by: &Origin) -> Result<Put<Revocation>, StoreError>;

    /// What was revoked of a tenant's and of all tenants', the latest first. The key is [`Revocation::seq`].
    async fn revocations(&self, tenant: &TenantId, page: &Page) -> Result<Paged<Revocation>, StoreError>;

    /// All that was revoked, of all tenants: what to know on start.
    async fn all_revocations(&self) -> Result<Vec<Revocation>, StoreError>;

    /// Takes a revocation back, which was of this tenant, or with none of all.
    async fn lift_revocation(&self, tenant: Option<&TenantId>, digest: &Digest, by: &Origin) -> Result<Option<Revocation>, StoreError>;

    /// The tenants that anything is known of, by name.
    async fn known_tenants(&self) -> Result<Vec<TenantId>, StoreError>;

    /// What a tenant keeps.
    async fn kept(&self, tenant: &TenantId) -> Result<Kept, StoreError>;

    /// Writes down what no other verb does: what was refused or failed, or changed nothing in the tables. All of it or none.
    async fn append_audit(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError>;

    /// The audit. The key is [`AuditRecord::seq`].
    async fn audit(&self, filter: &AuditFilter, page: &Page) -> Result<Paged<AuditRecord>, StoreError>;

    /// Takes the rows off the audit's old end that were written before that moment, in milliseconds since the Unix epoch, and
    /// keeps the hash that the rest begins after. How many went.
    async fn retain_audit(&self, before: i64, by: &Origin) -> Result<u64, StoreError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
}
