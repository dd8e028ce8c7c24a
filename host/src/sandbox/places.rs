//! How many sandboxes there are at one time, and who may have one.
//!
//! A request takes the places of all sandboxes that it will hold at one time together, before it begins in the first: were
//! it to take them one by one, requests that hold one and wait for another could stop each other for good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use wasmtime::component::Component;

use super::error::SandboxError;
use super::predictor::Predictor;
use super::transform::Transform;
use super::usage::Use;
use crate::clock::{self, Busy, Deadline, Ticker};
use crate::tenants::{FairQueue, Tenant, exceeds_share};

/// All places.
pub(super) struct AllPlaces {
    serving: Mutex<Shared>,
    idle: Arc<Mutex<Shared>>,
}

/// Places that tenants share by their weights: the last quarter is for those who have less than their share. Who waits gets one
/// before those who have had more, for longer.
struct Shared {
    total: usize,
    taken: usize,
    queue: FairQueue<Waiter>,
}

/// A request that waits for so many at once, and how it learns that it has them.
struct Waiter {
    count: usize,
    granted: oneshot::Sender<()>,
}

impl Shared {
    fn new(total: u32) -> Self {
        Self { total: total as usize, taken: 0, queue: FairQueue::default() }
    }

    /// Takes them, if there are so many and nobody who waits has to have them first.
    fn try_take(&mut self, tenant: &Arc<Tenant>, count: usize) -> bool {
        if !self.queue.is_empty() || self.taken + count > self.total {
            return false;
        }
        let has = self.queue.running(tenant);
        let takes = may(tenant, has, count, (self.taken, self.total), || self.queue.weights());
        if takes {
            self.begin(tenant, count);
        }
        takes
    }

    fn begin(&mut self, tenant: &Arc<Tenant>, count: usize) {
        self.taken += count;
        (0..count).for_each(|_| self.queue.begin(tenant));
    }

    fn end(&mut self, tenant: &Arc<Tenant>, count: usize, had: Duration) {
        self.taken -= count;
        (0..count).for_each(|_| self.queue.end(tenant, had));
    }

    /// Gives those that are free to who waits. Where they are too few for whoever is first, they are kept for that one.
    fn give_out(&mut self) {
        while !self.queue.is_empty() {
            let (taken, total, weights) = (self.taken, self.total, self.queue.weights());
            let may = |tenant: &Arc<Tenant>, has: usize, waiter: &Waiter| may(tenant, has, waiter.count, (taken, total), || weights);
            let Some((tenant, waiter)) = self.queue.pop_if(may, |waiter| taken + waiter.count <= total) else { return };
            // Who no longer waits is out of the queue soon.
            if waiter.granted.send(()).is_ok() {
                self.begin(&tenant, waiter.count);
            }
        }
    }
}

/// Whether a tenant that has so many may have more, where so many are taken of all. One request of each may have what it needs.
fn may(tenant: &Tenant, has: usize, count: usize, (taken, total): (usize, usize), weights: impl FnOnce() -> u64) -> bool {
    has == 0 || !exceeds_share(has + count, (taken + count, total), tenant.weight(), weights)
}

impl AllPlaces {
    /// Places for `count` sandboxes that serve.
    pub(super) fn new(count: u32) -> Self {
        Self { serving: Mutex::new(Shared::new(count)), idle: Arc::new(Mutex::new(Shared::new(idle(count)))) }
    }

    /// Waits for `count` places at most until the deadline.
    pub(super) async fn take<'a>(
        &'a self,
        tenant: &'a Arc<Tenant>,
        count: u32,
        deadline: Deadline,
        ticker: &'a Ticker,
    ) -> Result<Places<'a>, SandboxError> {
        let places = |count| Places { all: self, tenant, count, since: clock::now(), _ticks: ticker.busy() };
        let (count, granted) = {
            let mut serving = self.serving.lock();
            // More than there are would never come free.
            let count = (count as usize).min(serving.total);
            if serving.try_take(tenant, count) {
                return Ok(places(count));
            }
            let (grant, granted) = oneshot::channel();
            serving.queue.push(tenant, Waiter { count, granted: grant });
            serving.give_out();
            (count, granted)
        };
        let mut waiting = Waiting { all: self, tenant, count, granted };
        match tokio::time::timeout_at(deadline.moment().into(), &mut waiting.granted).await {
            Ok(Ok(())) => Ok(places(count)),
            _ => Err(SandboxError::Busy),
        }
    }

    /// A place for an instance that is kept warm while it serves nobody; none where there are enough of them.
    pub(super) fn take_idle(&self, tenant: &Arc<Tenant>) -> Option<IdlePlace> {
        let taken = self.idle.lock().try_take(tenant, 1);
        taken.then(|| IdlePlace { idle: Arc::clone(&self.idle), tenant: Arc::clone(tenant), since: clock::now() })
    }
}

/// A request that waits; once this is dropped it no longer does.
struct Waiting<'a> {
    all: &'a AllPlaces,
    tenant: &'a Arc<Tenant>,
    count: usize,
    granted: oneshot::Receiver<()>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.granted.close();
        let mut serving = self.all.serving.lock();
        serving.queue.remove(self.tenant, |waiter| waiter.granted.is_closed());
        // They came when nobody looked any more.
        if self.granted.try_recv().is_ok() {
            serving.end(self.tenant, self.count, Duration::ZERO);
        }
        serving.give_out();
    }
}

/// Instances that may be kept warm beside `serving` ones. Arbitrary: half as many again.
pub(super) fn idle(serving: u32) -> u32 {
    serving / 2
}

/// Places for all sandboxes that a request holds at one time; given back when this is dropped.
pub struct Places<'a> {
    all: &'a AllPlaces,
    tenant: &'a Arc<Tenant>,
    count: usize,
    since: Instant,
    /// Once for all that happens on them: each costs two additions that all cores share.
    _ticks: Busy<'a>,
}

impl Drop for Places<'_> {
    fn drop(&mut self) {
        let mut serving = self.all.serving.lock();
        serving.end(self.tenant, self.count, self.since.elapsed());
        serving.give_out();
    }
}

/// A place for an instance that serves nobody; given back when this is dropped.
pub(super) struct IdlePlace {
    idle: Arc<Mutex<Shared>>,
    tenant: Arc<Tenant>,
    since: Instant,
}

impl Drop for IdlePlace {
    fn drop(&mut self) {
        self.idle.lock().end(&self.tenant, 1, self.since.elapsed());
    }
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
            Some(any) => Ok(Some(any.plain.take_places(needed(transforms, predictor), deadline).await?)),
        }
    }
}

/// What is needed at one time: places for each transform that stays open while the model runs, and for what comes and goes,
/// as a predictor does.
fn needed(transforms: &[Transform], predictor: Option<&Predictor>) -> u32 {
    let mut stay = 0;
    let mut passing = predictor.map_or(0, |predictor| predictor.plain.places);
    for transform in transforms {
        match (transform.description().before, transform.description().after) {
            (true, true) => stay += transform.plain.places,
            (false, false) => {}
            _ => passing = passing.max(transform.plain.places),
        }
    }
    stay + passing
}

/// Memories and tables that there are for each place.
pub(super) const MEMORIES: u32 = 2;
pub(super) const TABLES: u32 = 4;

/// Places that an instance of a component takes: those who have more memories or tables than there are for one take more.
pub(super) fn places_of(component: &Component) -> u32 {
    let Some(needs) = component.resources_required() else { return 1 };
    needs.num_memories.div_ceil(MEMORIES).max(needs.num_tables.div_ceil(TABLES)).max(1)
}

#[cfg(test)]
mod tests {
    use bulkhead_registry::Quotas;

    use super::*;
    use crate::tenants::Tenants;

    fn ticker() -> Ticker {
        Ticker::start("test", Duration::from_secs(1), || {}).unwrap()
    }

    fn tenant(tenants: &Tenants, name: &str) -> Arc<Tenant> {
        tenants.tenant(&name.parse().unwrap())
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(10))
    }

    fn late() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    #[tokio::test]
    async fn places_are_taken_together_or_not_at_all() {
        let (all, ticker, tenants) = (AllPlaces::new(3), ticker(), Tenants::new(Quotas::default(), 1));
        let tenant = tenant(&tenants, "a");
        let two = all.take(&tenant, 2, soon(), &ticker).await.unwrap();
        assert!(matches!(all.take(&tenant, 2, soon(), &ticker).await, Err(SandboxError::Busy)));
        let one = all.take(&tenant, 1, soon(), &ticker).await.unwrap();
        drop(two);
        let _two = all.take(&tenant, 2, soon(), &ticker).await.unwrap();
        drop(one);
    }

    #[tokio::test]
    async fn a_wish_for_more_than_there_are_is_cut_to_all() {
        let (all, ticker, tenants) = (AllPlaces::new(2), ticker(), Tenants::new(Quotas::default(), 1));
        let (tenant, other) = (tenant(&tenants, "a"), tenant(&tenants, "b"));
        let whole = all.take(&tenant, 8, late(), &ticker).await.unwrap();
        assert!(all.take(&tenant, 1, soon(), &ticker).await.is_err());
        drop(whole);
        // Though there are others, for whom some are kept from a crowd.
        drop(all.take(&other, 1, soon(), &ticker).await.unwrap());
        let _whole = all.take(&tenant, 8, soon(), &ticker).await.unwrap();
    }

    #[test]
    fn idle_places_run_out() {
        let (all, tenants) = (AllPlaces::new(2), Tenants::new(Quotas::default(), 1));
        let tenant = tenant(&tenants, "a");
        let idle = all.take_idle(&tenant);
        assert!(idle.is_some() && all.take_idle(&tenant).is_none());
        drop(idle);
        assert!(all.take_idle(&tenant).is_some());
    }

    #[tokio::test]
    async fn a_crowd_leaves_places_for_another_tenant() {
        let (all, ticker, tenants) = (AllPlaces::new(8), ticker(), Tenants::new(Quotas::default(), 1));
        let (crowd, lone) = (tenant(&tenants, "crowd"), tenant(&tenants, "lone"));
        // Alone it may have them all.
        let whole = all.take(&crowd, 8, soon(), &ticker).await.unwrap();
        // Who comes then waits for one that is given back, before all others of the crowd that wait longer;
        let (waits, comes) = (all.take(&crowd, 1, late(), &ticker), all.take(&lone, 1, late(), &ticker));
        let give_back = async {
            tokio::task::yield_now().await;
            drop(whole);
        };
        let (more, one, ()) = tokio::join!(waits, comes, give_back);
        drop((more.unwrap(), one.unwrap()));
        // and from then on there are some for it.
        let mut taken = Vec::new();
        while let Ok(place) = all.take(&crowd, 1, soon(), &ticker).await {
            taken.push(place);
        }
        assert_eq!(taken.len(), 6);
        let _ones = [all.take(&lone, 1, soon(), &ticker).await.unwrap(), all.take(&lone, 1, soon(), &ticker).await.unwrap()];
        assert!(all.take(&lone, 1, soon(), &ticker).await.is_err());
        // So it is with those for instances that are kept.
        let idle: Vec<_> = std::iter::from_fn(|| all.take_idle(&crowd)).collect();
        assert_eq!(idle.len(), 4);
        drop(idle);
        let _one = all.take_idle(&lone);
        assert_eq!(std::iter::from_fn(|| all.take_idle(&crowd)).collect::<Vec<_>>().len(), 2);
    }

    #[tokio::test]
    async fn who_no_longer_waits_keeps_none() {
        let (all, ticker, tenants) = (AllPlaces::new(2), ticker(), Tenants::new(Quotas::default(), 1));
        let tenant = tenant(&tenants, "a");
        let one = all.take(&tenant, 1, late(), &ticker).await.unwrap();
        // It is first, and needs both: who comes later needs one, and waits behind it,
        let mut both = Box::pin(all.take(&tenant, 2, late(), &ticker));
        assert!(futures_util::poll!(&mut both).is_pending());
        let mut later = Box::pin(all.take(&tenant, 1, late(), &ticker));
        assert!(futures_util::poll!(&mut later).is_pending());
        // until it goes,
        drop(both);
        let later = later.await.unwrap();
        // also with what was given to it, and which it did not see any more.
        let mut unseen = Box::pin(all.take(&tenant, 2, late(), &ticker));
        assert!(futures_util::poll!(&mut unseen).is_pending());
        drop((one, later));
        drop(unseen);
        let _both = all.take(&tenant, 2, soon(), &ticker).await.unwrap();
    }
}
