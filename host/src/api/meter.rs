//! What a predict request's body takes of its tenant's memory: all of it at once where its length is announced, and else
//! piece by piece as it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::HeaderMap;
use bulkhead_registry::TenantId;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use super::App;
use super::error::ApiError;
use super::upload;
use crate::tenants::{Exceeded, Held};

/// Lives as long as what it measures is in memory.
pub(super) struct Meter(Option<Arc<Inner>>);

struct Inner {
    held: Held,
    over: Mutex<Option<Exceeded>>,
}

impl Meter {
    /// Of a request with these headers; gives the body to read.
    ///
    /// # Errors
    /// Where the tenant's requests hold as much as they may.
    pub(super) fn of(app: &App, tenant: &TenantId, headers: &HeaderMap, body: Body) -> Result<(Self, Body), ApiError> {
        let Some(held) = app.tenants.hold(tenant) else { return Ok((Self(None), body)) };
        let inner = Arc::new(Inner { held, over: Mutex::default() });
        let body = match upload::length(headers) {
            // More than is taken at all is refused for that, and by who reads it.
            Some(length) if length > app.http.max_body_bytes => body,
            Some(length) => {
                inner.held.grow(length)?;
                body
            }
            None => Body::new(Metered { body, meter: Arc::clone(&inner) }),
        };
        Ok((Self(Some(inner)), body))
    }

    /// The error of a request whose body was cut off because it took too much: that, and not that it broke off.
    pub(super) fn said(&self, error: ApiError) -> ApiError {
        self.0.as_ref().and_then(|inner| inner.over.lock().take()).map_or(error, ApiError::from)
    }
}

struct Metered {
    body: Body,
    meter: Arc<Inner>,
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        Poll::Ready(match self.meter.held.grow(bytes as u64) {
            Ok(()) => frame,
            Err(exceeded) => {
                *self.meter.over.lock() = Some(exceeded.clone());
                Some(Err(axum::Error::new(exceeded)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
