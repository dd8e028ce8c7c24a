//! How many runs of how many rows there were, and what they took.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::clock::{self, nanos};

/// Runs of one number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchTotal {
    /// Of each run.
    pub rows: u64,
    /// How many.
    pub runs: u64,
    /// Making batches of requests.
    pub assembly_ns: u64,
    /// The runs.
    pub inference_ns: u64,
    /// Taking batches apart.
    pub split_ns: u64,
}

/// All runs of a model since it was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineTotals {
    /// When the last run ended, in milliseconds since the epoch; 0 where there was none.
    pub last_ms: u64,
    /// By rows, rising.
    pub batches: Vec<BatchTotal>,
}

impl EngineTotals {
    /// Of all runs.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.rows.saturating_mul(batch.runs)).fold(0, u64::saturating_add)
    }

    /// How many.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.batches.iter().map(|batch| batch.runs).fold(0, u64::saturating_add)
    }
}

/// Counts them. Its lock is held for some tens of nanoseconds once a run, which is microseconds at least.
#[derive(Default)]
pub(crate) struct Counter(Mutex<State>);

#[derive(Default)]
struct State {
    last_ms: u64,
    batches: BTreeMap<u64, BatchTotal>,
}

/// More rows than this are told as this many.
const ROWS_AT_MOST: u64 = 1 << 24;

/// Different numbers of rows that are told apart: callers choose them.
const SIZES: usize = 4096;

impl Counter {
    pub(super) fn ran(&self, rows: usize, assembly: Duration, inference: Duration, split: Duration) {
        let [assembly_ns, inference_ns, split_ns] = [assembly, inference, split].map(nanos);
        self.add(BatchTotal { rows: rows as u64, runs: 1, assembly_ns, inference_ns, split_ns });
    }

    /// Adds runs, which may have been counted elsewhere.
    pub(crate) fn add(&self, ran: BatchTotal) {
        // A tensor without elements may claim any number of rows.
        let rows = ran.rows.min(ROWS_AT_MOST);
        let last_ms = u64::try_from(clock::unix_ms()).unwrap_or(0);
        let mut state = self.0.lock();
        state.last_ms = last_ms;
        if state.batches.len() >= SIZES && !state.batches.contains_key(&rows) {
            return;
        }
        let total = state.batches.entry(rows).or_insert(BatchTotal { rows, runs: 0, assembly_ns: 0, inference_ns: 0, split_ns: 0 });
        // Numbers of another process may be any.
        total.runs = total.runs.saturating_add(ran.runs);
        total.assembly_ns = total.assembly_ns.saturating_add(ran.assembly_ns);
        total.inference_ns = total.inference_ns.saturating_add(ran.inference_ns);
        total.split_ns = total.split_ns.saturating_add(ran.split_ns);
    }

    pub(crate) fn totals(&self) -> EngineTotals {
        let state = self.0.lock();
        EngineTotals { last_ms: state.last_ms, batches: state.batches.values().copied().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_by_their_rows() {
        let counter = Counter::default();
        let ns = Duration::from_nanos;
        counter.ran(1, ns(0), ns(5), ns(0));
        counter.ran(4, ns(1), ns(10), ns(2));
        counter.ran(4, ns(1), ns(10), ns(2));
        let totals = counter.totals();
        assert!(totals.last_ms > 0);
        let four = BatchTotal { rows: 4, runs: 2, assembly_ns: 2, inference_ns: 20, split_ns: 4 };
        assert_eq!(totals.batches, [BatchTotal { rows: 1, runs: 1, assembly_ns: 0, inference_ns: 5, split_ns: 0 }, four]);
    }
}
