//! Flowers: tensors in and out as JSON, and a record in, a label out.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use ort::environment::Environment;
use ort::session::{Session, SessionInputValue};
use ort::value::{TensorElementType, TensorRef, ValueType};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::answer::{Labels, Scores, answer};
use super::{Refusal, onnx, refused};

pub(super) struct Iris {
    session: Mutex<Session>,
    labels: Labels,
}

impl Iris {
    pub(super) fn load(environment: &Environment, demo: &Path) -> Result<Self> {
        let folder = demo.join("iris");
        Ok(Self { session: onnx::session(environment, &folder.join("model.onnx"), 1)?, labels: Labels::read(&folder)? })
    }
}

/// The body of an infer request of the Open Inference Protocol, as far as this model takes it.
#[derive(Deserialize)]
pub(super) struct InferRequest {
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    datatype: Datatype,
    shape: Vec<i64>,
    data: Vec<f32>,
}

#[derive(Serialize)]
struct InferResponse {
    model_name: &'static str,
    model_version: &'static str,
    outputs: Vec<Output>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    datatype: Datatype,
    shape: Vec<i64>,
    data: Data,
}

#[derive(Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Datatype {
    Fp32,
    Int64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Fp32(Vec<f32>),
    Int64(Vec<i64>),
}

/// `POST /iris`.
pub(super) async fn tensors(State(iris): State<Arc<Iris>>, Json(request): Json<InferRequest>) -> Result<Response, Refusal> {
    let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(request.inputs.len());
    for input in &request.inputs {
        if input.datatype != Datatype::Fp32 {
            return Err(refused("the model takes FP32"));
        }
        let value = TensorRef::from_array_view((input.shape.as_slice(), input.data.as_slice())).map_err(refused)?;
        inputs.push((Cow::Borrowed(input.name.as_str()), value.into()));
    }
    let mut session = iris.session.lock();
    let ran = session.run(inputs).map_err(refused)?;
    let mut outputs = Vec::with_capacity(ran.len());
    for (name, value) in ran.iter() {
        let (datatype, shape, data) = match value.dtype() {
            ValueType::Tensor { ty: TensorElementType::Int64, .. } => {
                let (shape, values) = value.try_extract_tensor::<i64>().map_err(refused)?;
                (Datatype::Int64, shape.to_vec(), Data::Int64(values.to_vec()))
            }
            _ => {
                let (shape, values) = value.try_extract_tensor::<f32>().map_err(refused)?;
                (Datatype::Fp32, shape.to_vec(), Data::Fp32(values.to_vec()))
            }
        };
        outputs.push(Output { name: name.to_owned(), datatype, shape, data });
    }
    drop(ran);
    drop(session);
    Ok(Json(InferResponse { model_name: "iris", model_version: "1.0.0", outputs }).into_response())
}

/// A flower; the fields stand in the order of the model's features.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    sepal_length: f32,
    sepal_width: f32,
    petal_length: f32,
    petal_width: f32,
}

/// `POST /iris-record`: what `tabular` and `classify` do.
pub(super) async fn record(State(iris): State<Arc<Iris>>, Json(record): Json<Record>) -> Result<Response, Refusal> {
    let features = [record.sepal_length, record.sepal_width, record.petal_length, record.petal_width];
    let value = TensorRef::from_array_view(([1_usize, 4], features.as_slice())).map_err(refused)?;
    let mut session = iris.session.lock();
    let ran = session.run(ort::inputs!["features" => value]).map_err(refused)?;
    let (_, probabilities) = ran["probabilities"].try_extract_tensor::<f32>().map_err(refused)?;
    Ok(Json(answer(&iris.labels, probabilities, Scores::Probabilities)).into_response())
}
