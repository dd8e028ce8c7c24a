//! A tensor as bytes behind JSON, as the Open Inference Protocol has it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Refusal, onnx, refused};

pub(super) struct MeanColor(Mutex<Session>);

impl MeanColor {
    pub(super) fn load(environment: &Environment, models: &Path) -> Result<Self> {
        Ok(Self(onnx::session(environment, &models.join("mean_color.onnx"), 1)?))
    }
}

#[derive(Deserialize)]
struct Request {
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    parameters: Parameters,
}

#[derive(Deserialize)]
struct Parameters {
    binary_data_size: usize,
}

#[derive(Serialize)]
struct Answer {
    model_name: &'static str,
    model_version: &'static str,
    outputs: Vec<Output>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    datatype: &'static str,
    shape: Vec<i64>,
    data: Vec<f32>,
}

/// `POST /mean-color`.
pub(super) async fn infer(State(model): State<Arc<MeanColor>>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let length = headers.get("inference-header-content-length").and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let (json, bytes) = length.and_then(|length| body.split_at_checked(length)).ok_or_else(|| refused("no length of the JSON"))?;
    let request: Request = serde_json::from_slice(json).map_err(refused)?;
    let [input] = request.inputs.as_slice() else { return Err(refused("the model takes one input")) };
    if input.datatype != "FP32" || input.parameters.binary_data_size != bytes.len() {
        return Err(refused("the model takes FP32, and all of it"));
    }
    // The bytes stand where the JSON ends, rarely on a float's boundary.
    let copied: Vec<f32>;
    let values: &[f32] = match bytemuck::try_cast_slice(bytes) {
        Ok(values) => values,
        Err(_) => {
            copied = bytemuck::pod_collect_to_vec(bytes);
            &copied
        }
    };
    let value = TensorRef::from_array_view((input.shape.as_slice(), values)).map_err(refused)?;
    let mut session = model.0.lock();
    let ran = session.run(ort::inputs![input.name.as_str() => value]).map_err(refused)?;
    let mut outputs = Vec::with_capacity(ran.len());
    for (name, value) in ran.iter() {
        let (shape, values) = value.try_extract_tensor::<f32>().map_err(refused)?;
        outputs.push(Output { name: name.to_owned(), datatype: "FP32", shape: shape.to_vec(), data: values.to_vec() });
    }
    drop(ran);
    drop(session);
    Ok(Json(Answer { model_name: "mean_color", model_version: "1.0.0", outputs }).into_response())
}
