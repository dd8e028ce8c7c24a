//! Time of compilations: what was used fades as the hour goes by.

use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// What was used, as of some moment.
#[derive(Debug, Default)]
pub(super) struct CompileTime {
    used: Duration,
    at: Option<Instant>,
}

impl CompileTime {
    fn left(&self, per_hour: u32, now: Instant) -> Duration {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.used.saturating_sub(passed.mul_f64(f64::from(per_hour) / HOUR.as_secs_f64()))
    }

    /// How long until there is some again.
    pub(super) fn wait(&self, per_hour: u32, now: Instant) -> Duration {
        let over = self.left(per_hour, now).saturating_sub(Duration::from_secs(per_hour.into()));
        over.mul_f64(HOUR.as_secs_f64() / f64::from(per_hour.max(1)))
    }

    pub(super) fn add(&mut self, took: Duration, per_hour: u32, now: Instant) {
        self.used = self.left(per_hour, now) + took;
        self.at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_comes_back_with_time() {
        let (mut time, now) = (CompileTime::default(), crate::clock::now());
        assert_eq!(time.wait(60, now), Duration::ZERO);
        time.add(Duration::from_secs(90), 60, now);
        // Half a minute too much is half an hour's worth.
        assert_eq!(time.wait(60, now), HOUR / 2);
        assert_eq!(time.wait(60, now + HOUR / 2), Duration::ZERO);
        time.add(Duration::from_secs(30), 60, now + HOUR / 2);
        assert_eq!(time.wait(60, now + HOUR / 2), HOUR / 2);
        assert_eq!(time.wait(60, now + 3 * HOUR), Duration::ZERO);
    }
}
