//! Between the host's own types and those of `wit/`: bytes and texts move, nothing is copied.

use serde_json::Value;

use super::bindings::bulkhead::plugin::types as wit;
use super::bindings::exports::bulkhead::plugin::transformer as export;
use super::bindings::predictor::exports::bulkhead::plugin::prediction;
use super::error::SandboxError;
use super::exchange::Step;
use super::limits::{DIMENSIONS, NAME_BYTES};
use super::plugin::TensorSignature;
use super::predictor::{GraphUse, Ports, PredictorDescription};
use super::transform::Description;
use crate::payload::Payload;
use crate::tensor::{Datatype, Tensor};

impl From<Payload> for wit::Payload {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Json(text) => Self::Json(text),
            Payload::Tensors(tensors) => Self::Tensors(tensors.into_iter().map(Into::into).collect()),
            Payload::Blob { content_type, data } => Self::Blob(wit::Blob { content_type, data }),
        }
    }
}

impl From<wit::Payload> for Payload {
    fn from(payload: wit::Payload) -> Self {
        match payload {
            wit::Payload::Json(text) => Self::Json(text),
            wit::Payload::Tensors(tensors) => Self::Tensors(tensors.into_iter().map(Into::into).collect()),
            wit::Payload::Blob(blob) => Self::Blob { content_type: blob.content_type, data: blob.data },
        }
    }
}

impl TryFrom<export::Step> for Step {
    type Error = SandboxError;

    fn try_from(step: export::Step) -> Result<Self, SandboxError> {
        Ok(match step {
            export::Step::Proceed(payload) => Self::Proceed(handed_on(payload)?),
            export::Step::Answer(payload) => Self::Answer(handed_on(payload)?),
        })
    }
}

/// Bytes of a content type; it becomes a header. Arbitrary.
const CONTENT_TYPE_BYTES: usize = 256;

/// What a guest hands on. Names, shapes and content types go into messages and headers, which a guest must not make long.
pub(super) fn handed_on(payload: wit::Payload) -> Result<Payload, SandboxError> {
    let long = match &payload {
        wit::Payload::Json(_) => None,
        wit::Payload::Tensors(tensors) => tensors
            .iter()
            .map(|tensor| (tensor.name.len(), tensor.shape.len()))
            .find(|(name, rank)| *name > NAME_BYTES || *rank > DIMENSIONS)
            .map(|(name, rank)| format!("a tensor of {rank} dimensions with a name of {name} bytes")),
        wit::Payload::Blob(blob) => {
            let bytes = blob.content_type.len();
            (bytes > CONTENT_TYPE_BYTES).then(|| format!("a content type of {bytes} bytes"))
        }
    };
    if let Some(what) = long {
        return Err(SandboxError::Internal(format!("it hands on {what}")));
    }
    let payload = payload.into();
    if let Payload::Tensors(tensors) = &payload
        && let Some(error) = tensors.iter().find_map(|tensor| tensor.check().err())
    {
        return Err(SandboxError::Internal(format!("it hands on a malformed tensor: {error}")));
    }
    Ok(payload)
}

impl From<Tensor> for wit::Tensor {
    fn from(tensor: Tensor) -> Self {
        Self { name: tensor.name, datatype: tensor.datatype.into(), shape: tensor.shape, data: tensor.data }
    }
}

impl From<wit::Tensor> for Tensor {
    fn from(tensor: wit::Tensor) -> Self {
        Self { name: tensor.name, datatype: tensor.datatype.into(), shape: tensor.shape, data: tensor.data }
    }
}

macro_rules! datatypes {
    ($($name:ident),+ $(,)?) => {
        impl From<Datatype> for wit::Datatype {
            fn from(datatype: Datatype) -> Self {
                match datatype { $(Datatype::$name => Self::$name),+ }
            }
        }

        impl From<wit::Datatype> for Datatype {
            fn from(datatype: wit::Datatype) -> Self {
                match datatype { $(wit::Datatype::$name => Self::$name),+ }
            }
        }
    };
}

datatypes!(Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Fp16, Bf16, Fp32, Fp64, Bytes);

impl From<wit::PluginError> for SandboxError {
    fn from(error: wit::PluginError) -> Self {
        match error {
            wit::PluginError::InvalidInput(invalid) => Self::Invalid { pointer: bounded(invalid.pointer), message: bounded(invalid.message) },
            wit::PluginError::Unavailable(message) => Self::Unavailable(bounded(message)),
            wit::PluginError::Internal(message) => Self::Internal(bounded(message)),
        }
    }
}

/// Messages of guests go into answers and log lines.
fn bounded(text: String) -> String {
    const MOST: usize = 1000;
    if text.len() <= MOST && !text.contains(char::is_control) { text } else { text.chars().filter(|c| !c.is_control()).take(MOST).collect() }
}

impl From<export::Description> for Description {
    fn from(description: export::Description) -> Self {
        Self {
            summary: bounded(description.summary),
            request: description.hooks.contains(export::Hooks::REQUEST),
            before: description.hooks.contains(export::Hooks::BEFORE),
            after: description.hooks.contains(export::Hooks::AFTER),
            accepts: accepts(description.accepts),
            input_schema: schema(description.input_schema),
            output_schema: schema(description.output_schema),
            config_schema: schema(description.config_schema),
            produces: signatures(description.produces),
            consumes: signatures(description.consumes),
        }
    }
}

impl From<prediction::Description> for PredictorDescription {
    fn from(description: prediction::Description) -> Self {
        let graphs = description.graphs.into_iter();
        Self {
            summary: bounded(description.summary),
            request: description.request,
            takes: description.takes.into(),
            gives: description.gives.into(),
            accepts: accepts(description.accepts),
            input_schema: schema(description.input_schema),
            output_schema: schema(description.output_schema),
            config_schema: schema(description.config_schema),
            graphs: graphs
                .take(MOST_TENSORS)
                .map(|graph| GraphUse {
                    name: bounded(graph.name),
                    inputs: signatures(graph.inputs),
                    outputs: signatures(graph.outputs),
                    stands_for: graph.stands_for.map(bounded),
                })
                .collect(),
        }
    }
}

impl From<prediction::Ports> for Ports {
    fn from(ports: prediction::Ports) -> Self {
        match ports {
            prediction::Ports::Body => Self::Body,
            prediction::Ports::Tensors(list) => Self::Tensors(signatures(list)),
            prediction::Ports::Graph(name) => Self::Graph(bounded(name)),
        }
    }
}

/// Tensors of a plugin's description at most: they are kept and shown. Far more than any model has.
const MOST_TENSORS: usize = 256;

fn signatures(list: Vec<wit::TensorSignature>) -> Vec<TensorSignature> {
    let signature = |port: wit::TensorSignature| TensorSignature {
        name: bounded(port.name),
        datatype: port.datatype.into(),
        shape: port.shape.into_iter().take(DIMENSIONS).map(|extent| extent.max(-1)).collect(),
    };
    list.into_iter().take(MOST_TENSORS).map(signature).collect()
}

fn schema(text: Option<String>) -> Option<Value> {
    text.and_then(|text| serde_json::from_str(&text).ok())
}

fn accepts(list: Vec<String>) -> Vec<String> {
    list.into_iter().take(64).map(bounded).collect()
}
