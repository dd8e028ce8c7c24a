//! One model: what it takes and gives, whether it is ready, its configuration and statistics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::api::App;
use crate::api::access::{Need, Routes};
use crate::api::error::ApiError;
use crate::api::extract::{Caller, Captured, Context};
use crate::api::oip::catalog;
use crate::api::oip::config::Config;
use crate::api::oip::face::{Face, FacePort};
use crate::api::oip::stats::{Duration, Stats};
use crate::predict::Slot;

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v2/models/{name}", Need::MODELS_SEE, metadata)
        .get("/v2/models/{name}/versions/{version}", Need::MODELS_SEE, metadata)
        .get("/v2/models/{name}/ready", Need::MODELS_SEE, ready)
        .get("/v2/models/{name}/versions/{version}/ready", Need::MODELS_SEE, ready)
        .get("/v2/models/{name}/config", Need::MODELS_SEE, configuration)
        .get("/v2/models/{name}/versions/{version}/config", Need::MODELS_SEE, configuration)
        .get("/v2/models/stats", Need::MODELS_READ, all_stats)
        .get("/v2/models/{name}/stats", Need::MODELS_READ, stats)
        .get("/v2/models/{name}/versions/{version}/stats", Need::MODELS_READ, stats)
}

/// A model, and perhaps one version of it.
#[derive(serde::Deserialize)]
pub(super) struct Which {
    pub(super) name: String,
    pub(super) version: Option<String>,
}

impl Which {
    async fn find(&self, app: &App, caller: &Caller, context: &Context) -> Result<Arc<Slot>, ApiError> {
        catalog::find(app, &caller.tenant, context, &self.name, self.version.as_deref()).await
    }
}

async fn metadata(State(app): State<App>, caller: Caller, context: Context, Captured(which): Captured<Which>) -> Result<Json<Value>, ApiError> {
    let slot = which.find(&app, &caller, &context).await?;
    let face = Face::of(&slot);
    let versions: Vec<String> = catalog::ready(&app, &caller.tenant, Some(&which.name)).iter().map(|slot| slot.version().to_string()).collect();
    Ok(Json(json!({
        "name": &**slot.model(),
        "versions": versions,
        "platform": face.platform,
        "inputs": face.inputs.iter().map(port).collect::<Vec<_>>(),
        "outputs": face.outputs.iter().map(port).collect::<Vec<_>>(),
    })))
}

fn port(port: &FacePort) -> Value {
    let mut document = json!({ "name": port.name, "datatype": port.datatype.name(), "shape": port.shape });
    let mut parameters = Map::new();
    if !port.content_types.is_empty() {
        parameters.insert("content_type".to_owned(), port.content_types.join(", ").into());
    }
    if port.optional {
        parameters.insert("optional".to_owned(), true.into());
    }
    if !parameters.is_empty() {
        document["parameters"] = Value::Object(parameters);
    }
    document
}

async fn ready(State(app): State<App>, caller: Caller, Captured(which): Captured<Which>) -> Result<Response, ApiError> {
    let ready = catalog::is_ready(&app, &caller.tenant, &which.name, which.version.as_deref())?;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(json!({ "name": which.name, "ready": ready }))).into_response())
}

async fn configuration(State(app): State<App>, caller: Caller, context: Context, Captured(which): Captured<Which>) -> Result<Json<Value>, ApiError> {
    Ok(Json(Config::of(&*which.find(&app, &caller, &context).await?).document()))
}

/// An archived version is not loaded only to be told that nobody has asked it.
async fn stats(State(app): State<App>, caller: Caller, Captured(which): Captured<Which>) -> Result<Json<Value>, ApiError> {
    let version = which.version.as_deref();
    let stats = Stats::of(&*catalog::pick(&app, &caller.tenant, &which.name, version)?, version);
    Ok(Json(json!({ "model_stats": [document(&stats)] })))
}

async fn all_stats(State(app): State<App>, caller: Caller) -> Json<Value> {
    let stats: Vec<Value> = catalog::ready(&app, &caller.tenant, None).iter().map(|slot| document(&Stats::of(slot, None))).collect();
    Json(json!({ "model_stats": stats }))
}

fn document(stats: &Stats) -> Value {
    let duration = |duration: Duration| json!({ "count": duration.count, "ns": duration.ns });
    let inference: Map<String, Value> = stats.inference.iter().map(|(name, total)| ((*name).to_owned(), duration(*total))).collect();
    let batches: Vec<Value> = (stats.batches.iter())
        .map(|batch| {
            json!({
                "batch_size": batch.batch_size,
                "compute_input": duration(batch.compute_input),
                "compute_infer": duration(batch.compute_infer),
                "compute_output": duration(batch.compute_output),
            })
        })
        .collect();
    json!({
        "name": stats.name,
        "version": stats.version,
        "last_inference": stats.last_inference,
        "inference_count": stats.inference_count,
        "execution_count": stats.execution_count,
        "inference_stats": inference,
        "response_stats": {},
        "batch_stats": batches,
        "memory_usage": [],
    })
}
