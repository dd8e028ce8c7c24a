//! Whether tenants share the host just now: what takes long leaves a processor to the others' requests then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clock::{self, nanos};

/// Until when they do, as it is known by now. All tenants of a host have the same.
#[derive(Clone)]
pub(super) struct Sharing(Arc<State>);

struct State {
    since: Instant,
    /// Nanoseconds from then on.
    until: AtomicU64,
}

impl Default for Sharing {
    fn default() -> Self {
        Self(Arc::new(State { since: clock::now(), until: AtomicU64::new(0) }))
    }
}

impl Sharing {
    /// They do, from now on for so long.
    pub(super) fn goes_on(&self, now: Instant, long: Duration) {
        self.0.until.store(self.at(now + long), Ordering::Relaxed);
    }

    pub(super) fn is_now(&self) -> bool {
        let until = self.0.until.load(Ordering::Relaxed);
        until > 0 && self.at(clock::now()) < until
    }

    fn at(&self, moment: Instant) -> u64 {
        nanos(moment.saturating_duration_since(self.0.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_itself() {
        let (sharing, now) = (Sharing::default(), clock::now());
        assert!(!sharing.is_now());
        sharing.goes_on(now, Duration::from_secs(3600));
        assert!(sharing.clone().is_now());
        sharing.goes_on(now, Duration::ZERO);
        assert!(!sharing.is_now());
    }
}
