//! The state of one store, and how a store is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::engine::Inner;
use super::errand::{self, Errands, Patience};
use super::error::{SandboxError, TimeIsUp};
use super::imports::log::LogLines;
use super::imports::nn::{Grants, Nn};
use super::imports::wasi::Wasi;
use super::limits::Meter;
use super::overtime;
use crate::clock;

/// Bytes that one host call, or one lifted value, may make the host allocate, as a multiple of the guest's memory: what is
/// lifted lies in that. Lists that overlap would take far more, and nobody else has the thread meanwhile.
const HOSTCALL_FACTOR: usize = 1;

/// Resource handles: an honest transform holds none, a component with WASI a dozen, a predictor some for each run of a model.
pub(super) const HANDLES: usize = 1024;

/// What a store holds for its guest.
pub(super) struct Ctx {
    pub(super) meter: Meter,
    pub(super) log: LogLines,
    until: Instant,
    /// What a predictor does with models.
    pub(super) nn: Option<Box<Nn>>,
    /// Made when the guest first uses it: most guests never do.
    wasi: Option<Box<Wasi>>,
}

impl Ctx {
    pub(super) fn new(memory_bytes: usize, log: LogLines) -> Self {
        Self { meter: Meter::new(memory_bytes), log, until: clock::now(), nn: None, wasi: None }
    }

    /// The same for a guest that may run these models.
    pub(super) fn with_graphs(mut self, grants: Arc<Grants>) -> Self {
        self.nn = Some(Box::new(Nn::new(grants)));
        self
    }

    /// The same for a guest that gets more of the system than plugins do.
    pub(super) fn with_wasi(mut self, wasi: WasiCtx) -> Self {
        self.wasi = Some(Box::new(Wasi::granting(wasi, &self.log)));
        self
    }

    /// Begins with another request.
    pub(super) fn serve(&mut self, log: LogLines) {
        self.meter.exhausted = false;
        self.log = log;
        if let Some(wasi) = &self.wasi {
            wasi.print_to(&self.log);
        }
    }

    /// The guest waited for so long for what is no doing of its own; it may go on for as much longer, until the request's
    /// time is up.
    pub(super) fn stood_still(&mut self, wait: Duration, deadline: Instant) {
        self.until = (self.until + wait).min(deadline);
    }
}

impl WasiView for Ctx {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { ctx, table, .. } = &mut **self.wasi.get_or_insert_with(|| Box::new(Wasi::empty(&self.log)));
        WasiCtxView { ctx, table }
    }
}

/// A fresh store, under all limits but that of time.
pub(super) fn new(inner: &Arc<Inner>, ctx: Ctx) -> Store<Ctx> {
    let mut store = Store::new(&inner.engine, ctx);
    store.limiter(|ctx| &mut ctx.meter);
    let bytes = store.data().meter.limit();
    store.set_hostcall_fuel(bytes.saturating_mul(HOSTCALL_FACTOR));
    store.set_max_component_handles(HANDLES);
    // Called at the first tick within guest code and at each that follows: time spent waiting in the host costs a
    // guest one call of this, not its life. The yield lets others have the thread, or has it go on elsewhere (`overtime.rs`).
    store.epoch_deadline_callback(|cx| {
        if clock::now() >= cx.data().until {
            return Err(TimeIsUp.into());
        }
        overtime::ticked();
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store.set_epoch_deadline(1);
    store
}

/// How long a guest may run.
#[derive(Clone, Copy)]
pub(super) struct Time {
    /// The moment at which it begins: now.
    pub(super) from: Instant,
    /// From that moment on.
    pub(super) left: Duration,
    /// For the whole of its request, as its grant says.
    pub(super) granted: Duration,
    /// When the request must be answered, whatever the guest waits for.
    pub(super) at_most: Instant,
}

impl Time {
    /// When its own time is up.
    fn until(self) -> Instant {
        self.from + self.left
    }
}

/// Within which guest code runs: wall-clock time, its waits for models not counted.
pub(super) struct Bounds {
    errands: Option<Errands>,
    time: Time,
    waits: bool,
}

/// Begins to count a guest's time. Who calls holds a place, and so keeps the epoch's clock going. `waits` is said of one with
/// WASI, which can wait in the host, where no epoch reaches it.
pub(super) fn begin(store: &mut Store<Ctx>, time: Time, waits: bool) -> Bounds {
    let ctx = store.data_mut();
    ctx.until = time.until();
    Bounds { errands: ctx.nn.as_ref().map(|nn| nn.errands.clone()), time, waits }
}

impl Bounds {
    /// Runs guest code within them.
    pub(super) async fn run<T>(self, guest: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
        let until = self.time.until();
        match self.errands {
            Some(errands) => errand::drive(&errands, self.waits.then_some(Patience { until, at_most: self.time.at_most }), guest).await,
            None if self.waits => match tokio::time::timeout_at(until.into(), guest).await {
                Ok(outcome) => outcome,
                Err(_) => Err(TimeIsUp.into()),
            },
            None => guest.await,
        }
    }
}

/// Sorts out how a guest failed.
pub(super) fn sorted<T>(store: &Store<Ctx>, time: Time, outcome: wasmtime::Result<T>) -> Result<T, SandboxError> {
    outcome.map_err(|error| {
        if error.is::<TimeIsUp>() {
            SandboxError::Deadline(time.granted)
        } else if store.data().meter.exhausted {
            SandboxError::OutOfMemory(store.data().meter.limit_mib())
        } else if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            SandboxError::Busy
        } else {
            SandboxError::Trapped(cause(&error))
        }
    })
}

/// The cause of a failure in one bounded line, without the backtrace (its names are the guest's choice).
fn cause(error: &wasmtime::Error) -> String {
    let cause = match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    cause.chars().filter(|c| !c.is_control()).take(300).collect()
}
