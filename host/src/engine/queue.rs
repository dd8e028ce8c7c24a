//! The bounded queue in front of a model: moves requests to the threads that own its sessions. What runs next is
//! decided in `batch.rs`.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use prometheus::IntGauge;

use super::batch::{Limits, Plan, Waiting};
use super::budget::Held;
use super::order::Reply;
use crate::clock::{self, Deadline};
use crate::runner::RunError;
use crate::tensor::Tensor;

/// A request that waits.
pub(super) struct Entry {
    pub(super) run: u64,
    pub(super) inputs: Vec<Tensor>,
    /// Rows that it adds to a batch.
    pub(super) rows: usize,
    /// See [`Waiting`].
    pub(super) class: Option<u64>,
    /// Its level of priority, counted from 0, which goes first.
    pub(super) level: usize,
    pub(super) since: Instant,
    pub(super) deadline: Deadline,
    /// It is refused then, where there is such a moment.
    pub(super) refused_from: Option<Instant>,
    /// From then on it stands behind all others of its level, where there is such a moment.
    pub(super) delayed_from: Option<Instant>,
    pub(super) reply: Reply,
    /// What its inputs count for while it waits.
    pub(super) _held: Held,
}

impl Entry {
    fn waiting(&self) -> Waiting {
        let deadline = self.deadline.moment();
        Waiting {
            since: self.since,
            deadline,
            refused: self.refused_from.unwrap_or(deadline),
            cancelled: self.reply.is_closed(),
            rows: self.rows,
            class: self.class,
        }
    }
}

/// Of a level: those in time, and those that have waited too long.
const QUEUES: usize = 2;

pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    limits: Limits,
    max: usize,
    /// Requests that wait.
    depth: IntGauge,
}

struct State {
    /// By priority; of each level those that have waited too long stand in a queue of their own, behind it.
    levels: Vec<VecDeque<Entry>>,
    plan: Plan,
    closed: bool,
}

impl State {
    fn len(&self) -> usize {
        self.levels.iter().map(VecDeque::len).sum()
    }

    /// Requests of a level.
    fn level_len(&self, level: usize) -> usize {
        self.levels[level].len() + self.levels[level + 1].len()
    }

    /// Those at the head of a level that have waited too long go behind its others.
    fn delay(&mut self, now: Instant) {
        for pair in self.levels.chunks_exact_mut(QUEUES) {
            let [level, delayed] = pair else { continue };
            while level.front().is_some_and(|entry| entry.delayed_from.is_some_and(|from| from <= now)) {
                delayed.extend(level.pop_front());
            }
        }
    }

    /// Until when the next batch waits for company; none where it, or something that is dead, is to be taken now.
    fn looked(&mut self, limits: &Limits) -> Option<Instant> {
        if limits.max_delay.is_zero() {
            return None;
        }
        let now = clock::now();
        self.delay(now);
        self.plan.form(self.levels.iter().flatten().map(Entry::waiting), limits, now);
        let Plan { expired, cancelled, wait_until, .. } = &self.plan;
        wait_until.filter(|_| expired.is_empty() && cancelled.is_empty())
    }

    /// Forms the next batch: moves it to `batch`, and drops what is dead.
    fn form(&mut self, limits: &Limits, batch: &mut Vec<Entry>) {
        let now = clock::now();
        self.delay(now);
        self.plan.form(self.levels.iter().flatten().map(Entry::waiting), limits, now);
        let Plan { run, expired, cancelled, .. } = &self.plan;
        let last = [run.last(), expired.last(), cancelled.last()].into_iter().flatten().max();
        let Some(mut left) = last.map(|last| last + 1) else { return };
        let mut at = 0;
        for level in &mut self.levels {
            let looked_at = left.min(level.len());
            left -= looked_at;
            let mut kept = 0;
            for _ in 0..looked_at {
                let Some(entry) = level.pop_front() else { break };
                if run.binary_search(&at).is_ok() {
                    batch.push(entry);
                } else if expired.binary_search(&at).is_ok() {
                    entry.reply.send(Err(RunError::Deadline));
                } else if cancelled.binary_search(&at).is_err() {
                    level.push_back(entry);
                    kept += 1;
                }
                at += 1;
            }
            // What was passed over stands at the end now, and belongs where it was.
            level.rotate_right(kept);
        }
    }
}

impl Queue {
    /// For so many `levels` of priority, and `max` requests in each of them.
    pub(super) fn new(limits: Limits, levels: usize, max: usize, depth: IntGauge) -> Self {
        let levels = (0..QUEUES * levels.max(1)).map(|_| VecDeque::new()).collect();
        Self { state: Mutex::new(State { levels, plan: Plan::default(), closed: false }), arrived: Condvar::new(), limits, max, depth }
    }

    /// Adds a request at the end of its level, or refuses it at once.
    pub(super) fn push(&self, entry: Entry) -> Result<(), RunError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(RunError::Stopped);
        }
        let last = state.levels.len() - QUEUES;
        let level = (QUEUES * entry.level).min(last);
        if state.level_len(level) >= self.max {
            // Those whose caller has gone take no place from one who is there.
            for queue in &mut state.levels[level..level + QUEUES] {
                queue.retain(|entry| !entry.reply.is_closed());
            }
        }
        let waiting = state.level_len(level);
        if waiting >= self.max {
            return Err(RunError::Overloaded { waiting });
        }
        state.levels[level].push_back(entry);
        self.count(&state);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits until a batch may run: until something waits, and has had the company that it may wait for. False once the
    /// queue is closed.
    pub(super) fn wait(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return false;
            }
            if state.len() == 0 {
                self.arrived.wait(&mut state);
                continue;
            }
            match state.looked(&self.limits) {
                Some(until) => drop(self.arrived.wait_until(&mut state, until)),
                None => return true,
            }
        }
    }

    /// Whether something waits.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().len() == 0
    }

    /// Nothing waits, and what comes is taken.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        !state.closed && state.len() == 0
    }

    /// Has another thread look: who was woken can't take what waits.
    pub(super) fn pass_on(&self) {
        self.arrived.notify_one();
    }

    /// Moves the next batch to `batch`; nothing where another has taken it, or it has company to wait for.
    pub(super) fn take(&self, batch: &mut Vec<Entry>) {
        let mut state = self.state.lock();
        state.form(&self.limits, batch);
        self.count(&state);
        if state.len() > 0 {
            // Another thread may have slept through the call that this one was woken by.
            self.arrived.notify_one();
        }
    }

    /// Takes a request back that waits still.
    pub(super) fn withdraw(&self, run: u64) -> bool {
        let mut state = self.state.lock();
        let before = state.len();
        for level in &mut state.levels {
            level.retain(|entry| entry.run != run);
        }
        self.count(&state);
        state.len() < before
    }

    /// Nothing is taken in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Refuses what waits and what comes.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for entry in state.levels.iter_mut().flat_map(|level| level.drain(..)) {
            entry.reply.send(Err(RunError::Stopped));
        }
        self.count(&state);
        drop(state);
        self.arrived.notify_all();
    }

    fn count(&self, state: &State) {
        self.depth.set(i64::try_from(state.len()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::super::budget::Budget;
    use super::*;
    use crate::runner::Ran;

    type Answer = oneshot::Receiver<Result<Ran, RunError>>;

    fn entry(run: u64, level: usize, class: Option<u64>) -> (Entry, Answer) {
        let (sender, answer) = oneshot::channel();
        let entry = Entry {
            run,
            inputs: Vec::new(),
            rows: 1,
            class,
            level,
            since: clock::now(),
            deadline: Deadline::after(Duration::from_secs(60)),
            refused_from: None,
            delayed_from: None,
            reply: Reply::new(sender, None),
            _held: Budget::new(1).whole().hold(0).unwrap(),
        };
        (entry, answer)
    }

    fn queue(max_rows: usize, levels: usize, max: usize) -> Queue {
        let limits = Limits { max_rows, preferred: Vec::new(), max_delay: Duration::ZERO };
        Queue::new(limits, levels, max, IntGauge::new("depth", "depth").unwrap())
    }

    fn take(queue: &Queue) -> Vec<u64> {
        let mut batch = Vec::new();
        queue.take(&mut batch);
        batch.iter().map(|entry| entry.run).collect()
    }

    #[test]
    fn a_full_queue_refuses_but_not_for_those_who_have_gone() {
        let queue = queue(1, 0, 2);
        let (first, _stays) = entry(1, 0, None);
        let (second, goes) = entry(2, 0, None);
        queue.push(first).unwrap();
        queue.push(second).unwrap();
        assert!(matches!(queue.push(entry(3, 0, None).0), Err(RunError::Overloaded { waiting: 2 })));
        drop(goes);
        let (third, _waits) = entry(3, 0, None);
        queue.push(third).unwrap();
        assert_eq!(take(&queue), [1]);
        queue.close();
        assert!(!queue.wait());
    }

    #[test]
    fn priority_goes_first_and_what_was_passed_over_keeps_its_place() {
        let queue = queue(2, 2, 10);
        let mut answers = Vec::new();
        for (run, level, class) in [(1, 1, 7), (2, 0, 8), (3, 1, 8), (4, 0, 9), (5, 1, 7), (6, 9, 7)] {
            let (entry, answer) = entry(run, level, Some(class));
            queue.push(entry).unwrap();
            answers.push(answer);
        }
        assert_eq!(queue.depth.get(), 6);
        assert_eq!(take(&queue), [2, 3]);
        assert_eq!(take(&queue), [4]);
        assert_eq!(take(&queue), [1, 5]);
        assert!(queue.withdraw(6) && !queue.withdraw(6));
        assert!(take(&queue).is_empty() && queue.depth.get() == 0);
    }

    #[test]
    fn who_has_waited_too_long_stands_behind_all_others_of_its_level() {
        let queue = queue(1, 2, 10);
        let mut answers = Vec::new();
        for (run, level, late) in [(1, 0, true), (2, 1, true), (3, 0, false), (4, 1, false)] {
            let (mut entry, answer) = entry(run, level, None);
            entry.delayed_from = late.then(clock::now);
            queue.push(entry).unwrap();
            answers.push(answer);
        }
        assert_eq!([take(&queue), take(&queue), take(&queue), take(&queue)].concat(), [3, 1, 4, 2]);
    }

    #[test]
    fn a_full_level_leaves_the_others_their_places() {
        let queue = queue(1, 2, 1);
        let (low, _a) = entry(1, 1, None);
        let (high, _b) = entry(2, 0, None);
        queue.push(low).unwrap();
        assert!(matches!(queue.push(entry(3, 1, None).0), Err(RunError::Overloaded { waiting: 1 })));
        queue.push(high).unwrap();
        assert_eq!([take(&queue), take(&queue)].concat(), [2, 1]);
    }
}
