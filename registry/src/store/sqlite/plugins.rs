//! Plugins: put once, never changed, deleted only when no version names them.

use sqlx::Executor;
use sqlx::sqlite::Sqlite;

use super::audit::{self, Change};
use super::rows::{self, after, paged, rows_of, signed};
use super::{Deleted, Page, Paged, PluginName, PluginRecord, PluginRef, Put, SqliteStore, StoreError, TenantId, trust};
use crate::audit::Origin;
use crate::trust::SignatureRecord;

pub(super) async fn put(
    store: &SqliteStore,
    record: PluginRecord,
    signatures: &[SignatureRecord],
    by: &Origin,
) -> Result<Put<PluginRecord>, StoreError> {
    let mut tx = store.write().await?;
    if let Some(stored) = get(&mut *tx, &record.tenant, &record.plugin).await? {
        if stored.digest != record.digest {
            return Ok(Put::Conflict(stored));
        }
        let added = trust::sign_plugin(&mut tx, &record.tenant, &record.plugin, signatures).await?;
        if !added.is_empty() {
            let (target, detail) = (("plugin", record.plugin.to_string()), Some(added.join(", ")));
            audit::changed(&mut tx, Change { by, action: "plugin.sign", target, tenant: Some(&record.tenant), detail }).await?;
            tx.commit().await?;
        }
        return Ok(Put::Same(stored));
    }
    sqlx::query(
        "INSERT INTO plugins
             (tenant, name, version, version_key, world, digest, size, imports, description, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(record.tenant.as_str())
    .bind(record.plugin.name.as_str())
    .bind(record.plugin.version.as_str())
    .bind(record.plugin.version.sort_key())
    .bind(&record.world)
    .bind(record.digest.to_string())
    .bind(signed(record.size))
    .bind(serde_json::Value::from(record.imports.clone()).to_string())
    .bind(record.description.to_string())
    .bind(record.created_at)
    .execute(&mut *tx)
    .await?;
    let added = trust::sign_plugin(&mut tx, &record.tenant, &record.plugin, signatures).await?;
    let target = ("plugin", record.plugin.to_string());
    let detail = Some(format!("{}{}", record.digest, trust::signed_by(&added)));
    audit::changed(&mut tx, Change { by, action: "plugin.create", target, tenant: Some(&record.tenant), detail }).await?;
    tx.commit().await?;
    Ok(Put::Created(record))
}

pub(super) async fn get(
    database: impl Executor<'_, Database = Sqlite>,
    tenant: &TenantId,
    plugin: &PluginRef,
) -> Result<Option<PluginRecord>, StoreError> {
    let row = sqlx::query("SELECT * FROM plugins WHERE tenant = $1 AND name = $2 AND version = $3")
        .bind(tenant.as_str())
        .bind(plugin.name.as_str())
        .bind(plugin.version.as_str())
        .fetch_optional(database)
        .await?;
    row.as_ref().map(rows::plugin).transpose()
}

pub(super) async fn page(store: &SqliteStore, tenant: &TenantId, page: &Page) -> Result<Paged<PluginRecord>, StoreError> {
    // Without a key in front: the empty text stands before every name.
    let (name, key) = match after::<PluginRef>(page)? {
        Some(last) => (last.name.to_string(), last.version.sort_key()),
        None => Default::default(),
    };
    let found = sqlx::query(
        "SELECT * FROM plugins WHERE tenant = $1 AND (name, version_key) > ($2, $3)
         ORDER BY name, version_key LIMIT $4",
    )
    .bind(tenant.as_str())
    .bind(name)
    .bind(key)
    .bind(rows_of(page))
    .fetch_all(&store.reads)
    .await?;
    paged(&found, page, rows::plugin, |plugin| plugin.plugin.to_string())
}

pub(super) async fn of_name(store: &SqliteStore, tenant: &TenantId, name: &PluginName) -> Result<Vec<PluginRecord>, StoreError> {
    let found = sqlx::query("SELECT * FROM plugins WHERE tenant = $1 AND name = $2 ORDER BY version_key")
        .bind(tenant.as_str())
        .bind(name.as_str())
        .fetch_all(&store.reads)
        .await?;
    found.iter().map(rows::plugin).collect()
}

pub(super) async fn all(store: &SqliteStore) -> Result<Vec<PluginRecord>, StoreError> {
    let found = sqlx::query("SELECT * FROM plugins ORDER BY tenant, name, version_key");
    found.fetch_all(&store.reads).await?.iter().map(rows::plugin).collect()
}

pub(super) async fn delete(store: &SqliteStore, tenant: &TenantId, plugin: &PluginRef, by: &Origin) -> Result<Deleted, StoreError> {
    let mut tx = store.write().await?;
    let users = sqlx::query(
        "SELECT u.model, u.version FROM version_plugins u JOIN versions v USING (tenant, model, version)
         WHERE u.tenant = $1 AND u.plugin = $2 AND u.plugin_version = $3 ORDER BY u.model, v.version_key",
    )
    .bind(tenant.as_str())
    .bind(plugin.name.as_str())
    .bind(plugin.version.as_str())
    .fetch_all(&mut *tx)
    .await?;
    if !users.is_empty() {
        return Ok(Deleted::InUse(rows::users(&users)?));
    }
    let deleted = sqlx::query("DELETE FROM plugins WHERE tenant = $1 AND name = $2 AND version = $3")
        .bind(tenant.as_str())
        .bind(plugin.name.as_str())
        .bind(plugin.version.as_str())
        .execute(&mut *tx)
        .await?;
    if deleted.rows_affected() == 0 {
        return Ok(Deleted::NotFound);
    }
    let target = ("plugin", plugin.to_string());
    audit::changed(&mut tx, Change { by, action: "plugin.delete", target, tenant: Some(tenant), detail: None }).await?;
    tx.commit().await?;
    Ok(Deleted::Done)
}
