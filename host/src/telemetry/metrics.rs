//! All metrics, with their labels. Rooms get handles; nobody writes a metric's name elsewhere.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::Metric;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::clock;

/// Upper bounds of the stages' histograms in seconds: from a native call to a slow model, each about 2.5 times the
/// one before.
const STAGE_SECONDS: [f64; 15] = [10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 100e-3, 500e-3, 2.5, 10.0];

/// Upper bounds of a run's rows.
const BATCH_ROWS: [f64; 13] = [1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 128.0, 256.0, 1024.0];

/// What a look into the cache may come to.
const CACHE_EVENTS: [&str; 3] = ["hit", "miss", "bypass"];

/// All metrics of the host.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    stages: HistogramVec,
    plugin_failures: IntCounterVec,
    versions: IntGaugeVec,
    cache_events: IntCounterVec,
    batch_rows: HistogramVec,
    queue_depth: IntGaugeVec,
    batches_retried: IntCounterVec,
    model_bytes: IntGaugeVec,
    plugins_refused: IntCounterVec,
    plugin_log_lines_dropped: IntCounter,
    /// Predict requests for which there was no place.
    pub turned_away: IntCounter,
    /// Connections beyond the bound, closed at once.
    pub connections_refused: IntCounter,
    /// Rows of the audit that could not be written.
    pub audit_rows_lost: IntCounter,
    refused: IntCounterVec,
}

impl Metrics {
    /// Declares them.
    ///
    /// # Errors
    /// Where two have one name, which a test would see.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("bulkhead".to_owned()), None)?;
        let requests = IntCounterVec::new(
            Opts::new(
                "predict_requests_total",
                "Predict requests by what became of them; outcome is ok, an error code, or cancelled where the caller went away",
            ),
            &["tenant", "model", "version", "outcome"],
        )?;
        let stages = HistogramVec::new(
            HistogramOpts::new(
                "predict_stage_seconds",
                "Time of a predict request in each stage: before, queue, assembly (of a batch), inference, split (of a batch), predict (in a predictor), after",
            )
            .buckets(STAGE_SECONDS.to_vec()),
            &["tenant", "model", "version", "stage"],
        )?;
        let plugin_failures = IntCounterVec::new(
            Opts::new(
                "plugin_failures_total",
                "Exchanges that a plugin did not answer, by how: invalid_input, unavailable, plugin_error, trapped, deadline, out_of_memory, busy",
            ),
            &["tenant", "plugin", "kind"],
        )?;
        let versions = IntGaugeVec::new(Opts::new("versions", "Versions of models by state: ready, unloaded, failed"), &["state"])?;
        let version_labels = ["tenant", "model", "version"];
        let batch_rows =
            HistogramVec::new(HistogramOpts::new("engine_batch_rows", "Rows of each run of a model").buckets(BATCH_ROWS.to_vec()), &version_labels)?;
        let queue_depth = IntGaugeVec::new(Opts::new("engine_queue_depth", "Requests that wait for a model"), &version_labels)?;
        let model_bytes = IntGaugeVec::new(
            Opts::new("engine_model_bytes", "Memory held for a model's weights: the bytes of its file, once for each of its sessions"),
            &version_labels,
        )?;
        let cache_events = IntCounterVec::new(
            Opts::new("cache_events_total", "Requests to versions that keep their answers, by what came of it: hit, miss, bypass"),
            &["tenant", "model", "version", "event"],
        )?;
        let batches_retried = IntCounterVec::new(
            Opts::new("engine_batches_retried_total", "Batches that failed, so that their requests were run again one by one"),
            &version_labels,
        )?;
        let dropped = IntCounter::new("plugin_log_lines_dropped_total", "Log lines of plugins that went over their bounds")?;
        let plugins_refused = IntCounterVec::new(
            Opts::new(
                "plugin_uploads_refused_total",
                "Components that were not accepted, by why: not_a_component, invalid_component, over_limits, wrong_world, import_not_granted, compile_failed, start_failed, busy, internal",
            ),
            &["why"],
        )?;
        let turned_away =
            IntCounter::new("requests_turned_away_total", "Requests and streams beyond `http.max_in_flight`, refused before anything was read")?;
        let connections_refused = IntCounter::new("connections_refused_total", "Connections beyond `http.max_connections`, closed at once")?;
        let audit_rows_lost = IntCounter::new("audit_rows_lost_total", "Rows of the audit that could not be written; the log says why")?;
        let refused = IntCounterVec::new(
            Opts::new(
                "requests_refused_total",
                "Requests whose credential was none, or did not permit what was asked, by the reason that the audit has",
            ),
            &["reason"],
        )?;
        let all: [Box<dyn Collector>; 15] = [
            Box::new(refused.clone()),
            Box::new(plugins_refused.clone()),
            Box::new(turned_away.clone()),
            Box::new(audit_rows_lost.clone()),
            Box::new(connections_refused.clone()),
            Box::new(model_bytes.clone()),
            Box::new(cache_events.clone()),
            Box::new(requests.clone()),
            Box::new(stages.clone()),
            Box::new(plugin_failures.clone()),
            Box::new(versions.clone()),
            Box::new(batch_rows.clone()),
            Box::new(queue_depth.clone()),
            Box::new(batches_retried.clone()),
            Box::new(dropped.clone()),
        ];
        for collector in all {
            registry.register(collector)?;
        }
        Ok(Self {
            registry,
            requests,
            stages,
            plugin_failures,
            versions,
            cache_events,
            batch_rows,
            queue_depth,
            batches_retried,
            model_bytes,
            plugins_refused,
            plugin_log_lines_dropped: dropped,
            turned_away,
            audit_rows_lost,
            connections_refused,
            refused,
        })
    }

    /// The text that Prometheus reads; of one tenant, only what is labelled as its own.
    ///
    /// # Errors
    /// Where a metric can't be written.
    pub fn text(&self, tenant: Option<&str>) -> prometheus::Result<String> {
        let mut families = self.registry.gather();
        if let Some(tenant) = tenant {
            let is_own = |metric: &Metric| metric.get_label().iter().any(|label| label.name() == "tenant" && label.value() == tenant);
            for family in &mut families {
                let own: Vec<_> = family.take_metric().into_iter().filter(is_own).collect();
                family.set_metric(own);
            }
            families.retain(|family| !family.get_metric().is_empty());
        }
        TextEncoder::new().encode_to_string(&families)
    }

    /// Handles for one version of a model: looked up once, when it is loaded.
    #[must_use]
    pub fn version(&self, tenant: &str, model: &str, version: &str) -> VersionMetrics {
        let stage = |stage: &str| self.stages.with_label_values(&[tenant, model, version, stage]);
        let labels = [tenant, model, version].map(str::to_owned);
        VersionMetrics {
            ok: self.requests.with_label_values(&[tenant, model, version, "ok"]),
            requests: self.requests.clone(),
            plugin_failures: self.plugin_failures.clone(),
            cache_events: self.cache_events.clone(),
            cache_counters: Default::default(),
            cache_hits: AtomicU64::new(0),
            cache_hit_nanos: AtomicU64::new(0),
            cache_misses: AtomicU64::new(0),
            queue: stage("queue"),
            before: stage("before"),
            assembly: stage("assembly"),
            split: stage("split"),
            inference: stage("inference"),
            predict: stage("predict"),
            after: stage("after"),
            failures: Default::default(),
            failure_nanos: AtomicU64::new(0),
            last_ms: AtomicU64::new(0),
            labels,
        }
    }

    /// Forgets a version that is there no more: who uploads and deletes without an end would leave series without an end.
    pub fn forget_version(&self, tenant: &str, model: &str, version: &str) {
        let its = [("tenant", tenant), ("model", model), ("version", version)];
        forget(&self.requests, &its);
        forget(&self.stages, &its);
        forget(&self.cache_events, &its);
        forget(&self.batch_rows, &its);
        forget(&self.queue_depth, &its);
        forget(&self.batches_retried, &its);
        forget(&self.model_bytes, &its);
    }

    /// Forgets a plugin, as `name@version`, that is there no more.
    pub fn forget_plugin(&self, tenant: &str, plugin: &str) {
        forget(&self.plugin_failures, &[("tenant", tenant), ("plugin", plugin)]);
    }

    /// Handles for the sandboxes.
    #[must_use]
    pub fn sandboxes(&self) -> SandboxMetrics {
        SandboxMetrics { log_lines_dropped: self.plugin_log_lines_dropped.clone(), refused: self.plugins_refused.clone() }
    }

    /// Handles for the engine's side of one version.
    #[must_use]
    pub fn engine(&self, tenant: &str, model: &str, version: &str) -> EngineMetrics {
        let labels = [tenant, model, version];
        EngineMetrics {
            batch_rows: self.batch_rows.with_label_values(&labels),
            queue_depth: self.queue_depth.with_label_values(&labels),
            batches_retried: self.batches_retried.with_label_values(&labels),
            model_bytes: self.model_bytes.with_label_values(&labels),
        }
    }

    /// The same for a model that lives within one request: its queue is no other's, and no gauge says how long it is.
    #[must_use]
    pub fn engine_apart(&self, tenant: &str, model: &str, version: &str) -> EngineMetrics {
        let apart = IntGauge::new("apart", "Requests that wait for a model that is not the version's own");
        let metrics = self.engine(tenant, model, version);
        EngineMetrics { queue_depth: apart.unwrap_or_else(|_| metrics.queue_depth.clone()), ..metrics }
    }

    /// A request was refused, for one of the reasons that there are.
    pub fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// How many versions are in each state.
    pub fn set_versions(&self, ready: usize, unloaded: usize, failed: usize) {
        for (state, count) in [("ready", ready), ("unloaded", unloaded), ("failed", failed)] {
            self.versions.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// Removes the series that have these labels, whatever others they have.
fn forget<B: MetricVecBuilder>(series: &MetricVec<B>, labels: &[(&str, &str)]) {
    for family in series.collect() {
        for metric in family.get_metric() {
            let all: HashMap<&str, &str> = metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
            if labels.iter().all(|(name, value)| all.get(name) == Some(value)) {
                // Somebody else may have removed it.
                let _ = series.remove(&all);
            }
        }
    }
}

/// What counts plugins that go too far.
#[derive(Clone)]
pub struct SandboxMetrics {
    /// Log lines of plugins that went over their bounds.
    pub log_lines_dropped: IntCounter,
    refused: IntCounterVec,
}

impl SandboxMetrics {
    /// A component was not accepted.
    pub fn refused(&self, why: &str) {
        self.refused.with_label_values(&[why]).inc();
    }
}

/// What counts the runs of one version of a model.
#[derive(Clone)]
pub struct EngineMetrics {
    batch_rows: Histogram,
    /// Requests that wait.
    pub queue_depth: IntGauge,
    /// Batches that failed and were run again one by one.
    pub batches_retried: IntCounter,
    /// Memory that its models hold.
    pub model_bytes: IntGauge,
}

impl EngineMetrics {
    /// A run of so many rows.
    #[expect(clippy::cast_precision_loss, reason = "a run has some thousand rows")]
    pub fn ran(&self, rows: usize) {
        self.batch_rows.observe(rows as f64);
    }
}

/// Where a request's time went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Waiting for the model.
    pub queue: Duration,
    /// In the transforms, on the way in.
    pub before: Duration,
    /// Making one batch of several requests.
    pub assembly: Duration,
    /// In the model, or the models that a predictor ran.
    pub inference: Duration,
    /// Taking the batch apart.
    pub split: Duration,
    /// In a predictor, its waits for models not counted.
    pub predict: Duration,
    /// In the transforms, on the way out.
    pub after: Duration,
}

/// Why a request was not answered, as coarsely as Triton's metrics tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Too much waited already.
    Rejected,
    /// The caller had gone.
    Canceled,
    /// The runtime could not run it.
    Backend,
    /// Anything else.
    Other,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Canceled, Self::Backend, Self::Other];

    /// Of an error's code.
    fn of(code: &str) -> Self {
        match code {
            "overloaded" => Self::Rejected,
            CANCELLED => Self::Canceled,
            "inference_failed" => Self::Backend,
            _ => Self::Other,
        }
    }
}

/// The outcome of a request whose caller went away.
pub const CANCELLED: &str = "cancelled";

/// How often something happened, and how long it took in all.
#[derive(Debug, Clone, Copy)]
pub struct Total {
    /// How often.
    pub count: u64,
    /// In all.
    pub seconds: f64,
}

/// What became of all requests of a version.
#[derive(Debug, Clone, Copy)]
pub struct Totals {
    /// When the last answer was made, in milliseconds since the epoch; 0 where none was. Only told of predictors: models count
    /// their runs themselves.
    pub last_ms: u64,
    /// Answers.
    pub answered: u64,
    /// Requests without one.
    pub failed: Total,
    /// Of these, how many for which reason.
    pub failures: [(Reason, u64); Reason::ALL.len()],
    /// Answers that were kept.
    pub cache_hits: Total,
    /// Answers that had to be made.
    pub cache_misses: u64,
    /// See [`Timings`].
    pub queue: Total,
    /// See [`Timings`].
    pub before: Total,
    /// See [`Timings`].
    pub assembly: Total,
    /// See [`Timings`].
    pub inference: Total,
    /// See [`Timings`].
    pub split: Total,
    /// See [`Timings`].
    pub predict: Total,
    /// See [`Timings`].
    pub after: Total,
}

/// The metrics of one version of a model.
pub struct VersionMetrics {
    ok: IntCounter,
    requests: IntCounterVec,
    plugin_failures: IntCounterVec,
    cache_events: IntCounterVec,
    /// Of each of the events; made when it first happens.
    cache_counters: [OnceLock<IntCounter>; CACHE_EVENTS.len()],
    cache_hits: AtomicU64,
    cache_hit_nanos: AtomicU64,
    cache_misses: AtomicU64,
    queue: Histogram,
    before: Histogram,
    assembly: Histogram,
    split: Histogram,
    inference: Histogram,
    predict: Histogram,
    after: Histogram,
    /// By reason.
    failures: [AtomicU64; Reason::ALL.len()],
    failure_nanos: AtomicU64,
    last_ms: AtomicU64,
    labels: [String; 3],
}

impl VersionMetrics {
    /// A request was answered.
    pub fn answered(&self, timings: Timings, transforms: bool) {
        self.ok.inc();
        self.queue.observe(timings.queue.as_secs_f64());
        self.inference.observe(timings.inference.as_secs_f64());
        if !timings.assembly.is_zero() {
            self.assembly.observe(timings.assembly.as_secs_f64());
            self.split.observe(timings.split.as_secs_f64());
        }
        if !timings.predict.is_zero() {
            self.last_ms.store(u64::try_from(clock::unix_ms()).unwrap_or(0), Ordering::Relaxed);
            self.predict.observe(timings.predict.as_secs_f64());
        }
        if transforms {
            self.before.observe(timings.before.as_secs_f64());
            self.after.observe(timings.after.as_secs_f64());
        }
    }

    /// A request was answered by what was kept, after so long.
    pub fn answered_from_cache(&self, after: Duration) {
        self.ok.inc();
        self.cache_hits.fetch_add(1, Ordering::Relaxed);
        self.cache_hit_nanos.fetch_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A look into the cache came to this.
    pub fn cached(&self, event: &str) {
        let [tenant, model, version] = &self.labels;
        if event == "miss" {
            self.cache_misses.fetch_add(1, Ordering::Relaxed);
        }
        let at = CACHE_EVENTS.iter().position(|known| *known == event);
        match at.and_then(|at| self.cache_counters.get(at)) {
            Some(counter) => counter.get_or_init(|| self.cache_events.with_label_values(&[tenant.as_str(), model, version, event])).inc(),
            None => self.cache_events.with_label_values(&[tenant.as_str(), model, version, event]).inc(),
        }
    }

    /// A request was not answered after so long; `code` is the error's.
    pub fn failed(&self, code: &str, after: Duration) {
        self.failures[Reason::of(code) as usize].fetch_add(1, Ordering::Relaxed);
        self.failure_nanos.fetch_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let [tenant, model, version] = &self.labels;
        self.requests.with_label_values(&[tenant, model, version, code]).inc();
    }

    /// A plugin did not answer.
    pub fn plugin_failed(&self, plugin: &str, kind: &str) {
        self.plugin_failures.with_label_values(&[&self.labels[0], plugin, kind]).inc();
    }

    /// What became of all requests so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let of = |histogram: &Histogram| Total { count: histogram.get_sample_count(), seconds: histogram.get_sample_sum() };
        Totals {
            last_ms: self.last_ms.load(Ordering::Relaxed),
            answered: self.ok.get(),
            failures: Reason::ALL.map(|reason| (reason, self.failures[reason as usize].load(Ordering::Relaxed))),
            failed: Total {
                count: self.failures.iter().map(|count| count.load(Ordering::Relaxed)).sum(),
                seconds: Duration::from_nanos(self.failure_nanos.load(Ordering::Relaxed)).as_secs_f64(),
            },
            cache_hits: Total {
                count: self.cache_hits.load(Ordering::Relaxed),
                seconds: Duration::from_nanos(self.cache_hit_nanos.load(Ordering::Relaxed)).as_secs_f64(),
            },
            cache_misses: self.cache_misses.load(Ordering::Relaxed),
            queue: of(&self.queue),
            before: of(&self.before),
            assembly: of(&self.assembly),
            inference: of(&self.inference),
            split: of(&self.split),
            predict: of(&self.predict),
            after: of(&self.after),
        }
    }

    /// Requests answered so far.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.ok.get()
    }
}
