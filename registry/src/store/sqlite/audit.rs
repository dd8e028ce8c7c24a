//! The audit: rows at its end, and off its old end where a retention says so. Nothing else is written here, and the
//! table's triggers see to it.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::rows::{paged, parsed, rows_of};
use super::{Page, Paged, SqliteStore, StoreError, TenantId};
use crate::audit::{AuditEntry, AuditFilter, AuditRecord, Origin, Outcome};
use crate::ids::IdError;

/// A change that was made, in the transaction that makes it.
pub(super) struct Change<'a> {
    pub(super) by: &'a Origin,
    pub(super) action: &'static str,
    pub(super) target: (&'static str, String),
    pub(super) tenant: Option<&'a TenantId>,
    pub(super) detail: Option<String>,
}

/// Writes a change down.
pub(super) async fn changed(tx: &mut SqliteConnection, change: Change<'_>) -> Result<(), StoreError> {
    let Change { by, action, target: (target_kind, target), tenant, detail } = change;
    let entry = AuditEntry {
        at: now(tx).await?,
        by: by.clone(),
        action: action.to_owned(),
        target_kind: target_kind.to_owned(),
        target,
        target_tenant: tenant.cloned(),
        outcome: Outcome::Allowed,
        reason: None,
        detail,
    };
    let last = last(tx).await?;
    insert(tx, AuditRecord::chained(entry, last)).await.map(drop)
}

/// By the database's clock, as in the history of promotions.
async fn now(tx: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)").fetch_one(tx).await?)
}

pub(super) async fn append(store: &SqliteStore, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    let mut last = last(&mut tx).await?;
    for entry in entries {
        last = Some(insert(&mut tx, AuditRecord::chained(entry, last)).await?);
    }
    tx.commit().await?;
    Ok(())
}

/// Number and hash of the row that the next one follows.
async fn last(tx: &mut SqliteConnection) -> Result<Option<(i64, String)>, StoreError> {
    let row = sqlx::query("SELECT seq, hash FROM audit UNION ALL SELECT seq, hash FROM audit_anchors ORDER BY seq DESC LIMIT 1");
    let row = row.fetch_optional(tx).await?;
    row.map(|row| Ok((row.try_get("seq")?, row.try_get("hash")?))).transpose()
}

async fn insert(tx: &mut SqliteConnection, record: AuditRecord) -> Result<(i64, String), StoreError> {
    sqlx::query(
        "INSERT INTO audit
             (seq, at, request_id, actor_kind, actor, actor_tenant, action, target_kind, target, target_tenant, result, reason, source, detail, prev_hash, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(record.seq)
    .bind(record.at)
    .bind(record.request_id)
    .bind(record.actor_kind.as_str())
    .bind(record.actor)
    .bind(record.actor_tenant)
    .bind(record.action)
    .bind(record.target_kind)
    .bind(record.target)
    .bind(record.target_tenant)
    .bind(record.result.as_str())
    .bind(record.reason)
    .bind(record.source)
    .bind(record.detail)
    .bind(record.prev_hash)
    .bind(&record.hash)
    .execute(tx)
    .await?;
    Ok((record.seq, record.hash))
}

pub(super) async fn page(store: &SqliteStore, filter: &AuditFilter, page: &Page) -> Result<Paged<AuditRecord>, StoreError> {
    let key =
        page.after.as_deref().map(|key| key.parse::<i64>().map_err(|_| StoreError::Cursor(IdError::new("the number of a row of the audit", key))));
    let key = key.transpose()?;
    // Two statements and not one with an order that is bound: the database could use no index for it.
    let sql = if filter.oldest_first {
        "SELECT * FROM audit WHERE seq > $1
             AND ($2 IS NULL OR actor_tenant = $2 OR target_tenant = $2)
             AND ($3 IS NULL OR request_id = $3) AND ($4 IS NULL OR actor = $4) AND ($5 IS NULL OR action = $5)
             AND ($6 IS NULL OR result = $6) AND ($7 IS NULL OR at >= $7) AND ($8 IS NULL OR at < $8)
         ORDER BY seq LIMIT $9"
    } else {
        "SELECT * FROM audit WHERE seq < $1
             AND ($2 IS NULL OR actor_tenant = $2 OR target_tenant = $2)
             AND ($3 IS NULL OR request_id = $3) AND ($4 IS NULL OR actor = $4) AND ($5 IS NULL OR action = $5)
             AND ($6 IS NULL OR result = $6) AND ($7 IS NULL OR at >= $7) AND ($8 IS NULL OR at < $8)
         ORDER BY seq DESC LIMIT $9"
    };
    let found = sqlx::query(sql)
        .bind(key.unwrap_or(if filter.oldest_first { 0 } else { i64::MAX }))
        .bind(filter.tenant.as_ref().map(TenantId::as_str))
        .bind(filter.request_id.as_deref())
        .bind(filter.actor.as_deref())
        .bind(filter.action.as_deref())
        .bind(filter.outcome.map(Outcome::as_str))
        .bind(filter.since)
        .bind(filter.until)
        .bind(rows_of(page))
        .fetch_all(&store.reads)
        .await?;
    paged(&found, page, record, |record| record.seq.to_string())
}

pub(super) async fn retain(store: &SqliteStore, before: i64, by: &Origin) -> Result<u64, StoreError> {
    let mut tx = store.write().await?;
    // What is taken off is a beginning: a clock that was set back leaves younger rows before older ones, and these stay. The
    // last row stays in any case.
    let anchor = sqlx::query(
        "SELECT seq, hash FROM audit
         WHERE seq < coalesce((SELECT min(seq) FROM audit WHERE at >= $1), (SELECT max(seq) FROM audit))
         ORDER BY seq DESC LIMIT 1",
    );
    let Some(anchor) = anchor.bind(before).fetch_optional(&mut *tx).await? else { return Ok(0) };
    let seq: i64 = anchor.try_get("seq")?;
    sqlx::query("INSERT INTO audit_anchors (seq, hash, at) VALUES ($1, $2, CAST(round(unixepoch('subsec') * 1000) AS INTEGER))")
        .bind(seq)
        .bind(anchor.try_get::<&str, _>("hash")?)
        .execute(&mut *tx)
        .await?;
    let gone = sqlx::query("DELETE FROM audit WHERE seq <= $1").bind(seq).execute(&mut *tx).await?.rows_affected();
    let detail = Some(format!("{gone} rows up to {seq}"));
    changed(&mut tx, Change { by, action: "audit.retain", target: ("audit", seq.to_string()), tenant: None, detail }).await?;
    tx.commit().await?;
    Ok(gone)
}

fn record(row: &SqliteRow) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        seq: row.try_get("seq")?,
        at: row.try_get("at")?,
        request_id: row.try_get("request_id")?,
        actor_kind: parsed(row, "actor_kind")?,
        actor: row.try_get("actor")?,
        actor_tenant: row.try_get("actor_tenant")?,
        action: row.try_get("action")?,
        target_kind: row.try_get("target_kind")?,
        target: row.try_get("target")?,
        target_tenant: row.try_get("target_tenant")?,
        result: parsed(row, "result")?,
        reason: row.try_get("reason")?,
        source: row.try_get("source")?,
        detail: row.try_get("detail")?,
        prev_hash: row.try_get("prev_hash")?,
        hash: row.try_get("hash")?,
    })
}
