//! What a body takes of its tenant's memory: all of it at once where its length is announced, and else piece by piece as it
//! comes; and what becomes of it where it is inflated.

use std::io::{self, Read};
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
#[derive(Clone)]
pub(super) struct Meter(Option<Arc<Inner>>);

struct Inner {
    held: Held,
    over: Mutex<Option<Exceeded>>,
}

impl Meter {
    /// That measures nothing.
    pub(super) const NONE: Self = Self(None);

    /// Of a request with these headers, whose body is of at most so many bytes; gives the body to read.
    ///
    /// # Errors
    /// Where the tenant's requests hold as much as they may.
    pub(super) fn of(app: &App, tenant: &TenantId, headers: &HeaderMap, (body, most): (Body, u64)) -> Result<(Self, Body), ApiError> {
        let Some(held) = app.tenants.hold(tenant) else { return Ok((Self(None), body)) };
        let inner = Arc::new(Inner { held, over: Mutex::default() });
        let body = match upload::length(headers) {
            // More than is taken at all is refused for that, and by who reads it.
            Some(length) if length > most => body,
            Some(length) => {
                inner.held.grow(length)?;
                body
            }
            None => Body::new(Metered { body, meter: Arc::clone(&inner) }),
        };
        Ok((Self(Some(inner)), body))
    }

    /// Reads what is read of another, and counts it.
    pub(super) fn reader<R: Read>(&self, reader: R) -> MeteredReader<'_, R> {
        MeteredReader { reader, meter: self }
    }

    /// The error of a request whose body was cut off because it took too much: that, and not that it broke off.
    pub(super) fn said(&self, error: ApiError) -> ApiError {
        self.0.as_ref().and_then(|inner| inner.over.lock().take()).map_or(error, ApiError::from)
    }
}

/// Ends with an error where the tenant's requests hold as much as they may.
pub(super) struct MeteredReader<'m, R> {
    reader: R,
    meter: &'m Meter,
}

impl<R: Read> Read for MeteredReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let Some(inner) = &self.meter.0 else { return Ok(read) };
        inner.held.grow(read as u64).map_err(|exceeded| {
            *inner.over.lock() = Some(exceeded.clone());
            io::Error::other(exceeded)
        })?;
        Ok(read)
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
