//! HTTP only: decode, one call into a room, encode. The only room that knows status codes and wire types.

mod call;
mod document;
mod error;
mod extract;
mod form;
mod health;
mod models;
mod oip;
mod openapi;
mod plugins;
mod predict;
mod router;
mod serve;
mod upload;
mod versions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tokio::sync::Semaphore;

pub use error::{CODES, Code};
pub use router::{admin, public};
pub use serve::{bind, serve};

use crate::config::Http;
use crate::loader::{Loader, LoaderError, Problem};
use crate::telemetry::metrics::Metrics;

/// What handlers work with; cheap to clone.
pub type App = Arc<AppState>;

/// What handlers work with.
pub struct AppState {
    /// Loads and unloads.
    pub loader: Loader,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Bounds of requests.
    pub http: Http,
    /// Predict requests at one time.
    pub in_flight: Semaphore,
    /// Where the host is between start and stop.
    pub life: Life,
    /// Keeps other hosts out of the data folder while this one lives.
    pub lock: std::fs::File,
}

/// Runs a change to its end on a task of its own: a client that goes away must not leave one half done, with the
/// registry saying one thing and the table of what answers another.
async fn to_its_end<T: Send + 'static>(change: impl Future<Output = Result<T, LoaderError>> + Send + 'static) -> Result<T, error::ApiError> {
    let done = tokio::spawn(change).await.map_err(|error| error::ApiError::internal(error.to_string()))?;
    Ok(done?)
}

/// Where the host is between start and stop.
#[derive(Default)]
pub struct Life {
    started: AtomicBool,
    stopping: AtomicBool,
    problems: RwLock<Vec<Problem>>,
}

impl Life {
    /// Everything that could be loaded is; these could not.
    pub fn started(&self, problems: Vec<Problem>) {
        *self.problems.write() = problems;
        self.started.store(true, Ordering::Release);
    }

    /// Everything is loaded, and nobody has told the host to stop.
    fn is_ready(&self) -> bool {
        self.has_started() && !self.stopping.load(Ordering::Acquire)
    }

    fn has_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// No new work is wanted.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}
