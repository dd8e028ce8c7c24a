//! Time as values: the only file that asks for the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, on the monotonic clock.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since the epoch, for records.
#[must_use]
pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
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
        self.0.saturating_duration_since(now())
    }

    /// The earlier of two.
    #[must_use]
    pub fn or_sooner(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

/// A thread that calls a function at each tick while something is touched, and sleeps while nothing is: an idle host
/// wakes no core.
pub struct Ticker(std::sync::Arc<TickerState>);

struct TickerState {
    touched: AtomicBool,
    asleep: AtomicBool,
    stopped: AtomicBool,
    thread: std::sync::OnceLock<std::thread::Thread>,
}

/// Ticks without a touch after which the thread sleeps. Arbitrary: enough that a steady trickle of requests never
/// pays for waking it.
const LINGER_TICKS: u32 = 200;

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(name: &str, period: Duration, tick: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let state = std::sync::Arc::new(TickerState {
            touched: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thread: std::sync::OnceLock::new(),
        });
        let own = std::sync::Arc::clone(&state);
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || own.run(period, tick))?;
        let _ = state.thread.set(handle.thread().clone());
        Ok(Self(state))
    }

    /// Says that ticks matter now. Costs a fenced store and a load, unless the thread sleeps.
    pub fn touch(&self) {
        self.0.touched.store(true, Ordering::SeqCst);
        if self.0.asleep.load(Ordering::SeqCst)
            && let Some(thread) = self.0.thread.get()
        {
            thread.unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.0.thread.get() {
            thread.unpark();
        }
    }
}

impl TickerState {
    fn run(&self, period: Duration, tick: impl Fn()) {
        let mut quiet = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            std::thread::park_timeout(period);
            tick();
            quiet = if self.touched.swap(false, Ordering::Relaxed) { 0 } else { quiet + 1 };
            if quiet >= LINGER_TICKS {
                self.asleep.store(true, Ordering::SeqCst);
                // A touch between the look above and the line above would find nobody asleep: look once more.
                if !self.touched.load(Ordering::SeqCst) && !self.stopped.load(Ordering::SeqCst) {
                    std::thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
                quiet = 0;
            }
        }
    }
}
