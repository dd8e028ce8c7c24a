//! The models of the process.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bulkhead_registry::Manifest;
use parking_lot::{Mutex, RwLock};

use super::walls::Usage;
use crate::confined::wire::{Facts, Since, What};
use crate::engine::{BackendError, BatchTotal, Engine, EngineTotals, LoadOptions, Loaded as _, Model};
use crate::runner::Runner as _;
use crate::telemetry::metrics::{EngineMetrics, Metrics};

/// All of them.
pub(super) struct Models {
    engine: Engine,
    metrics: Metrics,
    usage: Usage,
    next: AtomicU32,
    loaded: RwLock<HashMap<u32, Arc<Entry>>>,
}

/// One of them.
pub(super) struct Entry {
    pub(super) model: Arc<Model>,
    metrics: EngineMetrics,
    told: Mutex<Told>,
}

/// What the host knows of a model's runs.
#[derive(Default)]
struct Told {
    batches: BTreeMap<u64, BatchTotal>,
    retried: u64,
}

impl Models {
    pub(super) fn new(engine: Engine, usage: Usage) -> Result<Self, String> {
        let metrics = Metrics::new().map_err(|error| error.to_string())?;
        Ok(Self { engine, metrics, usage, next: AtomicU32::new(1), loaded: RwLock::default() })
    }

    pub(super) fn get(&self, model: u32) -> Option<Arc<Entry>> {
        self.loaded.read().get(&model).cloned()
    }

    /// Loads one.
    pub(super) fn load(&self, what: What, file: &File, manifest: &str) -> Result<Facts, BackendError> {
        let refused = |error: &dyn std::fmt::Display| BackendError::Refused(format!("the model can't be read: {error}"));
        let before = self.usage.peak_bytes();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let metrics = self.metrics.engine("", "", &id.to_string());
        let length = super::length(file).map_err(|error| refused(&error))?;
        if length == 0 {
            return Err(BackendError::Refused("expected an ONNX model, got bytes that are none: they hold no graph".to_owned()));
        }
        #[expect(unsafe_code, reason = "a file that is mapped must not change")]
        // SAFETY: artifacts are written once, under another name, and never changed; what a component brings along is a file of
        // memory that only the host could write, and does not. Tests load both.
        let bytes = unsafe { memmap2::MmapOptions::new().len(length).map(file) }.map_err(|error| refused(&error))?;
        let model = match what {
            What::Artifact => {
                let manifest = Manifest::from_json(manifest).map_err(|error| refused(&error))?;
                self.engine.load_mapped(&bytes, &LoadOptions::of(&manifest, metrics.clone(), None))?
            }
            What::Brought => self.engine.load_bytes(&bytes, metrics.clone(), None)?,
        };
        let facts = Facts {
            model: id,
            signature: model.signature().clone(),
            merging: model.merging().clone(),
            instances: model.instances(),
            threads: model.threads(),
            inline: model.runs_inline(),
            peak_bytes: self.usage.peak_bytes().saturating_sub(before),
        };
        self.loaded.write().insert(id, Arc::new(Entry { model, metrics, told: Mutex::default() }));
        Ok(facts)
    }

    /// Lets go of one.
    pub(super) fn close(&self, model: u32) {
        let entry = self.loaded.write().remove(&model);
        if let Some(entry) = entry {
            entry.model.close();
            drop(entry);
            give_memory_back();
        }
    }
}

impl Entry {
    /// What the host does not know yet.
    pub(super) fn since(&self) -> Since {
        let EngineTotals { batches, .. } = self.model.totals();
        let retried = self.metrics.batches_retried.get();
        let mut told = self.told.lock();
        let mut since = Since {
            inline: self.model.runs_inline(),
            waiting: self.model.waiting(),
            retried: retried.saturating_sub(told.retried),
            batches: Vec::new(),
        };
        told.retried = retried.max(told.retried);
        for now in batches {
            let before = told.batches.entry(now.rows).or_insert(BatchTotal { runs: 0, assembly_ns: 0, inference_ns: 0, split_ns: 0, ..now });
            // Another lane may have told of later ones by now.
            if now.runs > before.runs {
                since.batches.push(BatchTotal {
                    rows: now.rows,
                    runs: now.runs - before.runs,
                    assembly_ns: now.assembly_ns.saturating_sub(before.assembly_ns),
                    inference_ns: now.inference_ns.saturating_sub(before.inference_ns),
                    split_ns: now.split_ns.saturating_sub(before.split_ns),
                });
                *before = now;
            }
        }
        since
    }
}

/// The runtime allocates with the C library, which keeps what is freed.
#[expect(unsafe_code, reason = "the C library has no safe face")]
fn give_memory_back() {
    // SAFETY: `malloc_trim` takes a number, locks what it needs and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
