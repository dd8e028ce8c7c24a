//! What a version takes and gives, as the protocol's clients see it.
//!
//! The inputs of a model without transforms are its own. Of one whose outermost plugin takes bodies (pictures, JSON) it is
//! one string: the body. An answer that a plugin makes is one string too.

use crate::engine::Merging;
use crate::predict::{ANSWER, Slot};
use crate::runner::Port;
use crate::sandbox::Transform;
use crate::tensor::Datatype;

/// The input of a version that takes a body.
pub(super) const BODY: &str = "body";

/// What a version takes and gives.
pub(super) struct Face {
    pub(super) platform: &'static str,
    pub(super) inputs: Vec<FacePort>,
    pub(super) outputs: Vec<FacePort>,
}

/// An input or output.
pub(super) struct FacePort {
    pub(super) name: String,
    pub(super) datatype: Datatype,
    /// -1 stands for any extent.
    pub(super) shape: Vec<i64>,
    pub(super) optional: bool,
    /// Of a body or an answer.
    pub(super) content_types: Vec<String>,
}

impl Face {
    pub(super) fn of(slot: &Slot) -> Self {
        let signature = slot.signature();
        let json = || vec!["application/json".to_owned()];
        let inputs = match takes_body(slot) {
            Some([]) => vec![string(BODY, json())],
            Some(accepts) => vec![string(BODY, accepts.to_vec())],
            None => signature.inputs.iter().map(FacePort::from).collect(),
        };
        let outputs = match makes_answer(slot) {
            true => vec![string(ANSWER, json())],
            false => signature.outputs.iter().map(FacePort::from).collect(),
        };
        let platform = match (slot.predictor(), slot.transforms()) {
            (Some(_), _) => "bulkhead_predictor",
            (None, []) => "onnxruntime_onnx",
            (None, _) => "bulkhead_transforms",
        };
        Self { platform, inputs, outputs }
    }
}

impl From<&Port> for FacePort {
    fn from(port: &Port) -> Self {
        Self {
            name: port.name.clone(),
            datatype: port.datatype,
            shape: port.shape.clone().unwrap_or_default(),
            optional: port.optional,
            content_types: Vec::new(),
        }
    }
}

fn string(name: &str, content_types: Vec<String>) -> FacePort {
    FacePort { name: name.to_owned(), datatype: Datatype::Bytes, shape: vec![1], optional: false, content_types }
}

/// The content types of bodies, where the outermost plugin takes bodies; none named stands for JSON.
pub(super) fn takes_body(slot: &Slot) -> Option<&[String]> {
    match (slot.transforms().iter().map(Transform::description).find(|does| does.before), slot.predictor()) {
        (Some(outermost), _) => (!outermost.accepts.is_empty() || outermost.input_schema.is_some()).then_some(&outermost.accepts),
        (None, Some(predictor)) => (!slot.core().takes_tensors()).then_some(&predictor.description().accepts),
        (None, None) => None,
    }
}

fn makes_answer(slot: &Slot) -> bool {
    slot.transforms().iter().any(|transform| transform.description().after) || !slot.core().gives_tensors()
}

/// Rows of one run, where the protocol's idea of a batch fits: the first axis of each input and output. Else 0.
pub(super) fn max_batch_size(slot: &Slot) -> usize {
    match slot.engine().map(|engine| engine.merging()) {
        Some(Merging::On { max_rows, axes }) if slot.transforms().is_empty() && axes.iter().all(|(_, axis)| *axis == Some(0)) => *max_rows,
        _ => 0,
    }
}
