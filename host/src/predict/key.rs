//! What makes two requests the same.

use sha2::{Digest as _, Sha256};

use super::Slot;
use crate::payload::Payload;
use crate::tensor::Tensor;
use crate::tensor_json;

/// Stands for a question: 256 bits, so that two never meet by chance, nor by anybody's effort.
pub(super) type Key = [u8; 32];

/// The key of a request by its text, to the letter; none that [`key`] gives.
pub(super) fn exact(slot: &Slot, headers: &[(String, String)], text: &str) -> Key {
    let mut hasher = begun(slot, headers);
    hasher.update(b"\0exact");
    part(&mut hasher, text.as_bytes());
    hasher.finalize().into()
}

/// The key of a request to a version.
pub(super) fn key(slot: &Slot, headers: &[(String, String)], payload: &Payload, outputs: &[String]) -> Key {
    let mut hasher = begun(slot, headers);
    hasher.update(b"\0outputs");
    count(&mut hasher, outputs.len());
    for output in outputs {
        part(&mut hasher, output.as_bytes());
    }
    match payload {
        Payload::Json(text) => {
            hasher.update(b"\0json");
            match tensor_json::canonical(text) {
                Some(text) => part(&mut hasher, text.as_bytes()),
                // What is no JSON, is long, or has a key twice, is only ever like itself.
                None => {
                    hasher.update(b"\0as it is");
                    part(&mut hasher, text.as_bytes());
                }
            }
        }
        Payload::Tensors(tensors) => {
            hasher.update(b"\0tensors");
            count(&mut hasher, tensors.len());
            let mut sorted: Vec<&Tensor> = tensors.iter().collect();
            sorted.sort_by(|a, b| a.name.cmp(&b.name));
            for tensor in sorted {
                part(&mut hasher, tensor.name.as_bytes());
                part(&mut hasher, tensor.datatype.name().as_bytes());
                count(&mut hasher, tensor.shape.len());
                for extent in &tensor.shape {
                    hasher.update(extent.to_le_bytes());
                }
                part(&mut hasher, &tensor.data);
            }
        }
        Payload::Blob { content_type, data } => {
            hasher.update(b"\0blob");
            part(&mut hasher, content_type.as_bytes());
            part(&mut hasher, data);
        }
    }
    hasher.finalize().into()
}

/// What the answer depends on beside the body.
fn begun(slot: &Slot, headers: &[(String, String)]) -> Sha256 {
    let mut hasher = Sha256::new();
    hasher.update(slot.identity());
    // Only who is told of the request sees its headers.
    let transforms = slot.transforms().iter().any(|transform| transform.description().request);
    if transforms || slot.predictor().is_some_and(|predictor| predictor.description().request) {
        count(&mut hasher, headers.len());
        for (name, value) in headers {
            part(&mut hasher, name.as_bytes());
            part(&mut hasher, value.as_bytes());
        }
    }
    hasher
}

/// With its length, so that what ends here can't begin there.
fn part(hasher: &mut Sha256, bytes: &[u8]) {
    count(hasher, bytes.len());
    hasher.update(bytes);
}

fn count(hasher: &mut Sha256, count: usize) {
    hasher.update((count as u64).to_le_bytes());
}
