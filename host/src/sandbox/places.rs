//! How many sandboxes there are at one time, and who may have one.
//!
//! A request takes the places of all sandboxes that it will hold at one time together, before it begins in the first: were
//! it to take them one by one, requests that hold one and wait for another could stop each other for good.

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use std::sync::Arc;

use super::error::SandboxError;
use super::predictor::Predictor;
use super::transform::Transform;
use super::usage::Use;
use crate::clock::{Busy, Deadline, Ticker};

/// All places.
pub(super) struct AllPlaces {
    serving: Semaphore,
    count: u32,
    idle: Arc<Semaphore>,
}

impl AllPlaces {
    /// Places for `count` sandboxes that serve.
    pub(super) fn new(count: u32) -> Self {
        Self { serving: Semaphore::new(count as usize), count, idle: Arc::new(Semaphore::new(idle(count) as usize)) }
    }

    /// Waits for `count` places at most until the deadline.
    pub(super) async fn take<'a>(&'a self, count: u32, deadline: Deadline, ticker: &'a Ticker) -> Result<Places<'a>, SandboxError> {
        // More than there are would never come free.
        let count = count.min(self.count);
        if let Ok(permit) = self.serving.try_acquire_many(count) {
            return Ok(Places { _permit: permit, _ticks: ticker.busy() });
        }
        let permit = tokio::time::timeout_at(deadline.moment().into(), self.serving.acquire_many(count)).await;
        let permit = permit.map_err(|_| SandboxError::Busy)?.map_err(|_| SandboxError::Busy)?;
        Ok(Places { _permit: permit, _ticks: ticker.busy() })
    }

    /// A place for an instance that is kept warm while it serves nobody; none where there are enough of them.
    pub(super) fn take_idle(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.idle).try_acquire_owned().ok()
    }
}

/// Instances that may be kept warm beside `serving` ones. Arbitrary: half as many again.
pub(super) fn idle(serving: u32) -> u32 {
    serving / 2
}

/// Places for all sandboxes that a request holds at one time; given back when this is dropped.
pub struct Places<'a> {
    _permit: SemaphorePermit<'a>,
    /// Once for all that happens on them: each costs two additions that all cores share.
    _ticks: Busy<'a>,
}

impl Places<'_> {
    /// Takes the places that a request needs for all that it runs; none where that is nothing.
    ///
    /// # Errors
    /// [`SandboxError::Busy`] where none came free in time.
    pub async fn take<'a>(
        transforms: &'a [Transform],
        predictor: Option<&'a Predictor>,
        deadline: Deadline,
    ) -> Result<Option<Places<'a>>, SandboxError> {
        // All of them are of one host.
        let any: Option<&Use> = transforms.first().map(|first| &**first).or(predictor.map(|predictor| &**predictor));
        match any {
            None => Ok(None),
            Some(any) => Ok(Some(any.plain.inner.places(needed(transforms, predictor.is_some()), deadline).await?)),
        }
    }
}

/// What is needed at one time: a place for each transform that stays open while the model runs, and one for what comes and
/// goes, as a predictor does.
fn needed(transforms: &[Transform], predictor: bool) -> u32 {
    let mut stay = 0;
    let mut passing = u32::from(predictor);
    for transform in transforms {
        match (transform.description().before, transform.description().after) {
            (true, true) => stay += 1,
            (false, false) => {}
            _ => passing = 1,
        }
    }
    stay + passing
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ticker() -> Ticker {
        Ticker::start("test", Duration::from_secs(1), || {}).unwrap()
    }

    #[tokio::test]
    async fn places_are_taken_together_or_not_at_all() {
        let (all, ticker) = (AllPlaces::new(3), ticker());
        let soon = || Deadline::after(Duration::from_millis(10));
        let two = all.take(2, soon(), &ticker).await.unwrap();
        assert!(matches!(all.take(2, soon(), &ticker).await, Err(SandboxError::Busy)));
        let one = all.take(1, soon(), &ticker).await.unwrap();
        drop(two);
        let _two = all.take(2, soon(), &ticker).await.unwrap();
        drop(one);
    }

    #[tokio::test]
    async fn a_wish_for_more_than_there_are_is_cut_to_all() {
        let (all, ticker) = (AllPlaces::new(2), ticker());
        let _all = all.take(8, Deadline::after(Duration::from_secs(1)), &ticker).await.unwrap();
        assert!(all.serving.try_acquire().is_err());
    }

    #[test]
    fn idle_places_run_out() {
        let all = AllPlaces::new(2);
        let idle = all.take_idle();
        assert!(idle.is_some() && all.take_idle().is_none());
        drop(idle);
        assert!(all.take_idle().is_some());
    }
}
