//! Between the protocol's tensors and what `predict/` takes and gives.

use super::face::{self, BODY};
use crate::api::error::{ApiError, INVALID_INPUT};
use crate::payload::Payload;
use crate::predict::{ANSWER, Slot};
use crate::tensor::{self, Datatype, Tensor};

/// What a version is given: its tensors, or the body that its outermost plugin takes.
///
/// # Errors
/// Where it takes a body, and something else came.
pub(super) fn payload(slot: &Slot, mut inputs: Vec<Tensor>, content_type: Option<String>) -> Result<Payload, ApiError> {
    // A plugin relies on it; a model by itself checks its inputs.
    let is_plain = slot.transforms().is_empty() && slot.predictor().is_none();
    for input in inputs.iter().filter(|_| !is_plain) {
        input.check().map_err(|error| ApiError::new(INVALID_INPUT, error.to_string()))?;
    }
    let Some(accepts) = face::takes_body(slot) else { return Ok(Payload::Tensors(inputs)) };
    let got: Vec<_> = inputs.iter().map(|input| format!("`{}` {} {:?}", input.name, input.datatype, input.shape)).collect();
    let refused = || {
        let takes = if accepts.is_empty() { "application/json".to_owned() } else { accepts.join(", ") };
        let got = if got.is_empty() { "nothing".to_owned() } else { got.join(", ") };
        let message = format!(
            "this model takes the body that its outermost plugin takes, as one input `{BODY}` of type BYTES and one element ({takes}); got {got}"
        );
        ApiError::new(INVALID_INPUT, message)
    };
    let input = inputs.pop().filter(|input| inputs.is_empty() && input.name == BODY && input.datatype == Datatype::Bytes).ok_or_else(refused)?;
    let data = match tensor::byte_strings(&input.data).as_deref() {
        Some([body]) => body.to_vec(),
        _ => return Err(refused()),
    };
    let content_type = content_type.filter(|kind| kind != "base64").or_else(|| accepts.first().cloned());
    match content_type.filter(|kind| !kind.eq_ignore_ascii_case("application/json")) {
        Some(content_type) => Ok(Payload::Blob { content_type, data }),
        None => match String::from_utf8(data) {
            Ok(text) => Ok(Payload::Json(text)),
            Err(_) => Err(ApiError::new(INVALID_INPUT, format!("input `{BODY}` should be JSON, and is no UTF-8"))),
        },
    }
}

/// The tensors that an answer is given as.
///
/// # Errors
/// Where it is larger than a string can be.
pub(super) fn outputs(payload: Payload) -> Result<Vec<Tensor>, ApiError> {
    let bytes = match payload {
        Payload::Tensors(tensors) => return Ok(tensors),
        Payload::Json(text) => text.into_bytes(),
        Payload::Blob { data, .. } => data,
    };
    let mut data = Vec::with_capacity(bytes.len() + size_of::<u32>());
    tensor::push_byte_string(&mut data, &bytes).map_err(|_| ApiError::internal("an answer of 4 GiB or more"))?;
    Ok(vec![Tensor { name: ANSWER.to_owned(), datatype: Datatype::Bytes, shape: vec![1], data }])
}
