//! Multipart forms: parts read whole within a bound, or streamed to where they are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest as _, Request};
use bulkhead_registry::Upload;
use futures_util::StreamExt as _;

use super::error::{ApiError, INVALID_INPUT, UNSUPPORTED_MEDIA_TYPE};

/// Bytes that may come before a part's content begins. Its headers are collected in memory, and what stands before the
/// first part is too. Arbitrary: far more than a browser sends, the beginning of the content included that arrives along.
pub(super) const BETWEEN_PARTS: usize = 1 << 20;

/// A form whose parts come one by one.
pub(super) struct Form {
    parts: Multipart,
    /// Bytes that may still come.
    left: Arc<AtomicUsize>,
}

impl Form {
    /// # Errors
    /// 415 where it is no form; `expected` says of what.
    pub(super) async fn of(request: Request, expected: &str) -> Result<Self, ApiError> {
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let (head, body) = request.into_parts();
        let bound = Arc::clone(&left);
        let body = body.into_data_stream().map(move |chunk| within(&bound, chunk.map_err(std::io::Error::other)?));
        let request = Request::from_parts(head, Body::from_stream(body));
        let parts = Multipart::from_request(request, &()).await;
        let parts = parts
            .map_err(|error| ApiError::new(UNSUPPORTED_MEDIA_TYPE, format!("expected a multipart form with {expected}: {}", error.body_text())))?;
        Ok(Self { parts, left })
    }

    /// The next part; the one before it must have been read.
    pub(super) async fn next_part(&mut self) -> Result<Option<Field<'_>>, ApiError> {
        self.left.store(BETWEEN_PARTS, Ordering::Relaxed);
        let part = self.parts.next_field().await;
        if self.left.swap(usize::MAX, Ordering::Relaxed) == 0 {
            return Err(ApiError::new(INVALID_INPUT, format!("expected the headers of a part of the form within {BETWEEN_PARTS} bytes, got none")));
        }
        part.map_err(broken)
    }
}

/// Ends the stream where it may not go on.
fn within(left: &AtomicUsize, chunk: Bytes) -> std::io::Result<Bytes> {
    let before = left.load(Ordering::Relaxed);
    let after = before.saturating_sub(chunk.len());
    left.store(if before == usize::MAX { before } else { after }, Ordering::Relaxed);
    if after == 0 { Err(std::io::Error::other("too much between parts")) } else { Ok(chunk) }
}

/// A part as text.
pub(super) async fn text(mut part: Field<'_>, limit: usize) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(broken)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > limit {
            return Err(ApiError::too_large("the manifest", limit as u64));
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::new(INVALID_INPUT, "the manifest is no UTF-8"))
}

/// A part, streamed to where artifacts are kept.
pub(super) async fn store(mut part: Field<'_>, upload: &mut Upload) -> Result<(), ApiError> {
    while let Some(chunk) = part.chunk().await.map_err(broken)? {
        upload.write(&chunk).await?;
    }
    Ok(())
}

fn broken(error: MultipartError) -> ApiError {
    ApiError::new(INVALID_INPUT, format!("the multipart form is malformed or broke off: {}", error.body_text()))
}
