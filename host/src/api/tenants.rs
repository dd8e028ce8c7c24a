//! Tenants: what they are and may, for whoever operates the host.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler as _;
use bulkhead_registry::{Quotas, TenantId, TenantRecord};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::access::{Need, Routes};
use super::document::List;
use super::error::{ApiError, ErrorBody, FORBIDDEN, INVALID_INPUT, NOT_FOUND};
use super::extract::{Caller, Captured};
use super::{App, to_its_end};
use crate::auth::Scope;
use crate::clock;
use crate::identity::IdentityError;

/// Bytes of the body that describes a tenant. Arbitrary.
const BODY_BYTES: usize = 16 << 10;

pub(super) fn routes() -> Routes {
    Routes::default().get("/v1/tenants", Need::TENANTS, list).get("/v1/tenants/{tenant}", Need::TENANTS, get).put(
        "/v1/tenants/{tenant}",
        Need::TENANTS,
        put.layer(DefaultBodyLimit::max(BODY_BYTES)),
    )
}

#[derive(Serialize, ToSchema)]
pub(super) struct TenantDocument {
    tenant: String,
    /// Its models may run in the host's own process.
    trusted: bool,
    /// Nobody of it is let in.
    disabled: bool,
    /// Only what is signed by one of its trust roots is taken in and run: what was said about it.
    require_signatures: bool,
    /// The same as it holds: what was said about it, or what the host's settings say of all.
    signatures_required: bool,
    /// What was said about its quotas; what was not is as the host's settings say.
    quotas: Value,
    /// The quotas that hold; what is not there is not bounded.
    effective_quotas: Value,
    /// What it keeps: `bytes` and `versions`.
    kept: Value,
}

/// What a tenant is and may.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutTenant {
    #[serde(default)]
    trusted: bool,
    #[serde(default)]
    disabled: bool,
    /// Only what is signed by one of its trust roots is taken in and run; what is not stops.
    #[serde(default)]
    require_signatures: bool,
    /// `requests_per_second`, `burst`, `concurrent_requests`, `queued_mb`, `stored_mb`, `versions`, `compile_seconds_per_hour`,
    /// `weight`; zero is without a bound.
    #[serde(default)]
    #[schema(value_type = Object)]
    quotas: Quotas,
}

/// Other tenants than the caller's are there for who may see them in their name; for others they are not.
fn seen(caller: &Caller, tenant: &str) -> Result<TenantId, ApiError> {
    let missing = || ApiError::new(NOT_FOUND, format!("there is no tenant `{}`", tenant.chars().take(64).collect::<String>()));
    let tenant: TenantId = tenant.parse().map_err(|_| missing())?;
    if caller.who.may(Scope::AdminTenants, &tenant) { Ok(tenant) } else { Err(missing()) }
}

async fn document(app: &App, tenant: &TenantId) -> Result<TenantDocument, ApiError> {
    let (said, kept) = (app.tenants.said(tenant), app.loader.store().kept(tenant).await?);
    let quotas = |quotas: Quotas| serde_json::to_value(quotas).unwrap_or_default();
    Ok(TenantDocument {
        tenant: tenant.to_string(),
        trusted: said.trusted,
        disabled: said.disabled,
        require_signatures: said.require_signatures,
        signatures_required: app.loader.trust().requires(tenant),
        quotas: quotas(said.quotas),
        effective_quotas: quotas(app.tenants.quotas(tenant)),
        kept: serde_json::json!({ "bytes": kept.bytes, "versions": kept.versions }),
    })
}

/// List the tenants that anything is known of: those that the caller may see.
#[utoipa::path(get, path = "/v1/tenants", tag = "identity", responses((status = 200, body = List<TenantDocument>)))]
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Json<List<TenantDocument>>, ApiError> {
    let mut items = Vec::new();
    if caller.who.may_everywhere(Scope::AdminTenants) {
        app.access.looked(&caller, "tenant.list", "tenant", None).await;
    }
    for tenant in app.loader.store().known_tenants().await? {
        if caller.who.may(Scope::AdminTenants, &tenant) {
            items.push(document(&app, &tenant).await?);
        }
    }
    Ok(Json(List { items, next: None }))
}

/// Describe a tenant. One that nobody said anything about is as the host's settings say.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", tag = "identity", params(("tenant" = String, Path)),
    responses((status = 200, body = TenantDocument), (status = 404, body = ErrorBody)))]
pub(super) async fn get(State(app): State<App>, caller: Caller, Captured(tenant): Captured<String>) -> Result<Json<TenantDocument>, ApiError> {
    let tenant = seen(&caller, &tenant)?;
    app.access.looked(&caller, "tenant.read", "tenant", Some(&tenant)).await;
    Ok(Json(document(&app, &tenant).await?))
}

/// Say what a tenant is and may: all of it at once. It holds from the next request on.
#[utoipa::path(put, path = "/v1/tenants/{tenant}", tag = "identity", params(("tenant" = String, Path)), request_body = PutTenant,
    responses((status = 200, body = TenantDocument), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn put(
    State(app): State<App>,
    caller: Caller,
    Captured(tenant): Captured<String>,
    body: Result<Json<PutTenant>, JsonRejection>,
) -> Result<Json<TenantDocument>, ApiError> {
    let tenant = seen(&caller, &tenant)?;
    let expected = "expected such as `{\"trusted\": false, \"quotas\": {\"requests_per_second\": 100}}`";
    let Json(said) = body.map_err(|error| ApiError::new(INVALID_INPUT, format!("{expected}: {}", error.body_text())))?;
    // What a tenant may is not for itself to say, whatever its own callers may.
    if !caller.who.may_everywhere(Scope::AdminTenants) {
        return Err(ApiError::new(FORBIDDEN, format!("what a tenant is and may is said by who has `{}` in the claim `xt` too", Scope::AdminTenants)));
    }
    // Whoever shuts its own tenant out could not let it in again.
    if said.disabled && tenant == caller.who.tenant {
        return Err(ApiError::new(INVALID_INPUT, "a tenant can't disable itself: ask in the name of another"));
    }
    let now = clock::unix_ms();
    let record = TenantRecord {
        tenant: tenant.clone(),
        trusted: said.trusted,
        disabled: said.disabled,
        require_signatures: said.require_signatures,
        quotas: said.quotas,
        created_at: now,
        updated_at: now,
    };
    let (by, changing) = (caller.origin(), std::sync::Arc::clone(&app));
    let change = async move {
        let tenant = record.tenant.clone();
        if changing.identity.set_tenant(record, &by).await? {
            changing.loader.relocate(&tenant);
        }
        // What it requires of signatures may be another now.
        drop(changing.loader.bar());
        changing.loader.unbar();
        Ok::<_, IdentityError>(())
    };
    to_its_end(change).await?;
    Ok(Json(document(&app, &tenant).await?))
}
