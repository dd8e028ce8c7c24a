//! Ends runs: those whose caller no longer waits, and those on a caller's thread that last too long.

use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::backend::Stop;
use crate::clock;

/// One session's watch. Its lock is held for a few instructions at the start and end of a run, and it is what keeps
/// an end from hitting the next run on the same session.
pub(super) struct Watch {
    stop: Stop,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    run: Option<u64>,
    until: Option<Instant>,
    ended: bool,
}

impl Watch {
    pub(super) fn new(stop: Stop) -> Self {
        Self { stop, state: Mutex::default() }
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// A run begins; with `until`, it is ended when it lasts longer.
    pub(super) fn begin(&self, run: u64, until: Option<Instant>) {
        *self.state.lock() = State { run: Some(run), until, ended: false };
    }

    /// The run is over.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock();
        if state.ended {
            self.stop.clear();
        }
        *state = State::default();
    }

    /// Ends that run, if it is under way here.
    pub(super) fn end(&self, run: u64) {
        self.end_if(|state| state.run == Some(run));
    }

    /// Ends whatever is under way.
    pub(super) fn end_any(&self) {
        self.end_if(|state| state.run.is_some());
    }

    fn end_if(&self, condition: impl Fn(&State) -> bool) {
        let mut state = self.state.lock();
        if condition(&state) && !state.ended {
            state.ended = true;
            self.stop.set();
        }
    }
}

/// The watches of all models.
#[derive(Default)]
pub(super) struct Watches(Mutex<Vec<Weak<[Watch]>>>);

impl Watches {
    pub(super) fn add(&self, watches: &Arc<[Watch]>) {
        self.0.lock().push(Arc::downgrade(watches));
    }

    /// Ends the runs that have lasted too long.
    pub(super) fn look(&self) {
        let now = clock::now();
        self.0.lock().retain(|watches| {
            let Some(watches) = watches.upgrade() else { return false };
            for watch in &*watches {
                watch.end_if(|state| state.until.is_some_and(|until| until <= now));
            }
            true
        });
    }
}
