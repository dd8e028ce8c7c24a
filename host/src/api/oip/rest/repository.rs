//! The repository: what is there, loaded and unloaded.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::access::{Need, Routes};
use crate::api::error::{ApiError, INVALID_INPUT};
use crate::api::extract::{Caller, Captured};
use crate::api::oip::catalog::{self, Entry};
use crate::api::{App, upload};

/// Bytes of a request's body. Arbitrary: it says a few words.
const BODY_BYTES: u64 = 64 << 10;

pub(super) fn routes() -> Routes {
    Routes::default().post("/v2/repository/index", Need::MODELS_READ, index).post("/v2/repository/models/{name}/load", Need::MODELS_WRITE, load).post(
        "/v2/repository/models/{name}/unload",
        Need::MODELS_WRITE,
        unload,
    )
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
    let entry = |entry: Entry| json!({ "name": entry.name, "version": entry.version, "state": entry.state, "reason": entry.reason });
    Ok(Json(catalog::index(&app, &caller.tenant, wanted.ready).into_iter().map(entry).collect()))
}

async fn load(State(app): State<App>, caller: Caller, Captured(name): Captured<String>, request: Request) -> Result<StatusCode, ApiError> {
    let wanted: ChangeRequest = read(request).await?;
    let parameters = wanted.parameters.unwrap_or_default();
    catalog::load(&app, &caller, &name, parameters.keys().map(String::as_str)).await?;
    Ok(StatusCode::OK)
}

async fn unload(State(app): State<App>, caller: Caller, Captured(name): Captured<String>, request: Request) -> Result<StatusCode, ApiError> {
    // `unload_dependents` means nothing here: no model depends on another.
    let _: ChangeRequest = read(request).await?;
    catalog::unload(&app, &caller, &name).await?;
    Ok(StatusCode::OK)
}
