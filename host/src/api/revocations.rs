//! Revocations: digests that nothing is run of any more, of one tenant or of all.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler as _;
use axum::http::StatusCode;
use bulkhead_registry::{Digest, Page, Revocation, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Need, Routes};
use super::document::List;
use super::error::{ApiError, ErrorBody, FORBIDDEN, INVALID_INPUT, NOT_FOUND};
use super::extract::{Asked, Caller, Captured, Paging};
use super::{App, to_its_end};
use crate::auth::Scope;
use crate::trust::TrustError;

/// Bytes of the body that names a digest. Arbitrary.
const BODY_BYTES: usize = 16 << 10;

pub(super) fn routes() -> Routes {
    Routes::default()
        .post("/v1/revocations", Need::TRUST, create.layer(DefaultBodyLimit::max(BODY_BYTES)))
        .get("/v1/revocations", Need::TRUST, list)
        .delete("/v1/revocations/{digest}", Need::TRUST, restore)
}

/// A digest that nothing is to be run of any more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRevocation {
    /// Of a plugin's component or a model's artifact: `sha256:…`. It need not be here.
    digest: String,
    /// Why, 1 to 500 characters; whoever asks for what it stops is told.
    reason: String,
    /// Of all tenants, for who may in all.
    #[serde(default)]
    all_tenants: bool,
}

/// Of whom.
#[derive(Deserialize)]
pub(super) struct OfWhom {
    /// Of all tenants, for who may in all.
    #[serde(default)]
    all_tenants: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RevocationDocument {
    digest: String,
    reason: String,
    /// It holds for all tenants, and was not the tenant's to say.
    all_tenants: bool,
    created_by: String,
    /// Milliseconds since the epoch.
    created_at: i64,
    /// Versions that do not answer any more; with their tenants in front where those of all are asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<Vec<String>>,
}

impl From<Revocation> for RevocationDocument {
    fn from(record: Revocation) -> Self {
        Self {
            digest: record.digest.to_string(),
            reason: record.reason,
            all_tenants: record.tenant.is_none(),
            created_by: record.created_by,
            created_at: record.created_at,
            stopped: None,
        }
    }
}

/// Whose it is to be: the caller's tenant's, or everybody's.
fn whose(caller: &Caller, all_tenants: bool) -> Result<Option<TenantId>, ApiError> {
    if !all_tenants {
        return Ok(Some(caller.tenant.clone()));
    }
    if caller.who.may_everywhere(Scope::AdminTrust) {
        return Ok(None);
    }
    let message = format!("`all_tenants` needs the scope `{}`, and `{}` among the claim `xt`", Scope::AdminTenants, Scope::AdminTrust);
    Err(ApiError::new(FORBIDDEN, message))
}

/// Revoke a digest: every version that has it as a plugin, an artifact or a granted model stops at once, and none is loaded or
/// uploaded with it any more.
#[utoipa::path(post, path = "/v1/revocations", tag = "trust", request_body = CreateRevocation,
    responses((status = 201, body = RevocationDocument), (status = 200, description = "It was revoked already", body = RevocationDocument), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    body: Result<Json<CreateRevocation>, JsonRejection>,
) -> Result<(StatusCode, Json<RevocationDocument>), ApiError> {
    let expected = "expected such as `{\"digest\": \"sha256:…\", \"reason\": \"leaks its training data\"}`";
    let Json(wanted) = body.map_err(|error| ApiError::new(INVALID_INPUT, format!("{expected}: {}", error.body_text())))?;
    let digest: Digest = wanted.digest.parse().map_err(|error| ApiError::new(INVALID_INPUT, format!("`digest`: {error}")))?;
    let tenant = whose(&caller, wanted.all_tenants)?;
    let by = caller.origin();
    let revoke = async move {
        let (record, new) = app.loader.trust().revoke(tenant.as_ref(), digest, &wanted.reason, &by).await?;
        let stopped = app.loader.bar().into_iter().filter_map(|(owner, model)| match &tenant {
            None => Some(format!("{owner}/{model}")),
            Some(tenant) => (owner == *tenant).then(|| model.to_string()),
        });
        Ok::<_, TrustError>((RevocationDocument { stopped: Some(stopped.collect()), ..record.into() }, new))
    };
    let (document, new) = to_its_end(revoke).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(document)))
}

/// List what was revoked of the tenant's and of all tenants', the latest first.
#[utoipa::path(get, path = "/v1/revocations", tag = "trust", params(("limit" = Option<u32>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = List<RevocationDocument>)))]
pub(super) async fn list(State(app): State<App>, caller: Caller, Asked(paging): Asked<Paging>) -> Result<Json<List<RevocationDocument>>, ApiError> {
    let page = app.loader.store().revocations(&caller.tenant, &Page::from(paging)).await?;
    Ok(Json(List { items: page.items.into_iter().map(Into::into).collect(), next: page.next }))
}

/// Take a revocation back: what it stopped is loaded again, and answers once that is done.
#[utoipa::path(delete, path = "/v1/revocations/{digest}", tag = "trust", params(("digest" = String, Path), ("all_tenants" = Option<bool>, Query)),
    responses((status = 200, body = RevocationDocument), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn restore(
    State(app): State<App>,
    caller: Caller,
    Captured(text): Captured<String>,
    Asked(of): Asked<OfWhom>,
) -> Result<Json<RevocationDocument>, ApiError> {
    let tenant = whose(&caller, of.all_tenants)?;
    let missing = |digest: &str| {
        let of = if of.all_tenants { "of all tenants" } else { "of the tenant's own" };
        ApiError::new(NOT_FOUND, format!("there is no revocation {of} of `{}`", digest.chars().take(80).collect::<String>()))
    };
    let digest: Digest = text.parse().map_err(|_| missing(&text))?;
    let by = caller.origin();
    let restore = async move {
        let record = app.loader.trust().restore(tenant.as_ref(), &digest, &by).await?;
        if record.is_some() {
            app.loader.unbar();
        }
        Ok::<_, TrustError>(record)
    };
    to_its_end(restore).await?.map(|record| Json(record.into())).ok_or_else(|| missing(&text))
}
