//! What a version takes and gives, as the protocol's clients see it.
//!
//! The inputs of a model without transforms are its own. Of one whose outermost transform takes bodies (pictures, JSON) it
//! is one string: the body. An answer that a transform makes is one string too.

use crate::engine::{Merging, Port};
use crate::predict::{ANSWER, Slot};
use crate::sandbox::{Description, Transform};
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
        let signature = slot.engine().signature();
        let json = || vec!["application/json".to_owned()];
        let inputs = match takes_body(slot) {
            Some(does) if does.accepts.is_empty() => vec![string(BODY, json())],
            Some(does) => vec![string(BODY, does.accepts.clone())],
            None => signature.inputs.iter().map(FacePort::from).collect(),
        };
        let outputs = match makes_answer(slot) {
            true => vec![string(ANSWER, json())],
            false => signature.outputs.iter().map(FacePort::from).collect(),
        };
        let platform = if slot.transforms().is_empty() { "onnxruntime_onnx" } else { "bulkhead_transforms" };
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

/// The outermost transform on the way in, where it takes a body.
pub(super) fn takes_body(slot: &Slot) -> Option<&Description> {
    let outermost = slot.transforms().iter().map(Transform::description).find(|does| does.before)?;
    (!outermost.accepts.is_empty() || outermost.input_schema.is_some()).then_some(outermost)
}

fn makes_answer(slot: &Slot) -> bool {
    slot.transforms().iter().any(|transform| transform.description().after)
}

/// Rows of one run, where the protocol's idea of a batch fits: the first axis of each input and output. Else 0.
pub(super) fn max_batch_size(slot: &Slot) -> usize {
    match slot.engine().merging() {
        Merging::On { max_rows, axes } if slot.transforms().is_empty() && axes.iter().all(|(_, axis)| *axis == Some(0)) => *max_rows,
        _ => 0,
    }
}
