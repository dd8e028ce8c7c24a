//! Versions, and the models that they make.

use sqlx::Executor;
use sqlx::sqlite::{Sqlite, SqliteConnection};

use super::audit::{self, Change};
use super::rows::{self, after, paged, rows_of, signed};
use super::{
    Deleted, ModelFilter, ModelName, ModelRecord, ModelRef, Page, Paged, Put, PutStage, SqliteStore, StoreError, TenantId, VersionRecord, plugins,
    promotions, trust,
};
use crate::audit::Origin;
use crate::ids::Version;
use crate::model::Stage;
use crate::trust::SignatureRecord;

pub(super) async fn put(
    store: &SqliteStore,
    mut record: VersionRecord,
    stage: PutStage,
    signatures: &[SignatureRecord],
    by: &Origin,
) -> Result<Put<VersionRecord>, StoreError> {
    let mut tx = store.write().await?;
    if let Some(stored) = get(&mut *tx, &record.tenant, &record.model).await? {
        if stored.digest != record.digest || stored.manifest != record.manifest {
            return Ok(Put::Conflict(stored));
        }
        let added = trust::sign_version(&mut tx, &record.tenant, &record.model, signatures).await?;
        if !added.is_empty() {
            let (target, detail) = (("version", record.model.to_string()), Some(added.join(", ")));
            audit::changed(&mut tx, Change { by, action: "version.sign", target, tenant: Some(&record.tenant), detail }).await?;
            tx.commit().await?;
        }
        return Ok(Put::Same(stored));
    }
    for plugin in record.manifest.plugins() {
        if plugins::get(&mut *tx, &record.tenant, plugin).await?.is_none() {
            return Err(StoreError::MissingPlugin(plugin.clone()));
        }
    }
    for graph in record.manifest.graphs() {
        if get(&mut *tx, &record.tenant, graph).await?.is_none() {
            return Err(StoreError::MissingGraph(graph.clone()));
        }
    }
    let new_model = sqlx::query("INSERT INTO models (tenant, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(record.tenant.as_str())
        .bind(record.model.name.as_str())
        .bind(record.created_at)
        .execute(&mut *tx)
        .await?
        .rows_affected()
        == 1;
    record.stage = Stage::Staging;
    insert(&mut tx, &record).await?;
    if new_model && stage == PutStage::Auto {
        promotions::put_in_production(&mut tx, &record.tenant, &record.model, None).await?;
        record.stage = Stage::Production;
    }
    let added = trust::sign_version(&mut tx, &record.tenant, &record.model, signatures).await?;
    let target = ("version", record.model.to_string());
    let detail = Some(format!("{}{}, {}", record.digest, trust::signed_by(&added), record.stage));
    audit::changed(&mut tx, Change { by, action: "version.create", target, tenant: Some(&record.tenant), detail }).await?;
    tx.commit().await?;
    Ok(Put::Created(record))
}

async fn insert(tx: &mut SqliteConnection, record: &VersionRecord) -> Result<(), StoreError> {
    let VersionRecord { tenant, model, manifest, .. } = record;
    sqlx::query(
        "INSERT INTO versions
             (tenant, model, version, version_key, digest, size, runtime, manifest, signature, stage, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(tenant.as_str())
    .bind(model.name.as_str())
    .bind(model.version.as_str())
    .bind(model.version.sort_key())
    .bind(record.digest.to_string())
    .bind(signed(record.size))
    .bind(manifest.runtime.as_str())
    .bind(manifest.to_json())
    .bind(record.signature.to_string())
    .bind(record.stage.as_str())
    .bind(record.created_at)
    .execute(&mut *tx)
    .await?;
    for (key, value) in &manifest.tags {
        sqlx::query("INSERT INTO version_tags (tenant, model, version, key, value) VALUES ($1, $2, $3, $4, $5)")
            .bind(tenant.as_str())
            .bind(model.name.as_str())
            .bind(model.version.as_str())
            .bind(key)
            .bind(value)
            .execute(&mut *tx)
            .await?;
    }
    for plugin in manifest.plugins() {
        sqlx::query(
            "INSERT INTO version_plugins (tenant, model, version, plugin, plugin_version)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(model.name.as_str())
        .bind(model.version.as_str())
        .bind(plugin.name.as_str())
        .bind(plugin.version.as_str())
        .execute(&mut *tx)
        .await?;
    }
    for graph in manifest.graphs() {
        sqlx::query(
            "INSERT INTO version_graphs (tenant, model, version, graph, graph_version)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(model.name.as_str())
        .bind(model.version.as_str())
        .bind(graph.name.as_str())
        .bind(graph.version.as_str())
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

pub(super) async fn get(
    database: impl Executor<'_, Database = Sqlite>,
    tenant: &TenantId,
    model: &ModelRef,
) -> Result<Option<VersionRecord>, StoreError> {
    let row = sqlx::query("SELECT * FROM versions WHERE tenant = $1 AND model = $2 AND version = $3")
        .bind(tenant.as_str())
        .bind(model.name.as_str())
        .bind(model.version.as_str())
        .fetch_optional(database)
        .await?;
    row.as_ref().map(rows::version).transpose()
}

pub(super) async fn page(
    store: &SqliteStore,
    tenant: &TenantId,
    model: &ModelName,
    filter: &ModelFilter,
    page: &Page,
) -> Result<Paged<VersionRecord>, StoreError> {
    // Without a key in front: the empty text stands before every key.
    let key = after::<Version>(page)?.map(|version| version.sort_key()).unwrap_or_default();
    let (tag_key, tag_value) = filter.tag.as_ref().map(|(key, value)| (key.as_str(), value.as_str())).unzip();
    let found = sqlx::query(
        "SELECT * FROM versions v WHERE tenant = $1 AND model = $2 AND version_key > $3
             AND ($4 IS NULL OR runtime = $4)
             AND ($5 IS NULL OR stage = $5)
             AND ($6 IS NULL OR EXISTS (
                 SELECT 1 FROM version_tags t
                 WHERE t.tenant = v.tenant AND t.model = v.model AND t.version = v.version
                     AND t.key = $6 AND t.value = $7))
         ORDER BY version_key LIMIT $8",
    )
    .bind(tenant.as_str())
    .bind(model.as_str())
    .bind(key)
    .bind(filter.runtime.map(|runtime| runtime.as_str()))
    .bind(filter.stage.map(|stage| stage.as_str()))
    .bind(tag_key)
    .bind(tag_value)
    .bind(rows_of(page))
    .fetch_all(&store.reads)
    .await?;
    paged(&found, page, rows::version, |version| version.model.version.to_string())
}

pub(super) async fn all(store: &SqliteStore) -> Result<Vec<VersionRecord>, StoreError> {
    let found = sqlx::query("SELECT * FROM versions ORDER BY tenant, model, version_key");
    found.fetch_all(&store.reads).await?.iter().map(rows::version).collect()
}

/// A model's row with what its versions say about it; a condition and an order follow.
macro_rules! select_models {
    ($rest:literal) => {
        concat!(
            "SELECT m.*,
                 (SELECT version FROM versions v
                  WHERE v.tenant = m.tenant AND v.model = m.name AND v.stage = 'production') AS production,
                 (SELECT version FROM versions v
                  WHERE v.tenant = m.tenant AND v.model = m.name ORDER BY version_key DESC LIMIT 1) AS latest,
                 (SELECT count(*) FROM versions v
                  WHERE v.tenant = m.tenant AND v.model = m.name) AS versions
             FROM models m WHERE m.tenant = $1 AND ",
            $rest
        )
    };
}

pub(super) async fn model(store: &SqliteStore, tenant: &TenantId, name: &ModelName) -> Result<Option<ModelRecord>, StoreError> {
    let row = sqlx::query(select_models!("m.name = $2")).bind(tenant.as_str()).bind(name.as_str()).fetch_optional(&store.reads).await?;
    row.as_ref().map(rows::model).transpose()
}

pub(super) async fn models(store: &SqliteStore, tenant: &TenantId, filter: &ModelFilter, page: &Page) -> Result<Paged<ModelRecord>, StoreError> {
    let name = after::<ModelName>(page)?.map(|name| name.to_string()).unwrap_or_default();
    let (tag_key, tag_value) = filter.tag.as_ref().map(|(key, value)| (key.as_str(), value.as_str())).unzip();
    // All of the filter on one and the same version.
    let found = sqlx::query(select_models!(
        "m.name > $2 AND EXISTS (
             SELECT 1 FROM versions v WHERE v.tenant = m.tenant AND v.model = m.name
                 AND ($3 IS NULL OR v.runtime = $3)
                 AND ($4 IS NULL OR v.stage = $4)
                 AND ($5 IS NULL OR EXISTS (
                     SELECT 1 FROM version_tags t
                     WHERE t.tenant = v.tenant AND t.model = v.model AND t.version = v.version
                         AND t.key = $5 AND t.value = $6)))
         ORDER BY m.name LIMIT $7"
    ))
    .bind(tenant.as_str())
    .bind(name)
    .bind(filter.runtime.map(|runtime| runtime.as_str()))
    .bind(filter.stage.map(|stage| stage.as_str()))
    .bind(tag_key)
    .bind(tag_value)
    .bind(rows_of(page))
    .fetch_all(&store.reads)
    .await?;
    paged(&found, page, rows::model, |model| model.name.to_string())
}

pub(super) async fn delete(store: &SqliteStore, tenant: &TenantId, model: &ModelRef, by: &Origin) -> Result<Deleted, StoreError> {
    let mut tx = store.write().await?;
    let row = sqlx::query("SELECT stage FROM versions WHERE tenant = $1 AND model = $2 AND version = $3")
        .bind(tenant.as_str())
        .bind(model.name.as_str())
        .bind(model.version.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else {
        return Ok(Deleted::NotFound);
    };
    if rows::parsed::<Stage>(&row, "stage")? == Stage::Production {
        return Ok(Deleted::InUse(vec![format!("{model} is in production: promote another version first")]));
    }
    let users = sqlx::query(
        "SELECT u.model, u.version FROM version_graphs u JOIN versions v USING (tenant, model, version)
         WHERE u.tenant = $1 AND u.graph = $2 AND u.graph_version = $3 ORDER BY u.model, v.version_key",
    )
    .bind(tenant.as_str())
    .bind(model.name.as_str())
    .bind(model.version.as_str())
    .fetch_all(&mut *tx)
    .await?;
    if !users.is_empty() {
        return Ok(Deleted::InUse(rows::users(&users)?));
    }
    // Its tags, its claims on plugins and graphs and its places on the production stack go with it (`ON DELETE CASCADE`).
    sqlx::query("DELETE FROM versions WHERE tenant = $1 AND model = $2 AND version = $3")
        .bind(tenant.as_str())
        .bind(model.name.as_str())
        .bind(model.version.as_str())
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "DELETE FROM models WHERE tenant = $1 AND name = $2
             AND NOT EXISTS (SELECT 1 FROM versions WHERE tenant = $1 AND model = $2)",
    )
    .bind(tenant.as_str())
    .bind(model.name.as_str())
    .execute(&mut *tx)
    .await?;
    let target = ("version", model.to_string());
    audit::changed(&mut tx, Change { by, action: "version.delete", target, tenant: Some(tenant), detail: None }).await?;
    tx.commit().await?;
    Ok(Deleted::Done)
}
