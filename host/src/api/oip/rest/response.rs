//! An infer response: JSON, and the outputs that follow it as bytes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::frame::JSON_LENGTH;
use super::infer::Said;
use super::inflate::Encoding;
use crate::api::error::{ApiError, INVALID_INPUT};
use crate::aside::aside;
use crate::predict::Slot;
use crate::tensor::Tensor;
use crate::tensor_json::{self, Answer};

const LENGTH: HeaderName = HeaderName::from_static(JSON_LENGTH);

/// The answer to a request that said so.
///
/// # Errors
/// Names an output that JSON can't carry.
pub(super) async fn response(slot: &Slot, said: &Said, outputs: Vec<Tensor>, headers: &HeaderMap) -> Result<Response, ApiError> {
    let binary = |output: &Tensor| {
        let own = said.outputs.iter().find(|wanted| wanted.name == output.name).and_then(|wanted| wanted.binary);
        own.unwrap_or(said.binary_outputs)
    };
    let follow: Vec<bool> = outputs.iter().map(binary).collect();
    let answer = Answer { model: slot.model(), version: slot.version(), id: said.id.as_deref(), outputs: &outputs, follow: &follow };
    let bytes = outputs.iter().zip(&follow).filter(|(_, follows)| !**follows).map(|(output, _)| output.data.len()).sum();
    let json = aside(bytes, || tensor_json::encode(&answer)).map_err(|error| ApiError::new(INVALID_INPUT, error.to_string()))?;
    let length = json.len();
    let mut pieces = VecDeque::with_capacity(1 + outputs.len());
    pieces.push_back(Bytes::from(json));
    pieces.extend(
        outputs.into_iter().zip(&follow).filter(|(output, follows)| **follows && !output.data.is_empty()).map(|(output, _)| output.data.into()),
    );
    let bytes = pieces.iter().map(Bytes::len).sum();
    // Bytes that are none make no binary answer.
    let is_binary = pieces.len() > 1;
    let encoding = Encoding::of_answer(headers, bytes);
    let body = match encoding {
        None => Body::new(Pieces { pieces, left: bytes as u64 }),
        Some(encoding) => {
            // Milliseconds for large ones: not on a thread that others' requests share.
            let compressed = tokio::task::spawn_blocking(move || encoding.compress(pieces.iter().map(|piece| &piece[..]))).await;
            Body::from(compressed.map_err(|error| ApiError::internal(error.to_string()))?)
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let kind = if is_binary { "application/octet-stream" } else { "application/json" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if is_binary {
        headers.insert(LENGTH, HeaderValue::from(length));
    }
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, encoding.header());
    }
    Ok(response)
}

/// A body of pieces that are there, so that head and all pieces leave in one write.
struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
