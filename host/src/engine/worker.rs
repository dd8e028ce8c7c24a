//! The threads that own a model's sessions: each takes a batch when its session is free, and runs it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::backend::{Backend, BackendError};
use super::layout::Layout;
use super::merge::Merged;
use super::queue::{Entry, Queue};
use super::totals::Counter;
use super::watch::Watch;
use crate::clock;
use crate::runner::{Ran, RunError, RunTimes, Signature};
use crate::telemetry::metrics::EngineMetrics;
use crate::tenants::{Tenant, Turns};
use crate::tensor::Tensor;

/// An inline run waits so long for a session before it queues instead. Arbitrary: some inline runs of others.
const INLINE_WAIT: Duration = Duration::from_millis(1);

/// A session that its holder alone runs, and which one it is.
pub(super) type SessionHeld<'s> = (usize, MutexGuard<'s, Box<dyn Backend>>);

/// What a model's callers share with its threads.
pub(super) struct Shared {
    pub(super) signature: Signature,
    /// Where its rows are; none where no requests merge.
    pub(super) layout: Option<Layout>,
    pub(super) sessions: Vec<Mutex<Box<dyn Backend>>>,
    pub(super) watches: Arc<[Watch]>,
    pub(super) queue: Queue,
    /// Where its runs have their turns, and whose they are; none where nobody shares the engine.
    pub(super) turns: Option<(Arc<Turns>, Arc<Tenant>)>,
    pub(super) metrics: EngineMetrics,
    pub(super) counter: Counter,
}

impl Shared {
    /// A session that is free, or else the first, if it becomes so at once: other inline runs are short, but a run on
    /// its owner's thread may last.
    pub(super) fn any_session(&self) -> Option<SessionHeld<'_>> {
        for (at, session) in self.sessions.iter().enumerate() {
            if let Some(session) = session.try_lock() {
                return Some((at, session));
            }
        }
        if !self.queue.is_empty() {
            return None;
        }
        Some((0, self.sessions[0].try_lock_for(INLINE_WAIT)?))
    }

    /// A session that is free while nothing waits for one.
    pub(super) fn idle_session(&self) -> Option<SessionHeld<'_>> {
        let free = || self.sessions.iter().enumerate().find_map(|(at, session)| Some((at, session.try_lock()?)));
        if self.queue.is_idle() { free() } else { None }
    }

    /// Nobody waits for that request any more.
    pub(super) fn end(&self, run: u64) {
        for watch in &*self.watches {
            watch.unwanted(run);
        }
    }

    /// Counts a run.
    pub(super) fn ran(&self, rows: usize, assembly: Duration, inference: Duration, split: Duration) {
        self.metrics.ran(rows);
        self.counter.ran(rows, assembly, inference, split);
    }

    /// Runs batches on one session until the queue is closed.
    pub(super) fn work(&self, at: usize) {
        let mut batch = Vec::new();
        let mut merged = Merged::default();
        while self.queue.wait() {
            let _turn = self.turns.as_ref().map(|(turns, tenant)| turns.take(tenant));
            // The batch is formed when the session is free: until then, more requests may join it.
            let mut session = match self.sessions[at].try_lock() {
                Some(session) => session,
                None => {
                    // A caller's run has it; another may be free.
                    self.queue.pass_on();
                    self.sessions[at].lock()
                }
            };
            self.queue.take(&mut batch);
            if batch.is_empty() {
                continue;
            }
            let session = &mut **session;
            let watch = &self.watches[at];
            // A fault of ours in one batch must not leave the model without its thread.
            let ran = catch_unwind(AssertUnwindSafe(|| match self.layout.as_ref().filter(|_| batch.len() > 1) {
                Some(layout) => self.together(session, watch, layout, &mut merged, &mut batch),
                None => self.one_by_one(session, watch, &mut batch),
            }));
            merged.trim();
            if ran.is_err() {
                tracing::error!("a batch broke off by a fault of the engine");
                for entry in batch.drain(..) {
                    entry.reply.send(Err(RunError::Failed("the engine broke off; its log has more".to_owned())));
                }
            }
        }
    }

    fn one_by_one(&self, session: &mut dyn Backend, watch: &Watch, batch: &mut Vec<Entry>) {
        for entry in batch.drain(..) {
            let start = clock::now();
            let (gone, outputs) = watch.run([entry.run], None, |stop| {
                // The caller may have gone between the queue and the watch.
                let gone = entry.reply.is_closed();
                (gone, if gone { Err(BackendError::Stopped) } else { session.outputs(&entry.inputs, stop) })
            });
            let inference = start.elapsed();
            if !gone {
                self.ran(entry.rows, Duration::ZERO, inference, Duration::ZERO);
            }
            entry.reply.send(answer(outputs, start - entry.since, inference));
        }
    }

    /// Runs all of them at once; where that fails each is run again by itself, so that it fails for its own faults only.
    fn together(&self, session: &mut dyn Backend, watch: &Watch, layout: &Layout, merged: &mut Merged, batch: &mut Vec<Entry>) {
        let start = clock::now();
        let requests: Vec<(&[Tensor], usize)> = batch.iter().map(|entry| (entry.inputs.as_slice(), entry.rows)).collect();
        let first = requests[0].0;
        if !requests[1..].iter().all(|(inputs, _)| layout.merges(&self.signature, first, inputs)) {
            return self.one_by_one(session, watch, batch);
        }
        if !merged.gather(layout, &self.signature, &requests) {
            return self.one_by_one(session, watch, batch);
        }
        let assembled = clock::now();
        let mut split = merged.split(layout);
        let ran = watch.run(batch.iter().map(|entry| entry.run), None, |stop| {
            // Those that have gone by now were told of to no run.
            for entry in batch.iter().filter(|entry| entry.reply.is_closed()) {
                watch.unwanted(entry.run);
            }
            if batch.iter().all(|entry| entry.reply.is_closed()) {
                return Err(BackendError::Stopped);
            }
            session.run(merged.tensors(), stop, &mut |view| split.take(view).map_err(BackendError::Refused))
        });
        if let Err(BackendError::Refused(error)) = &ran {
            tracing::debug!(error, requests = batch.len(), "a batch failed and is run again one by one");
            self.metrics.batches_retried.inc();
            return self.one_by_one(session, watch, batch);
        }
        let (parts, ran_until) = split.finish();
        let ran_until = ran_until.unwrap_or_else(clock::now);
        let times = Times { start, assembled, ran_until, end: clock::now() };
        self.ran(merged.rows(), assembled - start, ran_until - assembled, times.end - ran_until);
        for (entry, outputs) in batch.drain(..).zip(parts) {
            entry.reply.send(match ran {
                Ok(()) => Ok(times.of(entry.since, outputs)),
                Err(_) => Err(RunError::Deadline),
            });
        }
    }
}

/// The moments of a batch.
#[derive(Clone, Copy)]
struct Times {
    start: Instant,
    assembled: Instant,
    ran_until: Instant,
    end: Instant,
}

impl Times {
    fn of(self, since: Instant, outputs: Vec<Tensor>) -> Ran {
        let times = RunTimes {
            queue: self.start - since,
            assembly: self.assembled - self.start,
            inference: self.ran_until - self.assembled,
            split: self.end - self.ran_until,
        };
        Ran { outputs, times }
    }
}

/// The outcome of a run of one request.
pub(super) fn answer(outputs: Result<Vec<Tensor>, BackendError>, queue: Duration, inference: Duration) -> Result<Ran, RunError> {
    match outputs {
        Ok(outputs) => Ok(Ran { outputs, times: RunTimes { queue, inference, ..RunTimes::default() } }),
        Err(BackendError::Stopped) => Err(RunError::Deadline),
        Err(error) => Err(RunError::Failed(error.to_string())),
    }
}
