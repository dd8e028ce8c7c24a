//! The store in one SQLite file: what is there when nothing else is.
//!
//! One connection writes, and every writing transaction begins `IMMEDIATE`, so that what it reads cannot change before
//! it writes. Writers of this process stand in the pool's fair queue instead of retrying against a lock; writers of
//! another process are waited for. Readers have connections of their own and, in WAL mode, wait for nobody.

mod audit;
mod identity;
mod plugins;
mod promotions;
mod rows;
mod trust;
mod versions;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Transaction};

use super::{Deleted, Promoted, Put, PutStage, RolledBack, Store, StoreError};
use crate::audit::{AuditEntry, AuditFilter, AuditRecord, Origin};
use crate::identity::{Kept, KeyRecord, Revoked, TenantRecord};
use crate::ids::{Digest, ModelName, ModelRef, PluginName, PluginRef, TenantId, Version};
use crate::model::{ModelFilter, ModelRecord, Page, Paged, PluginRecord, Promotion, VersionRecord};
use crate::trust::{Revocation, SignatureRecord, TrustRoot};

/// How long to wait for another process's lock, and for a connection. Arbitrary: longer than any transaction of ours,
/// shorter than a client's patience.
const WAIT: Duration = Duration::from_secs(10);
/// Arbitrary: predictions never read the database, so readers are people and start-up.
const READERS: u32 = 4;

/// A store in one file. Clones share it.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writes: SqlitePool,
    reads: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, makes it if need be, and brings its tables to this release's form. Beside it lie `-wal` and
    /// `-shm`, which belong to it: a backup takes all three, or uses SQLite's own backup.
    ///
    /// # Errors
    /// [`StoreError::Open`] or [`StoreError::Migrate`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode the default of most programs, NORMAL, loses the last transactions in a power cut. An upload
            // that was acknowledged must be there afterwards, so every commit waits for the disk.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(WAIT)
            // Values of statements are not for the log.
            .disable_statement_logging();
        let open = |source| StoreError::Open { path: path.to_owned(), source };
        let pool = || SqlitePoolOptions::new().acquire_timeout(WAIT).idle_timeout(None).max_lifetime(None);
        // The writer first: it makes the file and its tables.
        let writes = pool()
            .max_connections(1)
            // A full disk makes SQLite roll back by itself; sqlx's own rollback then fails, and it takes the transaction
            // for open for ever. Such a connection is replaced.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_with(options.clone())
            .await
            .map_err(open)?;
        sqlx::migrate!("migrations/sqlite").run(&writes).await.map_err(StoreError::Migrate)?;
        let reads = options.create_if_missing(false).pragma("query_only", "ON");
        let reads = pool().max_connections(READERS).connect_with(reads).await.map_err(open)?;
        Ok(Self { writes, reads })
    }

    /// Waits for what is running and closes the file. Not closing loses nothing; it leaves the `-wal` file for the
    /// next start to fold in.
    pub async fn close(&self) {
        // The last connection to close folds the log in, and only a writing one may.
        self.reads.close().await;
        self.writes.close().await;
    }

    /// A transaction that holds the write lock from its first moment. Dropped without a commit, it did not happen.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writes.begin_with("BEGIN IMMEDIATE").await?)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // SQLite's primary result codes (sqlite.org/rescode.html); an extended code has its primary in the low byte.
        const BUSY: i32 = 5;
        const LOCKED: i32 = 6;
        const CORRUPT: i32 = 11;
        const FULL: i32 = 13;
        const NOT_A_DATABASE: i32 = 26;
        let code = match &error {
            sqlx::Error::PoolTimedOut => return Self::Busy(error),
            sqlx::Error::Database(database) => database.code().and_then(|code| code.parse::<i32>().ok()),
            _ => None,
        };
        match code.map(|code| code & 0xff) {
            Some(BUSY | LOCKED) => Self::Busy(error),
            Some(FULL) => Self::Full(error),
            Some(CORRUPT | NOT_A_DATABASE) => Self::Corrupt(error.to_string()),
            _ => Self::Database(error),
        }
    }
}

/// Every verb is in the file of what it is about.
#[async_trait]
impl Store for SqliteStore {
    async fn put_plugin(&self, record: PluginRecord, signatures: &[SignatureRecord], by: &Origin) -> Result<Put<PluginRecord>, StoreError> {
        plugins::put(self, record, signatures, by).await
    }

    async fn plugin(&self, tenant: &TenantId, plugin: &PluginRef) -> Result<Option<PluginRecord>, StoreError> {
        plugins::get(&self.reads, tenant, plugin).await
    }

    async fn plugins(&self, tenant: &TenantId, page: &Page) -> Result<Paged<PluginRecord>, StoreError> {
        plugins::page(self, tenant, page).await
    }

    async fn plugin_versions(&self, tenant: &TenantId, name: &PluginName) -> Result<Vec<PluginRecord>, StoreError> {
        plugins::of_name(self, tenant, name).await
    }

    async fn delete_plugin(&self, tenant: &TenantId, plugin: &PluginRef, by: &Origin) -> Result<Deleted, StoreError> {
        plugins::delete(self, tenant, plugin, by).await
    }

    async fn put_version(
        &self,
        record: VersionRecord,
        stage: PutStage,
        signatures: &[SignatureRecord],
        by: &Origin,
    ) -> Result<Put<VersionRecord>, StoreError> {
        versions::put(self, record, stage, signatures, by).await
    }

    async fn version(&self, tenant: &TenantId, model: &ModelRef) -> Result<Option<VersionRecord>, StoreError> {
        versions::get(&self.reads, tenant, model).await
    }

    async fn versions(&self, tenant: &TenantId, model: &ModelName, filter: &ModelFilter, page: &Page) -> Result<Paged<VersionRecord>, StoreError> {
        versions::page(self, tenant, model, filter, page).await
    }

    async fn model(&self, tenant: &TenantId, name: &ModelName) -> Result<Option<ModelRecord>, StoreError> {
        versions::model(self, tenant, name).await
    }

    async fn models(&self, tenant: &TenantId, filter: &ModelFilter, page: &Page) -> Result<Paged<ModelRecord>, StoreError> {
        versions::models(self, tenant, filter, page).await
    }

    async fn all_versions(&self) -> Result<Vec<VersionRecord>, StoreError> {
        versions::all(self).await
    }

    async fn all_plugins(&self) -> Result<Vec<PluginRecord>, StoreError> {
        plugins::all(self).await
    }

    async fn delete_version(&self, tenant: &TenantId, model: &ModelRef, by: &Origin) -> Result<Deleted, StoreError> {
        versions::delete(self, tenant, model, by).await
    }

    async fn promote(&self, tenant: &TenantId, model: &ModelRef, by: &Origin) -> Result<Option<Promoted>, StoreError> {
        promotions::promote(self, tenant, model, by).await
    }

    async fn rollback(&self, tenant: &TenantId, model: &ModelName, by: &Origin) -> Result<RolledBack, StoreError> {
        promotions::rollback(self, tenant, model, by).await
    }

    async fn before_production(&self, tenant: &TenantId, model: &ModelName) -> Result<Option<Version>, StoreError> {
        promotions::before(self, tenant, model).await
    }

    async fn history(&self, tenant: &TenantId, model: &ModelName, page: &Page) -> Result<Paged<Promotion>, StoreError> {
        promotions::history(self, tenant, model, page).await
    }

    async fn digest_in_use(&self, digest: &Digest) -> Result<bool, StoreError> {
        let used = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM plugins WHERE digest = $1)
                 OR EXISTS (SELECT 1 FROM versions WHERE digest = $1)",
        );
        Ok(used.bind(digest.to_string()).fetch_one(&self.reads).await?)
    }

    async fn put_key(&self, record: KeyRecord, by: &Origin) -> Result<Put<KeyRecord>, StoreError> {
        identity::put_key(self, record, by).await
    }

    async fn keys(&self, tenant: &TenantId, page: &Page) -> Result<Paged<KeyRecord>, StoreError> {
        identity::keys(self, tenant, page).await
    }

    async fn live_keys(&self, tenant: &TenantId, at: i64) -> Result<u64, StoreError> {
        identity::live_keys(self, tenant, at).await
    }

    async fn all_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        identity::all_keys(self).await
    }

    async fn revoke_key(&self, tenant: &TenantId, id: &str, at: i64, by: &Origin) -> Result<Revoked, StoreError> {
        identity::revoke_key(self, tenant, id, at, by).await
    }

    async fn put_tenant(&self, record: TenantRecord, by: &Origin) -> Result<TenantRecord, StoreError> {
        identity::put_tenant(self, record, by).await
    }

    async fn all_tenants(&self) -> Result<Vec<TenantRecord>, StoreError> {
        identity::all_tenants(self).await
    }

    async fn put_root(&self, record: TrustRoot, by: &Origin) -> Result<Put<TrustRoot>, StoreError> {
        trust::put_root(self, record, by).await
    }

    async fn roots(&self, tenant: &TenantId, page: &Page) -> Result<Paged<TrustRoot>, StoreError> {
        trust::roots(self, tenant, page).await
    }

    async fn all_roots(&self) -> Result<Vec<TrustRoot>, StoreError> {
        trust::all_roots(self).await
    }

    async fn revoke_root(&self, tenant: &TenantId, key_id: &str, at: i64, by: &Origin) -> Result<Option<TrustRoot>, StoreError> {
        trust::revoke_root(self, tenant, key_id, at, by).await
    }

    async fn plugin_signatures(&self, tenant: &TenantId, plugin: &PluginRef) -> Result<Vec<SignatureRecord>, StoreError> {
        trust::of_plugin(self, tenant, plugin).await
    }

    async fn version_signatures(&self, tenant: &TenantId, model: &ModelRef) -> Result<Vec<SignatureRecord>, StoreError> {
        trust::of_version(self, tenant, model).await
    }

    async fn put_revocation(&self, record: Revocation, by: &Origin) -> Result<Put<Revocation>, StoreError> {
        trust::put_revocation(self, record, by).await
    }

    async fn revocations(&self, tenant: &TenantId, page: &Page) -> Result<Paged<Revocation>, StoreError> {
        trust::revocations(self, tenant, page).await
    }

    async fn all_revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        trust::all_revocations(self).await
    }

    async fn lift_revocation(&self, tenant: Option<&TenantId>, digest: &Digest, by: &Origin) -> Result<Option<Revocation>, StoreError> {
        trust::lift_revocation(self, tenant, digest, by).await
    }

    async fn known_tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        identity::known_tenants(self).await
    }

    async fn kept(&self, tenant: &TenantId) -> Result<Kept, StoreError> {
        identity::kept(self, tenant).await
    }

    async fn append_audit(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        audit::append(self, entries).await
    }

    async fn audit(&self, filter: &AuditFilter, page: &Page) -> Result<Paged<AuditRecord>, StoreError> {
        audit::page(self, filter, page).await
    }

    async fn retain_audit(&self, before: i64, by: &Origin) -> Result<u64, StoreError> {
        audit::retain(self, before, by).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // A table of ours, so that a file that was swapped or emptied under us is noticed.
        sqlx::query("SELECT 1 FROM models LIMIT 1").fetch_optional(&self.reads).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the promises of durability and of references rest on; a typing error in `open` would not show elsewhere.
    #[tokio::test]
    async fn every_connection_is_set_up() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("registry.db")).await.unwrap();
        for (pool, query_only) in [(&store.writes, 0), (&store.reads, 1)] {
            let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
            assert_eq!(mode, "wal");
            for (pragma, expected) in
                [("PRAGMA synchronous", 2), ("PRAGMA foreign_keys", 1), ("PRAGMA busy_timeout", 10_000), ("PRAGMA query_only", query_only)]
            {
                let value: i64 = sqlx::query_scalar(pragma).fetch_one(pool).await.unwrap();
                assert_eq!(value, expected, "{pragma}");
            }
        }
    }

    /// The tables hold the line even where the code would not.
    #[tokio::test]
    async fn wrong_states_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("registry.db")).await.unwrap();
        let run = async |sql: &'static str| sqlx::query(sql).execute(&store.writes).await.map(drop);
        run("INSERT INTO models VALUES ('t', 'm', 0)").await.unwrap();
        run("INSERT INTO versions VALUES ('t', 'm', '1', '1', 'd', 0, 'onnx', '{}', '{}', 'production', 0)").await.unwrap();
        run("INSERT INTO plugins VALUES ('t', 'p', '1', '1', 'w', 'd', 0, '[]', '{}', 0)").await.unwrap();
        run("INSERT INTO version_plugins VALUES ('t', 'm', '1', 'p', '1')").await.unwrap();
        store.append_audit(vec![crate::audit::tests::entry("one")]).await.unwrap();
        for wrong in [
            "INSERT INTO versions VALUES ('t', 'm', '2', '2', 'd', 0, 'onnx', '{}', '{}', 'production', 0)",
            "INSERT INTO versions VALUES ('t', 'm', '2', '2', 'd', 0, 'onnx', '{}', '{}', 'other', 0)",
            "INSERT INTO versions VALUES ('t', 'x', '1', '1', 'd', 0, 'onnx', '{}', '{}', 'staging', 0)",
            "INSERT INTO version_plugins VALUES ('t', 'm', '1', 'p', '2')",
            "DELETE FROM plugins",
            "DELETE FROM models",
            "UPDATE audit SET actor = 'other'",
            "DELETE FROM audit",
            "DELETE FROM audit WHERE seq = 1",
            "INSERT INTO audit SELECT 9, at, request_id, actor_kind, actor, actor_tenant, action, target_kind, target, target_tenant, result, reason, source, detail, hash, 'h' FROM audit WHERE seq = 1",
            "INSERT INTO audit SELECT 2, at, request_id, actor_kind, actor, actor_tenant, action, target_kind, target, target_tenant, result, reason, source, detail, 'no hash', 'h' FROM audit WHERE seq = 1",
            "INSERT INTO audit_anchors VALUES (1, 'no hash', 0)",
            "INSERT INTO audit_anchors VALUES (7, '', 0)",
        ] {
            assert!(run(wrong).await.is_err(), "{wrong}");
        }
        assert!(sqlx::query("DELETE FROM versions").execute(&store.reads).await.is_err());
        // A row that no release of ours wrote is an error, not a default and not a panic.
        assert!(matches!(store.all_versions().await, Err(StoreError::Corrupt(_))));
    }
}
