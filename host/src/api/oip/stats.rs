//! What became of a version's requests, by Triton's names.

use crate::engine::BatchTotal;
use crate::predict::Slot;
use crate::telemetry::metrics::{Total, Totals};

/// How often something happened, and how long it took in all.
#[derive(Clone, Copy)]
pub(super) struct Duration {
    pub(super) count: u64,
    pub(super) ns: u64,
}

/// Of one version.
pub(super) struct Stats {
    pub(super) name: String,
    pub(super) version: String,
    /// Milliseconds since the epoch; 0 where there was none.
    pub(super) last_inference: u64,
    /// Rows.
    pub(super) inference_count: u64,
    /// Runs; rows divided by runs is the mean batch.
    pub(super) execution_count: u64,
    /// `success`, `fail`, `queue`, `compute_input`, `compute_infer`, `compute_output`, `cache_hit` and `cache_miss`.
    pub(super) inference: [(&'static str, Duration); 8],
    /// By the rows of the run.
    pub(super) batches: Vec<Batch>,
}

/// Runs of so many rows.
pub(super) struct Batch {
    pub(super) batch_size: u64,
    pub(super) compute_input: Duration,
    pub(super) compute_infer: Duration,
    pub(super) compute_output: Duration,
}

impl Stats {
    /// `asked` is the version as the client wrote it, if it did: tools look for that among what comes.
    pub(super) fn of(slot: &Slot, asked: Option<&str>) -> Self {
        let totals = slot.metrics().totals();
        let sum = |count: u64, parts: &[Total]| Duration { count, ns: parts.iter().map(|part| nanos(part.seconds)).sum() };
        let compute_input = sum(totals.inference.count, &[totals.before, totals.assembly]);
        let compute_output = sum(totals.inference.count, &[totals.after, totals.split]);
        let whole = [totals.queue, totals.before, totals.assembly, totals.inference, totals.split, totals.predict, totals.after];
        let engine = slot.engine().map(|model| model.totals()).unwrap_or_default();
        Self {
            name: slot.model().to_string(),
            // Tools that read statistics take versions for whole numbers.
            version: asked.unwrap_or_else(|| slot.version().strip_suffix(".0.0").unwrap_or(slot.version())).to_owned(),
            last_inference: slot.engine().map_or(totals.last_ms, |_| engine.last_ms),
            inference_count: rows(slot, &totals),
            execution_count: runs(slot, &totals),
            inference: [
                ("success", sum(totals.answered, &[&whole[..], &[totals.cache_hits]].concat())),
                ("fail", sum(totals.failed.count, &[totals.failed])),
                ("queue", sum(totals.queue.count, &[totals.queue])),
                ("compute_input", compute_input),
                ("compute_infer", sum(totals.inference.count, &[totals.inference, totals.predict])),
                ("compute_output", compute_output),
                ("cache_hit", sum(totals.cache_hits.count, &[totals.cache_hits])),
                ("cache_miss", Duration { count: totals.cache_misses, ns: 0 }),
            ],
            batches: engine.batches.iter().map(Batch::from).collect(),
        }
    }
}

/// Rows that the model ran; of a predictor the answers that it made, since rows are counted with the models that it drives.
pub(super) fn rows(slot: &Slot, totals: &Totals) -> u64 {
    slot.engine().map_or(totals.inference.count, |model| model.totals().rows())
}

/// Runs of the model; of a predictor the answers that it made.
pub(super) fn runs(slot: &Slot, totals: &Totals) -> u64 {
    slot.engine().map_or(totals.inference.count, |model| model.totals().runs())
}

impl From<&BatchTotal> for Batch {
    fn from(total: &BatchTotal) -> Self {
        let of = |ns: u64| Duration { count: total.runs, ns };
        Self {
            batch_size: total.rows,
            compute_input: of(total.assembly_ns),
            compute_infer: of(total.inference_ns),
            compute_output: of(total.split_ns),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are positive, and less than centuries")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
