//! Trust roots: the keys whose signatures count for a tenant.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler as _;
use axum::http::StatusCode;
use bulkhead_registry::{Page, TrustRoot};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Need, Routes};
use super::document::List;
use super::error::{ApiError, ErrorBody, INVALID_INPUT, NOT_FOUND};
use super::extract::{Asked, Caller, Captured, Paging};
use super::{App, to_its_end};
use crate::trust::TrustError;

/// Bytes of the body that describes a root. Arbitrary.
const BODY_BYTES: usize = 16 << 10;

pub(super) fn routes() -> Routes {
    Routes::default()
        .post("/v1/trust-roots", Need::TRUST, create.layer(DefaultBodyLimit::max(BODY_BYTES)))
        .get("/v1/trust-roots", Need::TRUST, list)
        .delete("/v1/trust-roots/{id}", Need::TRUST, revoke)
}

/// A key whose signatures are to count.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRoot {
    /// What it is called in lists, 1 to 100 characters.
    name: String,
    /// A public key of Ed25519, as PEM.
    public_key: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RootDocument {
    /// Names the key, here and in signatures.
    id: String,
    name: String,
    public_key: String,
    created_by: String,
    /// Milliseconds since the epoch, as the moment below.
    created_at: i64,
    revoked_at: Option<i64>,
    /// Versions that do not answer any more, since this key alone vouched for something that they are made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<Vec<String>>,
}

impl From<TrustRoot> for RootDocument {
    fn from(record: TrustRoot) -> Self {
        Self {
            id: record.key_id,
            name: record.name,
            public_key: record.public_key,
            created_by: record.created_by,
            created_at: record.created_at,
            revoked_at: record.revoked_at,
            stopped: None,
        }
    }
}

/// Add a key whose signatures count for the tenant from now on.
#[utoipa::path(post, path = "/v1/trust-roots", tag = "trust", request_body = CreateRoot,
    responses((status = 201, body = RootDocument), (status = 200, description = "It was there", body = RootDocument), (status = 400, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    body: Result<Json<CreateRoot>, JsonRejection>,
) -> Result<(StatusCode, Json<RootDocument>), ApiError> {
    let expected = "expected such as `{\"name\": \"releases\", \"public_key\": \"-----BEGIN PUBLIC KEY-----\\n…\"}`";
    let Json(wanted) = body.map_err(|error| ApiError::new(INVALID_INPUT, format!("{expected}: {}", error.body_text())))?;
    let add = async move { app.loader.trust().add_root(&caller.tenant, &wanted.name, &wanted.public_key, &caller.origin()).await };
    let (record, new) = to_its_end(add).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(record.into())))
}

/// List the tenant's trust roots, those that were revoked too.
#[utoipa::path(get, path = "/v1/trust-roots", tag = "trust", params(("limit" = Option<u32>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = List<RootDocument>)))]
pub(super) async fn list(State(app): State<App>, caller: Caller, Asked(paging): Asked<Paging>) -> Result<Json<List<RootDocument>>, ApiError> {
    let page = app.loader.store().roots(&caller.tenant, &Page::from(paging)).await?;
    Ok(Json(List { items: page.items.into_iter().map(Into::into).collect(), next: page.next }))
}

/// Revoke a trust root, for ever. Where signatures are required, what it alone has signed stops at once.
#[utoipa::path(delete, path = "/v1/trust-roots/{id}", tag = "trust", params(("id" = String, Path)),
    responses((status = 200, body = RootDocument), (status = 404, body = ErrorBody)))]
pub(super) async fn revoke(State(app): State<App>, caller: Caller, Captured(id): Captured<String>) -> Result<Json<RootDocument>, ApiError> {
    let (by, tenant, wanted) = (caller.origin(), caller.tenant, id.clone());
    let revoke = async move {
        let record = app.loader.trust().revoke_root(&tenant, &wanted, &by).await?;
        let stopped = app.loader.bar().into_iter().filter(|(owner, _)| *owner == tenant).map(|(_, model)| model.to_string());
        Ok::<_, TrustError>(record.map(|record| RootDocument { stopped: Some(stopped.collect()), ..record.into() }))
    };
    let missing = || ApiError::new(NOT_FOUND, format!("there is no trust root `{}`", id.chars().take(40).collect::<String>()));
    to_its_end(revoke).await?.map(Json).ok_or_else(missing)
}
