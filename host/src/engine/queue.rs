//! The bounded queue in front of a model: moves requests to the threads that own its sessions. What runs next is
//! decided in `batch.rs`.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::batch::{self, Limits, Waiting};
use crate::clock::{self, Deadline};
use crate::runner::{Ran, RunError};
use crate::tensor::Tensor;

/// A request that waits.
pub(super) struct Entry {
    pub(super) run: u64,
    pub(super) inputs: Vec<Tensor>,
    pub(super) since: Instant,
    pub(super) deadline: Deadline,
    pub(super) reply: oneshot::Sender<Result<Ran, RunError>>,
}

impl Entry {
    fn waiting(&self) -> Waiting {
        Waiting { since: self.since, deadline: self.deadline.moment(), cancelled: self.reply.is_closed(), rows: 1, class: 0 }
    }
}

pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    max: usize,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), max }
    }

    /// Adds a request at the end, or refuses it at once.
    pub(super) fn push(&self, entry: Entry) -> Result<(), RunError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(RunError::Stopped);
        }
        if state.entries.len() >= self.max {
            // Those whose caller has gone take no place from one who is there.
            state.entries.retain(|entry| !entry.reply.is_closed());
        }
        if state.entries.len() >= self.max {
            return Err(RunError::Overloaded { waiting: state.entries.len() });
        }
        state.entries.push_back(entry);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// The next batch; blocks until there is one, and gives none once the queue is closed.
    pub(super) fn pop(&self, limits: Limits) -> Option<Vec<Entry>> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            let waiting: Vec<Waiting> = state.entries.iter().map(Entry::waiting).collect();
            let plan = batch::form(&waiting, limits, clock::now());
            let mut batch = Vec::with_capacity(plan.run.len());
            if !(plan.run.is_empty() && plan.expired.is_empty() && plan.cancelled.is_empty()) {
                let mut kept = VecDeque::with_capacity(state.entries.len());
                for (at, entry) in state.entries.drain(..).enumerate() {
                    if plan.run.contains(&at) {
                        batch.push(entry);
                    } else if plan.expired.contains(&at) {
                        let _ = entry.reply.send(Err(RunError::Deadline));
                    } else if !plan.cancelled.contains(&at) {
                        kept.push_back(entry);
                    }
                }
                state.entries = kept;
            }
            if !batch.is_empty() {
                return Some(batch);
            }
            match plan.wait_until {
                Some(until) => {
                    self.arrived.wait_until(&mut state, until);
                }
                None => self.arrived.wait(&mut state),
            }
        }
    }

    /// Refuses what waits and what comes.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for entry in state.entries.drain(..) {
            let _ = entry.reply.send(Err(RunError::Stopped));
        }
        drop(state);
        self.arrived.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> (Entry, oneshot::Receiver<Result<Ran, RunError>>) {
        let (reply, answer) = oneshot::channel();
        let deadline = Deadline::after(std::time::Duration::from_secs(60));
        (Entry { run: 1, inputs: Vec::new(), since: clock::now(), deadline, reply }, answer)
    }

    #[test]
    fn a_full_queue_refuses_but_not_for_those_who_have_gone() {
        let queue = Queue::new(2);
        let (first, stays) = entry();
        let (second, goes) = entry();
        queue.push(first).unwrap();
        queue.push(second).unwrap();
        assert!(matches!(queue.push(entry().0), Err(RunError::Overloaded { waiting: 2 })));
        drop(goes);
        let (third, _waits) = entry();
        queue.push(third).unwrap();
        assert!(matches!(queue.push(entry().0), Err(RunError::Overloaded { waiting: 2 })));
        drop(stays);
    }

    #[test]
    fn a_closed_queue_tells_those_who_wait() {
        let queue = Queue::new(2);
        let (waiting, mut answer) = entry();
        queue.push(waiting).unwrap();
        queue.close();
        assert!(matches!(answer.try_recv(), Ok(Err(RunError::Stopped))));
        assert!(matches!(queue.push(entry().0), Err(RunError::Stopped)));
        let limits = Limits { max_rows: 1, max_delay: std::time::Duration::ZERO };
        assert!(queue.pop(limits).is_none());
    }
}
