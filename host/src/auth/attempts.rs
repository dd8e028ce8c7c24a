//! Failed attempts, counted by where they come from: whoever tries many credentials is not even listened to for a while.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::audit::network;

/// Addresses that are kept count of. Beyond so many those that are as good as unused are forgotten: each is some hundred bytes.
const ADDRESSES: u64 = 100_000;

/// Counts failed attempts.
pub(super) struct Attempts {
    limit: DefaultKeyedRateLimiter<IpAddr>,
    /// Those with too many, and when that ends.
    barred: moka::sync::Cache<IpAddr, std::time::Instant>,
}

impl Attempts {
    /// So many in a minute from each address.
    pub(super) fn new(per_minute: NonZeroU32) -> Self {
        let barred = moka::sync::Cache::builder().max_capacity(ADDRESSES).time_to_live(Duration::from_secs(60)).build();
        Self { limit: RateLimiter::keyed(Quota::per_minute(per_minute)), barred }
    }

    /// How long that address is not listened to.
    pub(super) fn barred(&self, source: IpAddr) -> Option<Duration> {
        let until = self.barred.get(&network(source))?;
        until.checked_duration_since(crate::clock::now())
    }

    /// Counts one.
    pub(super) fn failed(&self, source: IpAddr) {
        let network = network(source);
        if let Err(not_until) = self.limit.check_key(&network) {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            self.barred.insert(network, crate::clock::now() + wait);
        }
        // What is as good as unused is forgotten, so that a crowd of addresses fills no memory.
        if self.limit.len() as u64 > ADDRESSES {
            self.limit.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
