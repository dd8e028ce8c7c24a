//! Timeouts of connections that cost next to nothing while they do not run out.
//!
//! Each request moves its connection's timeout on. Moving it in the runtime's timer costs as much as reading a small
//! request; here only the new moment is noted, and the runtime's timer is moved when the old moment comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use crate::clock;

/// Makes such timeouts.
#[derive(Clone, Copy, Debug)]
pub(super) struct LazyTimer;

struct LazySleep {
    deadline: Instant,
    /// Never later than the deadline.
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl Timer for LazyTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(clock::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(LazySleep { deadline, timer: Box::pin(tokio::time::sleep_until(deadline.into())) })
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<LazySleep>() {
            Some(mut lazy) if deadline >= lazy.deadline => lazy.deadline = deadline,
            _ => *sleep = self.sleep_until(deadline),
        }
    }

    fn now(&self) -> Instant {
        clock::now()
    }
}

impl Future for LazySleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let deadline = self.deadline;
            if self.timer.deadline().into_std() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline.into());
        }
    }
}

impl Sleep for LazySleep {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_ends_at_the_last_deadline_that_it_was_given() {
        // In milliseconds; an hour would be noticed.
        const HOUR: u64 = 3_600_000;
        for (first, moved, expected) in [(10, vec![], 10), (10, vec![40, 60], 60), (HOUR, vec![30], 30), (10, vec![10], 10)] {
            let began = clock::now();
            let at = |millis| began + Duration::from_millis(millis);
            let mut sleep = LazyTimer.sleep_until(at(first));
            for deadline in &moved {
                LazyTimer.reset(&mut sleep, at(*deadline));
            }
            sleep.await;
            assert!(began.elapsed() >= Duration::from_millis(expected), "{first} {moved:?}: {:?}", began.elapsed());
        }
    }
}
