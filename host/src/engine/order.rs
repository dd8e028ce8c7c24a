//! Replies, and the order in which they leave where the manifest asks for that.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::runner::{Ran, RunError};

type Outcome = Result<Ran, RunError>;

/// Where one request's outcome goes.
pub(super) struct Reply {
    sender: Option<oneshot::Sender<Outcome>>,
    /// Its turn among the others.
    turn: Option<(Arc<Order>, u64)>,
}

/// Lets replies leave in the order in which their requests came.
#[derive(Default)]
pub(super) struct Order(Mutex<State>);

#[derive(Default)]
struct State {
    /// Turns given out so far.
    given: u64,
    /// The turn that is next to leave.
    next: u64,
    /// Turns that are over and can't leave yet; none for a request that ended without an outcome.
    over: BTreeMap<u64, Option<(oneshot::Sender<Outcome>, Outcome)>>,
}

impl Reply {
    /// The channel's sending end, and the order that it keeps to.
    pub(super) fn new(sender: oneshot::Sender<Outcome>, order: Option<&Arc<Order>>) -> Self {
        let turn = order.map(|order| (Arc::clone(order), order.turn()));
        Self { sender: Some(sender), turn }
    }

    /// The caller no longer waits.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    pub(super) fn send(mut self, outcome: Outcome) {
        let Some(sender) = self.sender.take() else { return };
        match self.turn.take() {
            Some((order, turn)) => order.over(turn, Some((sender, outcome))),
            // Whether the caller still waits is the caller's affair.
            None => drop(sender.send(outcome)),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some((order, turn)) = self.turn.take() {
            order.over(turn, None);
        }
    }
}

impl Order {
    fn turn(&self) -> u64 {
        let mut state = self.0.lock();
        state.given += 1;
        state.given - 1
    }

    fn over(&self, turn: u64, outcome: Option<(oneshot::Sender<Outcome>, Outcome)>) {
        let mut state = self.0.lock();
        // What nobody waits for any more is not worth keeping.
        state.over.insert(turn, outcome.filter(|(sender, _)| !sender.is_closed()));
        loop {
            let next = state.next;
            let Some(outcome) = state.over.remove(&next) else { return };
            state.next += 1;
            if let Some((sender, outcome)) = outcome {
                drop(sender.send(outcome));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let order = Arc::new(Order::default());
        let mut answers = Vec::new();
        let mut replies: Vec<Reply> = (0..4)
            .map(|_| {
                let (sender, answer) = oneshot::channel();
                answers.push(answer);
                Reply::new(sender, Some(&order))
            })
            .collect();
        replies.pop().unwrap().send(Err(RunError::Stopped));
        replies.remove(1).send(Err(RunError::Stopped));
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()));
        replies.remove(0).send(Err(RunError::Stopped));
        let there: Vec<bool> = answers.iter_mut().map(|answer| answer.try_recv().is_ok()).collect();
        assert_eq!(there, [true, true, false, false]);
        // One that ends without an outcome holds up nobody.
        drop(replies);
        assert!(answers[3].try_recv().is_ok());
    }
}
