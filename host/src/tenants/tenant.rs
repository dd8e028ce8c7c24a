//! One tenant: what was said about it, and what it takes just now.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use arc_swap::ArcSwap;
use bulkhead_registry::{Kept, Quotas, TenantId};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;

use super::compile::CompileTime;
use super::places::Kind;
use super::{Exceeded, Sharing};

/// What to do where `stored_mb` is used up.
const STORE_LESS: &str = "delete versions or plugins that are not needed";

/// What was said about a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// Its models may run in the host's own process.
    pub trusted: bool,
    /// Nobody of it is let in.
    pub disabled: bool,
    /// Only what is signed is taken in and run.
    pub require_signatures: bool,
    /// Of its quotas.
    pub quotas: Quotas,
}

/// What follows from that.
struct Holds {
    said: Said,
    quotas: Quotas,
    rate: Option<DefaultDirectRateLimiter>,
}

impl Holds {
    fn new(said: Said, defaults: &Quotas) -> Self {
        let quotas = over(&said.quotas, defaults);
        let burst = quotas.burst.or(quotas.requests_per_second).and_then(NonZeroU32::new);
        let rate = quotas.requests_per_second.and_then(NonZeroU32::new).map(|rate| {
            let quota = Quota::per_second(rate);
            RateLimiter::direct(burst.map_or(quota, |burst| quota.allow_burst(burst)))
        });
        Self { said, quotas, rate }
    }
}

/// What was said goes before what the settings say. Zero stands for no bound.
fn over(said: &Quotas, defaults: &Quotas) -> Quotas {
    let one = |said: Option<u32>, default: Option<u32>| said.or(default).filter(|bound| *bound > 0);
    Quotas {
        requests_per_second: one(said.requests_per_second, defaults.requests_per_second),
        burst: one(said.burst, defaults.burst),
        concurrent_requests: one(said.concurrent_requests, defaults.concurrent_requests),
        queued_mb: one(said.queued_mb, defaults.queued_mb),
        stored_mb: one(said.stored_mb, defaults.stored_mb),
        versions: one(said.versions, defaults.versions),
        compile_seconds_per_hour: one(said.compile_seconds_per_hour, defaults.compile_seconds_per_hour),
        weight: one(said.weight, defaults.weight),
    }
}

/// One tenant.
pub struct Tenant {
    id: TenantId,
    holds: ArcSwap<Holds>,
    /// Predict requests under way.
    under_way: AtomicUsize,
    /// Streams of them that are open.
    streams: AtomicUsize,
    /// Bytes that these hold.
    pub(super) held: AtomicU64,
    compiled: Mutex<CompileTime>,
    /// Held by who adds to what the tenant keeps: two at once could both find the last of the room.
    storing: tokio::sync::Mutex<()>,
    /// Held by who has something compiled.
    compiling: tokio::sync::Mutex<()>,
    pub(super) sharing: Sharing,
}

impl Tenant {
    /// The weight of one about which nothing was said.
    pub(super) const WEIGHT: u32 = 100;

    pub(super) fn new(id: TenantId, said: Said, defaults: &Quotas, sharing: Sharing) -> Self {
        Self {
            id,
            holds: ArcSwap::from_pointee(Holds::new(said, defaults)),
            under_way: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            held: AtomicU64::new(0),
            compiled: Mutex::default(),
            storing: tokio::sync::Mutex::default(),
            compiling: tokio::sync::Mutex::default(),
            sharing,
        }
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> &TenantId {
        &self.id
    }

    /// Requests of several tenants came within the last second, whoever they are: what takes long leaves one processor to others
    /// then.
    #[must_use]
    pub fn shares(&self) -> bool {
        self.sharing.is_now()
    }

    pub(super) fn say(&self, said: Said, defaults: &Quotas) {
        self.holds.store(std::sync::Arc::new(Holds::new(said, defaults)));
    }

    pub(super) fn said(&self) -> Said {
        self.holds.load().said
    }

    pub(super) fn quotas(&self) -> Quotas {
        self.holds.load().quotas
    }

    pub(super) fn is_disabled(&self) -> bool {
        self.holds.load().said.disabled
    }

    /// Places of a kind that it has.
    pub(super) fn taken(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Request => &self.under_way,
            Kind::Stream => &self.streams,
        }
    }

    /// Its share beside others'.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.holds.load().quotas.weight.unwrap_or(Self::WEIGHT)
    }

    /// Counts a request against the rate, and says how many may be under way.
    pub(super) fn request(&self) -> Result<Option<u32>, Exceeded> {
        let holds = self.holds.load();
        if let Some(Err(not_until)) = holds.rate.as_ref().map(|rate| rate.check()) {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let limit = u64::from(holds.quotas.requests_per_second.unwrap_or_default());
            return Err(Exceeded { quota: "requests_per_second", limit, advice: "ask less often", wait });
        }
        Ok(holds.quotas.concurrent_requests)
    }

    /// Waits until nobody else adds to what the tenant keeps.
    pub async fn storing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.storing.lock().await
    }

    /// Waits until nothing else of the tenant is compiled.
    pub async fn compiling(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.compiling.lock().await
    }

    /// Bytes for which there is room beside what is kept, and what to tell who brings more; none where that is not bounded.
    #[must_use]
    pub fn left(&self, kept: Kept) -> Option<(u64, Exceeded)> {
        let limit = self.holds.load().quotas.stored_mb.map(u64::from)?;
        let exceeded = Exceeded { quota: "stored_mb", limit, advice: STORE_LESS, wait: Duration::from_secs(60) };
        Some(((limit << 20).saturating_sub(kept.bytes), exceeded))
    }

    /// Whether there is room for so much more, beside what is kept.
    ///
    /// # Errors
    /// Which bound there is not.
    pub fn room(&self, kept: Kept, more: Kept) -> Result<(), Exceeded> {
        let quotas = self.holds.load().quotas;
        let wait = Duration::from_secs(60);
        if let Some((_, exceeded)) = self.left(kept).filter(|(left, _)| more.bytes > *left) {
            return Err(exceeded);
        }
        match quotas.versions.map(u64::from) {
            Some(limit) if more.versions > 0 && kept.versions + more.versions > limit => {
                Err(Exceeded { quota: "versions", limit, advice: "delete versions that are not needed", wait })
            }
            _ => Ok(()),
        }
    }

    /// Whether the tenant may have more compiled.
    ///
    /// # Errors
    /// When not.
    pub fn may_compile(&self) -> Result<(), Exceeded> {
        let Some(limit) = self.holds.load().quotas.compile_seconds_per_hour else { return Ok(()) };
        let wait = self.compiled.lock().wait(limit, crate::clock::now());
        if wait.is_zero() {
            return Ok(());
        }
        Err(Exceeded { quota: "compile_seconds_per_hour", limit: limit.into(), advice: "upload less often", wait })
    }

    /// Counts what it took to compile something, whether that went well or not.
    pub fn compiled(&self, took: Duration) {
        let Some(limit) = self.holds.load().quotas.compile_seconds_per_hour else { return };
        self.compiled.lock().add(took, limit, crate::clock::now());
    }
}
