//! A loaded model: its sessions, and where they run.
//!
//! Handing a request to another thread and back costs more than a tiny model takes. So a model whose runs take
//! microseconds, as measured when it is loaded and at each run since, runs *inline*: on the thread that asks. Any other
//! runs on *owner* threads, one for each session, behind a bounded queue. A run that turns out long on a caller's
//! thread (its time may depend on the data) is ended by the watch, run again on an owner thread, and the model never
//! runs inline again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::backend::{Backend, BackendError};
use super::batch::Limits;
use super::queue::{Entry, Queue};
use super::signature::Signature;
use super::watch::{Watch, Watches};
use crate::clock::{self, Deadline, Ticker};
use crate::runner::{Ran, RunError, Runner};
use crate::tensor::Tensor;

/// A model runs inline while its mean run stays under this. A hand-over and back costs some 10 µs of processor time
/// and two context switches; at 200 µs that is a twentieth, and a worker thread is not kept from its sockets for long.
const INLINE_BELOW: Duration = Duration::from_micros(200);

/// An inline run is ended when it has lasted this long: a hundred times the mean that let it run inline.
const INLINE_AT_MOST: Duration = Duration::from_millis(20);

/// An inline run waits so long for a session before it queues instead. Arbitrary: some inline runs of others.
const INLINE_WAIT: Duration = Duration::from_millis(1);

/// Runs of the trial; the shortest counts, the first pays for first touches.
const TRIALS: usize = 3;

/// A trial run is ended when it has lasted this long. Arbitrary: whoever uploads waits for it.
const TRIAL_AT_MOST: Duration = Duration::from_secs(10);

/// Bytes of inputs that a trial is made with. Arbitrary: a model that takes more is a large one.
const TRIAL_BYTES: usize = 256 << 20;

/// A loaded model.
pub struct Model {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    watches: Arc<[Watch]>,
    ticker: Arc<Ticker>,
    threads: usize,
    inline: AtomicBool,
    /// The watch had to end an inline run.
    never_inline: AtomicBool,
    mean_nanos: AtomicU64,
    next_run: AtomicU64,
}

struct Shared {
    signature: Signature,
    sessions: Vec<Mutex<Box<dyn Backend>>>,
    queue: Queue,
}

impl Model {
    pub(super) fn start(
        backends: Vec<Box<dyn Backend>>,
        threads: usize,
        max_queue_size: usize,
        all: Arc<Watches>,
        ticker: Arc<Ticker>,
    ) -> Result<Arc<Self>, BackendError> {
        let signature = backends.first().map(|backend| backend.signature().clone()).unwrap_or_default();
        let watches = backends.iter().map(|backend| Ok(Watch::new(backend.stop()?))).collect::<Result<Arc<[_]>, BackendError>>()?;
        let shared = Arc::new(Shared { signature, sessions: backends.into_iter().map(Mutex::new).collect(), queue: Queue::new(max_queue_size) });
        let model = Self {
            shared,
            workers: Mutex::default(),
            watches,
            ticker,
            threads,
            inline: AtomicBool::new(false),
            never_inline: AtomicBool::new(false),
            mean_nanos: AtomicU64::new(u64::MAX),
            next_run: AtomicU64::new(1),
        };
        all.add(&model.watches);
        model.try_out();
        model.spawn_workers()?;
        Ok(Arc::new(model))
    }

    /// What it takes and gives.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.shared.signature
    }

    /// Whether requests now run on the thread that asks.
    #[must_use]
    pub fn runs_inline(&self) -> bool {
        self.inline.load(Ordering::Relaxed)
    }

    /// Sessions.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.shared.sessions.len()
    }

    /// Threads of one run.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Refuses what comes, ends what is under way and waits for the threads. Blocks.
    pub fn close(&self) {
        self.shared.queue.close();
        for watch in &*self.watches {
            watch.end_any();
        }
        for worker in self.workers.lock().drain(..) {
            if worker.join().is_err() {
                tracing::error!("a thread of the engine ended with a panic");
            }
        }
    }

    /// Warms the model up and measures it, on one row of zeros. A model that can't take those (its graph may ask for
    /// more than its signature says) is not at fault: it is then taken for a large one.
    fn try_out(&self) {
        let Some(inputs) = sample(&self.shared.signature) else { return };
        let watch = &self.watches[0];
        let mut session = self.shared.sessions[0].lock();
        let _ticks = self.ticker.busy();
        let mut best = Duration::MAX;
        for _ in 0..TRIALS {
            let start = clock::now();
            watch.begin(0, Some(start + TRIAL_AT_MOST));
            let outcome = session.run(&inputs, watch.stop());
            watch.finish();
            if outcome.is_err() {
                return;
            }
            best = best.min(start.elapsed());
            if best > INLINE_AT_MOST {
                break;
            }
        }
        self.mean_nanos.store(nanos(best), Ordering::Relaxed);
        self.inline.store(best < INLINE_BELOW, Ordering::Relaxed);
    }

    fn spawn_workers(&self) -> Result<(), BackendError> {
        let mut workers = self.workers.lock();
        for at in 0..self.shared.sessions.len() {
            let shared = Arc::clone(&self.shared);
            let watches = Arc::clone(&self.watches);
            let worker = std::thread::Builder::new()
                .name("bulkhead-engine".to_owned())
                .spawn(move || shared.work(at, &watches[at]))
                .map_err(|error| BackendError::Refused(format!("no thread for a session: {error}")))?;
            workers.push(worker);
        }
        Ok(())
    }

    /// Runs on this thread; gives the inputs back where no session is free, or the run was ended because it lasted too
    /// long.
    fn run_inline(&self, inputs: Vec<Tensor>, deadline: Deadline) -> Result<Result<Ran, RunError>, Vec<Tensor>> {
        let arrived = clock::now();
        let Some((at, mut session)) = self.shared.any_session() else { return Err(inputs) };
        let watch = &self.watches[at];
        let start = clock::now();
        let longest = start + INLINE_AT_MOST;
        let ticks = self.ticker.busy();
        watch.begin(0, Some(longest.min(deadline.moment())));
        let outputs = session.run(&inputs, watch.stop());
        watch.finish();
        drop(ticks);
        drop(session);
        let inference = start.elapsed();
        if matches!(outputs, Err(BackendError::Stopped)) && start + inference < deadline.moment() {
            self.never_inline.store(true, Ordering::Relaxed);
            self.inline.store(false, Ordering::Relaxed);
            tracing::info!("a model that was taken for a tiny one runs on its own threads from now on");
            return Err(inputs);
        }
        self.learn(inference);
        Ok(answer(outputs, start - arrived, inference))
    }

    async fn run_on_owner(&self, inputs: Vec<Tensor>, deadline: Deadline) -> Result<Ran, RunError> {
        let run = self.next_run.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        self.shared.queue.push(Entry { run, inputs, since: clock::now(), deadline, reply })?;
        // Whether the caller goes away or time runs out: the run is of no use to anybody.
        let mut end_when_dropped = EndRun { watches: &self.watches, run: Some(run) };
        let answer = tokio::time::timeout_at(deadline.moment().into(), answer).await;
        match answer {
            Ok(Ok(answer)) => {
                end_when_dropped.run = None;
                if let Ok(ran) = &answer {
                    self.learn(ran.inference);
                }
                answer
            }
            Ok(Err(_)) => Err(RunError::Stopped),
            Err(_) => Err(RunError::Deadline),
        }
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
}

impl Drop for Model {
    fn drop(&mut self) {
        // Threads that were not waited for end on their own.
        self.shared.queue.close();
    }
}

#[async_trait]
impl Runner for Model {
    async fn run(&self, inputs: Vec<Tensor>, deadline: Deadline) -> Result<Ran, RunError> {
        let mut inputs = self.shared.signature.arrange(inputs)?;
        if self.runs_inline() {
            match self.run_inline(inputs, deadline) {
                Ok(answer) => return answer,
                Err(unanswered) => inputs = unanswered,
            }
        }
        self.run_on_owner(inputs, deadline).await
    }
}

impl Shared {
    /// A session that is free, or else the first, if it becomes so at once: other inline runs are short, but a run on
    /// its owner's thread may last.
    fn any_session(&self) -> Option<(usize, MutexGuard<'_, Box<dyn Backend>>)> {
        for (at, session) in self.sessions.iter().enumerate() {
            if let Some(session) = session.try_lock() {
                return Some((at, session));
            }
        }
        Some((0, self.sessions[0].try_lock_for(INLINE_WAIT)?))
    }

    fn work(&self, at: usize, watch: &Watch) {
        let limits = Limits { max_rows: 1, max_delay: Duration::ZERO };
        while let Some(batch) = self.queue.pop(limits) {
            for entry in batch {
                let mut session = self.sessions[at].lock();
                let start = clock::now();
                watch.begin(entry.run, None);
                // The caller may have gone between the queue and the watch.
                let outputs = if entry.reply.is_closed() { Err(BackendError::Stopped) } else { session.run(&entry.inputs, watch.stop()) };
                watch.finish();
                drop(session);
                let _ = entry.reply.send(answer(outputs, start - entry.since, start.elapsed()));
            }
        }
    }
}

struct EndRun<'a> {
    watches: &'a [Watch],
    run: Option<u64>,
}

impl Drop for EndRun<'_> {
    fn drop(&mut self) {
        if let Some(run) = self.run {
            for watch in self.watches {
                watch.end(run);
            }
        }
    }
}

fn answer(outputs: Result<Vec<Tensor>, BackendError>, queue: Duration, inference: Duration) -> Result<Ran, RunError> {
    match outputs {
        Ok(outputs) => Ok(Ran { outputs, queue, inference }),
        Err(BackendError::Refused(message)) => Err(RunError::Failed(message)),
        Err(BackendError::Stopped) => Err(RunError::Deadline),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One row of zeros for each input that a request must bring; none where they would be too large.
fn sample(signature: &Signature) -> Option<Vec<Tensor>> {
    let mut left = TRIAL_BYTES;
    let mut inputs = Vec::new();
    for port in signature.inputs.iter().filter(|port| !port.optional) {
        let shape: Vec<i64> = port.shape.iter().flatten().map(|extent| if *extent < 0 { 1 } else { *extent }).collect();
        // An empty byte string is its length alone.
        let size = port.datatype.size().unwrap_or(size_of::<u32>());
        let bytes = crate::tensor::elements(&shape)?.checked_mul(size)?;
        left = left.checked_sub(bytes)?;
        inputs.push(Tensor { name: port.name.clone(), datatype: port.datatype, shape, data: vec![0; bytes] });
    }
    Some(inputs)
}
