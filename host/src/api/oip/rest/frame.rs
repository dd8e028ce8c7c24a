//! What a body says by its lengths: JSON, and the tensors that follow it as bytes.
//!
//! The JSON comes first and tells how many bytes each tensor has. So each tensor's bytes go from the connection into
//! memory of their own as they come, without another copy.

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::{Buf as _, Bytes};

use super::inflate::Encoding;
use crate::api::error::{ApiError, INVALID_INPUT};
use crate::api::meter::Meter;
use crate::api::upload;
use crate::aside::aside;
use crate::tensor;
use crate::tensor_json::{self, Request};

/// Length of the JSON at the beginning of the body.
pub(super) const JSON_LENGTH: &str = "inference-header-content-length";

const WHAT: &str = "the body of a predict request";

/// A body that was read whole.
#[derive(Debug)]
pub enum Framed {
    /// It says that it has no JSON: the bytes of the one input.
    Bytes(Vec<u8>),
    /// A request, with the bytes of each of its tensors.
    Request(Request),
}

/// Reads a body of at most so many bytes, inflated where it is compressed.
///
/// # Errors
/// Names what was expected and what came: 400, 413 over the limit, 415 for an encoding that nobody here knows.
pub async fn read(headers: &HeaderMap, body: Body, limit: u64) -> Result<Framed, ApiError> {
    metered(headers, body, limit, &Meter::NONE).await
}

/// The same, where what it is inflated to counts.
pub(super) async fn metered(headers: &HeaderMap, body: Body, limit: u64, meter: &Meter) -> Result<Framed, ApiError> {
    let mut incoming = match Encoding::of_request(headers)? {
        None => Incoming { frames: upload::announced(WHAT, headers, body, limit)?, now: Bytes::new(), left: limit, limit },
        Some(encoding) => {
            let compressed = upload::whole(WHAT, headers, body, limit).await?;
            // Milliseconds for large ones: not on a thread that others' requests share.
            let meter = meter.clone();
            let inflated = tokio::task::spawn_blocking(move || encoding.inflate(&compressed, limit, &meter)).await;
            let inflated = inflated.map_err(|error| ApiError::internal(error.to_string()))??;
            Incoming { frames: Body::empty(), now: inflated.into(), left: limit, limit }
        }
    };
    let length = json_length(headers, limit)?;
    let text = match length {
        Some(0) => return Ok(Framed::Bytes(incoming.rest(headers).await?)),
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
    follow(&mut incoming, &mut request).await?;
    incoming.end().await?;
    Ok(Framed::Request(request))
}

pub(super) fn invalid(message: impl Into<String>) -> ApiError {
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
