//! Memory that a tenant's requests hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Exceeded, Tenant};

/// Bytes of one request; given back when this is dropped.
pub struct Held {
    tenant: Arc<Tenant>,
    bytes: AtomicU64,
}

impl Held {
    /// None, so far.
    #[must_use]
    pub(super) fn new(tenant: Arc<Tenant>) -> Self {
        Self { tenant, bytes: AtomicU64::new(0) }
    }

    /// Takes so many more.
    ///
    /// # Errors
    /// Where the tenant's requests hold as much as they may; nothing is taken then.
    pub fn grow(&self, bytes: u64) -> Result<(), Exceeded> {
        let Some(limit) = self.tenant.quotas().queued_mb.map(u64::from) else { return Ok(()) };
        let fits = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= limit << 20);
        if self.tenant.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            let advice = "send less at once, or wait for the answers of what was sent";
            return Err(Exceeded { quota: "queued_mb", limit, advice, wait: Duration::from_secs(1) });
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tenant.held.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_registry::Quotas;

    use super::super::Tenants;

    #[test]
    fn what_is_held_is_given_back() {
        let tenants = Tenants::new(Quotas { queued_mb: Some(2), ..Quotas::default() }, 10);
        let hold = |name: &str| tenants.hold(&name.parse().unwrap()).unwrap();
        let (one, other) = (hold("a"), hold("a"));
        one.grow(1 << 20).unwrap();
        other.grow(1 << 20).unwrap();
        assert_eq!(one.grow(1).unwrap_err().quota, "queued_mb");
        assert!(hold("b").grow(2 << 20).is_ok());
        drop(other);
        one.grow(1 << 20).unwrap();
        drop(one);
        hold("a").grow(2 << 20).unwrap();
        assert!(hold("a").grow(u64::MAX).is_err());
        assert!(Tenants::new(Quotas::default(), 1).hold(&"a".parse().unwrap()).is_none());
    }
}
