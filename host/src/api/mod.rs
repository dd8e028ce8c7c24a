//! HTTP only: decode, one call into a room, encode. The only room that knows status codes and wire types.

mod accept;
mod access;
mod audit;
mod call;
mod crowd;
mod document;
mod error;
mod extract;
mod flowing;
mod form;
mod health;
mod keys;
mod meter;
mod models;
mod oip;
mod openapi;
mod plugins;
mod predict;
mod revocations;
mod router;
mod serve;
mod signatures;
mod tenants;
mod trust_roots;
mod unread;
mod upload;
mod versions;
mod whoami;

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

pub use access::Access;
pub use error::{ApiError, CODES, Code};
pub use oip::rest::{Framed, read_frame};
pub use router::{admin, grpc, public};
pub use serve::{Patience, Protocol, Service, bind, serve};
pub use versions::{Brought, read_upload};

use crate::config::Http;
use crate::identity::Identity;
use crate::loader::{Loader, Problem};
use crate::telemetry::metrics::Metrics;
use crate::tenants::{Tenants, Turns};

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
    /// Metrics go by Triton's names too.
    pub nv_names: bool,
    /// Lets callers in.
    pub access: Access,
    /// Changes who may come in.
    pub identity: Identity,
    /// What each tenant may take, and takes: places of predict requests among it.
    pub tenants: Arc<Tenants>,
    /// Whose request goes on next.
    pub turns: Turns,
    /// Where the host is between start and stop.
    pub life: Life,
    /// Keeps other hosts out of the data folder while this one lives.
    pub lock: std::fs::File,
}

/// Runs a change to its end on a task of its own: a client that goes away must not leave one half done, with the
/// registry saying one thing and the table of what answers another.
async fn to_its_end<T, E>(change: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, error::ApiError>
where
    T: Send + 'static,
    E: Into<error::ApiError> + Send + 'static,
{
    let done = tokio::spawn(change).await.map_err(|error| error::ApiError::internal(error.to_string()))?;
    done.map_err(Into::into)
}

/// Where the host is between start and stop.
#[derive(Default)]
pub struct Life {
    stage: watch::Sender<Stage>,
    problems: RwLock<Vec<Problem>>,
}

#[derive(Clone, Copy, Default)]
struct Stage {
    started: bool,
    stopping: bool,
}

impl Life {
    /// Everything that could be loaded is; these could not.
    pub fn started(&self, problems: Vec<Problem>) {
        *self.problems.write() = problems;
        self.stage.send_modify(|stage| stage.started = true);
    }

    /// No new work is wanted.
    pub fn stopping(&self) {
        self.stage.send_modify(|stage| stage.stopping = true);
    }

    fn has_started(&self) -> bool {
        self.stage.borrow().started
    }

    fn is_stopping(&self) -> bool {
        self.stage.borrow().stopping
    }

    /// Everything is loaded, and nobody has told the host to stop.
    fn is_ready(&self) -> bool {
        self.has_started() && !self.is_stopping()
    }

    /// Waits until somebody tells the host to stop.
    async fn stops(&self) {
        // The sender is this.
        let _ = self.watch().wait_for(|stage| stage.stopping).await;
    }

    /// Tells of each change.
    fn watch(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }
}
