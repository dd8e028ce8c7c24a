//! The repository: what is there, loaded and unloaded.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::{Json, Router, routing};
use bulkhead_registry::ModelName;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::error::{ApiError, INVALID_INPUT, NOT_FOUND};
use crate::api::extract::{Caller, Captured};
use crate::api::{App, to_its_end, upload};
use crate::predict::State as VersionState;

/// Bytes of a request's body. Arbitrary: it says a few words.
const BODY_BYTES: u64 = 64 << 10;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v2/repository/index", routing::post(index))
        .route("/v2/repository/models/{name}/load", routing::post(load))
        .route("/v2/repository/models/{name}/unload", routing::post(unload))
}

#[derive(Deserialize, Default)]
struct IndexRequest {
    /// Only those that are ready.
    #[serde(default)]
    ready: bool,
}

#[derive(Deserialize, Default)]
struct ChangeRequest {
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

/// The body, where there is one; clients send no content type.
async fn read<T: serde::de::DeserializeOwned + Default>(request: Request<Body>) -> Result<T, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = upload::whole("the body of a request about the repository", &parts.headers, body, BODY_BYTES).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| ApiError::new(INVALID_INPUT, format!("the body should be a JSON object, or empty: {error}")))
}

async fn index(State(app): State<App>, caller: Caller, request: Request) -> Result<Json<Value>, ApiError> {
    let wanted: IndexRequest = read(request).await?;
    let mut all = app.loader.slots().all();
    all.sort_by(|a, b| a.1.cmp(&b.1));
    let entries = all.into_iter().filter(|(tenant, ..)| *tenant == caller.tenant).filter_map(|(_, model, state)| {
        let (state, reason) = match state {
            VersionState::Ready(_) => ("READY", String::new()),
            VersionState::Unloaded => ("UNAVAILABLE", "archived: loaded when it is asked for by its version".to_owned()),
            VersionState::Stopped => ("UNAVAILABLE", "unloaded".to_owned()),
            VersionState::Failed(why) => ("UNAVAILABLE", why),
        };
        let entry = json!({ "name": model.name.as_str(), "version": model.version.as_str(), "state": state, "reason": reason });
        (state == "READY" || !wanted.ready).then_some(entry)
    });
    Ok(Json(entries.collect()))
}

async fn load(State(app): State<App>, caller: Caller, Captured(name): Captured<String>, request: Request) -> Result<StatusCode, ApiError> {
    let wanted: ChangeRequest = read(request).await?;
    if let Some(parameter) = wanted.parameters.unwrap_or_default().keys().next() {
        let message = format!(
            "`{parameter}` can't be given when a model is loaded: versions never change; upload another by PUT /v1/models/{name}/versions/{{version}}"
        );
        return Err(ApiError::new(INVALID_INPUT, message));
    }
    let model = model_name(&name)?;
    let loader = app.loader.clone();
    match to_its_end(async move { loader.load_again(&caller.tenant, &model).await }).await? {
        true => Ok(StatusCode::OK),
        false => Err(unknown(&name)),
    }
}

async fn unload(State(app): State<App>, caller: Caller, Captured(name): Captured<String>, request: Request) -> Result<StatusCode, ApiError> {
    // `unload_dependents` means nothing here: no model depends on another.
    let _: ChangeRequest = read(request).await?;
    let model = model_name(&name)?;
    let loader = app.loader.clone();
    match to_its_end(async move { Ok(loader.unload(&caller.tenant, &model).await) }).await? {
        true => Ok(StatusCode::OK),
        false => Err(unknown(&name)),
    }
}

fn model_name(name: &str) -> Result<ModelName, ApiError> {
    name.parse().map_err(|_| unknown(name))
}

fn unknown(name: &str) -> ApiError {
    ApiError::new(NOT_FOUND, format!("there is no model `{name}`"))
}
