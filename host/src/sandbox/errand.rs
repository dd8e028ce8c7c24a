//! What a guest waits for, done by who runs the guest.
//!
//! A host function's future is polled on the guest's own stack, which has room for a host function and for nothing like a
//! model's kernels; and a model that takes microseconds runs on the thread that polls. So a host function leaves its
//! work here and waits; the guest stands still, and [`drive`] does the work on its own stack, without another thread.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::TimeIsUp;
use crate::clock;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The place where a guest's host functions leave their work: one at a time, since a guest waits for each.
#[derive(Clone, Default)]
pub(super) struct Errands(Arc<Mutex<Place>>);

#[derive(Default)]
struct Place {
    left: Option<Work>,
    /// How long the last one took.
    took: Duration,
}

impl Errands {
    /// Has work done, and says how long the guest stood still for it. Only for guests that [`drive`] runs: else it waits for
    /// ever.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> (T, Duration) {
        let done = Arc::new(Mutex::new(None));
        let into = Arc::clone(&done);
        self.0.lock().left = Some(Box::pin(async move {
            let outcome = work.await;
            *into.lock() = Some(outcome);
        }));
        // Without a waker: who drives the guest polls it after each errand, and one would have the whole task polled
        // once more for nothing.
        let done = std::future::poll_fn(|_| done.lock().take().map_or(Poll::Pending, Poll::Ready)).await;
        (done, self.0.lock().took)
    }

    fn take(&self) -> Option<Work> {
        self.0.lock().left.take()
    }
}

/// When a guest is ended that waits in the host for something else than an errand.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// Its errands put this off by as long as they take,
    pub(super) until: Instant,
    /// but never beyond this.
    pub(super) at_most: Instant,
}

/// Runs a guest and its errands.
pub(super) async fn drive<T>(errands: &Errands, patience: Option<Patience>, guest: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    let mut guest = pin!(guest);
    let mut until = patience.map(|patience| Box::pin(tokio::time::sleep_until(patience.until.into())));
    let mut errand: Option<(Work, Instant)> = None;
    std::future::poll_fn(|cx| {
        loop {
            if let Some((work, since)) = &mut errand {
                std::task::ready!(work.as_mut().poll(cx));
                let took = clock::now() - *since;
                errands.0.lock().took = took;
                if let (Some(until), Some(Patience { at_most, .. })) = (&mut until, patience) {
                    let later = (until.deadline() + took).min(at_most.into());
                    until.as_mut().reset(later);
                }
                errand = None;
            }
            if let Poll::Ready(outcome) = guest.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            errand = errands.take().map(|work| (work, clock::now()));
            if errand.is_none() {
                let is_over = until.as_mut().is_some_and(|until| until.as_mut().poll(cx).is_ready());
                return if is_over { Poll::Ready(Err(TimeIsUp.into())) } else { Poll::Pending };
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_guest_goes_on_with_what_its_errand_gave() {
        let errands = Errands::default();
        let guest = async {
            let (one, took) = errands.run(async { 1 }).await;
            let (two, _) = errands.run(async { 2 }).await;
            assert!(took < Duration::from_secs(1));
            Ok(one + two)
        };
        assert_eq!(drive(&errands, None, guest).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn errands_put_the_end_off_and_other_waits_do_not() {
        let errands = Errands::default();
        let patience = |at_most| {
            let now = clock::now();
            Some(Patience { until: now + Duration::from_millis(50), at_most: now + Duration::from_millis(at_most) })
        };
        let guest = async {
            errands.run(tokio::time::sleep(Duration::from_millis(200))).await;
            Ok(())
        };
        drive(&errands, patience(10_000), guest).await.unwrap();
        // The request's time goes on meanwhile.
        let guest = async {
            errands.run(tokio::time::sleep(Duration::from_millis(200))).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
            Ok(())
        };
        let error = drive(&errands, patience(100), guest).await.unwrap_err();
        assert!(error.is::<TimeIsUp>(), "{error:#}");
        let guest = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Ok(())
        };
        let error = drive(&errands, patience(10_000), guest).await.unwrap_err();
        assert!(error.is::<TimeIsUp>(), "{error:#}");
    }

    #[tokio::test]
    async fn work_goes_with_the_guest() {
        struct Told(Arc<Mutex<bool>>);
        impl Drop for Told {
            fn drop(&mut self) {
                *self.0.lock() = true;
            }
        }
        let (errands, dropped) = (Errands::default(), Arc::new(Mutex::new(false)));
        let told = Told(Arc::clone(&dropped));
        let guest = async {
            let work = async move {
                let _told = told;
                std::future::pending::<()>().await;
            };
            errands.run(work).await;
            Ok(())
        };
        let ended = tokio::time::timeout(Duration::from_millis(20), drive(&errands, None, guest)).await;
        assert!(ended.is_err() && *dropped.lock());
    }
}
