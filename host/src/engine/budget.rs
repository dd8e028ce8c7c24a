//! The memory that requests may hold while they wait, over all models.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of tensors that may wait.
pub(crate) struct Budget {
    held: AtomicUsize,
    limit: usize,
}

/// Bytes of one request; given back when this is dropped.
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), limit })
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// None where they are too many.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Held { budget: Arc::clone(self), bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_back() {
        let budget = Budget::new(10);
        let six = budget.hold(6).unwrap();
        assert!(budget.hold(5).is_none() && budget.hold(usize::MAX).is_none());
        let four = budget.hold(4).unwrap();
        drop(six);
        assert!(budget.hold(7).is_none() && budget.hold(6).is_some());
        drop(four);
        assert!(budget.hold(10).is_some());
    }
}
