//! The audit: rows at its end, and off its old end where a retention says so. Nothing else is written here, and the
//! table's triggers see to it.

use sqlx::sqlite::{Sqlite, SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row as _};

use super::rows::{paged, parsed, rows_of};
use super::{Page, Paged, SqliteStore, StoreError, TenantId};
use crate::audit::{AuditEntry, AuditFilter, AuditRecord, Origin, Outcome, RETAIN, retained};
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
    let found = query(filter, key, rows_of(page).into()).build().fetch_all(&store.reads).await?;
    paged(&found, page, record, |record| record.seq.to_string())
}

/// Only the conditions that there are, and the tenant's two each in a statement of its own: so the database finds rows by an index,
/// in their order, and stops at the last of the page.
fn query(filter: &AuditFilter, key: Option<i64>, rows: i64) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM (");
    match &filter.tenant {
        None => conditions(&mut query, filter, key),
        Some(tenant) => {
            conditions(&mut query, filter, key);
            query.push(" AND actor_tenant = ").push_bind(tenant.as_str().to_owned()).push(" UNION ALL ");
            conditions(&mut query, filter, key);
            query.push(" AND target_tenant = ").push_bind(tenant.as_str().to_owned());
            query.push(" AND actor_tenant IS NOT ").push_bind(tenant.as_str().to_owned());
        }
    }
    query.push(if filter.oldest_first { ") ORDER BY seq LIMIT " } else { ") ORDER BY seq DESC LIMIT " }).push_bind(rows);
    query
}

fn conditions(query: &mut QueryBuilder<Sqlite>, filter: &AuditFilter, key: Option<i64>) {
    query.push(if filter.oldest_first { "SELECT * FROM audit WHERE seq > " } else { "SELECT * FROM audit WHERE seq < " });
    query.push_bind(key.unwrap_or(if filter.oldest_first { 0 } else { i64::MAX }));
    let texts = [
        (" AND request_id = ", filter.request_id.as_deref()),
        (" AND actor = ", filter.actor.as_deref()),
        (" AND action = ", filter.action.as_deref()),
        (" AND result = ", filter.outcome.map(Outcome::as_str)),
    ];
    for (condition, text) in texts {
        if let Some(text) = text {
            query.push(condition).push_bind(text.to_owned());
        }
    }
    // Time by the numbers that its index holds (the plus has the database look there): rows then come in their order. Clocks are set
    // back, so it is asked as well.
    if let Some(since) = filter.since {
        query.push(" AND seq >= (SELECT min(+seq) FROM audit WHERE at >= ").push_bind(since).push(") AND +at >= ").push_bind(since);
    }
    if let Some(until) = filter.until {
        query.push(" AND seq <= (SELECT max(+seq) FROM audit WHERE at < ").push_bind(until).push(") AND +at < ").push_bind(until);
    }
}

/// Rows that go in one transaction. Arbitrary: whoever else writes waits some milliseconds.
const PORTION: i64 = 1000;

/// Says first which rows go, then takes them in portions: others write in between, and wherever it is cut off the chain shows what
/// was meant. The next one goes on with what this leaves.
pub(super) async fn retain(store: &SqliteStore, before: i64, by: &Origin) -> Result<u64, StoreError> {
    announce(store, before, by).await?;
    let mut gone = 0;
    loop {
        let mut tx = store.write().await?;
        let portion = "DELETE FROM audit WHERE seq <= (SELECT max(seq) FROM audit_anchors) AND seq < (SELECT min(seq) FROM audit) + $1";
        let rows = sqlx::query(portion).bind(PORTION).execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        gone += rows;
        if rows == 0 {
            return Ok(gone);
        }
    }
}

async fn announce(store: &SqliteStore, before: i64, by: &Origin) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    // What is taken off is a beginning: a clock that was set back leaves younger rows before older ones, and these stay. The
    // last row stays in any case.
    let anchor = sqlx::query(
        "SELECT seq, hash, (SELECT min(seq) FROM audit) AS first FROM audit
         WHERE seq < coalesce((SELECT seq FROM audit WHERE +at >= $1 ORDER BY seq LIMIT 1), (SELECT max(seq) FROM audit))
             AND seq > coalesce((SELECT max(seq) FROM audit_anchors), 0)
         ORDER BY seq DESC LIMIT 1",
    );
    let Some(anchor) = anchor.bind(before).fetch_optional(&mut *tx).await? else { return Ok(()) };
    let (first, seq, hash): (i64, i64, String) = (anchor.try_get("first")?, anchor.try_get("seq")?, anchor.try_get("hash")?);
    sqlx::query("INSERT INTO audit_anchors (seq, hash, at) VALUES ($1, $2, CAST(round(unixepoch('subsec') * 1000) AS INTEGER))")
        .bind(seq)
        .bind(&hash)
        .execute(&mut *tx)
        .await?;
    let detail = Some(retained(first, seq, &hash));
    changed(&mut tx, Change { by, action: RETAIN, target: ("audit", seq.to_string()), tenant: None, detail }).await?;
    Ok(tx.commit().await?)
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn store() -> (tempfile::TempDir, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("registry.db")).await.unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn each_filter_has_an_index() {
        let (_folder, store) = store().await;
        let all = AuditFilter::default;
        let filters = [
            all(),
            AuditFilter { tenant: Some("acme".parse().unwrap()), ..all() },
            AuditFilter { request_id: Some("r".to_owned()), ..all() },
            AuditFilter { actor: Some("ann".to_owned()), ..all() },
            AuditFilter { action: Some("key.revoke".to_owned()), ..all() },
            AuditFilter { outcome: Some(Outcome::Denied), ..all() },
            AuditFilter { since: Some(1), until: Some(2), ..all() },
        ];
        for filter in filters.into_iter().flat_map(|filter| [filter.clone(), AuditFilter { oldest_first: true, ..filter }]) {
            let sql = query(&filter, None, 100).into_sql();
            let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.as_str())));
            let plan: Vec<String> = plan.fetch_all(&store.reads).await.unwrap().iter().map(|row| row.get("detail")).collect();
            let plan = plan.join("; ");
            assert!(!plan.contains("SCAN audit") && !plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
            assert!(
                plan.contains("USING INDEX")
                    || plan.contains("COVERING INDEX")
                    || filter == AuditFilter { oldest_first: filter.oldest_first, ..all() },
                "{filter:?}: {plan}"
            );
        }
    }

    #[tokio::test]
    async fn a_retention_that_was_cut_off_leaves_a_whole_chain_and_is_finished_later() {
        use crate::audit::ChainCheck;
        use crate::store::Store as _;
        let (_folder, store) = store().await;
        let count = 2 * PORTION + 7;
        let entry = |at| AuditEntry { at, ..crate::audit::tests::entry("/x") };
        append(&store, (1..=count).map(entry).collect()).await.unwrap();
        let walk = async || {
            let (mut check, mut after) = (ChainCheck::default(), None);
            loop {
                let found = page(&store, &AuditFilter { oldest_first: true, ..AuditFilter::default() }, &Page { limit: Page::MAX_LIMIT, after })
                    .await
                    .unwrap();
                found.items.iter().for_each(|row| check.next(row).unwrap());
                after = found.next;
                if after.is_none() {
                    check.end().unwrap();
                    return check.rows();
                }
            }
        };
        // Said, and not begun.
        announce(&store, count, &Origin::host()).await.unwrap();
        assert_eq!(walk().await, count as u64 + 1);
        // One portion.
        sqlx::query("DELETE FROM audit WHERE seq <= $1").bind(PORTION).execute(&store.writes).await.unwrap();
        assert_eq!(walk().await, (count - PORTION) as u64 + 1);
        assert_eq!(store.retain_audit(0, &Origin::host()).await.unwrap(), (count - PORTION) as u64 - 1, "there is nothing new to take");
        assert_eq!(walk().await, 2);
    }
}
