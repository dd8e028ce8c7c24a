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
    /// Something is under way.
    busy: bool,
    /// The requests of the run that somebody waits for still; none of an inline run.
    wanted: Vec<u64>,
    until: Option<Instant>,
    ended: bool,
}

impl Watch {
    pub(super) fn new(stop: Stop) -> Self {
        Self { stop, state: Mutex::default() }
    }

    /// A run of these requests begins; with `until`, it is ended when it lasts longer.
    fn begin(&self, requests: impl IntoIterator<Item = u64>, until: Option<Instant>) {
        let mut state = self.state.lock();
        state.wanted.clear();
        state.wanted.extend(requests);
        (state.busy, state.until) = (true, until);
    }

    /// Runs something under it. It is over also where a fault of ours breaks it off: what ends this run must not end the next one.
    pub(super) fn run<T>(&self, requests: impl IntoIterator<Item = u64>, until: Option<Instant>, run: impl FnOnce(&Stop) -> T) -> T {
        struct Over<'w>(&'w Watch);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.finish();
            }
        }
        self.begin(requests, until);
        let _over = Over(self);
        run(&self.stop)
    }

    /// The run is over.
    fn finish(&self) {
        let mut state = self.state.lock();
        if state.ended {
            self.stop.clear();
        }
        state.wanted.clear();
        (state.busy, state.until, state.ended) = (false, None, false);
    }

    /// Nobody waits for that request any more: if it is under way here, and all others of its batch are as unwanted, the
    /// run is ended.
    pub(super) fn unwanted(&self, request: u64) {
        self.end_if(|state| {
            let Some(at) = state.wanted.iter().position(|wanted| *wanted == request) else { return false };
            state.wanted.swap_remove(at);
            state.wanted.is_empty()
        });
    }

    /// Ends whatever is under way.
    pub(super) fn end_any(&self) {
        self.end_if(|state| state.busy);
    }

    fn end_if(&self, condition: impl Fn(&mut State) -> bool) {
        let mut state = self.state.lock();
        if condition(&mut state) && !state.ended {
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
