//! Which version is in production, which ones were before, and who changed it when.
//!
//! Two tables tell it. `production_stack` is what a rollback returns to, and shrinks when one does or when a version is
//! deleted. `promotions` is what was done, and only grows. The stage of a version follows from the stack: the top is
//! in production, and what was ever on it and is not the top is archived.

use sqlx::sqlite::{Sqlite, SqliteConnection, SqliteRow};
use sqlx::{Executor, Row as _};

use super::audit::{self, Change};
use super::rows::{self, paged, rows_of};
use super::{ModelName, ModelRef, Page, Paged, Promoted, Promotion, RolledBack, SqliteStore, StoreError, TenantId};
use crate::audit::Origin;
use crate::ids::{IdError, Version};
use crate::model::{Action, Stage};
use crate::store::sqlite::versions;

pub(super) async fn promote(store: &SqliteStore, tenant: &TenantId, model: &ModelRef, by: &Origin) -> Result<Option<Promoted>, StoreError> {
    let mut tx = store.write().await?;
    let Some(version) = versions::get(&mut *tx, tenant, model).await? else {
        return Ok(None);
    };
    let to = model.version.clone();
    if version.stage == Stage::Production {
        return Ok(Some(Promoted { changed: false, from: Some(to.clone()), to }));
    }
    let from = in_production(&mut tx, tenant, &model.name).await?;
    put_in_production(&mut tx, tenant, model, from.as_ref()).await?;
    let detail = from.as_ref().map(|from| format!("from {from}"));
    let target = ("version", model.to_string());
    audit::changed(&mut tx, Change { by, action: "model.promote", target, tenant: Some(tenant), detail }).await?;
    tx.commit().await?;
    Ok(Some(Promoted { changed: true, from, to }))
}

/// Puts `model` on the stack; `from` is the version in production until now.
pub(super) async fn put_in_production(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    model: &ModelRef,
    from: Option<&Version>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO production_stack (tenant, model, position, version)
         SELECT $1, $2, coalesce(max(position), 0) + 1, $3 FROM production_stack WHERE tenant = $1 AND model = $2",
    )
    .bind(tenant.as_str())
    .bind(model.name.as_str())
    .bind(model.version.as_str())
    .execute(&mut *tx)
    .await?;
    change(tx, tenant, &model.name, Action::Promote, from, &model.version).await
}

pub(super) async fn rollback(store: &SqliteStore, tenant: &TenantId, model: &ModelName, by: &Origin) -> Result<RolledBack, StoreError> {
    let mut tx = store.write().await?;
    let known = sqlx::query("SELECT 1 FROM models WHERE tenant = $1 AND name = $2")
        .bind(tenant.as_str())
        .bind(model.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    if known.is_none() {
        return Ok(RolledBack::NotFound);
    }
    let Some(from) = in_production(&mut tx, tenant, model).await? else {
        return Ok(RolledBack::Nothing);
    };
    let Some(earlier) = earlier(&mut *tx, tenant, model, &from).await? else {
        return Ok(RolledBack::Nothing);
    };
    let to: Version = rows::parsed(&earlier, "version")?;
    sqlx::query("DELETE FROM production_stack WHERE tenant = $1 AND model = $2 AND position > $3")
        .bind(tenant.as_str())
        .bind(model.as_str())
        .bind(earlier.try_get::<i64, _>("position")?)
        .execute(&mut *tx)
        .await?;
    change(&mut tx, tenant, model, Action::Rollback, Some(&from), &to).await?;
    let target = ("version", format!("{model}@{to}"));
    audit::changed(&mut tx, Change { by, action: "model.rollback", target, tenant: Some(tenant), detail: Some(format!("from {from}")) }).await?;
    tx.commit().await?;
    Ok(RolledBack::Done { from, to })
}

/// What was in production before `from`, with its position.
async fn earlier(
    database: impl Executor<'_, Database = Sqlite>,
    tenant: &TenantId,
    model: &ModelName,
    from: &Version,
) -> Result<Option<SqliteRow>, StoreError> {
    // Not simply the second from the top: after 1, 2, 1 and the deletion of 2, that would be 1 again.
    let earlier = sqlx::query(
        "SELECT position, version FROM production_stack
         WHERE tenant = $1 AND model = $2 AND version <> $3 ORDER BY position DESC LIMIT 1",
    );
    Ok(earlier.bind(tenant.as_str()).bind(model.as_str()).bind(from.as_str()).fetch_optional(database).await?)
}

pub(super) async fn before(store: &SqliteStore, tenant: &TenantId, model: &ModelName) -> Result<Option<Version>, StoreError> {
    let mut tx = store.reads.begin().await?;
    let Some(from) = in_production(&mut tx, tenant, model).await? else { return Ok(None) };
    earlier(&mut *tx, tenant, model, &from).await?.map(|row| rows::parsed(&row, "version")).transpose()
}

async fn in_production(tx: &mut SqliteConnection, tenant: &TenantId, model: &ModelName) -> Result<Option<Version>, StoreError> {
    let row = sqlx::query("SELECT version FROM versions WHERE tenant = $1 AND model = $2 AND stage = 'production'")
        .bind(tenant.as_str())
        .bind(model.as_str())
        .fetch_optional(tx)
        .await?;
    row.map(|row| rows::parsed(&row, "version")).transpose()
}

/// The stages, and the line of history. The old version leaves production before the new one enters: two at a time is
/// a state that the table refuses.
async fn change(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    model: &ModelName,
    action: Action,
    from: Option<&Version>,
    to: &Version,
) -> Result<(), StoreError> {
    for (version, stage) in [(from, Stage::Archived), (Some(to), Stage::Production)] {
        sqlx::query("UPDATE versions SET stage = $4 WHERE tenant = $1 AND model = $2 AND version = $3")
            .bind(tenant.as_str())
            .bind(model.as_str())
            .bind(version.map(Version::as_str))
            .bind(stage.as_str())
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query(
        "INSERT INTO promotions (tenant, model, action, version, from_version, at)
         VALUES ($1, $2, $3, $4, $5, CAST(round(unixepoch('subsec') * 1000) AS INTEGER))",
    )
    .bind(tenant.as_str())
    .bind(model.as_str())
    .bind(action.as_str())
    .bind(to.as_str())
    .bind(from.map(Version::as_str))
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn history(store: &SqliteStore, tenant: &TenantId, model: &ModelName, page: &Page) -> Result<Paged<Promotion>, StoreError> {
    let before = match &page.after {
        None => i64::MAX,
        Some(key) => key.parse().map_err(|_| StoreError::Cursor(IdError::new("the number of a line of the history", key)))?,
    };
    let found = sqlx::query("SELECT * FROM promotions WHERE tenant = $1 AND model = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4")
        .bind(tenant.as_str())
        .bind(model.as_str())
        .bind(before)
        .bind(rows_of(page))
        .fetch_all(&store.reads)
        .await?;
    paged(&found, page, rows::promotion, |line| line.seq.to_string())
}
