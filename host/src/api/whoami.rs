//! Who the host takes a caller for.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{Need, Routes};
use super::error::ErrorBody;
use super::extract::Caller;
use crate::auth::{Scope, Scopes};

pub(super) fn routes() -> Routes {
    Routes::default().get("/v1/whoami", Need::Credential, whoami)
}

#[derive(Serialize, ToSchema)]
pub(super) struct WhoamiDocument {
    /// Whose models and plugins it sees.
    tenant: String,
    /// A token's subject, or a key's id.
    subject: String,
    /// `token`, `key`, or `anybody` where authentication is off.
    credential: &'static str,
    /// What it may.
    scopes: Vec<&'static str>,
    /// What it may in other tenants, by `X-Bulkhead-Tenant`.
    across: Vec<&'static str>,
}

/// Say who the host takes the caller for.
#[utoipa::path(get, path = "/v1/whoami", tag = "identity", responses((status = 200, body = WhoamiDocument), (status = 401, body = ErrorBody)))]
pub(super) async fn whoami(caller: Caller) -> Json<WhoamiDocument> {
    let names = |scopes: Scopes| scopes.iter().map(Scope::name).collect();
    let who = caller.who;
    Json(WhoamiDocument {
        tenant: who.tenant.to_string(),
        subject: who.subject.to_string(),
        credential: who.actor.as_str(),
        scopes: names(who.scopes),
        across: names(who.across),
    })
}
