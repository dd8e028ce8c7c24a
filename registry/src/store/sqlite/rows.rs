//! Rows to records and keys to pages. A column that does not parse is an error with its name, never a default.

use std::fmt::Display;
use std::str::FromStr;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::StoreError;
use crate::ids::{IdError, ModelRef, PluginRef};
use crate::manifest::Manifest;
use crate::model::{ModelRecord, Page, Paged, PluginRecord, Promotion, VersionRecord};

pub(super) fn plugin(row: &SqliteRow) -> Result<PluginRecord, StoreError> {
    Ok(PluginRecord {
        tenant: parsed(row, "tenant")?,
        plugin: PluginRef { name: parsed(row, "name")?, version: parsed(row, "version")? },
        world: row.try_get("world")?,
        digest: parsed(row, "digest")?,
        size: unsigned(row, "size")?,
        imports: json(row, "imports")?,
        description: json(row, "description")?,
        created_at: row.try_get("created_at")?,
    })
}

/// How many versions a refused deletion names before it only counts. Arbitrary: enough to start with.
const NAMED_USERS: usize = 20;

/// The versions that use what is to be deleted, from rows with `model` and `version`.
pub(super) fn users(users: &[SqliteRow]) -> Result<Vec<String>, StoreError> {
    let name = |row: &SqliteRow| -> Result<String, StoreError> {
        Ok(format!("{}@{}", row.try_get::<&str, _>("model")?, row.try_get::<&str, _>("version")?))
    };
    let mut names = users.iter().take(NAMED_USERS).map(name).collect::<Result<Vec<_>, _>>()?;
    if let more @ 1.. = users.len() - names.len() {
        names.push(format!("and {more} more"));
    }
    Ok(names)
}

pub(super) fn version(row: &SqliteRow) -> Result<VersionRecord, StoreError> {
    let manifest = Manifest::from_json(row.try_get("manifest")?).map_err(|error| corrupt("manifest", error))?;
    Ok(VersionRecord {
        tenant: parsed(row, "tenant")?,
        model: ModelRef { name: parsed(row, "model")?, version: parsed(row, "version")? },
        digest: parsed(row, "digest")?,
        size: unsigned(row, "size")?,
        manifest,
        signature: json(row, "signature")?,
        stage: parsed(row, "stage")?,
        created_at: row.try_get("created_at")?,
    })
}

pub(super) fn model(row: &SqliteRow) -> Result<ModelRecord, StoreError> {
    Ok(ModelRecord {
        tenant: parsed(row, "tenant")?,
        name: parsed(row, "name")?,
        production: parsed_or_null(row, "production")?,
        latest: parsed(row, "latest")?,
        versions: unsigned(row, "versions")?,
        created_at: row.try_get("created_at")?,
    })
}

pub(super) fn promotion(row: &SqliteRow) -> Result<Promotion, StoreError> {
    Ok(Promotion {
        seq: row.try_get("seq")?,
        action: parsed(row, "action")?,
        version: parsed(row, "version")?,
        from: parsed_or_null(row, "from_version")?,
        at: row.try_get("at")?,
    })
}

/// Text of one of our own kinds.
pub(super) fn parsed<T: FromStr<Err = IdError>>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    row.try_get::<&str, _>(column)?.parse().map_err(|error| corrupt(column, error))
}

pub(super) fn parsed_or_null<T: FromStr<Err = IdError>>(row: &SqliteRow, column: &str) -> Result<Option<T>, StoreError> {
    let text = row.try_get::<Option<&str>, _>(column)?;
    text.map(|text| text.parse().map_err(|error| corrupt(column, error))).transpose()
}

pub(super) fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    serde_json::from_str(row.try_get(column)?).map_err(|error| corrupt(column, error))
}

pub(super) fn unsigned(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|error| corrupt(column, error))
}

/// SQLite's integers are signed; no file has 2^63 bytes.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn corrupt(column: &str, error: impl Display) -> StoreError {
    StoreError::Corrupt(format!("column `{column}`: {error}"))
}

/// One row more than the page holds tells whether another page follows.
pub(super) fn rows_of(page: &Page) -> u32 {
    page.clamped() + 1
}

/// The page that `rows_of` rows make, with the key of its last item where more follow.
pub(super) fn paged<T>(
    rows: &[SqliteRow],
    page: &Page,
    read: impl Fn(&SqliteRow) -> Result<T, StoreError>,
    key: impl Fn(&T) -> String,
) -> Result<Paged<T>, StoreError> {
    let limit = page.clamped() as usize;
    let items = rows.iter().take(limit).map(read).collect::<Result<Vec<_>, _>>()?;
    let next = if rows.len() > limit { items.last().map(key) } else { None };
    Ok(Paged { items, next })
}

/// The key that the page begins after.
pub(super) fn after<T: FromStr<Err = IdError>>(page: &Page) -> Result<Option<T>, StoreError> {
    page.after.as_deref().map(|key| key.parse().map_err(StoreError::Cursor)).transpose()
}
