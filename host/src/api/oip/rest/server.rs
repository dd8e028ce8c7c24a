//! The server as a whole: what it is, and whether it is ready.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::App;
use crate::api::access::{Need, Routes};
use crate::api::extract::Caller;
use crate::api::oip::{EXTENSIONS, SERVER, catalog};

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v2", Need::Credential, metadata)
        .get("/v2/", Need::Credential, metadata)
        .get("/v2/health/live", Need::Nothing, live)
        .get("/v2/health/ready", Need::Nothing, ready)
        .get("/v2/models", Need::MODELS_SEE, models)
}

async fn metadata() -> Json<Value> {
    Json(json!({ "name": SERVER, "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS }))
}

async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

async fn ready(State(app): State<App>) -> Response {
    let ready = app.life.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready }))).into_response()
}

/// As KServe lists them.
async fn models(State(app): State<App>, caller: Caller) -> Json<Value> {
    let mut names: Vec<String> = catalog::index(&app, &caller.tenant, false).into_iter().map(|entry| entry.name).collect();
    names.dedup();
    Json(json!({ "models": names }))
}
