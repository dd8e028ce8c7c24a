//! What can answer now: loaded versions, ready in memory. A reader sees the table as it was before a change or after
//! it, never half of one; a request that holds a slot keeps it alive, which is what draining waits for.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bulkhead_registry::{ModelName, ModelRef, TenantId, Version};
use parking_lot::Mutex;

use super::cache::{AnswerCache, LocalCache};
use crate::engine::Loaded;
use crate::runner::Signature;
use crate::sandbox::{Ports, Predictor, Transform};
use crate::telemetry::metrics::VersionMetrics;

/// A loaded version of a model.
pub struct Slot(SlotParts);

/// What a slot is made of.
pub struct SlotParts {
    /// Name of the model.
    pub model: Arc<str>,
    /// Version of the model.
    pub version: Arc<str>,
    /// Outermost first.
    pub transforms: Vec<Transform>,
    /// Names, in lower case, of request headers that transforms may see.
    pub headers: Vec<String>,
    /// What answers inside the transforms.
    pub core: Core,
    /// What counts it.
    pub metrics: VersionMetrics,
    /// Stands for tenant, artifact, plugins with their configuration, and the models that these may run.
    pub identity: [u8; 32],
    /// Where its answers are kept, if they are.
    pub cache: Option<LocalCache>,
}

/// What answers inside the transforms.
pub enum Core {
    /// A model.
    Engine(Arc<dyn Loaded>),
    /// A component that drives models.
    Predictor(Box<Driver>),
}

/// A predictor, fitted to the models that it was granted.
pub struct Driver {
    /// The component.
    pub predictor: Predictor,
    /// Tensors that it takes and gives; none where that is a body of its own.
    pub signature: Signature,
    /// The models, which stay in memory as long as this does.
    pub models: Vec<Arc<dyn Loaded>>,
}

impl Core {
    /// Tensors that go in and come out.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        match self {
            Self::Engine(model) => model.signature(),
            Self::Predictor(driver) => &driver.signature,
        }
    }

    /// The component that answers, where one does.
    #[must_use]
    pub fn predictor(&self) -> Option<&Predictor> {
        match self {
            Self::Engine(_) => None,
            Self::Predictor(driver) => Some(&driver.predictor),
        }
    }

    /// Whether it takes tensors, rather than a body of its own.
    #[must_use]
    pub fn takes_tensors(&self) -> bool {
        match self {
            Self::Engine(_) => true,
            Self::Predictor(driver) => !matches!(driver.predictor.description().takes, Ports::Body),
        }
    }

    /// Whether it gives tensors, rather than a body of its own.
    #[must_use]
    pub fn gives_tensors(&self) -> bool {
        match self {
            Self::Engine(_) => true,
            Self::Predictor(driver) => !matches!(driver.predictor.description().gives, Ports::Body),
        }
    }
}

impl Slot {
    /// A slot of these parts.
    #[must_use]
    pub fn new(parts: SlotParts) -> Self {
        Self(parts)
    }

    /// Name of the model.
    #[must_use]
    pub fn model(&self) -> &Arc<str> {
        &self.0.model
    }

    /// Version of the model.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.0.version
    }

    /// Outermost first.
    #[must_use]
    pub fn transforms(&self) -> &[Transform] {
        &self.0.transforms
    }

    /// Request headers that transforms may see.
    #[must_use]
    pub fn headers(&self) -> &[String] {
        &self.0.headers
    }

    /// What answers inside the transforms.
    #[must_use]
    pub fn core(&self) -> &Core {
        &self.0.core
    }

    /// The loaded model, where that is what answers.
    #[must_use]
    pub fn engine(&self) -> Option<&dyn Loaded> {
        match &self.0.core {
            Core::Engine(model) => Some(&**model),
            Core::Predictor(_) => None,
        }
    }

    /// The component that answers, where one does.
    #[must_use]
    pub fn predictor(&self) -> Option<&Predictor> {
        self.0.core.predictor()
    }

    /// All models that it keeps in memory.
    #[must_use]
    pub fn models(&self) -> &[Arc<dyn Loaded>] {
        match &self.0.core {
            Core::Engine(model) => std::slice::from_ref(model),
            Core::Predictor(driver) => &driver.models,
        }
    }

    /// Tensors that go in and come out inside the transforms.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        self.0.core.signature()
    }

    /// Stands for tenant, artifact, plugins with their configuration, and the models that these may run.
    #[must_use]
    pub fn identity(&self) -> &[u8; 32] {
        &self.0.identity
    }

    /// Keeps its answers.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.0.cache.is_some()
    }

    pub(super) fn cache(&self) -> Option<&dyn AnswerCache> {
        self.0.cache.as_ref().map(|cache| cache as &dyn AnswerCache)
    }

    /// What counts it.
    #[must_use]
    pub fn metrics(&self) -> &VersionMetrics {
        &self.0.metrics
    }
}

/// A version's state in this process.
#[derive(Clone)]
pub enum State {
    /// Answers.
    Ready(Arc<Slot>),
    /// Archived, and not in memory: loaded when it is asked for by its number.
    Unloaded,
    /// Taken out of memory because somebody asked for that: answers again once it is loaded.
    Stopped,
    /// Could not be loaded.
    Failed(String),
}

/// Which version of a model answers, and why that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The one in production.
    Production,
    /// The one that the caller named.
    Pinned,
}

impl Variant {
    /// As it stands in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Pinned => "pinned",
        }
    }
}

/// Why no version answers.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// No model of that name.
    #[error("there is no model `{0}`")]
    Model(String),
    /// No version of that number.
    #[error("model `{0}` has no version `{1}`")]
    Version(String, String),
    /// Only staged versions.
    #[error("model `{0}` has no version in production: promote one, or name one in the path")]
    NoProduction(String),
    /// Could not be loaded.
    #[error("version `{1}` of model `{0}` could not be loaded: {2}")]
    Failed(String, String, String),
    /// Somebody took it out of memory.
    #[error("model `{0}` was unloaded: load it again by POST /v2/repository/models/{0}/load")]
    Stopped(String),
    /// Has to be loaded first.
    #[error("version `{1}` of model `{0}` is archived, and loaded once it is asked")]
    Unloaded(String, String),
}

#[derive(Clone, Default)]
struct Entry {
    production: Option<Version>,
    /// The production version's slot, found without comparing versions.
    current: Option<Arc<Slot>>,
    versions: HashMap<String, State>,
}

type Table = HashMap<String, HashMap<String, Arc<Entry>>>;

/// All versions of all tenants in this process.
#[derive(Default)]
pub struct Slots {
    table: ArcSwap<Table>,
    /// Changes are made one after another, on a copy.
    change: Mutex<()>,
}

impl Slots {
    /// The version that answers for a model: the one named, or the one in production.
    ///
    /// # Errors
    /// See [`Missing`].
    pub fn pick(&self, tenant: &str, model: &str, version: Option<&str>) -> Result<(Arc<Slot>, Variant), Missing> {
        let table = self.table.load();
        let entry = table.get(tenant).and_then(|models| models.get(model)).ok_or_else(|| Missing::Model(model.to_owned()))?;
        let (state, version, variant) = match version {
            None => {
                if let Some(slot) = &entry.current {
                    return Ok((Arc::clone(slot), Variant::Production));
                }
                let version = entry.production.as_ref().ok_or_else(|| Missing::NoProduction(model.to_owned()))?;
                (entry.versions.get(version.as_str()), version.as_str(), Variant::Production)
            }
            Some(version) => (entry.versions.get(version), version, Variant::Pinned),
        };
        match state {
            Some(State::Ready(slot)) => Ok((Arc::clone(slot), variant)),
            Some(State::Stopped) => Err(Missing::Stopped(model.to_owned())),
            Some(State::Unloaded) => Err(Missing::Unloaded(model.to_owned(), version.to_owned())),
            Some(State::Failed(why)) => Err(Missing::Failed(model.to_owned(), version.to_owned(), why.clone())),
            None => Err(Missing::Version(model.to_owned(), version.to_owned())),
        }
    }

    /// A version's state; none where it isn't known.
    #[must_use]
    pub fn state(&self, tenant: &TenantId, model: &ModelRef) -> Option<State> {
        self.table.load().get(tenant.as_str())?.get(model.name.as_str())?.versions.get(model.version.as_str()).cloned()
    }

    /// Sets a version's state; gives the slot that it had.
    pub fn set(&self, tenant: &TenantId, model: &ModelRef, state: State) -> Option<Arc<Slot>> {
        let mut before = None;
        self.change(tenant, &model.name, |entry| {
            before = entry.versions.insert(model.version.to_string(), state);
        });
        ready(before)
    }

    /// Forgets a version; gives the slot that it had.
    pub fn remove(&self, tenant: &TenantId, model: &ModelRef) -> Option<Arc<Slot>> {
        let mut before = None;
        self.change(tenant, &model.name, |entry| {
            before = entry.versions.remove(model.version.as_str());
        });
        ready(before)
    }

    /// Says which version is in production.
    pub fn set_production(&self, tenant: &TenantId, model: &ModelName, version: Option<Version>) {
        self.change(tenant, model, |entry| entry.production = version);
    }

    /// Every version that is known, with its state.
    #[must_use]
    pub fn all(&self) -> Vec<(TenantId, ModelRef, State)> {
        let mut out = Vec::new();
        for (tenant, models) in &**self.table.load() {
            for (model, entry) in models {
                for (version, state) in &entry.versions {
                    // Keys were ids when they went in.
                    if let (Ok(tenant), Ok(name), Ok(version)) = (tenant.parse(), model.parse(), version.parse()) {
                        out.push((tenant, ModelRef { name, version }, state.clone()));
                    }
                }
            }
        }
        out
    }

    fn change(&self, tenant: &TenantId, model: &ModelName, change: impl FnOnce(&mut Entry)) {
        let _one_after_another = self.change.lock();
        let mut table = Table::clone(&self.table.load());
        let models = table.entry(tenant.to_string()).or_default();
        let mut entry = models.get(model.as_str()).map(|entry| Entry::clone(entry)).unwrap_or_default();
        change(&mut entry);
        entry.current = entry.production.as_ref().and_then(|version| match entry.versions.get(version.as_str()) {
            Some(State::Ready(slot)) => Some(Arc::clone(slot)),
            _ => None,
        });
        if entry.versions.is_empty() {
            models.remove(model.as_str());
        } else {
            models.insert(model.to_string(), Arc::new(entry));
        }
        self.table.store(Arc::new(table));
    }
}

fn ready(state: Option<State>) -> Option<Arc<Slot>> {
    match state {
        Some(State::Ready(slot)) => Some(slot),
        _ => None,
    }
}
