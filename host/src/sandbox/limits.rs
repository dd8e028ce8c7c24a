//! Bounds of one instance: wasmtime's own limiter bounds each memory and table, this one their sum.

use wasmtime::ResourceLimiter;

/// Counts the bytes of all memories and tables of a store, and of the tensors that the host keeps for it.
pub(super) struct Meter {
    limit: usize,
    used: usize,
    /// A request for more was refused: a trap that follows is for want of memory.
    pub(super) exhausted: bool,
}

/// Dimensions of a tensor that a guest tells of: far more than any model has.
pub(super) const DIMENSIONS: usize = 64;

/// Bytes of a tensor's name: the same.
pub(super) const NAME_BYTES: usize = 1024;

/// What an element of a table costs the host: a pointer.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

/// Core instances, memories and tables of one component: a Python component has 38 core modules, a JavaScript one
/// three memories; what these leave above is headroom.
const INSTANCES: usize = 64;
pub(super) const MEMORIES: usize = 4;
const TABLES: usize = 8;

impl Meter {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { limit: limit_bytes, used: 0, exhausted: false }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn limit_mib(&self) -> u64 {
        (self.limit >> 20) as u64
    }

    /// Counts what the host keeps for the guest; false where it does not fit.
    pub(super) fn hold(&mut self, bytes: usize) -> bool {
        self.grow(0, bytes)
    }

    /// Whether [`Meter::hold`] would.
    pub(super) fn would_hold(&self, bytes: usize) -> bool {
        bytes <= self.limit.saturating_sub(self.used)
    }

    /// The host keeps it no longer.
    pub(super) fn release(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let more = desired.saturating_sub(current);
        match self.used.checked_add(more).filter(|used| *used <= self.limit) {
            Some(used) => {
                self.used = used;
                true
            }
            None => {
                self.exhausted = true;
                false
            }
        }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond its own maximum the guest is refused by wasmtime, and nothing is used.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(current.saturating_mul(TABLE_ELEMENT_BYTES), desired.saturating_mul(TABLE_ELEMENT_BYTES)))
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_bound() {
        let mut meter = Meter::new(1000);
        assert!(meter.memory_growing(0, 400, None).unwrap());
        assert!(meter.memory_growing(0, 400, None).unwrap());
        assert!(meter.table_growing(0, 25, None).unwrap());
        assert!(!meter.exhausted);
        assert!(!meter.table_growing(25, 26, None).unwrap());
        assert!(meter.exhausted);
    }

    #[test]
    fn what_the_host_keeps_counts_too() {
        let mut meter = Meter::new(1000);
        assert!(meter.memory_growing(0, 400, None).unwrap() && meter.would_hold(600) && !meter.would_hold(601));
        assert!(meter.hold(600) && !meter.memory_growing(400, 401, None).unwrap());
        meter.release(600);
        assert!(meter.memory_growing(400, 1000, None).unwrap());
        assert!(!meter.hold(usize::MAX) && meter.exhausted);
    }

    #[test]
    fn a_guests_own_maximum_is_not_want_of_memory() {
        let mut meter = Meter::new(1000);
        assert!(!meter.memory_growing(0, 500, Some(400)).unwrap());
        assert!(!meter.exhausted);
    }
}
