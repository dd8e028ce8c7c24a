//! Probes and metrics.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use serde_json::{Value, json};

use super::error::ApiError;
use super::{App, oip};
use crate::predict::State as VersionState;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/health/live", routing::get(live))
        .route("/health/startup", routing::get(startup))
        .route("/health/ready", routing::get(ready))
        .route("/metrics", routing::get(metrics))
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

/// Ready once everything that can be loaded is, until the host is told to stop. What could not be loaded is named, and
/// keeps nobody from being served.
async fn ready(State(app): State<App>) -> Response {
    let status = if !app.life.has_started() {
        "starting"
    } else if app.life.is_stopping() {
        "stopping"
    } else {
        "ready"
    };
    let mut ready = 0;
    let mut failed = Vec::new();
    for (_, model, state) in app.loader.slots().all() {
        match state {
            VersionState::Ready(_) => ready += 1,
            VersionState::Unloaded | VersionState::Stopped => {}
            VersionState::Failed(why) => failed.push(json!({ "model": model.name.as_str(), "version": model.version.to_string(), "why": why })),
        }
    }
    let problems: Vec<_> = app.life.problems.read().iter().map(|problem| json!({ "what": problem.what, "why": problem.why })).collect();
    let body = Json(json!({ "status": status, "versions_ready": ready, "failed": failed, "problems": problems }));
    let code = if status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, body).into_response()
}

async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let mut text = app.metrics.text().map_err(|error| ApiError::internal(error.to_string()))?;
    if app.nv_names {
        text.push_str(&oip::nv::text(&app));
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
