//! Places of predict requests, shared among tenants by their weights.
//!
//! A tenant may take more than its share while plenty are free; the last quarter is for those who have less than theirs, or
//! none yet. So a flood of one finds no place before others do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Exceeded, Tenant, exceeds_share};

/// Why there is no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Full {
    /// The tenant has had what it may.
    Quota(Exceeded),
    /// All places are taken, or the tenant has its share of them and others want theirs.
    Host {
        /// It is the tenant's share that is used up.
        share: bool,
    },
}

/// What places are for. Each kind has as many, shared in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A predict request under way.
    Request,
    /// A stream of requests that is open, whether any is under way or not.
    Stream,
}

/// All places of a kind.
#[derive(Debug)]
pub struct Places {
    kind: Kind,
    total: usize,
    taken: AtomicUsize,
}

/// A place among the predict requests under way; whoever drops it gives it back.
pub struct Place {
    places: Arc<Places>,
    tenant: Arc<Tenant>,
}

impl Places {
    /// So many.
    #[must_use]
    pub(super) fn new(kind: Kind, total: usize) -> Self {
        Self { kind, total, taken: AtomicUsize::new(0) }
    }

    /// Takes one. `weights` is asked only where they run short.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn enter(self: &Arc<Self>, tenant: Arc<Tenant>, weights: impl FnOnce() -> u64) -> Result<Place, Full> {
        let bound = match self.kind {
            Kind::Request => tenant.request().map_err(Full::Quota)?,
            Kind::Stream => tenant.quotas().concurrent_requests,
        };
        // Counted first and looked at then, so that two at once can't both find the last one; what is refused is taken back by
        // the drop.
        let mine = tenant.taken(self.kind).fetch_add(1, Ordering::Relaxed) + 1;
        let taken = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
        let place = Place { places: Arc::clone(self), tenant };
        if let Some(limit) = bound.filter(|bound| mine > *bound as usize) {
            let advice = "wait for the answers of those that are under way";
            return Err(Full::Quota(Exceeded { quota: "concurrent_requests", limit: limit.into(), advice, wait: Duration::from_secs(1) }));
        }
        if taken > self.total {
            return Err(Full::Host { share: false });
        }
        if exceeds_share(mine, (taken, self.total), place.tenant.weight(), weights) {
            return Err(Full::Host { share: true });
        }
        Ok(place)
    }
}

impl Place {
    /// Whose it is.
    #[must_use]
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tenant.taken(self.places.kind).fetch_sub(1, Ordering::Relaxed);
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_registry::{Quotas, TenantId};

    use super::super::Tenants;
    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    fn all(tenants: &Tenants, name: &str) -> Vec<Place> {
        std::iter::from_fn(|| tenants.enter(&tenant(name)).ok()).collect()
    }

    #[test]
    fn a_flood_leaves_places_for_others() {
        let tenants = Tenants::new(Quotas::default(), 100);
        // Alone it has them all.
        let alone = all(&tenants, "a");
        assert_eq!(alone.len(), 100);
        assert_eq!(tenants.enter(&tenant("a")).err(), Some(Full::Host { share: false }));
        drop(alone);
        // Nor any of the last quarter beyond its share while there is another, who may come,
        let _other = tenants.tenant(&tenant("b"));
        assert_eq!(all(&tenants, "a").len(), 75);
        // or who has come.
        let one = tenants.enter(&tenant("b")).unwrap();
        let flood = all(&tenants, "a");
        assert_eq!(flood.len(), 74);
        assert_eq!(tenants.enter(&tenant("a")).err(), Some(Full::Host { share: true }));
        let other = all(&tenants, "b");
        assert_eq!(other.len(), 25);
        drop((one, other, flood));
        assert_eq!(all(&tenants, "c").len(), 75, "all were given back, those of the refused too");
    }

    #[test]
    fn weights_say_whose_the_last_are() {
        let tenants = Tenants::new(Quotas::default(), 100);
        let say = |name: &str, weight| {
            let quotas = Quotas { weight: Some(weight), ..Quotas::default() };
            let record = bulkhead_registry::TenantRecord {
                tenant: tenant(name),
                trusted: false,
                disabled: false,
                require_signatures: false,
                quotas,
                created_at: 0,
                updated_at: 0,
            };
            tenants.say(&record);
        };
        say("heavy", 900);
        let (_one, _other) = (tenants.enter(&tenant("heavy")).unwrap(), tenants.enter(&tenant("light")).unwrap());
        let heavy = all(&tenants, "heavy");
        assert_eq!(heavy.len() + 1, 90);
        let light = all(&tenants, "light");
        assert_eq!(light.len() + 1, 10);
    }

    #[test]
    fn streams_have_places_of_their_own_shared_likewise() {
        let tenants = Tenants::new(Quotas::default(), 8);
        let open = |name: &str| std::iter::from_fn(|| tenants.open_stream(&tenant(name)).ok()).collect::<Vec<_>>();
        let other = tenants.open_stream(&tenant("b")).unwrap();
        let flood = open("a");
        assert_eq!(flood.len(), 5);
        assert_eq!(tenants.open_stream(&tenant("a")).err(), Some(Full::Host { share: true }));
        assert_eq!(open("b").len(), 2);
        assert_eq!(all(&tenants, "a").len(), 6, "requests have theirs");
        drop((flood, other));
        let tenants = Tenants::new(Quotas { concurrent_requests: Some(1), ..Quotas::default() }, 8);
        let _one = tenants.open_stream(&tenant("a")).unwrap();
        assert!(matches!(tenants.open_stream(&tenant("a")).err(), Some(Full::Quota(exceeded)) if exceeded.quota == "concurrent_requests"));
        assert!(tenants.open_stream(&tenant("b")).is_ok());
    }

    #[test]
    fn quotas_bound_a_tenant_alone() {
        let tenants = Tenants::new(Quotas { concurrent_requests: Some(2), ..Quotas::default() }, 100);
        let places = all(&tenants, "a");
        assert_eq!(places.len(), 2);
        let Some(Full::Quota(exceeded)) = tenants.enter(&tenant("a")).err() else { panic!("a quota") };
        assert_eq!((exceeded.quota, exceeded.limit), ("concurrent_requests", 2));
        assert!(tenants.enter(&tenant("b")).is_ok());

        let tenants = Tenants::new(Quotas { requests_per_second: Some(1), burst: Some(3), ..Quotas::default() }, 100);
        let asked = (0..5).filter(|_| tenants.enter(&tenant("a")).is_ok()).count();
        assert_eq!(asked, 3);
        let Some(Full::Quota(exceeded)) = tenants.enter(&tenant("a")).err() else { panic!("a quota") };
        assert!(exceeded.quota == "requests_per_second" && exceeded.wait <= Duration::from_secs(1), "{exceeded:?}");
    }
}
