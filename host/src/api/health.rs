//! Probes and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::access::{Need, Routes};
use super::error::ApiError;
use super::extract::Caller;
use super::{App, oip};
use crate::auth::Scope;
use crate::predict::State as VersionState;

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/health/live", Need::Nothing, live)
        .get("/health/startup", Need::Nothing, startup)
        .get("/health/ready", Need::Nothing, ready)
        .get("/metrics", Need::MODELS_READ, metrics)
}

async fn live() -> Json<Value> {
    Json(json!({ "status": "live" }))
}

async fn startup(State(app): State<App>) -> Response {
    if app.life.has_started() {
        Json(json!({ "status": "started" })).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "starting" }))).into_response()
    }
}

/// Ready once everything that can be loaded is, until the host is told to stop. What could not be loaded keeps nobody from
/// being served, and is named to who may see it: the probes that come without a credential learn only whether to send requests.
async fn ready(State(app): State<App>, caller: Option<Caller>) -> Response {
    let status = if !app.life.has_started() {
        "starting"
    } else if app.life.is_stopping() {
        "stopping"
    } else {
        "ready"
    };
    let code = if status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let Some(caller) = caller.filter(|caller| caller.who.may(Scope::ModelsRead, &caller.tenant)) else {
        return (code, Json(json!({ "status": status }))).into_response();
    };
    let mut ready = 0;
    let mut failed = Vec::new();
    for (_, model, state) in app.loader.slots().all().into_iter().filter(|(tenant, ..)| *tenant == caller.tenant) {
        let why = match state {
            VersionState::Ready(_) => {
                ready += 1;
                continue;
            }
            VersionState::Unloaded | VersionState::Stopped => continue,
            VersionState::Failed(why) => why,
            VersionState::Barred(why) => why.to_string(),
        };
        failed.push(json!({ "model": model.name.as_str(), "version": model.version.to_string(), "why": why }));
    }
    let problems = app.life.problems.read();
    let problems = problems.iter().filter(|problem| problem.tenant.as_ref().is_none_or(|tenant| *tenant == caller.tenant));
    let problems: Vec<_> = problems.map(|problem| json!({ "what": problem.what, "why": problem.why })).collect();
    let body = Json(json!({ "status": status, "versions_ready": ready, "failed": failed, "problems": problems }));
    (code, body).into_response()
}

/// Of the caller's tenant; of all and of the host for who may read in other tenants, and where authentication is off.
async fn metrics(State(app): State<App>, caller: Caller) -> Result<Response, ApiError> {
    let tenant = (!caller.who.may_everywhere(Scope::ModelsRead)).then_some(&caller.tenant);
    if tenant.is_none() {
        app.access.looked(&caller, "metrics.read", "metrics", None).await;
    }
    let text = app.metrics.text(tenant.map(|tenant| tenant.as_str()));
    let mut text = text.map_err(|error| ApiError::internal(error.to_string()))?;
    if app.nv_names {
        text.push_str(&oip::nv::text(&app, tenant));
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
