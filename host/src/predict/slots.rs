//! What can answer now: loaded versions, ready in memory. A reader sees the table as it was before a change or after
//! it, never half of one; a request that holds a slot keeps it alive, which is what draining waits for.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bulkhead_registry::{ModelName, ModelRef, TenantId, Version};
use parking_lot::Mutex;

use super::cache::{AnswerCache, LocalCache};
use super::halt::Halt;
use crate::engine::Loaded;
use crate::runner::Signature;
use crate::sandbox::{Ports, Predictor, Transform};
use crate::telemetry::metrics::VersionMetrics;
use crate::trust::{Barred, Provenance};

/// A loaded version of a model.
pub struct Slot {
    parts: SlotParts,
    /// Swapped where somebody signs what is loaded already.
    provenance: ArcSwap<Provenance>,
    halt: Halt,
}

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
    /// What it is made of, and who vouches for that.
    pub provenance: Provenance,
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
    pub fn new(mut parts: SlotParts) -> Self {
        let provenance = ArcSwap::from_pointee(std::mem::take(&mut parts.provenance));
        Self { parts, provenance, halt: Halt::default() }
    }

    /// What it is made of, and who vouches for that.
    #[must_use]
    pub fn provenance(&self) -> Arc<Provenance> {
        self.provenance.load_full()
    }

    /// Says anew who vouches for it.
    pub fn set_provenance(&self, provenance: Provenance) {
        self.provenance.store(Arc::new(provenance));
    }

    /// Ends its requests, those under way too: it may not run any more.
    pub fn halt(&self, why: Barred) {
        self.halt.halt(why);
    }

    /// Why it may not run any more, where it may not.
    pub(super) fn why_halted(&self) -> Option<&Barred> {
        self.halt.why()
    }

    /// Waits until it may not run any more; mostly for ever.
    pub(super) async fn halted(&self) -> Barred {
        self.halt.halted().await
    }

    /// Name of the model.
    #[must_use]
    pub fn model(&self) -> &Arc<str> {
        &self.parts.model
    }

    /// Version of the model.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.parts.version
    }

    /// Outermost first.
    #[must_use]
    pub fn transforms(&self) -> &[Transform] {
        &self.parts.transforms
    }

    /// Request headers that transforms may see.
    #[must_use]
    pub fn headers(&self) -> &[String] {
        &self.parts.headers
    }

    /// What answers inside the transforms.
    #[must_use]
    pub fn core(&self) -> &Core {
        &self.parts.core
    }

    /// The loaded model, where that is what answers.
    #[must_use]
    pub fn engine(&self) -> Option<&dyn Loaded> {
        match &self.parts.core {
            Core::Engine(model) => Some(&**model),
            Core::Predictor(_) => None,
        }
    }

    /// The component that answers, where one does.
    #[must_use]
    pub fn predictor(&self) -> Option<&Predictor> {
        self.parts.core.predictor()
    }

    /// All models that it keeps in memory.
    #[must_use]
    pub fn models(&self) -> &[Arc<dyn Loaded>] {
        match &self.parts.core {
            Core::Engine(model) => std::slice::from_ref(model),
            Core::Predictor(driver) => &driver.models,
        }
    }

    /// Tensors that go in and come out inside the transforms.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        self.parts.core.signature()
    }

    /// Stands for tenant, artifact, plugins with their configuration, and the models that these may run.
    #[must_use]
    pub fn identity(&self) -> &[u8; 32] {
        &self.parts.identity
    }

    /// Keeps its answers.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.parts.cache.is_some()
    }

    pub(super) fn cache(&self) -> Option<&dyn AnswerCache> {
        self.parts.cache.as_ref().map(|cache| cache as &dyn AnswerCache)
    }

    /// What counts it.
    #[must_use]
    pub fn metrics(&self) -> &VersionMetrics {
        &self.parts.metrics
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
    /// May not run: it, or what it is made of, was revoked, or nobody vouches for it whose signature counts.
    Barred(Barred),
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
    /// May not run.
    #[error("version `{1}` of model `{0}` does not answer: {2}")]
    Barred(String, String, Barred),
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

impl Entry {
    fn find_current(&mut self) {
        self.current = self.production.as_ref().and_then(|version| match self.versions.get(version.as_str()) {
            Some(State::Ready(slot)) => Some(Arc::clone(slot)),
            _ => None,
        });
    }
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
            Some(State::Barred(why)) => Err(Missing::Barred(model.to_owned(), version.to_owned(), why.clone())),
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

    /// Puts a loaded version in place, unless it may not run; gives the slot that there was. It is asked while nothing else
    /// changes, and so is [`Slots::bar`]: what is revoked at this moment is either seen here, or found there.
    ///
    /// # Errors
    /// Why it may not; it is not in place then, and nothing is.
    pub fn place(
        &self,
        tenant: &TenantId,
        model: &ModelRef,
        slot: Arc<Slot>,
        may_run: impl FnOnce(&Slot) -> Result<(), Barred>,
    ) -> Result<Option<Arc<Slot>>, Barred> {
        let mut outcome = Ok(None);
        self.change(tenant, &model.name, |entry| {
            let state = match may_run(&slot) {
                Ok(()) => State::Ready(slot),
                Err(why) => {
                    outcome = Err(why.clone());
                    State::Barred(why)
                }
            };
            let before = ready(entry.versions.insert(model.version.to_string(), state));
            match &outcome {
                Ok(_) => outcome = Ok(before),
                Err(why) => before.iter().for_each(|before| before.halt(why.clone())),
            }
        });
        outcome
    }

    /// Takes out of place all that may not run any more, at one moment, and ends its requests.
    pub fn bar(&self, may_run: impl Fn(&TenantId, &Slot) -> Result<(), Barred>) -> Vec<(TenantId, ModelRef, Arc<Slot>)> {
        let _one_after_another = self.change.lock();
        let mut table = Table::clone(&self.table.load());
        let mut barred = Vec::new();
        for (tenant, models) in &mut table {
            // Keys were ids when they went in.
            let Ok(tenant) = tenant.parse::<TenantId>() else { continue };
            for (model, entry) in models {
                let out = |(version, state): (&String, &State)| match state {
                    State::Ready(slot) => may_run(&tenant, slot).err().map(|why| (version.clone(), Arc::clone(slot), why)),
                    _ => None,
                };
                let out: Vec<_> = entry.versions.iter().filter_map(out).collect();
                if out.is_empty() {
                    continue;
                }
                let mut changed = Entry::clone(entry);
                for (version, slot, why) in out {
                    slot.halt(why.clone());
                    if let (Ok(name), Ok(number)) = (model.parse(), version.parse()) {
                        barred.push((tenant.clone(), ModelRef { name, version: number }, slot));
                    }
                    changed.versions.insert(version, State::Barred(why));
                }
                changed.find_current();
                *entry = Arc::new(changed);
            }
        }
        if !barred.is_empty() {
            self.table.store(Arc::new(table));
        }
        barred
    }

    /// Those that may not run, as of when no change is under way: none that one just put there is missed.
    #[must_use]
    pub fn barred(&self) -> Vec<(TenantId, ModelRef)> {
        let _one_after_another = self.change.lock();
        self.all().into_iter().filter(|(.., state)| matches!(state, State::Barred(_))).map(|(tenant, model, _)| (tenant, model)).collect()
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
        entry.find_current();
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
