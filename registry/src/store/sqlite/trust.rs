//! Trust roots, signatures, and what was revoked.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::audit::{self, Change};
use super::rows::{paged, parsed, parsed_or_null, rows_of};
use super::{ModelRef, Page, Paged, PluginRef, Put, SqliteStore, StoreError, TenantId};
use crate::audit::Origin;
use crate::ids::{Digest, IdError};
use crate::trust::{Revocation, SignatureRecord, TrustRoot};

// === Roots ===

pub(super) async fn put_root(store: &SqliteStore, record: TrustRoot, by: &Origin) -> Result<Put<TrustRoot>, StoreError> {
    let mut tx = store.write().await?;
    if let Some(there) = find_root(&mut tx, &record.tenant, &record.key_id).await? {
        return Ok(if there.revoked_at.is_none() { Put::Same(there) } else { Put::Conflict(there) });
    }
    sqlx::query("INSERT INTO trust_roots (tenant, key_id, name, public_key, created_by, created_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(record.tenant.as_str())
        .bind(&record.key_id)
        .bind(&record.name)
        .bind(&record.public_key)
        .bind(&record.created_by)
        .bind(record.created_at)
        .bind(record.revoked_at)
        .execute(&mut *tx)
        .await?;
    let (target, detail) = (("trust_root", record.key_id.clone()), Some(record.name.clone()));
    audit::changed(&mut tx, Change { by, action: "trust_root.create", target, tenant: Some(&record.tenant), detail }).await?;
    tx.commit().await?;
    Ok(Put::Created(record))
}

async fn find_root(tx: &mut SqliteConnection, tenant: &TenantId, key_id: &str) -> Result<Option<TrustRoot>, StoreError> {
    let found = sqlx::query("SELECT * FROM trust_roots WHERE tenant = $1 AND key_id = $2").bind(tenant.as_str()).bind(key_id);
    found.fetch_optional(tx).await?.as_ref().map(root).transpose()
}

pub(super) async fn roots(store: &SqliteStore, tenant: &TenantId, page: &Page) -> Result<Paged<TrustRoot>, StoreError> {
    let found = sqlx::query("SELECT * FROM trust_roots WHERE tenant = $1 AND key_id > $2 ORDER BY key_id LIMIT $3")
        .bind(tenant.as_str())
        .bind(page.after.as_deref().unwrap_or_default())
        .bind(rows_of(page))
        .fetch_all(&store.reads)
        .await?;
    paged(&found, page, root, |root| root.key_id.clone())
}

pub(super) async fn all_roots(store: &SqliteStore) -> Result<Vec<TrustRoot>, StoreError> {
    sqlx::query("SELECT * FROM trust_roots ORDER BY tenant, key_id").fetch_all(&store.reads).await?.iter().map(root).collect()
}

pub(super) async fn revoke_root(store: &SqliteStore, tenant: &TenantId, key_id: &str, at: i64, by: &Origin) -> Result<Option<TrustRoot>, StoreError> {
    let mut tx = store.write().await?;
    let Some(mut record) = find_root(&mut tx, tenant, key_id).await?.filter(|root| root.revoked_at.is_none()) else {
        return find_root(&mut tx, tenant, key_id).await;
    };
    let revoked = sqlx::query("UPDATE trust_roots SET revoked_at = $3 WHERE tenant = $1 AND key_id = $2");
    revoked.bind(tenant.as_str()).bind(key_id).bind(at).execute(&mut *tx).await?;
    let (target, detail) = (("trust_root", key_id.to_owned()), Some(record.name.clone()));
    audit::changed(&mut tx, Change { by, action: "trust_root.revoke", target, tenant: Some(tenant), detail }).await?;
    tx.commit().await?;
    record.revoked_at = Some(at);
    Ok(Some(record))
}

fn root(row: &SqliteRow) -> Result<TrustRoot, StoreError> {
    Ok(TrustRoot {
        tenant: parsed(row, "tenant")?,
        key_id: row.try_get("key_id")?,
        name: row.try_get("name")?,
        public_key: row.try_get("public_key")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

// === Signatures ===

/// Adds those by keys that had not signed it; gives the ids of these keys.
pub(super) async fn sign_plugin(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    plugin: &PluginRef,
    signatures: &[SignatureRecord],
) -> Result<Vec<String>, StoreError> {
    let mut added = Vec::new();
    for signature in signatures {
        let inserted = sqlx::query(
            "INSERT INTO plugin_signatures (tenant, plugin, version, key_id, signature, created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        );
        let inserted = inserted.bind(tenant.as_str()).bind(plugin.name.as_str()).bind(plugin.version.as_str());
        let inserted = inserted.bind(&signature.key_id).bind(&signature.signature).bind(signature.created_at).execute(&mut *tx).await?;
        if inserted.rows_affected() == 1 {
            added.push(signature.key_id.clone());
        }
    }
    Ok(added)
}

/// The same of a version.
pub(super) async fn sign_version(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    model: &ModelRef,
    signatures: &[SignatureRecord],
) -> Result<Vec<String>, StoreError> {
    let mut added = Vec::new();
    for signature in signatures {
        let inserted = sqlx::query(
            "INSERT INTO version_signatures (tenant, model, version, key_id, signature, manifest, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        );
        let inserted = inserted.bind(tenant.as_str()).bind(model.name.as_str()).bind(model.version.as_str());
        let inserted = inserted.bind(&signature.key_id).bind(&signature.signature).bind(signature.manifest.map(|digest| digest.to_string()));
        if inserted.bind(signature.created_at).execute(&mut *tx).await?.rows_affected() == 1 {
            added.push(signature.key_id.clone());
        }
    }
    Ok(added)
}

/// For a row of the audit.
pub(super) fn signed_by(keys: &[String]) -> String {
    if keys.is_empty() { String::new() } else { format!(", signed by {}", keys.join(" and ")) }
}

pub(super) async fn of_plugin(store: &SqliteStore, tenant: &TenantId, plugin: &PluginRef) -> Result<Vec<SignatureRecord>, StoreError> {
    let found = sqlx::query(
        "SELECT key_id, signature, NULL AS manifest, created_at FROM plugin_signatures WHERE tenant = $1 AND plugin = $2 AND version = $3 ORDER BY key_id",
    );
    let found = found.bind(tenant.as_str()).bind(plugin.name.as_str()).bind(plugin.version.as_str()).fetch_all(&store.reads).await?;
    found.iter().map(signature).collect()
}

pub(super) async fn of_version(store: &SqliteStore, tenant: &TenantId, model: &ModelRef) -> Result<Vec<SignatureRecord>, StoreError> {
    let found = sqlx::query("SELECT * FROM version_signatures WHERE tenant = $1 AND model = $2 AND version = $3 ORDER BY key_id");
    let found = found.bind(tenant.as_str()).bind(model.name.as_str()).bind(model.version.as_str()).fetch_all(&store.reads).await?;
    found.iter().map(signature).collect()
}

fn signature(row: &SqliteRow) -> Result<SignatureRecord, StoreError> {
    Ok(SignatureRecord {
        key_id: row.try_get("key_id")?,
        signature: row.try_get("signature")?,
        manifest: parsed_or_null(row, "manifest")?,
        created_at: row.try_get("created_at")?,
    })
}

// === Revocations ===

pub(super) async fn put_revocation(store: &SqliteStore, mut record: Revocation, by: &Origin) -> Result<Put<Revocation>, StoreError> {
    let mut tx = store.write().await?;
    if let Some(there) = find_revocation(&mut tx, record.tenant.as_ref(), &record.digest).await? {
        return Ok(Put::Same(there));
    }
    record.seq =
        sqlx::query_scalar("INSERT INTO revocations (digest, tenant, reason, created_by, created_at) VALUES ($1, $2, $3, $4, $5) RETURNING seq")
            .bind(record.digest.to_string())
            .bind(record.tenant.as_ref().map(TenantId::as_str))
            .bind(&record.reason)
            .bind(&record.created_by)
            .bind(record.created_at)
            .fetch_one(&mut *tx)
            .await?;
    let detail = Some(format!("{}{}", whose(record.tenant.as_ref()), record.reason));
    let target = ("digest", record.digest.to_string());
    audit::changed(&mut tx, Change { by, action: "digest.revoke", target, tenant: record.tenant.as_ref(), detail }).await?;
    tx.commit().await?;
    Ok(Put::Created(record))
}

pub(super) async fn lift_revocation(
    store: &SqliteStore,
    tenant: Option<&TenantId>,
    digest: &Digest,
    by: &Origin,
) -> Result<Option<Revocation>, StoreError> {
    let mut tx = store.write().await?;
    let Some(record) = find_revocation(&mut tx, tenant, digest).await? else { return Ok(None) };
    sqlx::query("DELETE FROM revocations WHERE seq = $1").bind(record.seq).execute(&mut *tx).await?;
    let detail = Some(format!("{}{}", whose(tenant), record.reason));
    audit::changed(&mut tx, Change { by, action: "digest.restore", target: ("digest", digest.to_string()), tenant, detail }).await?;
    tx.commit().await?;
    Ok(Some(record))
}

fn whose(tenant: Option<&TenantId>) -> &'static str {
    if tenant.is_none() { "of all tenants: " } else { "" }
}

async fn find_revocation(tx: &mut SqliteConnection, tenant: Option<&TenantId>, digest: &Digest) -> Result<Option<Revocation>, StoreError> {
    let found = sqlx::query("SELECT * FROM revocations WHERE digest = $1 AND tenant IS $2");
    let found = found.bind(digest.to_string()).bind(tenant.map(TenantId::as_str)).fetch_optional(tx).await?;
    found.as_ref().map(revocation).transpose()
}

pub(super) async fn revocations(store: &SqliteStore, tenant: &TenantId, page: &Page) -> Result<Paged<Revocation>, StoreError> {
    let before = match &page.after {
        None => i64::MAX,
        Some(key) => key.parse().map_err(|_| StoreError::Cursor(IdError::new("the number of a revocation", key)))?,
    };
    let found = sqlx::query("SELECT * FROM revocations WHERE (tenant = $1 OR tenant IS NULL) AND seq < $2 ORDER BY seq DESC LIMIT $3")
        .bind(tenant.as_str())
        .bind(before)
        .bind(rows_of(page))
        .fetch_all(&store.reads)
        .await?;
    paged(&found, page, revocation, |revocation| revocation.seq.to_string())
}

pub(super) async fn all_revocations(store: &SqliteStore) -> Result<Vec<Revocation>, StoreError> {
    sqlx::query("SELECT * FROM revocations ORDER BY seq").fetch_all(&store.reads).await?.iter().map(revocation).collect()
}

fn revocation(row: &SqliteRow) -> Result<Revocation, StoreError> {
    Ok(Revocation {
        seq: row.try_get("seq")?,
        digest: parsed(row, "digest")?,
        tenant: parsed_or_null(row, "tenant")?,
        reason: row.try_get("reason")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
    })
}
