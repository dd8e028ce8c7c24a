//! An infer request from its body, for the version that it asks.

use axum::body::Body;
use axum::http::HeaderMap;

use super::frame::{self, Framed, invalid};
use super::infer::Said;
use crate::api::error::ApiError;
use crate::api::meter::Meter;
use crate::api::oip::ask;
use crate::api::oip::face::{Face, FacePort};
use crate::predict::{Ask, CacheUse, Slot};
use crate::tensor::{self, Tensor};
use crate::tensor_json::Request;

/// Reads a request for this version.
///
/// # Errors
/// Names the input, what was expected and what came.
pub(super) async fn read(slot: &Slot, headers: &HeaderMap, body: Body, limit: u64, meter: &Meter) -> Result<(Ask, Said), ApiError> {
    let request = match frame::metered(headers, body, limit, meter).await? {
        Framed::Bytes(data) => raw(slot, data)?,
        Framed::Request(request) => request,
    };
    let Request { id, inputs, mut content_types, outputs, binary_outputs, priority, timeout, .. } = request;
    let names = outputs.iter().map(|output| output.name.clone()).collect();
    let payload = ask::payload(slot, inputs, content_types.pop().flatten())?;
    Ok((Ask { payload, outputs: names, priority, timeout, cache: CacheUse::Any }, Said { id, outputs, binary_outputs }))
}

/// A body that is the one input's bytes and nothing else; all outputs come back as bytes.
fn raw(slot: &Slot, data: Vec<u8>) -> Result<Request, ApiError> {
    let face = Face::of(slot);
    let [port] = face.inputs.as_slice() else {
        let names: Vec<_> = face.inputs.iter().map(|port| format!("`{}`", port.name)).collect();
        return Err(invalid(format!("a body without JSON is for models of one input; this one takes {}", names.join(", "))));
    };
    let (shape, data) = match port.datatype.size() {
        None => {
            let mut element = Vec::with_capacity(data.len() + size_of::<u32>());
            tensor::push_byte_string(&mut element, &data).map_err(|_| invalid("a string has at most 4 GiB"))?;
            (port.shape.iter().map(|extent| (*extent).max(1)).collect(), element)
        }
        Some(size) => (raw_shape(port, data.len(), size)?, data),
    };
    let input = Tensor { name: port.name.clone(), datatype: port.datatype, shape, data };
    Ok(Request { inputs: vec![input], content_types: vec![None], binary_outputs: true, ..Request::default() })
}

/// Open extents: the first is one row, and a single other one is what the bytes tell; alone, it is that itself.
fn raw_shape(port: &FacePort, bytes: usize, size: usize) -> Result<Vec<i64>, ApiError> {
    let mut shape = port.shape.clone();
    let mut open: Vec<usize> = (0..shape.len()).filter(|at| shape[*at] < 0).collect();
    if open.len() > 1 && open[0] == 0 {
        shape[0] = 1;
        open.remove(0);
    }
    let fits = match open.as_slice() {
        [] => tensor::elements(&shape).and_then(|elements| elements.checked_mul(size)) == Some(bytes),
        [at] => {
            shape[*at] = 1;
            let one = tensor::elements(&shape).and_then(|elements| elements.checked_mul(size)).filter(|one| *one > 0 && bytes.is_multiple_of(*one));
            shape[*at] = one.and_then(|one| i64::try_from(bytes / one).ok()).unwrap_or(-1);
            one.is_some()
        }
        _ => false,
    };
    if fits {
        return Ok(shape);
    }
    let (name, expected) = (&port.name, &port.shape);
    Err(invalid(format!(
        "input `{name}` takes {} of the shape {expected:?}, and a body of {bytes} bytes does not make one; send JSON with the shape",
        port.datatype
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Datatype;

    #[test]
    fn a_body_alone_has_the_shape_that_fits_it() {
        let port = |shape: &[i64]| FacePort {
            name: "x".to_owned(),
            datatype: Datatype::Fp32,
            shape: shape.to_vec(),
            optional: false,
            content_types: Vec::new(),
        };
        for (shape, bytes, expected) in [
            (&[-1, 4][..], 32, Some(vec![2, 4])),
            (&[-1, 3, -1], 24, Some(vec![1, 3, 2])),
            (&[2, 3], 24, Some(vec![2, 3])),
            (&[], 4, Some(vec![])),
            (&[2, 3], 20, None),
            (&[-1, 4], 20, None),
            (&[-1, -1, -1], 24, None),
            (&[-1, 0], 0, None),
        ] {
            assert_eq!(raw_shape(&port(shape), bytes, 4).ok(), expected, "{shape:?} {bytes}");
        }
    }
}
