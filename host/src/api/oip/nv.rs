//! The metrics of Triton under its names, for boards and autoscalers that know only those.

use std::fmt::Write as _;
use std::sync::Arc;

use bulkhead_registry::TenantId;

use super::stats::{rows, runs};
use crate::api::App;
use crate::predict::{Slot, State};
use crate::telemetry::metrics::{Reason, Total, Totals};

/// A metric, and what it says of a version.
type Row = (&'static str, &'static str, &'static str, fn(&Slot, &Totals) -> Vec<(&'static str, i64)>);

const ROWS: [Row; 13] = [
    ("nv_inference_request_success", "counter", "Number of successful inference requests, all batch sizes", |_, totals| one(totals.answered)),
    ("nv_inference_request_failure", "counter", "Number of failed inference requests, by reason", |_, totals| {
        totals.failures.iter().map(|(reason, count)| (name(*reason), whole(*count))).collect()
    }),
    ("nv_inference_count", "counter", "Number of inferences performed: rows", |slot, totals| one(rows(slot, totals))),
    ("nv_inference_exec_count", "counter", "Number of model executions performed", |slot, totals| one(runs(slot, totals))),
    ("nv_inference_request_duration_us", "counter", "Cumulative inference request duration in microseconds", |_, totals| {
        us(&[totals.queue, totals.before, totals.assembly, totals.inference, totals.split, totals.predict, totals.after])
    }),
    ("nv_inference_queue_duration_us", "counter", "Cumulative inference queuing duration in microseconds", |_, totals| us(&[totals.queue])),
    ("nv_inference_compute_input_duration_us", "counter", "Cumulative compute input duration in microseconds", |_, totals| {
        us(&[totals.before, totals.assembly])
    }),
    ("nv_inference_compute_infer_duration_us", "counter", "Cumulative compute inference duration in microseconds", |_, totals| {
        us(&[totals.inference, totals.predict])
    }),
    ("nv_inference_compute_output_duration_us", "counter", "Cumulative inference compute output duration in microseconds", |_, totals| {
        us(&[totals.after, totals.split])
    }),
    ("nv_inference_pending_request_count", "gauge", "Instantaneous number of pending requests awaiting execution", |slot, _| {
        vec![("", slot.engine().map_or(0, |model| model.waiting()))]
    }),
    ("nv_cache_num_hits_per_model", "counter", "Number of cache hits per model", |_, totals| one(totals.cache_hits.count)),
    ("nv_cache_num_misses_per_model", "counter", "Number of cache misses per model", |_, totals| one(totals.cache_misses)),
    ("nv_cache_hit_duration_per_model", "counter", "Total cache hit duration per model, in microseconds", |_, totals| us(&[totals.cache_hits])),
];

/// All of them, of all versions of a tenant, or of all tenants, that are ready, in the format that Prometheus reads.
pub(in crate::api) fn text(app: &App, of: Option<&TenantId>) -> String {
    let ready = app.loader.slots().all().into_iter().filter_map(|(tenant, _, state)| match state {
        State::Ready(slot) if of.is_none_or(|of| *of == tenant) => Some((tenant.to_string(), slot)),
        _ => None,
    });
    let mut versions: Vec<(String, Arc<Slot>, Totals)> = ready.map(|(tenant, slot)| (tenant, Arc::clone(&slot), slot.metrics().totals())).collect();
    versions.sort_by(|a, b| (&a.0, a.1.model(), a.1.version()).cmp(&(&b.0, b.1.model(), b.1.version())));
    let mut out = String::new();
    for (metric, kind, help, values) in ROWS {
        // Writing to a string does not fail.
        let _ = write!(out, "# HELP {metric} {help}\n# TYPE {metric} {kind}\n");
        for (tenant, slot, totals) in &versions {
            for (reason, value) in values(slot, totals) {
                let reason = if reason.is_empty() { String::new() } else { format!(",reason=\"{reason}\"") };
                let _ = writeln!(out, "{metric}{{model=\"{}\",version=\"{}\",namespace=\"{tenant}\"{reason}}} {value}", slot.model(), slot.version());
            }
        }
    }
    out
}

fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::Rejected => "REJECTED",
        Reason::Canceled => "CANCELED",
        Reason::Backend => "BACKEND",
        Reason::Other => "OTHER",
    }
}

fn one(count: u64) -> Vec<(&'static str, i64)> {
    vec![("", whole(count))]
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "times are less than centuries")]
fn us(parts: &[Total]) -> Vec<(&'static str, i64)> {
    vec![("", (parts.iter().map(|part| part.seconds).sum::<f64>() * 1e6) as i64)]
}
