//! A loaded model: its sessions, and where they run.
//!
//! Handing a request to another thread and back costs more than a tiny model takes. So a model whose runs take
//! microseconds, as measured when it is loaded and at each run since, runs *inline*: on the thread that asks. Any other
//! runs on *owner* threads, one for each session, behind a bounded queue; or on the thread that asks where that has nothing else
//! to do, as in a process of models. A run that turns out long on a caller's
//! thread (its time may depend on the data) is ended by the watch, run again on an owner thread, and the model never
//! runs inline again. A tiny model whose requests gain by sharing a run does so only while it has a single request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bulkhead_registry::{Batching, TimeoutAction, Warmup};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::BudgetShare;
use super::backend::{Backend, BackendError};
use super::batch::Limits;
use super::layout::{Layout, Rows, Share};
use super::loaded::Loaded;
use super::order::{Order, Reply};
use super::queue::{Entry, Queue};
use super::totals::{Counter, EngineTotals};
use super::trial::{Learned, Trial};
use super::warmup;
use super::watch::{Watch, Watches};
use super::worker::{SessionHeld, Shared, answer};
use crate::clock::{self, Deadline, Ticker, nanos};
use crate::runner::{Ran, RunError, Runner, Signature, Terms};
use crate::telemetry::metrics::EngineMetrics;
use crate::tenants::{Tenant, Turns};
use crate::tensor::Tensor;

/// A model runs inline while its mean run stays under this. A hand-over and back costs some 10 µs of processor time
/// and two context switches; at 200 µs that is a twentieth, and a worker thread is not kept from its sockets for long.
pub(super) const INLINE_BELOW: Duration = Duration::from_micros(200);

/// An inline run is ended when it has lasted this long: a hundred times the mean that let it run inline.
const INLINE_AT_MOST: Duration = Duration::from_millis(20);

/// The name of threads that own sessions.
pub const THREAD: &str = "bulkhead-engine";

/// A loaded model.
pub struct Model {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    terms: QueueTerms,
    budget: BudgetShare,
    ticker: Arc<Ticker>,
    threads: usize,
    on_gpu: bool,
    batching: Batching,
    merging: Merging,
    /// Keeps replies in order, where the manifest asks for that.
    order: Option<Arc<Order>>,
    /// Requests gain by sharing a run, however short it is.
    batches_pay: bool,
    /// Requests under way, counted where batches pay.
    under_way: AtomicUsize,
    inline: AtomicBool,
    /// The watch had to end an inline run, replies have an order, requests wait for company, a graphics card runs it, or
    /// nobody knows how long a run takes.
    never_inline: AtomicBool,
    /// Neither do replies have an order, nor do requests wait for company, nor does a graphics card run it.
    runs_here: bool,
    mean_nanos: AtomicU64,
    next_run: AtomicU64,
    /// Of its file, once for each session; counted in the metrics for as long as it lives.
    bytes: AtomicU64,
}

/// What a model is made of.
pub(super) struct Parts {
    pub(super) backends: Vec<Box<dyn Backend>>,
    pub(super) threads: usize,
    /// Runs made-up rows before it is ready.
    pub(super) is_tried: bool,
    pub(super) on_gpu: bool,
    pub(super) batching: Batching,
    pub(super) warmup: Vec<Warmup>,
    pub(super) metrics: EngineMetrics,
    pub(super) budget: BudgetShare,
    /// Where its runs have their turns, and whose they are.
    pub(super) turns: Option<(Arc<Turns>, Arc<Tenant>)>,
    pub(super) watches: Arc<Watches>,
    pub(super) ticker: Arc<Ticker>,
}

/// Whether requests share runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Merging {
    /// The manifest does not ask for it.
    Off,
    /// They do: up to so many rows.
    On {
        /// Of one run.
        max_rows: usize,
        /// The axis of the rows of each tensor, by its name; none for one that all rows have in common.
        axes: Vec<(String, Option<usize>)>,
    },
    /// The manifest asks for it, and the model can't.
    Unfit {
        /// Why not, and what to do.
        why: String,
    },
}

/// What the manifest says of waiting.
struct QueueTerms {
    levels: usize,
    default_level: usize,
    timeout: Option<Duration>,
    action: TimeoutAction,
    allow_override: bool,
}

impl QueueTerms {
    fn new(batching: &Batching) -> Self {
        let timeout = Duration::from_micros(batching.default_timeout_microseconds);
        Self {
            levels: batching.priority_levels.max(1) as usize,
            default_level: batching.default_priority_level.saturating_sub(1) as usize,
            timeout: Some(timeout).filter(|timeout| !timeout.is_zero()),
            action: batching.timeout_action,
            allow_override: batching.allow_timeout_override,
        }
    }

    /// A level counted from 0; one that there isn't stands for the default, as in Triton.
    fn level(&self, priority: u64) -> usize {
        usize::try_from(priority).ok().filter(|level| (1..=self.levels).contains(level)).map_or(self.default_level, |level| level - 1)
    }

    fn timeout(&self, wanted: Option<Duration>) -> Option<Duration> {
        match (self.timeout, wanted.filter(|wanted| self.allow_override && !wanted.is_zero())) {
            (Some(own), Some(wanted)) => Some(own.min(wanted)),
            (own, wanted) => own.or(wanted),
        }
    }
}

impl Model {
    pub(super) fn start(parts: Parts) -> Result<Arc<Self>, BackendError> {
        let Parts { mut backends, threads, is_tried, on_gpu, batching, warmup, metrics, budget, turns, watches: all, ticker } = parts;
        let signature = backends.first().map(|backend| backend.signature().clone()).unwrap_or_default();
        let watches = backends.iter().map(|backend| Ok(Watch::new(backend.stop()?))).collect::<Result<Arc<[_]>, BackendError>>()?;
        all.add(&watches);
        let ticks = ticker.busy();
        let learned = match backends.first_mut() {
            Some(_) if !is_tried => Learned::default(),
            Some(session) => Trial { session: &mut **session, watch: &watches[0], signature: &signature, batching: &batching }.run()?,
            None => return Err(BackendError::Refused("a model without sessions".to_owned())),
        };
        warmup::run(backends.iter_mut().zip(watches.iter()), &signature, &warmup)?;
        drop(ticks);
        let max_rows = batching.max_batch_size.max(1) as usize;
        let (layout, merging) = match learned.layout {
            None => (None, Merging::Off),
            Some(Ok(layout)) => {
                let axes = axes(&signature, &layout);
                (Some(layout), Merging::On { max_rows, axes })
            }
            Some(Err(why)) => (None, Merging::Unfit { why }),
        };
        let limits = Limits {
            max_rows: if layout.is_some() { max_rows } else { 1 },
            preferred: batching.preferred_batch_size.iter().map(|size| *size as usize).collect(),
            max_delay: if layout.is_some() { Duration::from_micros(batching.max_queue_delay_microseconds) } else { Duration::ZERO },
        };
        let waits = !limits.max_delay.is_zero();
        let terms = QueueTerms::new(&batching);
        let queue = Queue::new(limits, terms.levels, batching.max_queue_size as usize, metrics.queue_depth.clone());
        let sessions = backends.into_iter().map(Mutex::new).collect();
        let shared = Arc::new(Shared { signature, layout, sessions, watches, queue, turns, metrics, counter: Counter::default() });
        // While a graphics card works its caller waits: not on a thread of others.
        // Nor can who runs at once wait for the company that the manifest wants it to have.
        let never_inline = on_gpu || batching.preserve_ordering || waits || !is_tried;
        let inline = learned.run.is_some_and(|run| run < INLINE_BELOW) && !never_inline;
        let model = Self {
            shared,
            workers: Mutex::default(),
            terms,
            budget,
            ticker,
            threads,
            on_gpu,
            merging,
            order: batching.preserve_ordering.then(Arc::default),
            batches_pay: learned.batches_pay,
            under_way: AtomicUsize::new(0),
            inline: AtomicBool::new(inline),
            never_inline: AtomicBool::new(never_inline),
            runs_here: !(on_gpu || batching.preserve_ordering || waits),
            batching,
            mean_nanos: AtomicU64::new(learned.run.map_or(u64::MAX, nanos)),
            next_run: AtomicU64::new(1),
            bytes: AtomicU64::new(0),
        };
        model.spawn_workers()?;
        Ok(Arc::new(model))
    }

    /// Runs what the manifest declares, before anybody asks. Blocks.
    pub(super) fn warm_up(&self, warmups: &[Warmup]) -> Result<(), BackendError> {
        let _ticks = self.ticker.busy();
        let mut sessions: Vec<_> = self.shared.sessions.iter().map(Mutex::lock).collect();
        let sessions = sessions.iter_mut().map(|session| &mut **session);
        warmup::run(sessions.zip(self.shared.watches.iter()), &self.shared.signature, warmups)
    }

    /// Says of how many bytes its file is, which each session holds.
    pub(super) fn holds(&self, file_bytes: u64) {
        let bytes = file_bytes.saturating_mul(self.instances() as u64);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.shared.metrics.model_bytes.add(signed(bytes));
    }

    fn spawn_workers(&self) -> Result<(), BackendError> {
        let mut workers = self.workers.lock();
        for at in 0..self.shared.sessions.len() {
            let shared = Arc::clone(&self.shared);
            let worker = std::thread::Builder::new()
                .name(THREAD.to_owned())
                .spawn(move || shared.work(at))
                .map_err(|error| BackendError::Refused(format!("no thread for a session: {error}")))?;
            workers.push(worker);
        }
        Ok(())
    }

    /// Runs on this thread; gives the inputs back where no session is free, or the run was ended because it lasted too
    /// long.
    fn run_inline(&self, inputs: Vec<Tensor>, rows: usize, deadline: Deadline) -> Result<Result<Ran, RunError>, Vec<Tensor>> {
        let arrived = clock::now();
        let Some(session) = self.shared.any_session() else { return Err(inputs) };
        let start = clock::now();
        let until = deadline.moment().min(start + INLINE_AT_MOST);
        let (outputs, inference) = self.run_on(session, &inputs, None, until, start, || {});
        if matches!(outputs, Err(BackendError::Stopped)) && start + inference < deadline.moment() {
            self.never_inline.store(true, Ordering::Relaxed);
            self.inline.store(false, Ordering::Relaxed);
            tracing::info!("a model that was taken for a tiny one runs on its own threads from now on");
            return Err(inputs);
        }
        self.learn(inference);
        self.shared.ran(rows, Duration::ZERO, inference, Duration::ZERO);
        Ok(answer(outputs, start - arrived, inference))
    }

    /// Runs on this thread, which has nothing else to do, until it is over, or the deadline is, or [`Model::end`] is told of the
    /// run that `begun` is told of. Gives the inputs back where others are before them, or could share their run.
    ///
    /// # Errors
    /// The run's own are within.
    pub fn run_here(&self, inputs: Vec<Tensor>, deadline: Deadline, begun: impl FnOnce(u64)) -> Result<Result<Ran, RunError>, Vec<Tensor>> {
        let under_way = self.enter();
        if !self.runs_here || under_way.as_ref().is_some_and(|under_way| !under_way.alone) {
            return Err(inputs);
        }
        let arrived = clock::now();
        let arranged = self.shared.signature.arrange(inputs).and_then(|inputs| Ok((self.share(&inputs)?, inputs)));
        let (share, inputs) = match arranged {
            Ok(arranged) => arranged,
            Err(error) => return Ok(Err(error)),
        };
        let Some(session) = self.shared.idle_session() else { return Err(inputs) };
        let (start, run) = (clock::now(), self.next_run.fetch_add(1, Ordering::Relaxed));
        let (outputs, inference) = self.run_on(session, &inputs, Some(run), deadline.moment(), start, || begun(run));
        if outputs.is_ok() {
            self.learn(inference);
        }
        self.shared.ran(share.rows, Duration::ZERO, inference, Duration::ZERO);
        Ok(answer(outputs, start - arrived, inference))
    }

    /// Runs on this thread, from `start` to `until` at most; says how long it took. With a number it can be ended sooner, from
    /// when `begun` is called.
    fn run_on(
        &self,
        (at, mut session): SessionHeld<'_>,
        inputs: &[Tensor],
        run: Option<u64>,
        until: Instant,
        start: Instant,
        begun: impl FnOnce(),
    ) -> (Result<Vec<Tensor>, BackendError>, Duration) {
        let watch = &self.shared.watches[at];
        let _ticks = self.ticker.busy();
        let outputs = watch.run(run, Some(until), |stop| {
            begun();
            session.outputs(inputs, stop)
        });
        (outputs, start.elapsed())
    }

    /// Ends a run that nobody waits for any more, if it is under way still.
    pub fn end(&self, run: u64) {
        self.shared.end(run);
    }

    fn share(&self, inputs: &[Tensor]) -> Result<Share, RunError> {
        match &self.shared.layout {
            Some(layout) => layout.share(&self.shared.signature, inputs),
            None => Ok(Share::ALONE),
        }
    }

    async fn run_on_owner(&self, inputs: Vec<Tensor>, share: Share, terms: Terms) -> Result<Ran, RunError> {
        let bytes = inputs.iter().map(Tensor::weight).fold(0, usize::saturating_add);
        let limit_bytes = self.budget.limit();
        if bytes > limit_bytes {
            return Err(RunError::TooLarge { bytes, limit_bytes });
        }
        let held = self.budget.hold(bytes).ok_or(RunError::OutOfMemory { limit_bytes })?;
        let run = self.next_run.fetch_add(1, Ordering::Relaxed);
        let since = clock::now();
        let timeout = self.terms.timeout(terms.timeout);
        let delayed_from = timeout.filter(|_| self.terms.action == TimeoutAction::Delay).map(|timeout| since + timeout);
        let refused_from = timeout.filter(|_| self.terms.action == TimeoutAction::Reject);
        // Whether the caller goes away or time runs out: the run is of no use to anybody. Dropped after the channel is.
        let mut unwanted = Unwanted { shared: &self.shared, run: None };
        let (sender, mut answer) = oneshot::channel();
        self.shared.queue.push(Entry {
            run,
            inputs,
            rows: share.rows,
            class: share.class,
            level: self.terms.level(terms.priority),
            since,
            deadline: terms.deadline,
            refused_from: refused_from.map(|timeout| since + timeout),
            delayed_from,
            reply: Reply::new(sender, self.order.as_ref()),
            _held: held,
        })?;
        unwanted.run = Some(run);
        let mut outcome = None;
        if let Some(timeout) = refused_from.filter(|timeout| since + *timeout < terms.deadline.moment()) {
            outcome = tokio::time::timeout_at((since + timeout).into(), &mut answer).await.ok();
            if outcome.is_none() && self.shared.queue.withdraw(run) {
                unwanted.run = None;
                return Err(RunError::Waited { waited: timeout });
            }
        }
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => tokio::time::timeout_at(terms.deadline.moment().into(), &mut answer).await.map_err(|_| RunError::Deadline)?,
        };
        unwanted.run = None;
        let outcome = outcome.map_err(|_| RunError::Stopped)?;
        if let Ok(ran) = &outcome
            && ran.times.assembly.is_zero()
        {
            self.learn(ran.times.inference);
        }
        outcome
    }

    /// Follows the mean of the runs, and moves the model where it belongs; the two bounds lie apart so that it does
    /// not swing.
    fn learn(&self, inference: Duration) {
        let mean = self.mean_nanos.load(Ordering::Relaxed);
        let latest = nanos(inference);
        let mean = if mean == u64::MAX { latest } else { mean - mean / 16 + latest / 16 };
        self.mean_nanos.store(mean, Ordering::Relaxed);
        if self.inline.load(Ordering::Relaxed) {
            if mean > 4 * nanos(INLINE_BELOW) {
                self.inline.store(false, Ordering::Relaxed);
            }
        } else if mean < nanos(INLINE_BELOW) && !self.never_inline.load(Ordering::Relaxed) {
            self.inline.store(true, Ordering::Relaxed);
        }
    }

    /// Counts a request while it is under way, where that matters.
    fn enter(&self) -> Option<UnderWay<'_>> {
        self.batches_pay.then(|| UnderWay { count: &self.under_way, alone: self.under_way.fetch_add(1, Ordering::Relaxed) == 0 })
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // Threads that were not waited for end on their own.
        self.shared.queue.close();
        self.shared.metrics.model_bytes.sub(signed(self.bytes.load(Ordering::Relaxed)));
    }
}

impl Loaded for Model {
    fn batching(&self) -> &Batching {
        &self.batching
    }

    fn waiting(&self) -> i64 {
        self.shared.metrics.queue_depth.get()
    }

    fn totals(&self) -> EngineTotals {
        self.shared.counter.totals()
    }

    fn is_on_gpu(&self) -> bool {
        self.on_gpu
    }

    fn merging(&self) -> &Merging {
        &self.merging
    }

    fn runs_inline(&self) -> bool {
        self.inline.load(Ordering::Relaxed)
    }

    fn instances(&self) -> usize {
        self.shared.sessions.len()
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn is_closed(&self) -> bool {
        self.shared.queue.is_closed()
    }

    fn close(&self) {
        self.shared.queue.close();
        for watch in &*self.shared.watches {
            watch.end_any();
        }
        for worker in self.workers.lock().drain(..) {
            if worker.join().is_err() {
                tracing::error!("a thread of the engine ended with a panic");
            }
        }
    }
}

#[async_trait]
impl Runner for Model {
    fn signature(&self) -> &Signature {
        &self.shared.signature
    }

    async fn run(&self, inputs: Vec<Tensor>, terms: Terms) -> Result<Ran, RunError> {
        let mut inputs = self.shared.signature.arrange(inputs)?;
        let share = self.share(&inputs)?;
        let under_way = self.enter();
        if self.runs_inline() && under_way.as_ref().is_none_or(|under_way| under_way.alone) {
            match self.run_inline(inputs, share.rows, terms.deadline) {
                Ok(answer) => return answer,
                Err(unanswered) => inputs = unanswered,
            }
        }
        self.run_on_owner(inputs, share, terms).await
    }
}

/// A request that is under way.
struct UnderWay<'a> {
    count: &'a AtomicUsize,
    /// No other was when it came.
    alone: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes a request back when nobody waits for it any more: out of the queue, or else out of its run.
struct Unwanted<'a> {
    shared: &'a Shared,
    run: Option<u64>,
}

impl Drop for Unwanted<'_> {
    fn drop(&mut self) {
        if let Some(run) = self.run
            && !self.shared.queue.withdraw(run)
        {
            self.shared.end(run);
        }
    }
}

fn axes(signature: &Signature, layout: &Layout) -> Vec<(String, Option<usize>)> {
    let rows = layout.inputs.iter().chain(&layout.outputs);
    let ports = signature.inputs.iter().chain(&signature.outputs);
    ports
        .zip(rows)
        .map(|(port, rows)| {
            let axis = match rows {
                Rows::Along { axis, .. } => Some(*axis),
                Rows::Shared => None,
            };
            (port.name.clone(), axis)
        })
        .collect()
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
