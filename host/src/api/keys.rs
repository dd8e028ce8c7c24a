//! Keys that the host issues: made, listed, revoked.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler as _;
use axum::http::StatusCode;
use bulkhead_registry::{KeyRecord, Page};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Need, Routes};
use super::document::List;
use super::error::{ApiError, ErrorBody, FORBIDDEN, INVALID_INPUT, NOT_FOUND};
use super::extract::{Asked, Caller, Captured, Paging};
use super::{App, to_its_end};
use crate::auth::{Scope, Scopes};
use crate::identity::NewKey;

/// Bytes of the body that describes a key. Arbitrary.
const BODY_BYTES: usize = 16 << 10;

pub(super) fn routes() -> Routes {
    Routes::default().post("/v1/keys", Need::KEYS, create.layer(DefaultBodyLimit::max(BODY_BYTES))).get("/v1/keys", Need::KEYS, list).delete(
        "/v1/keys/{id}",
        Need::KEYS,
        revoke,
    )
}

/// A key that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateKey {
    /// What it is called in lists, 1 to 100 characters.
    name: String,
    /// What it may: at most what the caller may.
    scopes: Vec<String>,
    /// What it may in other tenants; needs `admin:tenants` among the scopes.
    #[serde(default)]
    across: Vec<String>,
    /// Seconds that it is good for; left out, until it is revoked.
    #[serde(default)]
    expires_in: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct KeyDocument {
    id: String,
    name: String,
    scopes: Vec<String>,
    across: Vec<String>,
    created_by: String,
    /// Milliseconds since the epoch, as the moments below.
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    /// The key itself: shown this once, and kept nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl KeyDocument {
    fn new(record: KeyRecord, key: Option<String>) -> Self {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Self {
            id: record.id,
            name: record.name,
            scopes: names(&record.scopes),
            across: names(&record.across),
            created_by: record.created_by,
            created_at: record.created_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
            key,
        }
    }
}

fn scopes(names: &[String], field: &str) -> Result<Scopes, ApiError> {
    let one = |name: &String| name.parse::<Scope>().map_err(|error| ApiError::new(INVALID_INPUT, format!("`{field}`: {error}")));
    names.iter().map(one).collect()
}

/// Issue a key. It is shown in this answer and never again.
#[utoipa::path(post, path = "/v1/keys", tag = "identity", request_body = CreateKey,
    responses((status = 201, body = KeyDocument), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    body: Result<Json<CreateKey>, JsonRejection>,
) -> Result<(StatusCode, Json<KeyDocument>), ApiError> {
    let expected = "expected such as `{\"name\": \"ci\", \"scopes\": [\"models:predict\"], \"expires_in\": 86400}`";
    let Json(wanted) = body.map_err(|error| ApiError::new(INVALID_INPUT, format!("{expected}: {}", error.body_text())))?;
    let (granted, across) = (scopes(&wanted.scopes, "scopes")?, scopes(&wanted.across, "across")?);
    if granted.is_none() {
        return Err(ApiError::new(INVALID_INPUT, format!("`scopes` is empty: a key without any is good for nothing; {expected}")));
    }
    // Nobody gives away what it has not.
    if let Some(lacks) =
        granted.iter().find(|scope| !caller.who.may(*scope, &caller.tenant)).or_else(|| across.iter().find(|scope| !caller.who.across.permit(*scope)))
    {
        return Err(ApiError::new(FORBIDDEN, format!("a key can't have `{lacks}`, which the credential that asks for it has not")));
    }
    if !across.is_none() && !granted.permit(Scope::AdminTenants) {
        return Err(ApiError::new(INVALID_INPUT, format!("`across` means nothing without `{}` among the scopes", Scope::AdminTenants)));
    }
    let new = NewKey { tenant: caller.tenant.clone(), name: wanted.name, scopes: granted, across, lifetime_s: wanted.expires_in };
    let by = caller.origin();
    let (record, key) = to_its_end(async move { app.identity.issue(new, &by).await }).await?;
    Ok((StatusCode::CREATED, Json(KeyDocument::new(record, Some(key)))))
}

/// List the tenant's keys, those that were revoked too.
#[utoipa::path(get, path = "/v1/keys", tag = "identity", params(("limit" = Option<u32>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = List<KeyDocument>)))]
pub(super) async fn list(State(app): State<App>, caller: Caller, Asked(paging): Asked<Paging>) -> Result<Json<List<KeyDocument>>, ApiError> {
    let page = app.loader.store().keys(&caller.tenant, &Page::from(paging)).await?;
    Ok(Json(List { items: page.items.into_iter().map(|record| KeyDocument::new(record, None)).collect(), next: page.next }))
}

/// Revoke a key. Requests that are under way are answered; the next one is not.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "identity", params(("id" = String, Path)),
    responses((status = 200, body = KeyDocument), (status = 404, body = ErrorBody)))]
pub(super) async fn revoke(State(app): State<App>, caller: Caller, Captured(id): Captured<String>) -> Result<Json<KeyDocument>, ApiError> {
    let (by, tenant, wanted) = (caller.origin(), caller.tenant, id.clone());
    let revoked = to_its_end(async move { app.identity.revoke(&tenant, &wanted, &by).await }).await?;
    let record = revoked.ok_or_else(|| ApiError::new(NOT_FOUND, format!("there is no key `{}`", id.chars().take(40).collect::<String>())))?;
    Ok(Json(KeyDocument::new(record, None)))
}
