//! Keys and tenants.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::audit::{self, Change};
use super::rows::{paged, parsed, rows_of, unsigned};
use super::{Page, Paged, Put, SqliteStore, StoreError, TenantId};
use crate::audit::Origin;
use crate::identity::{Kept, KeyRecord, Revoked, TenantRecord};

pub(super) async fn put_key(store: &SqliteStore, record: KeyRecord, by: &Origin) -> Result<Put<KeyRecord>, StoreError> {
    let mut tx = store.write().await?;
    if let Some(there) = find_key(&mut tx, &record.tenant, &record.id).await? {
        return Ok(if there == record { Put::Same(there) } else { Put::Conflict(there) });
    }
    sqlx::query(
        "INSERT INTO api_keys (id, tenant, name, hash, scopes, across, created_by, created_at, expires_at, revoked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(&record.id)
    .bind(record.tenant.as_str())
    .bind(&record.name)
    .bind(&record.hash)
    .bind(&record.scopes)
    .bind(&record.across)
    .bind(&record.created_by)
    .bind(record.created_at)
    .bind(record.expires_at)
    .bind(record.revoked_at)
    .execute(&mut *tx)
    .await?;
    // What it may stands before what somebody has called it.
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let expires = record.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let (scopes, across) = (or_none(&record.scopes), or_none(&record.across));
    let detail = Some(format!("scopes: {scopes}; in other tenants: {across}; expires: {expires}; name: {}", record.name));
    audit::changed(&mut tx, Change { by, action: "key.create", target: ("key", record.id.clone()), tenant: Some(&record.tenant), detail }).await?;
    tx.commit().await?;
    Ok(Put::Created(record))
}

async fn find_key(tx: &mut SqliteConnection, tenant: &TenantId, id: &str) -> Result<Option<KeyRecord>, StoreError> {
    let row = sqlx::query("SELECT * FROM api_keys WHERE tenant = $1 AND id = $2").bind(tenant.as_str()).bind(id).fetch_optional(tx).await?;
    row.as_ref().map(key).transpose()
}

pub(super) async fn keys(store: &SqliteStore, tenant: &TenantId, page: &Page) -> Result<Paged<KeyRecord>, StoreError> {
    let found = sqlx::query("SELECT * FROM api_keys WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3")
        .bind(tenant.as_str())
        .bind(page.after.as_deref().unwrap_or_default())
        .bind(rows_of(page))
        .fetch_all(&store.reads)
        .await?;
    paged(&found, page, key, |key| key.id.clone())
}

pub(super) async fn live_keys(store: &SqliteStore, tenant: &TenantId, at: i64) -> Result<u64, StoreError> {
    let count = "SELECT count(*) FROM api_keys WHERE tenant = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
    let count: i64 = sqlx::query_scalar(count).bind(tenant.as_str()).bind(at).fetch_one(&store.reads).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

pub(super) async fn all_keys(store: &SqliteStore) -> Result<Vec<KeyRecord>, StoreError> {
    sqlx::query("SELECT * FROM api_keys ORDER BY id").fetch_all(&store.reads).await?.iter().map(key).collect()
}

pub(super) async fn revoke_key(store: &SqliteStore, tenant: &TenantId, id: &str, at: i64, by: &Origin) -> Result<Revoked, StoreError> {
    let mut tx = store.write().await?;
    let Some(mut record) = find_key(&mut tx, tenant, id).await? else { return Ok(Revoked::NotFound) };
    if record.revoked_at.is_some() {
        return Ok(Revoked::Done(record));
    }
    sqlx::query("UPDATE api_keys SET revoked_at = $2 WHERE id = $1").bind(id).bind(at).execute(&mut *tx).await?;
    let change = Change { by, action: "key.revoke", target: ("key", id.to_owned()), tenant: Some(tenant), detail: Some(record.name.clone()) };
    audit::changed(&mut tx, change).await?;
    tx.commit().await?;
    record.revoked_at = Some(at);
    Ok(Revoked::Done(record))
}

pub(super) async fn put_tenant(store: &SqliteStore, mut record: TenantRecord, by: &Origin) -> Result<TenantRecord, StoreError> {
    let mut tx = store.write().await?;
    let quotas = serde_json::to_string(&record.quotas).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    record.created_at = sqlx::query_scalar(
        "INSERT INTO tenants (tenant, trusted, disabled, quotas, created_at, updated_at, require_signatures) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant) DO UPDATE SET trusted = $2, disabled = $3, quotas = $4, updated_at = $6, require_signatures = $7
         RETURNING created_at",
    )
    .bind(record.tenant.as_str())
    .bind(record.trusted)
    .bind(record.disabled)
    .bind(&quotas)
    .bind(record.created_at)
    .bind(record.updated_at)
    .bind(record.require_signatures)
    .fetch_one(&mut *tx)
    .await?;
    let TenantRecord { trusted, disabled, require_signatures, .. } = record;
    let detail = Some(format!("trusted {trusted}, disabled {disabled}, require_signatures {require_signatures}, quotas {quotas}"));
    let target = ("tenant", record.tenant.to_string());
    audit::changed(&mut tx, Change { by, action: "tenant.update", target, tenant: Some(&record.tenant), detail }).await?;
    tx.commit().await?;
    Ok(record)
}

pub(super) async fn all_tenants(store: &SqliteStore) -> Result<Vec<TenantRecord>, StoreError> {
    sqlx::query("SELECT * FROM tenants ORDER BY tenant").fetch_all(&store.reads).await?.iter().map(tenant).collect()
}

pub(super) async fn known_tenants(store: &SqliteStore) -> Result<Vec<TenantId>, StoreError> {
    let found = sqlx::query(
        "SELECT tenant FROM tenants UNION SELECT tenant FROM api_keys UNION SELECT tenant FROM models UNION SELECT tenant FROM plugins
             UNION SELECT tenant FROM trust_roots ORDER BY tenant",
    );
    found.fetch_all(&store.reads).await?.iter().map(|row| parsed(row, "tenant")).collect()
}

pub(super) async fn kept(store: &SqliteStore, tenant: &TenantId) -> Result<Kept, StoreError> {
    let row = sqlx::query(
        "SELECT (SELECT coalesce(sum(size), 0) FROM versions WHERE tenant = $1) + (SELECT coalesce(sum(size), 0) FROM plugins WHERE tenant = $1) AS bytes,
             (SELECT count(*) FROM versions WHERE tenant = $1) AS versions",
    );
    let row = row.bind(tenant.as_str()).fetch_one(&store.reads).await?;
    Ok(Kept { bytes: unsigned(&row, "bytes")?, versions: unsigned(&row, "versions")? })
}

fn key(row: &SqliteRow) -> Result<KeyRecord, StoreError> {
    Ok(KeyRecord {
        id: row.try_get("id")?,
        tenant: parsed(row, "tenant")?,
        name: row.try_get("name")?,
        hash: row.try_get("hash")?,
        scopes: row.try_get("scopes")?,
        across: row.try_get("across")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

fn tenant(row: &SqliteRow) -> Result<TenantRecord, StoreError> {
    Ok(TenantRecord {
        tenant: parsed(row, "tenant")?,
        trusted: row.try_get("trusted")?,
        disabled: row.try_get("disabled")?,
        require_signatures: row.try_get("require_signatures")?,
        quotas: super::rows::json(row, "quotas")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
