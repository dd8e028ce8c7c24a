//! What each tenant is and may take, and what it takes just now. In memory: no request waits for a database to learn of it.

mod compile;
mod fair;
mod held;
mod places;
mod share;
mod sharing;
mod tenant;
mod turns;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use bulkhead_registry::{Quotas, TenantId, TenantRecord};

pub use fair::FairQueue;
pub use held::Held;
use places::Kind;
pub use places::{Full, Place, Places};
pub(crate) use share::{exceeds_share, weights};
use sharing::Sharing;
pub use tenant::{Said, Tenant};
pub use turns::{Turn, Turns};

/// A bound that a tenant has met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tenant has used up its quota `{quota}` of {limit}: {advice}")]
pub struct Exceeded {
    /// Which, by its name in `quotas`.
    pub quota: &'static str,
    /// The bound, in the quota's own unit.
    pub limit: u64,
    /// What to do.
    pub advice: &'static str,
    /// When to try again.
    pub wait: Duration,
}

/// All tenants that anything is known of.
pub struct Tenants {
    table: ArcSwap<HashMap<TenantId, Arc<Tenant>>>,
    defaults: Quotas,
    places: Arc<Places>,
    streams: Arc<Places>,
    sharing: Sharing,
}

impl Tenants {
    /// Tenants about which nothing was said have these quotas; they share so many places of predict requests, and as many of streams.
    #[must_use]
    pub fn new(defaults: Quotas, places: usize) -> Self {
        Self {
            table: ArcSwap::default(),
            defaults,
            places: Arc::new(Places::new(Kind::Request, places)),
            streams: Arc::new(Places::new(Kind::Stream, places)),
            sharing: Sharing::default(),
        }
    }

    /// One of them; who was never seen before is there from now on.
    #[must_use]
    pub fn tenant(&self, id: &TenantId) -> Arc<Tenant> {
        if let Some(tenant) = self.table.load().get(id) {
            return Arc::clone(tenant);
        }
        let new = Arc::new(Tenant::new(id.clone(), Said::default(), &self.defaults, self.sharing.clone()));
        self.table.rcu(|table| {
            let mut table = HashMap::clone(table);
            table.entry(id.clone()).or_insert_with(|| Arc::clone(&new));
            table
        });
        self.table.load().get(id).map_or(new, Arc::clone)
    }

    /// A place for a predict request.
    ///
    /// # Errors
    /// Where the tenant has had enough, or there is none.
    pub fn enter(&self, id: &TenantId) -> Result<Place, Full> {
        self.places.enter(self.tenant(id), || self.weights(Kind::Request))
    }

    /// A place for a stream of predict requests, each of which has one of its own besides.
    ///
    /// # Errors
    /// Where the tenant has had enough, or there is none.
    pub fn open_stream(&self, id: &TenantId) -> Result<Place, Full> {
        self.streams.enter(self.tenant(id), || self.weights(Kind::Stream))
    }

    /// Counts what a request holds; none where the tenant has no bound on that.
    #[must_use]
    pub fn hold(&self, id: &TenantId) -> Option<Held> {
        let tenant = self.tenant(id);
        tenant.quotas().queued_mb.is_some().then(|| Held::new(tenant))
    }

    fn weights(&self, kind: Kind) -> u64 {
        let table = self.table.load();
        weights(table.values().map(|tenant| (tenant.taken(kind).load(Ordering::Relaxed) > 0, &**tenant)))
    }

    /// Says what a tenant is and may; it holds from the next request on.
    pub fn say(&self, record: &TenantRecord) {
        let said = Said { trusted: record.trusted, disabled: record.disabled, require_signatures: record.require_signatures, quotas: record.quotas };
        self.tenant(&record.tenant).say(said, &self.defaults);
    }

    /// What was said about a tenant.
    #[must_use]
    pub fn said(&self, id: &TenantId) -> Said {
        self.table.load().get(id).map(|tenant| tenant.said()).unwrap_or_default()
    }

    /// What holds for a tenant.
    #[must_use]
    pub fn quotas(&self, id: &TenantId) -> Quotas {
        self.table.load().get(id).map_or(self.defaults, |tenant| tenant.quotas())
    }

    /// Nobody of it is let in.
    #[must_use]
    pub fn is_disabled(&self, id: &TenantId) -> bool {
        self.table.load().get(id).is_some_and(|tenant| tenant.is_disabled())
    }
}
