//! Bodies of changes, which must go on coming: who sends next to nothing would hold a connection and a file for ever. Those of
//! requests to models have deadlines.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::clock;

/// Bytes that come in a second, in the long run. Arbitrary: what the slowest lines carry.
const A_SECOND: u32 = 4 << 10;

/// A body that breaks off once it was waited for too long.
pub(super) struct Flowing {
    body: Body,
    limit: Duration,
    wait: Wait,
}

/// How long a body may be waited for yet: only what is waited counts.
pub(super) struct Wait {
    pub(super) left: Duration,
    /// While it is waited for.
    since: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Wait {
    /// So long.
    pub(super) fn new(left: Duration) -> Self {
        Self { left, since: None }
    }

    /// Something came.
    pub(super) fn came(&mut self) {
        if let Some((since, _)) = self.since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
    }

    /// Waits on; ready once that was too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (_, until) = self.since.get_or_insert_with(|| (clock::now(), Box::pin(sleep(self.left))));
        until.as_mut().poll(context)
    }
}

impl Flowing {
    /// So much may be waited for at one time.
    pub(super) fn new(body: Body, limit: Duration) -> Self {
        Self { body, limit, wait: Wait::new(limit) }
    }
}

impl http_body::Body for Flowing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.wait.came();
            let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
            let earned = Duration::from_secs(1) * u32::try_from(bytes).unwrap_or(u32::MAX) / A_SECOND;
            this.wait.left = this.limit.min(this.wait.left + earned);
            return Poll::Ready(frame);
        }
        ready!(this.wait.poll(context));
        let late = format!("less than {A_SECOND} bytes came in a second, for {} ms", this.limit.as_millis());
        Poll::Ready(Some(Err(axum::Error::new(late))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    /// Pieces of so many bytes, each after so long.
    fn body(pieces: usize, bytes: usize, pause: Duration) -> Body {
        let pieces = futures_util::stream::iter(0..pieces).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; bytes]))
        });
        Body::from_stream(pieces)
    }

    async fn read(body: Body) -> Result<usize, String> {
        let whole = axum::body::to_bytes(Body::new(Flowing::new(body, Duration::from_secs(2))), usize::MAX).await;
        whole.map(|bytes| bytes.len()).map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn who_goes_on_sending_may_take_long_and_who_trickles_may_not() {
        let pause = Duration::from_millis(100);
        let (steady, trickle, stalls, empty) = tokio::join!(
            read(body(30, 4 << 10, pause)),
            read(body(1000, 1, pause)),
            // What came fast before earns no longer pause.
            read(body(2, 1 << 20, Duration::from_secs(30))),
            read(Body::empty())
        );
        assert_eq!((steady, empty), (Ok(30 * (4 << 10)), Ok(0)));
        for late in [trickle, stalls] {
            let late = late.unwrap_err();
            assert!(late.contains("4096 bytes"), "{late}");
        }
    }
}
