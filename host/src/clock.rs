//! Time as values: the only file that asks for the time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, on the monotonic clock.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Now, on the clock of files.
#[must_use]
pub fn system_now() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since the epoch, for records.
#[must_use]
pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// In nanoseconds; the longest that fits where it is longer.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// When a request must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// `limit` from now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self(now() + limit)
    }

    /// At a moment.
    #[must_use]
    pub fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// The moment.
    #[must_use]
    pub fn moment(self) -> Instant {
        self.0
    }

    /// What is left; zero once it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.left_at(now())
    }

    /// What is left at a moment; zero once it has passed.
    #[must_use]
    pub fn left_at(self, moment: Instant) -> Duration {
        self.0.saturating_duration_since(moment)
    }

    /// The earlier of two.
    #[must_use]
    pub fn or_sooner(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

/// A thread that calls a function at each tick while something goes on, and sleeps while nothing does: an idle host
/// wakes no core.
pub struct Ticker(Arc<TickerState>);

struct TickerState {
    /// What goes on now in the lower half; how often something began in the upper.
    activity: AtomicU64,
    asleep: AtomicBool,
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
}

/// Something begins: one more goes on, and one more began.
const BEGIN: u64 = (1 << 32) + 1;

/// The half of the activity that counts what goes on.
const GOES_ON: u64 = (1 << 32) - 1;

/// Ticks without activity after which the thread sleeps. Arbitrary: enough that a steady trickle of requests never
/// pays for waking it.
const LINGER_TICKS: u32 = 200;

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(name: &str, period: Duration, tick: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let state = Arc::new(TickerState {
            activity: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        let own = Arc::clone(&state);
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || own.run(period, tick))?;
        // Set once, here.
        let _ = state.thread.set(handle.thread().clone());
        Ok(Self(state))
    }

    /// Has the thread tick for as long as the guard lives. Costs two atomic additions, unless the thread sleeps.
    #[must_use]
    pub fn busy(&self) -> Busy<'_> {
        self.0.activity.fetch_add(BEGIN, Ordering::SeqCst);
        if self.0.asleep.load(Ordering::SeqCst) {
            self.0.wake();
        }
        Busy(&self.0)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.0.wake();
    }
}

/// Something goes on; see [`Ticker::busy`].
pub struct Busy<'a>(&'a TickerState);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.activity.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TickerState {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn run(&self, period: Duration, tick: impl Fn()) {
        let mut seen = 0;
        let mut quiet = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            std::thread::park_timeout(period);
            tick();
            let activity = self.activity.load(Ordering::SeqCst);
            quiet = if activity == seen && activity & GOES_ON == 0 { quiet + 1 } else { 0 };
            seen = activity;
            if quiet < LINGER_TICKS {
                continue;
            }
            self.asleep.store(true, Ordering::SeqCst);
            // Something that began between the look above and the line above found nobody asleep: look once more.
            if self.activity.load(Ordering::SeqCst) == seen && !self.stopped.load(Ordering::SeqCst) {
                std::thread::park();
            }
            self.asleep.store(false, Ordering::SeqCst);
            quiet = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticker_ticks_while_something_goes_on_and_sleeps_after() {
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&ticks);
        let ticker = Ticker::start("test", Duration::from_micros(100), move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        let wait_until = |condition: &dyn Fn() -> bool| {
            let patience = Deadline::after(Duration::from_secs(20));
            while !condition() {
                assert!(!patience.left().is_zero(), "waited in vain");
                std::thread::yield_now();
            }
        };
        let asleep = || ticker.0.asleep.load(Ordering::SeqCst);
        wait_until(&asleep);
        for _ in 0..3 {
            let before = ticks.load(Ordering::SeqCst);
            let busy = ticker.busy();
            // Far longer than it lingers: what goes on keeps it awake without another word.
            wait_until(&|| ticks.load(Ordering::SeqCst) > before + 3 * u64::from(LINGER_TICKS));
            drop(busy);
            wait_until(&asleep);
        }
    }
}
