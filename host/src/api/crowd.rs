//! A bound on open connections: one that sends nothing takes memory, too, and a descriptor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock;

/// How often the log tells of connections that are refused.
const TELL: Duration = Duration::from_secs(10);

/// The open connections of a listener.
pub(super) struct Crowd {
    places: Arc<Semaphore>,
    most: usize,
    refused: IntCounter,
    told: Option<Instant>,
    since_told: u64,
}

impl Crowd {
    /// At most so many.
    pub(super) fn new(most: usize, refused: IntCounter) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(most)), most, refused, told: None, since_told: 0 }
    }

    /// A place for one more; none where all are taken, and then the log has a line of it now and then.
    pub(super) fn enter(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        self.refused.inc();
        self.since_told += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.told = Some(clock::now());
            let refused = std::mem::take(&mut self.since_told);
            tracing::warn!(
                open = self.most,
                refused,
                "as many connections are open as `http.max_connections` permits: further ones are closed at once"
            );
        }
        None
    }
}
