//! A version's configuration as Triton's clients read it.

use bulkhead_registry::Batching;
use serde_json::{Map, Value, json};

use super::face::{Face, FacePort, max_batch_size};
use crate::predict::Slot;
use crate::tensor::Datatype;

/// The fields of Triton's `ModelConfig` that mean something here.
pub(super) struct Config<'a> {
    pub(super) name: &'a str,
    pub(super) platform: &'static str,
    pub(super) backend: &'static str,
    /// 0 where the protocol's idea of a batch does not fit.
    pub(super) max_batch_size: usize,
    pub(super) instances: usize,
    pub(super) is_on_gpu: bool,
    pub(super) file: &'static str,
    /// Where requests share runs.
    pub(super) batching: Option<&'a Batching>,
    /// Keeps its answers.
    pub(super) is_cached: bool,
    face: Face,
}

/// An input or output, without the axis of the batch.
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    pub(super) datatype: Datatype,
    pub(super) dims: &'a [i64],
    pub(super) optional: bool,
}

impl<'a> Config<'a> {
    pub(super) fn of(slot: &'a Slot) -> Self {
        let (face, engine) = (Face::of(slot), slot.engine());
        let max_batch_size = max_batch_size(slot);
        let (backend, file) = if engine.is_some() { ("onnxruntime", "model.onnx") } else { ("bulkhead", "") };
        Self {
            name: slot.model(),
            platform: face.platform,
            backend,
            max_batch_size,
            instances: engine.map_or(1, |model| model.instances()),
            is_on_gpu: engine.is_some_and(|model| model.is_on_gpu()),
            file,
            batching: engine.filter(|_| max_batch_size > 0).map(|model| model.batching()),
            is_cached: slot.is_cached(),
            face,
        }
    }

    pub(super) fn inputs(&self) -> Vec<Input<'_>> {
        self.face.inputs.iter().map(|port| self.port(port)).collect()
    }

    pub(super) fn outputs(&self) -> Vec<Input<'_>> {
        self.face.outputs.iter().map(|port| self.port(port)).collect()
    }

    fn port<'p>(&self, port: &'p FacePort) -> Input<'p> {
        let dims = if self.max_batch_size > 0 { port.shape.get(1..).unwrap_or_default() } else { &port.shape };
        Input { name: &port.name, datatype: port.datatype, dims, optional: port.optional }
    }

    /// In snake case, with numbers as numbers, as Triton writes it.
    pub(super) fn document(&self) -> Value {
        let input = |port: &Input<'_>| {
            json!({
                "name": port.name, "data_type": data_type(port.datatype), "format": "FORMAT_NONE", "dims": port.dims,
                "is_shape_tensor": false, "allow_ragged_batch": false, "optional": port.optional, "is_non_linear_format_io": false,
            })
        };
        let output = |port: &Input<'_>| {
            json!({
                "name": port.name, "data_type": data_type(port.datatype), "dims": port.dims, "label_filename": "",
                "is_shape_tensor": false, "is_non_linear_format_io": false,
            })
        };
        let kind = if self.is_on_gpu { "KIND_GPU" } else { "KIND_CPU" };
        let mut document = json!({
            "name": self.name,
            "platform": self.platform,
            "backend": self.backend,
            "runtime": "",
            "version_policy": { "latest": { "num_versions": 1 } },
            "max_batch_size": self.max_batch_size,
            "input": self.inputs().iter().map(input).collect::<Vec<_>>(),
            "output": self.outputs().iter().map(output).collect::<Vec<_>>(),
            "batch_input": [],
            "batch_output": [],
            "optimization": { "priority": "PRIORITY_DEFAULT" },
            "instance_group": [{ "name": self.name, "kind": kind, "count": self.instances, "gpus": [] }],
            "default_model_filename": self.file,
            "cc_model_filenames": {},
            "metric_tags": {},
            "parameters": {},
            "model_warmup": [],
            "model_transaction_policy": { "decoupled": false },
            "response_cache": { "enable": self.is_cached },
        });
        if let (Some(batching), Some(document)) = (self.batching, document.as_object_mut()) {
            document.insert("dynamic_batching".to_owned(), dynamic_batching(batching));
        }
        document
    }
}

fn dynamic_batching(batching: &Batching) -> Value {
    let policy = json!({
        "timeout_action": batching.timeout_action.as_str(),
        "default_timeout_microseconds": batching.default_timeout_microseconds,
        "allow_timeout_override": batching.allow_timeout_override,
        "max_queue_size": batching.max_queue_size,
    });
    json!({
        "preferred_batch_size": batching.preferred_batch_size,
        "max_queue_delay_microseconds": batching.max_queue_delay_microseconds,
        "preserve_ordering": batching.preserve_ordering,
        "priority_levels": batching.priority_levels,
        "default_priority_level": batching.default_priority_level,
        "default_queue_policy": policy,
        "priority_queue_policy": Map::new(),
    })
}

/// Triton's name of a type.
fn data_type(datatype: Datatype) -> String {
    match datatype {
        Datatype::Bytes => "TYPE_STRING".to_owned(),
        other => format!("TYPE_{other}"),
    }
}
