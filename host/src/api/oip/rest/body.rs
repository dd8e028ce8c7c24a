//! An infer request from its body: JSON, and the tensors that follow it as bytes.
//!
//! The JSON comes first and tells how many bytes each tensor has. So each tensor's bytes go from the connection into
//! memory of their own as they come, without another copy.

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::{Buf as _, Bytes};

use super::infer::Said;
use super::inflate::Encoding;
use crate::api::error::{ApiError, INVALID_INPUT};
use crate::api::oip::ask;
use crate::api::oip::face::{Face, FacePort};
use crate::api::upload;
use crate::aside::aside;
use crate::predict::{Ask, CacheUse, Slot};
use crate::tensor::{self, Tensor};
use crate::tensor_json::{self, Request};

/// Length of the JSON at the beginning of the body.
pub(super) const JSON_LENGTH: &str = "inference-header-content-length";

const WHAT: &str = "the body of a predict request";

/// Reads a request for this version.
///
/// # Errors
/// Names the input, what was expected and what came.
pub(super) async fn read(slot: &Slot, headers: &HeaderMap, body: Body, limit: u64) -> Result<(Ask, Said), ApiError> {
    let mut incoming = match Encoding::of_request(headers)? {
        None => Incoming { frames: upload::announced(WHAT, headers, body, limit)?, now: Bytes::new(), left: limit, limit },
        Some(encoding) => {
            let compressed = upload::whole(WHAT, headers, body, limit).await?;
            // Milliseconds for large ones: not on a thread that others' requests share.
            let inflated = tokio::task::spawn_blocking(move || encoding.inflate(&compressed, limit)).await;
            let inflated = inflated.map_err(|error| ApiError::internal(error.to_string()))??;
            Incoming { frames: Body::empty(), now: inflated.into(), left: limit, limit }
        }
    };
    request(slot, headers, &mut incoming).await
}

async fn request(slot: &Slot, headers: &HeaderMap, incoming: &mut Incoming) -> Result<(Ask, Said), ApiError> {
    let request = match json_length(headers, incoming.limit)? {
        Some(0) => {
            let data = incoming.rest(headers).await?;
            raw(slot, data)?
        }
        length => {
            let text = match length {
                Some(length) => incoming.take(length, "the JSON", JSON_LENGTH).await?,
                None => incoming.rest(headers).await?,
            };
            let text = String::from_utf8(text).map_err(|_| invalid(format!("the JSON of the body is no UTF-8{}", ends(length))))?;
            let mut request = aside(text.len(), || tensor_json::decode(&text)).map_err(|mut malformed| {
                if malformed.pointer.is_empty() && length.is_some() {
                    malformed.message.push_str(&ends(length));
                }
                ApiError::from(malformed)
            })?;
            follow(incoming, &mut request).await?;
            incoming.end().await?;
            request
        }
    };
    let Request { id, inputs, mut content_types, outputs, binary_outputs, priority, timeout, .. } = request;
    let names = outputs.iter().map(|output| output.name.clone()).collect();
    let payload = ask::payload(slot, inputs, content_types.pop().flatten())?;
    Ok((Ask { payload, outputs: names, priority, timeout, cache: CacheUse::Any }, Said { id, outputs, binary_outputs }))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(INVALID_INPUT, message)
}

/// Where the JSON ends, for who wonders why it is none.
fn ends(length: Option<usize>) -> String {
    match length {
        Some(length) => format!("; it is the first {length} bytes of the body, as `Inference-Header-Content-Length` says"),
        None => "; it is the whole body, since there is no `Inference-Header-Content-Length`".to_owned(),
    }
}

fn json_length(headers: &HeaderMap, limit: u64) -> Result<Option<usize>, ApiError> {
    let Some(value) = headers.get(JSON_LENGTH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let length = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let length: usize =
        length.ok_or_else(|| invalid(format!("`Inference-Header-Content-Length` should be the number of bytes of the JSON, got `{text}`")))?;
    if length as u64 > limit {
        return Err(invalid(format!("`Inference-Header-Content-Length` says {length} bytes, and the whole body may have at most {limit}")));
    }
    Ok(Some(length))
}

/// Reads the tensors behind the JSON.
async fn follow(incoming: &mut Incoming, request: &mut Request) -> Result<(), ApiError> {
    for (at, bytes) in &request.follow {
        let input = &mut request.inputs[*at];
        let wrong = |expected: usize| {
            let (name, shape, datatype) = (&input.name, &input.shape, input.datatype);
            invalid(format!("input `{name}` of shape {shape:?} and type {datatype} takes {expected} bytes, and its `binary_data_size` is {bytes}"))
        };
        let expected = input.datatype.size().and_then(|size| tensor::elements(&input.shape)?.checked_mul(size));
        if let Some(expected) = expected.filter(|expected| expected != bytes) {
            return Err(wrong(expected));
        }
        input.data = incoming.take(*bytes, &format!("input `{}`", input.name), "binary_data_size").await?;
    }
    Ok(())
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

/// A body that is still coming.
struct Incoming {
    frames: Body,
    /// What came and was not taken yet.
    now: Bytes,
    /// Bytes that may still come.
    left: u64,
    limit: u64,
}

impl Incoming {
    /// The next piece; false at the end.
    async fn more(&mut self) -> Result<bool, ApiError> {
        while self.now.is_empty() {
            let Some(frame) = upload::next(&mut self.frames).await else { return Ok(false) };
            let frame = frame.map_err(|error| invalid(format!("{WHAT} broke off: {error}")))?;
            // The other kind of frame is trailers.
            let Ok(data) = frame.into_data() else { continue };
            self.left = match self.left.checked_sub(data.len() as u64) {
                Some(left) => left,
                None => return Err(ApiError::too_large(WHAT, self.limit)),
            };
            self.now = data;
        }
        Ok(true)
    }

    /// Exactly so many bytes.
    async fn take(&mut self, length: usize, what: &str, says: &str) -> Result<Vec<u8>, ApiError> {
        if length as u64 > self.left + self.now.len() as u64 {
            return Err(ApiError::too_large(&format!("{WHAT}, of which {what} takes {length} by `{says}`,"), self.limit));
        }
        // It may say what it likes.
        let mut bytes = Vec::with_capacity(length.min(upload::TRUSTED_BYTES));
        while bytes.len() < length {
            if !self.more().await? {
                return Err(invalid(format!("the body ends within {what}: `{says}` says {length} bytes, and {} came", bytes.len())));
            }
            let piece = self.now.len().min(length - bytes.len());
            bytes.extend_from_slice(&self.now[..piece]);
            self.now.advance(piece);
        }
        Ok(bytes)
    }

    /// All that is left.
    async fn rest(&mut self, headers: &HeaderMap) -> Result<Vec<u8>, ApiError> {
        let mut bytes = Vec::with_capacity(upload::reserved(headers).max(self.now.len()));
        while self.more().await? {
            bytes.extend_from_slice(&self.now);
            self.now.clear();
        }
        Ok(bytes)
    }

    /// Nothing is left.
    async fn end(&mut self) -> Result<(), ApiError> {
        let mut left = 0;
        while self.more().await? {
            left += self.now.len();
            self.now.clear();
        }
        if left == 0 {
            return Ok(());
        }
        Err(invalid(format!("{left} bytes are left over behind what `binary_data_size` of the inputs and `Inference-Header-Content-Length` say")))
    }
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
