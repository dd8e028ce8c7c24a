//! What a refused request still sends: read on for a while, and thrown away. A client that is still sending would otherwise
//! see a broken connection in place of the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;

/// For so long at most.
const LINGER: Duration = Duration::from_secs(10);

/// A body of so many bytes has left its sender by the time that it is refused: the buffers of two sockets hold more.
const SMALL: u64 = 16 << 10;

/// The body of a request, or what is left of it once its handler has dropped it.
pub(super) struct Unread(Arc<Mutex<Option<Body>>>);

impl Unread {
    /// Watches what becomes of the request's body; none where that is small or none.
    pub(super) fn watch(request: &mut Request<Body>) -> Option<Self> {
        if request.body().size_hint().upper().is_some_and(|bytes| bytes <= SMALL) {
            return None;
        }
        let left = Arc::new(Mutex::new(None));
        let waits = request.headers().contains_key(header::EXPECT);
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(Watched { body, waits, left: Arc::clone(&left) });
        Some(Self(left))
    }

    /// Reads on, and throws away, what nobody has read; meanwhile the answer leaves.
    pub(super) fn linger(self) {
        let Some(body) = self.0.lock().take() else { return };
        tokio::spawn(async move {
            let mut stream = body.into_data_stream();
            let discard = async { while let Some(Ok(_)) = stream.next().await {} };
            // Whether it ends or time does: the answer is the same.
            let _ = tokio::time::timeout(LINGER, discard).await;
        });
    }
}

/// Leaves what is not read of it behind.
struct Watched {
    body: Body,
    /// The client waits for a word before it sends anything, and none was asked for yet.
    waits: bool,
    left: Arc<Mutex<Option<Body>>>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.waits = false;
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.body.is_end_stream() && !self.waits {
            *self.left.lock() = Some(std::mem::take(&mut self.body));
        }
    }
}
