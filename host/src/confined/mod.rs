//! Models of those who are not trusted, in a process of their tenant's own: an ONNX file is data for a large native parser,
//! and for kernels that it picks.
//!
//! The process (`child/`) is this program again. It has no file, no network and no other process: what it may read it is
//! given as an open file, over a pair of sockets; tensors lie in memory that both share. It holds an engine like the host's
//! own, with its queues and batches, so that only requests and answers travel. It may crash, eat memory or hang: a
//! [`Keeper`] sees it end, tells who waited, starts it again with the tenant's models, and stops doing so where that does
//! not help (`breaker.rs`). Nothing that it says is believed: see `lane.rs`.

mod breaker;
mod brought;
mod child;
mod keeper;
mod lane;
mod memory;
mod model;
mod process;
mod socket;
mod wire;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bulkhead_registry::TenantId;
use parking_lot::Mutex;

pub use brought::Brought;
pub use child::{ProcessOptions, run_process};
pub use keeper::{Keeper, LoadError};

use crate::engine::{Budget, Engine};
use crate::tenants::Tenant;

/// The hidden subcommand of this program that such a process is.
pub const SUBCOMMAND: &str = "engine-process";

/// How such processes are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// This program.
    pub program: PathBuf,
    /// ONNX Runtime's library.
    pub library: PathBuf,
    /// Cores that the models of one may use.
    pub cores: usize,
    /// Bytes that one may allocate.
    pub memory_bytes: u64,
    /// Bytes of tensors that requests may hold while they wait.
    pub max_queued_bytes: usize,
}

/// The processes of all tenants.
pub struct Confined {
    options: Arc<Options>,
    budget: Arc<Budget>,
    keepers: Mutex<HashMap<TenantId, Arc<Keeper>>>,
}

impl Confined {
    /// None runs yet; `engine` bounds the memory of requests, over all models wherever they run.
    #[must_use]
    pub fn new(options: Options, engine: &Engine) -> Self {
        Self { options: Arc::new(options), budget: Arc::clone(engine.budget()), keepers: Mutex::default() }
    }

    /// What looks after a tenant's process, which is started once a model is loaded.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn of(&self, tenant: &Arc<Tenant>) -> std::io::Result<Arc<Keeper>> {
        let mut keepers = self.keepers.lock();
        if let Some(keeper) = keepers.get(tenant.id()) {
            return Ok(Arc::clone(keeper));
        }
        let keeper = Keeper::start(tenant, Arc::clone(&self.options), self.budget.share_of(tenant))?;
        keepers.insert(tenant.id().clone(), Arc::clone(&keeper));
        Ok(keeper)
    }
}
