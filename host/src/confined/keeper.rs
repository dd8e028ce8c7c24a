//! Looks after one tenant's process: starts it when a model is to be loaded, sees it end, starts it again with the models
//! that it had, and waits where that does not help.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bulkhead_registry::{Batching, Device, Manifest};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Semaphore;

use super::Options;
use super::breaker::{Breaker, Next};
use super::model::{ApartModel, Bytes, Parts};
use super::process::{NotLoaded, Process, Started};
use super::wire::{Hello, What};
use crate::aside::blocking;
use crate::clock;
use crate::engine::{BackendError, BudgetShare};
use crate::runner::RunError;
use crate::telemetry::metrics::EngineMetrics;
use crate::tenants::Tenant;

/// Who wants to load waits so long for a process, which may have many models to load again first. Arbitrary.
const PATIENCE: Duration = Duration::from_secs(300);

/// Models that could not be loaded again are tried this often, while requests for them come.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A model whose loading has ended the process so often is left out when the others are loaded again.
const FATAL_LOADS: u32 = 2;

/// Looks after one tenant's process.
pub struct Keeper {
    tenant: Arc<Tenant>,
    options: Arc<Options>,
    budget: BudgetShare,
    state: Mutex<State>,
    changed: Condvar,
    models: Mutex<Vec<Weak<ApartModel>>>,
    /// One load at a time: a process that ends meanwhile did so by this one.
    turn: Arc<Semaphore>,
    /// Held by who loads.
    loading: Mutex<()>,
    /// When it was last tried to load again what could not be.
    tried_again: Mutex<Option<Instant>>,
}

struct State {
    phase: Phase,
    /// Somebody has use for a process.
    wanted: bool,
    breaker: Breaker,
}

enum Phase {
    /// There is none, and nobody wants one.
    Idle,
    Starting,
    Up(Arc<Process>),
    /// It ended. While it is `open` it ended too often to be waited for.
    Down {
        until: Instant,
        open: bool,
    },
}

/// Why a model is not loaded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    /// The runtime refuses it.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The process ended by it.
    #[error("{0}")]
    Ended(String),
    /// The process ended too often.
    #[error("the process that runs this tenant's models ended too often")]
    Unavailable {
        /// Until it is tried again.
        retry_after: Duration,
    },
    /// The host's own fault.
    #[error("{0}")]
    Host(String),
}

impl Keeper {
    pub(super) fn start(tenant: &Arc<Tenant>, options: Arc<Options>, budget: BudgetShare) -> std::io::Result<Arc<Self>> {
        let keeper = Arc::new(Self {
            tenant: Arc::clone(tenant),
            options,
            budget,
            state: Mutex::new(State { phase: Phase::Idle, wanted: false, breaker: Breaker::default() }),
            changed: Condvar::new(),
            models: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            loading: Mutex::default(),
            tried_again: Mutex::default(),
        });
        let own = Arc::clone(&keeper);
        // It lives as long as the host: the processes that it starts end with it.
        std::thread::Builder::new().name("bulkhead-keeper".to_owned()).spawn(move || own.keep())?;
        Ok(keeper)
    }

    /// Loads a version's model.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load(self: &Arc<Self>, artifact: PathBuf, manifest: &Manifest, metrics: EngineMetrics) -> Result<Arc<ApartModel>, LoadError> {
        if !matches!(manifest.engine.device, Device::Cpu) {
            let why = "models of tenants that are not trusted run in a process of their own, which has the processor only";
            return Err(BackendError::Device { device: manifest.engine.device.to_string(), why: why.to_owned() }.into());
        }
        let bytes = Bytes::Artifact(artifact);
        self.load_in_turn(Parts { bytes, manifest: manifest.to_json(), batching: manifest.batching.clone(), metrics }).await
    }

    /// Loads a model that a component brings along, which is gone once the process is.
    pub(super) async fn load_brought(self: &Arc<Self>, model: Vec<u8>, metrics: EngineMetrics) -> Result<Arc<ApartModel>, LoadError> {
        let parts = Parts { bytes: Bytes::Brought(model), manifest: String::new(), batching: Batching::default(), metrics };
        self.load_in_turn(parts).await
    }

    /// A thread for each that waits would take those of other tenants.
    async fn load_in_turn(self: &Arc<Self>, parts: Parts) -> Result<Arc<ApartModel>, LoadError> {
        let host = |error: &dyn std::fmt::Display| LoadError::Host(error.to_string());
        // Held until the load is over, though nobody may wait for it any more.
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|error| host(&error))?;
        let keeper = Arc::clone(self);
        let load = move || {
            let loaded = keeper.load_of(parts);
            drop(turn);
            loaded
        };
        blocking(load).await.map_err(|error| host(&error))?
    }

    fn load_of(self: &Arc<Self>, parts: Parts) -> Result<Arc<ApartModel>, LoadError> {
        let file = parts.bytes.open().map_err(|error| LoadError::Host(format!("the model can't be read: {error}")))?;
        let _it_is_needed = self.loading.lock();
        let mut tries = 0;
        loop {
            tries += 1;
            let process = self.up()?;
            // One that ends under others' requests too need not have ended by this load.
            let is_alone = process.requests() == 0;
            match process.load(parts.bytes.what(), &file, &parts.manifest) {
                Ok(facts) => {
                    tracing::info!(tenant = self.tenant.id().as_str(), peak_bytes = facts.peak_bytes, "a model was loaded in its tenant's process");
                    let model = Arc::new(ApartModel::new(Arc::clone(self), parts, &process, facts));
                    self.models.lock().push(Arc::downgrade(&model));
                    if process.is_ended() {
                        model.lose();
                    }
                    return Ok(model);
                }
                Err(NotLoaded::Refused(error)) => return Err(self.explained(error).into()),
                Err(NotLoaded::Ended(_)) if !is_alone && tries == 1 => {}
                Err(NotLoaded::Ended(how)) => {
                    return Err(LoadError::Ended(format!("the process that loads it did not survive: {how}; {}", self.bounds())));
                }
            }
        }
    }

    /// Says which bound it was.
    fn explained(&self, error: BackendError) -> BackendError {
        match error {
            BackendError::Refused(message) if message.contains("bad_alloc") || message.contains("Failed to allocate memory") => {
                BackendError::Refused(format!("{message}; {}", self.bounds()))
            }
            error => error,
        }
    }

    fn bounds(&self) -> String {
        format!("all models of a tenant have {} MiB of memory, which is `engine.process_memory_mb`", self.options.memory_bytes >> 20)
    }

    /// The process, started where there is none.
    fn up(&self) -> Result<Arc<Process>, LoadError> {
        let until = clock::now() + PATIENCE;
        let mut state = self.state.lock();
        loop {
            match &state.phase {
                Phase::Up(process) if !process.is_ended() => return Ok(Arc::clone(process)),
                Phase::Down { until, open: true } => {
                    return Err(LoadError::Unavailable { retry_after: until.saturating_duration_since(clock::now()) });
                }
                _ => {}
            }
            state.wanted = true;
            self.changed.notify_all();
            if self.changed.wait_until(&mut state, until).timed_out() {
                return Err(LoadError::Host("no process for the tenant's models could be started".to_owned()));
            }
        }
    }

    /// The number of the process that runs; none where none does.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        match &self.state.lock().phase {
            Phase::Up(process) if !process.is_ended() => Some(process.id()),
            _ => None,
        }
    }

    /// A request came for a model that no process has. Where one runs by now it could not be loaded again there, for want of
    /// memory perhaps: it is tried once more.
    pub(super) fn catch_up(self: &Arc<Self>) {
        let process = match &self.state.lock().phase {
            Phase::Up(process) if !process.is_ended() => Arc::clone(process),
            _ => return,
        };
        let now = clock::now();
        let mut tried = self.tried_again.lock();
        if tried.is_some_and(|tried| now < tried + AGAIN_AFTER) {
            return;
        }
        let Ok(turn) = Arc::clone(&self.turn).try_acquire_owned() else { return };
        *tried = Some(now);
        let keeper = Arc::clone(self);
        tokio::spawn(blocking(move || {
            let _turn = turn;
            let _it_is_needed = keeper.loading.lock();
            keeper.bring_back(&process);
        }));
    }

    /// What a request is told while there is no process.
    pub(super) fn gone(&self) -> RunError {
        let retry_after = match &self.state.lock().phase {
            Phase::Down { until, .. } => until.saturating_duration_since(clock::now()),
            _ => Duration::ZERO,
        };
        RunError::EngineGone { retry_after }
    }

    pub(super) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub(super) fn budget(&self) -> &BudgetShare {
        &self.budget
    }

    fn set(&self, phase: Phase) {
        self.state.lock().phase = phase;
        self.changed.notify_all();
    }

    /// Models that somebody holds.
    fn models(&self) -> Vec<Arc<ApartModel>> {
        let mut held: Vec<_> = {
            let mut models = self.models.lock();
            models.retain(|model| model.strong_count() > 0);
            models.iter().filter_map(Weak::upgrade).collect()
        };
        // One that is let go of here may ask for them all again.
        held.retain(|model| !model.is_closed());
        held
    }

    /// A model was closed: where it was the last, the process has nothing to do.
    pub(super) fn closed(&self) {
        let Some(_nobody_loads) = self.loading.try_lock() else { return };
        if !self.models().is_empty() {
            return;
        }
        let state = self.state.lock();
        if let Phase::Up(process) = &state.phase {
            process.ended();
            process.end();
        }
    }

    fn keep(&self) {
        loop {
            {
                let mut state = self.state.lock();
                while !state.wanted {
                    self.changed.wait(&mut state);
                }
                (state.wanted, state.phase) = (false, Phase::Starting);
            }
            let ended = match Process::start(&self.options) {
                Ok(started) => self.serve(started),
                Err(error) => {
                    tracing::error!(tenant = self.tenant.id().as_str(), %error, "a process of models could not be started");
                    true
                }
            };
            if ended { self.pause() } else { self.set(Phase::Idle) }
        }
    }

    /// From start to end; false where it ended because nobody needed it.
    fn serve(&self, started: Started) -> bool {
        let Started { process, mut child, words, hello } = started;
        told_once(&hello);
        tracing::info!(tenant = self.tenant.id().as_str(), pid = child.id(), "a process of models runs");
        self.bring_back(&process);
        {
            let mut state = self.state.lock();
            (state.wanted, state.phase) = (false, Phase::Up(Arc::clone(&process)));
        }
        self.changed.notify_all();
        let status = child.wait();
        process.ended();
        self.set(Phase::Starting);
        let models = self.models();
        for model in &models {
            model.lose();
        }
        let words = words.last();
        if models.is_empty() && process.requests() == 0 {
            tracing::info!(tenant = self.tenant.id().as_str(), "a process of models ended, since there are none");
            return false;
        }
        let how = status.as_ref().map_or_else(ToString::to_string, ExitStatus::to_string);
        tracing::warn!(tenant = self.tenant.id().as_str(), how, words = words.trim(), "a process of models ended");
        true
    }

    /// Waits before the next start.
    fn pause(&self) {
        let mut state = self.state.lock();
        let now = clock::now();
        let (pause, open) = match state.breaker.ended(now) {
            Next::Again(pause) => (pause, false),
            Next::Open(pause) => (pause, true),
        };
        if open {
            tracing::error!(
                tenant = self.tenant.id().as_str(),
                seconds = pause.as_secs(),
                "a process of models ended too often: it is not started for a while"
            );
        }
        let until = now + pause;
        state.phase = Phase::Down { until, open };
        self.changed.notify_all();
        while !self.changed.wait_until(&mut state, until).timed_out() {}
        state.phase = Phase::Idle;
        drop(state);
        if !self.models().is_empty() {
            self.state.lock().wanted = true;
        }
        self.changed.notify_all();
    }

    /// Loads again what a process before this one had, and this one has not.
    fn bring_back(&self, process: &Arc<Process>) {
        for model in self.models() {
            if model.is_loaded() || model.fatal_loads() >= FATAL_LOADS || process.is_ended() {
                continue;
            }
            match model.load_again(process) {
                Ok(()) => {}
                Err(NotLoaded::Refused(error)) => {
                    tracing::warn!(tenant = self.tenant.id().as_str(), %error, "a model was loaded before, and can't be again")
                }
                Err(NotLoaded::Ended(how)) => {
                    tracing::warn!(tenant = self.tenant.id().as_str(), how, "a process of models ended while it loaded one again");
                    model.was_fatal();
                    return;
                }
            }
        }
    }
}

/// Says what the kernel lacks: once, since it is the same for all.
fn told_once(hello: &Hello) {
    static TOLD: OnceLock<()> = OnceLock::new();
    if !hello.lacks.is_empty() {
        TOLD.get_or_init(|| {
            // Whatever a process says is bounded.
            let lacks: Vec<_> = hello.lacks.iter().take(8).map(|lack| lack.chars().take(200).collect::<String>()).collect();
            tracing::warn!(lacks = lacks.join("; "), "processes of models are less confined than they could be on this kernel");
        });
    }
}

impl Bytes {
    fn what(&self) -> What {
        match self {
            Self::Artifact(_) => What::Artifact,
            Self::Brought(_) => What::Brought,
        }
    }

    /// A file that stands for them.
    pub(super) fn open(&self) -> std::io::Result<File> {
        match self {
            Self::Artifact(path) => File::open(path),
            Self::Brought(bytes) => {
                use std::io::Write as _;
                let mut file = File::from(rustix::fs::memfd_create("bulkhead-model", rustix::fs::MemfdFlags::CLOEXEC)?);
                file.write_all(bytes)?;
                Ok(file)
            }
        }
    }
}
