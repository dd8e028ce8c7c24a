//! Tensors in, tensors out: knows no component, no HTTP, no database.
//!
//! [`Engine::load`] makes a [`Model`] of an artifact: its sessions, the bounded queue in front of them and the threads
//! that own them. A model that answers within microseconds runs on the thread that asks; see `model.rs`. Requests share
//! runs where the manifest asks for that and the model can: `trial.rs` finds out, `batch.rs` decides, `merge.rs` copies.

mod backend;
mod batch;
mod brought;
mod budget;
mod external;
mod layout;
mod loaded;
mod merge;
mod model;
mod onnx;
mod order;
mod queue;
mod sample;
mod totals;
mod trial;
mod tune;
mod warmup;
mod watch;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_registry::{Batching, Device, Manifest, Warmup};

pub use backend::BackendError;
pub use brought::Brought;
pub(crate) use budget::{Budget, Held, Share as BudgetShare};
pub use loaded::Loaded;
pub use model::{Merging, Model, THREAD};
pub(crate) use totals::Counter;
pub use totals::{BatchTotal, EngineTotals};
pub use tune::{Measured, Tuned, Wish};

use crate::clock::Ticker;
use crate::telemetry::metrics::EngineMetrics;
use crate::tenants::{Tenant, Turns};
use model::Parts;
use onnx::{Onnx, SessionOptions};
use watch::Watches;

/// How a model is to be run.
#[derive(Clone)]
pub struct LoadOptions {
    /// Sessions, each of which runs one request at a time; none gives a tiny model several, and any other one.
    pub instances: Option<usize>,
    /// Threads of one run; none divides the cores among the instances.
    pub threads: Option<usize>,
    /// A CUDA device; none for the CPU.
    pub cuda: Option<i32>,
    /// How requests wait, and share runs.
    pub batching: Batching,
    /// Runs before it is ready.
    pub warmup: Vec<Warmup>,
    /// What counts its runs.
    pub metrics: EngineMetrics,
    /// Whose it is, where tenants share this engine.
    pub tenant: Option<Arc<Tenant>>,
}

impl LoadOptions {
    /// What a manifest says of it.
    #[must_use]
    pub fn of(manifest: &Manifest, metrics: EngineMetrics, tenant: Option<Arc<Tenant>>) -> Self {
        Self {
            instances: manifest.engine.instances.map(|instances| instances as usize),
            threads: manifest.engine.threads.map(|threads| threads as usize),
            cuda: match manifest.engine.device {
                Device::Cpu => None,
                Device::Cuda { id } => Some(i32::try_from(id).unwrap_or(i32::MAX)),
            },
            batching: manifest.batching.clone(),
            warmup: manifest.warmup.clone(),
            metrics,
            tenant,
        }
    }
}

/// Where a model's bytes are.
#[derive(Clone, Copy)]
enum Source<'a> {
    File(&'a Path),
    Memory(&'a [u8]),
}

/// A graph that gives what it takes: a first session of it has the runtime open whatever it opens but once.
const FIRST: &[u8] = b"\x08\x08\x3a\x37\x0a\x10\x0a\x01x\x12\x01y\x22\x08Identity\x12\x01g\
    \x5a\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01\
    \x62\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01\x42\x02\x10\x11";

/// Files up to this size are first loaded with one thread, and again with more where a trial shows that a run takes
/// longer than microseconds, or with more sessions where it does not. Loading them twice costs less than a pool of
/// threads that never help. Arbitrary.
const SMALL_FILE_BYTES: u64 = 1 << 20;

/// Sessions of a tiny model at most; with one for each core no request waits for another's. Arbitrary: each takes some
/// hundred KiB and a thread.
const TINY_INSTANCES: usize = 4;

/// How often the watch looks for runs on a caller's thread that last too long.
const WATCH_PERIOD: Duration = Duration::from_millis(5);

/// Sessions of a model, and threads of each.
#[derive(Clone, Copy)]
struct Sizing {
    instances: usize,
    threads: usize,
}

/// The runtime and what all models share.
pub struct Engine {
    onnx: Onnx,
    cores: usize,
    budget: Arc<Budget>,
    turns: Arc<Turns>,
    watches: Arc<Watches>,
    ticker: Arc<Ticker>,
}

impl Engine {
    /// Loads ONNX Runtime from its shared library. Requests that wait may hold `max_queued_bytes` of tensors, over all
    /// models.
    ///
    /// # Errors
    /// Where there is no such library, or the system gives no thread.
    pub fn start(library: &Path, cores: usize, max_queued_bytes: usize) -> Result<Self, BackendError> {
        bound_retention();
        Self::with(Onnx::load(library)?, cores, max_queued_bytes)
    }

    /// The same, for a process that is to open nothing more: `shut` is called once the runtime has opened what it needs, and
    /// before there is a second thread.
    ///
    /// # Errors
    /// The same, and what `shut` says.
    pub fn start_shut(
        library: &Path,
        cores: usize,
        max_queued_bytes: usize,
        shut: impl FnOnce() -> Result<(), String>,
    ) -> Result<Self, BackendError> {
        bound_retention();
        let onnx = Onnx::load(library)?;
        drop(onnx.session_from_bytes(FIRST)?);
        shut().map_err(BackendError::Refused)?;
        Self::with(onnx, cores, max_queued_bytes)
    }

    fn with(onnx: Onnx, cores: usize, max_queued_bytes: usize) -> Result<Self, BackendError> {
        let watches = Arc::new(Watches::default());
        let looked_at = Arc::clone(&watches);
        let ticker = Ticker::start("bulkhead-watch", WATCH_PERIOD, move || looked_at.look())
            .map_err(|error| BackendError::Refused(format!("no thread for the watch: {error}")))?;
        let (cores, turns) = (cores.max(1), Arc::new(Turns::new(cores)));
        Ok(Self { onnx, cores, budget: Budget::new(max_queued_bytes), turns, watches, ticker: Arc::new(ticker) })
    }

    /// Loads a model from a file and tries it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// With the runtime's own message; or where the model says that parts of it lie in other files.
    pub fn load(&self, artifact: &Path, options: &LoadOptions) -> Result<Arc<Model>, BackendError> {
        let file_bytes = external::check_file(artifact)?;
        let model = self.load_sized(Source::File(artifact), options, file_bytes <= SMALL_FILE_BYTES)?;
        model.holds(file_bytes);
        Ok(model)
    }

    /// Loads a model from its bytes and tries it, as [`Engine::load`] does. Blocks for as long as that takes.
    ///
    /// # Errors
    /// The same.
    pub fn load_mapped(&self, model: &[u8], options: &LoadOptions) -> Result<Arc<Model>, BackendError> {
        external::check(model)?;
        let bytes = model.len() as u64;
        let model = self.load_sized(Source::Memory(model), options, bytes <= SMALL_FILE_BYTES)?;
        model.holds(bytes);
        Ok(model)
    }

    /// What bounds the memory of requests that wait, over all models.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    fn load_sized(&self, artifact: Source<'_>, options: &LoadOptions, small: bool) -> Result<Arc<Model>, BackendError> {
        let instances = options.instances.unwrap_or(1);
        let fitting = Sizing { instances, threads: options.threads.unwrap_or((self.cores / instances).max(1)) };
        if options.threads.is_none() && options.cuda.is_none() && small && self.cores > 1 {
            // Warmed up once it is known which one stays.
            let model = self.load_with(artifact, &LoadOptions { warmup: Vec::new(), ..options.clone() }, Sizing { instances, threads: 1 })?;
            let better = match (model.runs_inline(), options.instances.is_none()) {
                (true, true) => Some(Sizing { instances: self.cores.min(TINY_INSTANCES), threads: 1 }),
                (false, _) if fitting.threads > 1 => Some(fitting),
                _ => None,
            };
            if let Some(better) = better {
                return self.load_with(artifact, options, better);
            }
            model.warm_up(&options.warmup)?;
            return Ok(model);
        }
        self.load_with(artifact, options, fitting)
    }

    /// Loads a model that came as bytes, with one session and one thread. It is not tried, and never runs inline.
    /// It is not optimised either: a few bytes may ask for constants of gigabytes. Blocks for as long as that takes.
    ///
    /// # Errors
    /// With the runtime's own message; or where the model says that parts of it lie in files.
    pub fn load_bytes(&self, model: &[u8], metrics: EngineMetrics, tenant: Option<Arc<Tenant>>) -> Result<Arc<Model>, BackendError> {
        external::check_brought(model)?;
        let session = self.onnx.session_from_bytes(model)?;
        let options = LoadOptions { instances: None, threads: None, cuda: None, batching: Batching::default(), warmup: Vec::new(), metrics, tenant };
        self.start_model(vec![Box::new(session)], 1, &options, false)
    }

    fn load_with(&self, artifact: Source<'_>, options: &LoadOptions, Sizing { instances, threads }: Sizing) -> Result<Arc<Model>, BackendError> {
        let session_options = SessionOptions { threads, cuda: options.cuda };
        let mut backends: Vec<Box<dyn backend::Backend>> = Vec::with_capacity(instances);
        for _ in 0..instances {
            backends.push(Box::new(self.onnx.session(artifact, session_options)?));
        }
        self.start_model(backends, threads, options, true)
    }

    fn start_model(
        &self,
        backends: Vec<Box<dyn backend::Backend>>,
        threads: usize,
        options: &LoadOptions,
        is_tried: bool,
    ) -> Result<Arc<Model>, BackendError> {
        Model::start(Parts {
            backends,
            threads,
            is_tried,
            on_gpu: options.cuda.is_some(),
            batching: options.batching.clone(),
            warmup: options.warmup.clone(),
            metrics: options.metrics.clone(),
            budget: options.tenant.as_ref().map_or_else(|| self.budget.whole(), |tenant| self.budget.share_of(tenant)),
            turns: options.tenant.as_ref().map(|tenant| (Arc::clone(&self.turns), Arc::clone(tenant))),
            watches: Arc::clone(&self.watches),
            ticker: Arc::clone(&self.ticker),
        })
    }
}

/// The runtime allocates with the C library, which raises by itself the size above which memory comes from the system
/// and goes back to it; weights of a few megabytes would then stay with the process after their model is gone.
#[expect(unsafe_code, reason = "the C library has no safe face")]
fn bound_retention() {
    /// Bytes; from here on an allocation is a mapping of its own. The C library's default is an eighth, and moves.
    const MAPPED_FROM: libc::c_int = 1 << 20;
    // SAFETY: `mallopt` takes two numbers and may be called at any time; a test counts what unloading gives back.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
    }
}
