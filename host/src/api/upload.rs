//! Bodies, read whole within a bound.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;

use super::error::{ApiError, INVALID_INPUT};

/// Memory that is reserved because a request says how long its body will be; it may say what it likes.
pub(super) const TRUSTED_BYTES: usize = 1 << 20;

/// Reads a body whole.
///
/// # Errors
/// 413 over the limit, by its announced length already; 400 where it breaks off.
pub(super) async fn whole(what: &str, headers: &HeaderMap, body: Body, limit: u64) -> Result<Vec<u8>, ApiError> {
    let mut body = announced(what, headers, body, limit)?;
    let mut bytes = Vec::with_capacity(reserved(headers));
    while let Some(frame) = next(&mut body).await {
        let frame = frame.map_err(|error| ApiError::new(INVALID_INPUT, format!("{what} broke off: {error}")))?;
        // The other kind of frame is trailers.
        let Ok(data) = frame.into_data() else { continue };
        if (bytes.len() + data.len()) as u64 > limit {
            return Err(ApiError::too_large(what, limit));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// The next piece of a body; none at its end.
///
/// A body whose length was announced is over when all of it is there. To be told so by another poll would cost a round
/// through the scheduler: the sender of the pieces is the connection's own task.
pub(super) async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, axum::Error>> {
    if body.is_end_stream() {
        return None;
    }
    body.frame().await
}

/// The body, unless it says itself that it is too large.
///
/// # Errors
/// 413 over the limit.
pub(super) fn announced(what: &str, headers: &HeaderMap, body: Body, limit: u64) -> Result<Body, ApiError> {
    if length(headers).is_none_or(|length| length <= limit) { Ok(body) } else { Err(ApiError::too_large(what, limit)) }
}

/// Bytes of memory that a body is worth reserving before it comes.
pub(super) fn reserved(headers: &HeaderMap) -> usize {
    usize::try_from(length(headers).unwrap_or(0)).unwrap_or(usize::MAX).min(TRUSTED_BYTES)
}

pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
