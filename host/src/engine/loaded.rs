//! A model that is loaded, wherever it runs: in this process, or in one of its tenant's own.

use bulkhead_registry::Batching;

use super::model::Merging;
use super::totals::EngineTotals;
use crate::runner::Runner;

/// A model that is loaded.
pub trait Loaded: Runner {
    /// What the manifest says of batches.
    fn batching(&self) -> &Batching;

    /// Requests that wait.
    fn waiting(&self) -> i64;

    /// All runs so far.
    fn totals(&self) -> EngineTotals;

    /// Runs on a graphics card.
    fn is_on_gpu(&self) -> bool;

    /// Whether requests share runs.
    fn merging(&self) -> &Merging;

    /// Whether a request now runs on the thread that asks.
    fn runs_inline(&self) -> bool;

    /// Sessions.
    fn instances(&self) -> usize;

    /// Threads of one run.
    fn threads(&self) -> usize;

    /// [`Loaded::close`] was called, or has the same outcome.
    fn is_closed(&self) -> bool;

    /// Refuses what comes, ends what is under way and waits for the threads that are this process's. Blocks.
    fn close(&self);
}
