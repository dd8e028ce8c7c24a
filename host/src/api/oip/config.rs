//! A version's configuration as Triton's clients read it: the fields of its `ModelConfig`, in snake case, with numbers as
//! numbers.

use serde_json::{Map, Value, json};

use super::face::{Face, FacePort, max_batch_size};
use crate::predict::Slot;
use crate::tensor::Datatype;

/// The configuration.
pub(super) fn document(slot: &Slot) -> Value {
    let face = Face::of(slot);
    let rows = max_batch_size(slot);
    let input = |port: &FacePort| {
        json!({
            "name": port.name, "data_type": data_type(port.datatype), "format": "FORMAT_NONE", "dims": dims(port, rows),
            "is_shape_tensor": false, "allow_ragged_batch": false, "optional": port.optional, "is_non_linear_format_io": false,
        })
    };
    let output = |port: &FacePort| {
        json!({
            "name": port.name, "data_type": data_type(port.datatype), "dims": dims(port, rows), "label_filename": "",
            "is_shape_tensor": false, "is_non_linear_format_io": false,
        })
    };
    let engine = slot.engine();
    let mut document = json!({
        "name": &**slot.model(),
        "platform": face.platform,
        "backend": "onnxruntime",
        "runtime": "",
        "version_policy": { "latest": { "num_versions": 1 } },
        "max_batch_size": rows,
        "input": face.inputs.iter().map(input).collect::<Vec<_>>(),
        "output": face.outputs.iter().map(output).collect::<Vec<_>>(),
        "batch_input": [],
        "batch_output": [],
        "optimization": { "priority": "PRIORITY_DEFAULT" },
        "instance_group": [{ "name": &**slot.model(), "kind": if engine.is_on_gpu() { "KIND_GPU" } else { "KIND_CPU" }, "count": engine.instances(), "gpus": [] }],
        "default_model_filename": "model.onnx",
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {},
        "model_warmup": [],
        "model_transaction_policy": { "decoupled": false },
    });
    if rows > 0
        && let Some(document) = document.as_object_mut()
    {
        document.insert("dynamic_batching".to_owned(), dynamic_batching(slot));
    }
    document
}

fn dynamic_batching(slot: &Slot) -> Value {
    let batching = slot.engine().batching();
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

/// Without the axis of the batch, where there is one.
fn dims(port: &FacePort, rows: usize) -> &[i64] {
    if rows > 0 { port.shape.get(1..).unwrap_or_default() } else { &port.shape }
}

/// Triton's name of a type.
fn data_type(datatype: Datatype) -> String {
    match datatype {
        Datatype::Bytes => "TYPE_STRING".to_owned(),
        other => format!("TYPE_{other}"),
    }
}
