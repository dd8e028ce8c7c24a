//! A model that runs in its tenant's process, as the rest of the host sees it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bulkhead_registry::Batching;

use super::keeper::Keeper;
use super::lane::{Answer, Failure, How};
use super::process::{NotLoaded, Process};
use super::wire::{Facts, Order, Since, What};
use crate::clock::{self, nanos};
use crate::engine::{Counter, EngineTotals, Held, Loaded, Merging};
use crate::runner::{Ran, RunError, RunTimes, Runner, Signature, Terms};
use crate::telemetry::metrics::EngineMetrics;
use crate::tensor::Tensor;

/// A caller's thread waits for runs whose mean time, there and back, is below this: what an inline run may take.
const BLOCK_BELOW: Duration = Duration::from_micros(400);

/// Threads that waited in vain for as long as they may; no other does after these. Arbitrary: a busy machine may be to blame for one.
const BLOCKED_OUT: u32 = 3;

/// Nanoseconds that runs may have taken in all, as one answer tells of them: a process may say anything.
const NANOS_AT_MOST: u64 = 3_600_000_000_000;

/// Rows of so many runs are counted for one answer at most: a process may say anything of them.
const COUNTED_AT_MOST: u64 = 1024;

/// A model that runs in its tenant's process.
pub struct ApartModel {
    keeper: Arc<Keeper>,
    parts: Parts,
    /// None while there is no process that has it.
    place: ArcSwapOption<Place>,
    signature: Signature,
    merging: Merging,
    instances: usize,
    threads: usize,
    /// As the process says.
    inline: AtomicBool,
    /// How often a thread waited for as long as it may.
    blocked_out: AtomicU32,
    mean_nanos: AtomicU64,
    counter: Counter,
    under_way: AtomicI64,
    waiting: AtomicI64,
    held_bytes: i64,
    is_closed: AtomicBool,
    fatal_loads: AtomicU32,
}

/// What a model is made of.
pub(super) struct Parts {
    pub(super) bytes: Bytes,
    /// As JSON.
    pub(super) manifest: String,
    pub(super) batching: Batching,
    pub(super) metrics: EngineMetrics,
}

/// Where a model's bytes are.
pub(super) enum Bytes {
    /// A version's artifact.
    Artifact(PathBuf),
    /// Brought along by a component.
    Brought(Vec<u8>),
}

struct Place {
    process: Arc<Process>,
    model: u32,
}

impl ApartModel {
    pub(super) fn new(keeper: Arc<Keeper>, parts: Parts, process: &Arc<Process>, facts: Facts) -> Self {
        let instances = facts.instances.clamp(1, 1 << 16);
        let bytes = match &parts.bytes {
            Bytes::Artifact(path) => std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
            Bytes::Brought(_) => 0,
        };
        let held_bytes = i64::try_from(bytes.saturating_mul(instances as u64)).unwrap_or(i64::MAX);
        parts.metrics.model_bytes.add(held_bytes);
        Self {
            keeper,
            parts,
            place: ArcSwapOption::from_pointee(Place { process: Arc::clone(process), model: facts.model }),
            signature: facts.signature,
            merging: facts.merging,
            instances,
            threads: facts.threads,
            inline: AtomicBool::new(facts.inline),
            blocked_out: AtomicU32::new(0),
            mean_nanos: AtomicU64::new(0),
            counter: Counter::default(),
            under_way: AtomicI64::new(0),
            waiting: AtomicI64::new(0),
            held_bytes,
            is_closed: AtomicBool::new(false),
            fatal_loads: AtomicU32::new(0),
        }
    }

    /// The process has ended.
    pub(super) fn lose(&self) {
        self.place.store(None);
        self.waiting.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        // One that was brought along lives within one request, which has failed.
        self.is_closed.load(Ordering::SeqCst) || (matches!(self.parts.bytes, Bytes::Brought(_)) && self.place.load().is_none())
    }

    /// A process has it.
    pub(super) fn is_loaded(&self) -> bool {
        self.place.load().is_some()
    }

    /// How often loading it again has ended the process.
    pub(super) fn fatal_loads(&self) -> u32 {
        self.fatal_loads.load(Ordering::Relaxed)
    }

    pub(super) fn was_fatal(&self) {
        self.fatal_loads.fetch_add(1, Ordering::Relaxed);
    }

    /// Loads it in a new process.
    pub(super) fn load_again(&self, process: &Arc<Process>) -> Result<(), NotLoaded> {
        let refuse = |why: String| NotLoaded::Refused(crate::engine::BackendError::Refused(why));
        let file = self.parts.bytes.open().map_err(|error| refuse(error.to_string()))?;
        let facts = process.load(What::Artifact, &file, &self.parts.manifest)?;
        if facts.signature != self.signature {
            return Err(refuse("it takes and gives something else than before".to_owned()));
        }
        self.inline.store(facts.inline, Ordering::Relaxed);
        self.place.store(Some(Arc::new(Place { process: Arc::clone(process), model: facts.model })));
        self.fatal_loads.store(0, Ordering::Relaxed);
        if self.is_closed.load(Ordering::SeqCst) {
            self.leave();
        }
        Ok(())
    }

    /// Has the process let go of it.
    fn leave(&self) {
        if let Some(place) = self.place.swap(None) {
            place.process.order(&Order::Close { model: place.model });
        }
    }

    /// Whether a thread waits for the answer: for what takes microseconds, unless others that come meanwhile could share its
    /// run.
    fn blocks(&self, under_way: i64) -> bool {
        self.inline.load(Ordering::Relaxed)
            && self.blocked_out.load(Ordering::Relaxed) < BLOCKED_OUT
            && self.mean_nanos.load(Ordering::Relaxed) < nanos(BLOCK_BELOW)
            && (under_way == 1 || !matches!(self.merging, Merging::On { .. }))
    }

    fn learn(&self, took: Duration) {
        let mean = self.mean_nanos.load(Ordering::Relaxed);
        self.mean_nanos.store(mean - mean / 16 + nanos(took) / 16, Ordering::Relaxed);
    }

    fn note(&self, since: Since) {
        self.inline.store(since.inline, Ordering::Relaxed);
        self.waiting.store(since.waiting, Ordering::Relaxed);
        self.parts.metrics.batches_retried.inc_by(since.retried.min(COUNTED_AT_MOST));
        let mut left = COUNTED_AT_MOST;
        for mut batch in since.batches {
            batch.runs = batch.runs.min(left);
            for nanos in [&mut batch.assembly_ns, &mut batch.inference_ns, &mut batch.split_ns] {
                *nanos = NANOS_AT_MOST.min(*nanos);
            }
            left -= batch.runs;
            for _ in 0..batch.runs {
                self.parts.metrics.ran(usize::try_from(batch.rows).unwrap_or(usize::MAX));
            }
            self.counter.add(batch);
        }
        self.parts.metrics.queue_depth.set(self.waiting());
    }

    async fn run_there(&self, place: &Place, inputs: &[Tensor], terms: Terms, under_way: i64) -> Result<Ran, RunError> {
        let start = clock::now();
        let mut answer = match self.answer(place, inputs, terms, under_way).await {
            Ok(answer) => answer,
            Err(Failure::Late) => return Err(RunError::Deadline),
            Err(Failure::Full) => return Err(RunError::OutOfMemory { limit_bytes: place.process.max_bytes() }),
            Err(Failure::Gone) => return Err(self.keeper.gone()),
            Err(Failure::Refused(why)) => return Err(RunError::Failed(why)),
            Err(Failure::Rule(rule)) => {
                place.process.kill(rule);
                return Err(self.keeper.gone());
            }
        };
        if answer.blocked_out {
            self.blocked_out.fetch_add(1, Ordering::Relaxed);
        }
        let took = start.elapsed();
        self.learn(took);
        self.note(answer.since);
        if let Ok(ran) = &mut answer.outcome {
            let RunTimes { queue, assembly, inference, split } = &mut ran.times;
            for time in [queue, assembly, inference, split] {
                *time = took.min(*time);
            }
        }
        answer.outcome
    }

    async fn answer(&self, place: &Place, inputs: &[Tensor], terms: Terms, under_way: i64) -> Result<Answer, Failure> {
        let shares = self.keeper.tenant().shares();
        place.process.leave_a_processor(shares);
        // What is long there runs on threads of the model, which leave one processor then; what is short runs here all the same.
        let how = How { blocks: self.blocks(under_way), here: !shares };
        let mut lane = place.process.lane(terms.deadline).await?;
        let ran = lane.run(place.model, &self.signature, inputs, terms, how);
        tokio::time::timeout_at(terms.deadline.moment().into(), ran).await.unwrap_or(Err(Failure::Late))
    }
}

#[async_trait]
impl Runner for ApartModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    async fn run(&self, inputs: Vec<Tensor>, terms: Terms) -> Result<Ran, RunError> {
        let inputs = self.signature.arrange(inputs)?;
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(RunError::Stopped);
        }
        let Some(place) = self.place.load_full() else {
            self.keeper.catch_up();
            return Err(self.keeper.gone());
        };
        let bytes = inputs.iter().map(Tensor::weight).fold(0, usize::saturating_add);
        let limit_bytes = self.keeper.budget().limit();
        if bytes > limit_bytes {
            return Err(RunError::TooLarge { bytes, limit_bytes });
        }
        let _held: Held = self.keeper.budget().hold(bytes).ok_or(RunError::OutOfMemory { limit_bytes })?;
        let under_way = UnderWay(&self.under_way, self.under_way.fetch_add(1, Ordering::Relaxed) + 1);
        self.run_there(&place, &inputs, terms, under_way.1).await
    }
}

struct UnderWay<'a>(&'a AtomicI64, i64);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Loaded for ApartModel {
    fn batching(&self) -> &Batching {
        &self.parts.batching
    }

    fn waiting(&self) -> i64 {
        // As it was at the last answer.
        self.waiting.load(Ordering::Relaxed).clamp(0, self.under_way.load(Ordering::Relaxed).max(0))
    }

    fn totals(&self) -> EngineTotals {
        self.counter.totals()
    }

    fn is_on_gpu(&self) -> bool {
        false
    }

    fn merging(&self) -> &Merging {
        &self.merging
    }

    fn runs_inline(&self) -> bool {
        self.inline.load(Ordering::Relaxed)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }

    fn close(&self) {
        if self.is_closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.leave();
        self.parts.metrics.model_bytes.sub(self.held_bytes);
        self.parts.metrics.queue_depth.set(0);
        // Who brings models along does so with the next request again.
        if matches!(self.parts.bytes, Bytes::Artifact(_)) {
            self.keeper.closed();
        }
    }
}

impl Drop for ApartModel {
    fn drop(&mut self) {
        self.close();
    }
}
