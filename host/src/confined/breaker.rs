//! When a process that has ended is started again: at once, then after longer and longer, and then not for a while.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Ends within this time count together. All of these numbers are arbitrary.
const WINDOW: Duration = Duration::from_secs(60);

/// So many of them are too many.
const TOO_MANY: usize = 5;

/// Before the first start that follows; each further one waits twice as long.
const FIRST: Duration = Duration::from_millis(100);

/// Nobody is served for so long, once there were too many; twice as long each time that it did not help.
const OPEN: Duration = Duration::from_secs(10);

/// The longest of these.
const OPEN_AT_MOST: Duration = Duration::from_secs(300);

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is started after so long.
    Again(Duration),
    /// It ended too often: it is tried after so long.
    Open(Duration),
}

/// Counts ends.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    ends: VecDeque<Instant>,
    /// How often it was open without a quiet time in between.
    opened: u32,
}

impl Breaker {
    /// It has ended.
    pub(super) fn ended(&mut self, now: Instant) -> Next {
        while self.ends.front().is_some_and(|end| now.duration_since(*end) >= WINDOW) {
            self.ends.pop_front();
        }
        if self.ends.is_empty() && self.opened > 0 {
            self.opened = 0;
        }
        self.ends.push_back(now);
        // One that was tried, and ended again before its time was over, needs no second chance.
        if self.ends.len() < TOO_MANY && self.opened == 0 {
            let doublings = u32::try_from(self.ends.len() - 1).unwrap_or(0);
            return Next::Again(FIRST * 2u32.pow(doublings));
        }
        let pause = OPEN.saturating_mul(1 << self.opened.min(16)).min(OPEN_AT_MOST);
        self.opened += 1;
        // Counted from when it is tried again.
        self.ends.clear();
        self.ends.push_back(now + pause);
        Next::Open(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_longer_and_longer_and_then_opens() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::default();
        let ms = Duration::from_millis;
        for (second, expected) in [
            (0, Next::Again(ms(100))),
            (1, Next::Again(ms(200))),
            (2, Next::Again(ms(400))),
            (3, Next::Again(ms(800))),
            (4, Next::Open(ms(10_000))),
            // Tried once more, and ended at once.
            (14, Next::Open(ms(20_000))),
            (40, Next::Open(ms(40_000))),
            // It lived for as long as it must.
            (200, Next::Again(ms(100))),
            (201, Next::Again(ms(200))),
            (400, Next::Again(ms(100))),
        ] {
            assert_eq!(breaker.ended(at(second)), expected, "at {second} s");
        }
    }

    #[test]
    fn no_pause_is_endless() {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        for _ in 0..40 {
            match breaker.ended(now) {
                Next::Again(pause) | Next::Open(pause) => {
                    assert!(pause <= OPEN_AT_MOST);
                    now += pause;
                }
            }
        }
    }
}
