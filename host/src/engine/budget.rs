//! The memory that requests may hold while they wait, over all models, shared among tenants by their weights.
//!
//! As with places of requests (`tenants/places.rs`): a tenant may take more than its share while there is plenty; the last
//! quarter is for those who have less than theirs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::tenants::{Tenant, exceeds_share, weights};

/// Bytes of tensors that may wait.
pub(crate) struct Budget {
    held: AtomicUsize,
    limit: usize,
    accounts: Mutex<Vec<Weak<Account>>>,
}

/// What one tenant holds of it.
struct Account {
    tenant: Arc<Tenant>,
    held: AtomicUsize,
}

/// The part of it that a model may take.
#[derive(Clone)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    /// None where nobody shares it.
    account: Option<Arc<Account>>,
}

/// Bytes of one request; given back when this is dropped.
pub(crate) struct Held {
    share: Share,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), limit, accounts: Mutex::default() })
    }

    /// For whom there is nobody else.
    pub(crate) fn whole(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), account: None }
    }

    /// For a model of that tenant.
    pub(crate) fn share_of(self: &Arc<Self>, tenant: &Arc<Tenant>) -> Share {
        let mut accounts = self.accounts.lock();
        accounts.retain(|account| account.strong_count() > 0);
        let found = accounts.iter().filter_map(Weak::upgrade).find(|account| Arc::ptr_eq(&account.tenant, tenant));
        let account = found.unwrap_or_else(|| {
            let new = Arc::new(Account { tenant: Arc::clone(tenant), held: AtomicUsize::new(0) });
            accounts.push(Arc::downgrade(&new));
            new
        });
        Share { budget: Arc::clone(self), account: Some(account) }
    }

    fn weights(&self) -> u64 {
        let accounts: Vec<_> = self.accounts.lock().iter().filter_map(Weak::upgrade).collect();
        weights(accounts.iter().map(|account| (account.held.load(Ordering::Relaxed) > 0, &*account.tenant)))
    }
}

impl Share {
    pub(crate) fn limit(&self) -> usize {
        self.budget.limit
    }

    /// None where they are too many.
    pub(crate) fn hold(&self, bytes: usize) -> Option<Held> {
        let budget = &self.budget;
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= budget.limit);
        let before = budget.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        let held = Held { share: self.clone(), bytes };
        let Some(account) = &self.account else { return Some(held) };
        let mine = account.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let exceeds = exceeds_share(mine, (before + bytes, budget.limit), account.tenant.weight(), || budget.weights());
        (!exceeds).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(account) = &self.share.account {
            account.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::Tenants;

    #[test]
    fn what_is_held_comes_back() {
        let budget = Budget::new(10).whole();
        let six = budget.hold(6).unwrap();
        assert!(budget.hold(5).is_none() && budget.hold(usize::MAX).is_none());
        let four = budget.hold(4).unwrap();
        drop(six);
        assert!(budget.hold(7).is_none() && budget.hold(6).is_some());
        drop(four);
        assert!(budget.hold(10).is_some());
    }

    #[test]
    fn what_one_tenant_piles_up_leaves_others_theirs() {
        let (budget, tenants) = (Budget::new(100), Tenants::new(bulkhead_registry::Quotas::default(), 1));
        let of = |name: &str| budget.share_of(&tenants.tenant(&name.parse().unwrap()));
        let a = of("a");
        // Alone it has all, with any of its models.
        let whole = (a.hold(60).unwrap(), of("a").hold(40).unwrap());
        assert!(a.hold(1).is_none());
        drop(whole);
        // Nor any of the last quarter beyond its half while there is another, who may come,
        let b = of("b");
        assert!(a.hold(76).is_none() && a.hold(75).is_some());
        // or who has come.
        let one = b.hold(1).unwrap();
        let flood: Vec<_> = std::iter::from_fn(|| a.hold(1)).collect();
        assert_eq!(flood.len(), 74);
        let other = b.hold(25).unwrap();
        assert!(b.hold(1).is_none());
        drop((one, other, flood));
        assert!(b.hold(75).is_some(), "what was refused was given back");
    }
}
