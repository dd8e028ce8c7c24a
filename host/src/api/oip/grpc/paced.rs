//! The messages of a stream must keep coming once they have begun: one that stalls would hold its memory for ever. Between
//! two messages a stream may be silent for as long as it likes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::status::status;
use crate::api::flowing::Wait;
use crate::tenants::{Exceeded, Held, Place};

/// Bytes before each message: a flag, and its length.
const PREFIX: usize = 5;

/// Begins to count what a message holds; none where that is not bounded.
pub(super) type Hold = Box<dyn Fn() -> Option<Held> + Send>;

/// The body of a call whose messages hold tensors; of a stream with its place among the open ones.
pub(super) struct Paced {
    body: Body,
    framing: Framing,
    limit: Duration,
    /// Of the message at hand.
    wait: Wait,
    /// Of the message at hand, as its tenant's requests hold it until it is there.
    held: Option<Held>,
    hold: Hold,
    _place: Option<Place>,
}

impl Paced {
    /// Each message has so long to come.
    pub(super) fn new(body: Body, limit: Duration, hold: Hold, place: Option<Place>) -> Self {
        Self { body, framing: Framing::default(), limit, wait: Wait::new(limit), held: None, hold, _place: place }
    }

    /// Reads on where the messages of a piece end, and counts what is of one that does not yet.
    fn count(&mut self, data: &[u8]) -> Result<(), Exceeded> {
        if self.framing.feed(data) {
            // A message ended here; another that began here has its own time.
            self.wait.left = self.limit;
            self.held = None;
        }
        if !self.framing.is_within() {
            return Ok(());
        }
        if self.held.is_none() {
            self.held = (self.hold)();
        }
        self.held.iter().try_for_each(|held| held.grow(data.len() as u64))
    }
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.wait.came();
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).cloned();
            return Poll::Ready(match data.map_or(Ok(()), |data| this.count(&data)) {
                Ok(()) => frame,
                Err(exceeded) => Some(Err(axum::Error::new(status(&exceeded.into(), "")))),
            });
        }
        if !this.framing.is_within() {
            return Poll::Pending;
        }
        ready!(this.wait.poll(context));
        let late = tonic::Status::deadline_exceeded("a message was not there in whole in time");
        Poll::Ready(Some(Err(axum::Error::new(late))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where in a message a stream is.
#[derive(Default)]
struct Framing {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that are there.
    have: usize,
    /// Bytes of the message that are not.
    left: usize,
}

impl Framing {
    /// Reads on; whether a message ended.
    fn feed(&mut self, mut data: &[u8]) -> bool {
        let mut ended = false;
        while !data.is_empty() {
            if self.left == 0 {
                let piece = data.len().min(PREFIX - self.have);
                self.prefix[self.have..self.have + piece].copy_from_slice(&data[..piece]);
                self.have += piece;
                data = &data[piece..];
                if self.have < PREFIX {
                    break;
                }
                let [_, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length) as usize;
            } else {
                let piece = data.len().min(self.left);
                self.left -= piece;
                data = &data[piece..];
            }
            if self.left == 0 {
                self.have = 0;
                ended = true;
            }
        }
        ended
    }

    fn is_within(&self) -> bool {
        self.have > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_counts_while_it_comes_and_no_longer() {
        use bulkhead_registry::Quotas;
        use http_body_util::BodyExt as _;

        use crate::tenants::Tenants;
        let tenants = std::sync::Arc::new(Tenants::new(Quotas { queued_mb: Some(1), ..Quotas::default() }, 1));
        let tenant: bulkhead_registry::TenantId = "acme".parse().unwrap();
        let paced = |messages: &[usize]| {
            let bytes: Vec<u8> = messages.iter().flat_map(|length| [&[0][..], &(*length as u32).to_be_bytes(), &vec![7; *length]].concat()).collect();
            let pieces: Vec<_> = bytes.chunks(16 << 10).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
            let (tenants, tenant) = (std::sync::Arc::clone(&tenants), tenant.clone());
            let body = Body::from_stream(futures_util::stream::iter(pieces));
            Paced::new(body, Duration::from_secs(9), Box::new(move || tenants.hold(&tenant)), None)
        };
        // Many that fit, one after the other; and one that does not.
        assert!(paced(&[1_000_000; 5]).collect().await.is_ok());
        let error = paced(&[1_000_000, 2_000_000]).collect().await.unwrap_err();
        let error = tonic::Status::from_error(error.into_inner());
        assert!(error.code() == tonic::Code::ResourceExhausted && error.message().contains("`queued_mb` of 1"), "{error}");
        tenants.hold(&tenant).unwrap().grow(1 << 20).expect("all was given back");
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        // Of three bytes, of none, and the beginning of one of 256.
        let stream = [&[0, 0, 0, 0, 3, 1, 2, 3][..], &[0, 0, 0, 0, 0], &[0, 0, 0, 1, 0, 9]].concat();
        for size in 1..=stream.len() {
            let mut framing = Framing::default();
            let ended = stream.chunks(size).filter(|piece| framing.feed(piece)).count();
            assert!((1..=2).contains(&ended), "{size}");
            assert!(framing.is_within() && framing.left == 255, "{size}");
        }
        let mut framing = Framing::default();
        assert!(!framing.feed(&[0, 0]) && framing.is_within());
        assert!(!framing.feed(&[0, 0, 1]) && framing.is_within());
        assert!(framing.feed(&[7]) && !framing.is_within());
    }
}
