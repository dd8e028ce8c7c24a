//! Failed attempts, counted by where they come from: whoever tries many credentials is not even listened to for a while.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::audit::network;

/// Addresses that are kept count of; beyond so many those that fail least are forgotten, so that a crowd of them fills no memory.
const ADDRESSES: u64 = 100_000;

/// After so long without another, what an address has failed counts no more: a bound per minute has come back by then.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Counts failed attempts.
pub(super) struct Attempts {
    quota: Quota,
    failed: moka::sync::Cache<IpAddr, Arc<DefaultDirectRateLimiter>>,
    /// Those with too many, and when that ends.
    barred: moka::sync::Cache<IpAddr, std::time::Instant>,
}

impl Attempts {
    /// So many in a minute from each address.
    pub(super) fn new(per_minute: NonZeroU32) -> Self {
        Self::of(per_minute, ADDRESSES)
    }

    fn of(per_minute: NonZeroU32, addresses: u64) -> Self {
        let failed = moka::sync::Cache::builder().max_capacity(addresses).time_to_idle(FORGOTTEN).build();
        let barred = moka::sync::Cache::builder().max_capacity(addresses).time_to_live(FORGOTTEN).build();
        Self { quota: Quota::per_minute(per_minute), failed, barred }
    }

    /// How long that address is not listened to.
    pub(super) fn barred(&self, source: IpAddr) -> Option<Duration> {
        let until = self.barred.get(&network(source))?;
        until.checked_duration_since(crate::clock::now())
    }

    /// Counts one.
    pub(super) fn failed(&self, source: IpAddr) {
        let network = network(source);
        let limit = self.failed.get_with(network, || Arc::new(RateLimiter::direct(self.quota)));
        if let Err(not_until) = limit.check() {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            self.barred.insert(network, crate::clock::now() + wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_of_addresses_fills_no_memory() {
        let attempts = Attempts::of(NonZeroU32::new(1).unwrap(), 100);
        for n in 0..5000u32 {
            attempts.failed(IpAddr::from(n.to_be_bytes()));
            attempts.failed(IpAddr::from(n.to_be_bytes()));
        }
        attempts.failed.run_pending_tasks();
        attempts.barred.run_pending_tasks();
        assert!(attempts.failed.entry_count() <= 100 && attempts.barred.entry_count() <= 100);
    }

    #[test]
    fn too_many_from_one_network_are_too_many() {
        let attempts = Attempts::new(NonZeroU32::new(3).unwrap());
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let other: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(attempts.barred(one), None);
            attempts.failed(one);
        }
        attempts.failed(neighbour);
        assert!(attempts.barred(one).is_some_and(|left| left <= Duration::from_secs(20)));
        assert_eq!(attempts.barred(other), None);
        // As it comes to a listener of both families.
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), network("10.0.0.1".parse().unwrap()));
    }
}
