//! A compiled component.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_registry::Digest;
use parking_lot::Mutex;
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use super::admission::Refused;
use super::bindings::bulkhead::plugin::types::PluginError;
use super::bindings::exports::bulkhead::plugin::transformer;
use super::bindings::predictor::exports::bulkhead::plugin::prediction;
use super::engine::Inner;
use super::error::SandboxError;
use super::exports::{Exports, Functions};
use super::imports;
use super::imports::log::{LogLines, LogSource};
use super::imports::nn;
use super::overtime::{Guest, Pace};
use super::places::{Places, places_of};
use super::predictor::PredictorDescription;
use super::store::{self, Ctx, Time};
use super::transform::Description;
use super::world::{Typed, World};
use crate::clock::{self, Deadline};
use crate::tenants::Tenant;
use crate::tensor::Datatype;

/// Bounds of a component that is tried when it is uploaded, or asked to describe itself.
pub(super) const TRIAL: Limits = Limits { time: Duration::from_secs(1), memory_bytes: 256 << 20 };

/// Who deploys waits so long for a place while requests have them all. Arbitrary.
const PATIENCE: Duration = Duration::from_secs(30);

/// Guest code that is tried.
trait Trial<T>: FnOnce(&mut Store<Ctx>) -> Tried<'_, T> + Send + 'static {}

impl<T, F: FnOnce(&mut Store<Ctx>) -> Tried<'_, T> + Send + 'static> Trial<T> for F {}

type Tried<'a, T> = Pin<Box<dyn Future<Output = wasmtime::Result<T>> + Send + 'a>>;

/// Bounds of what a plugin does for one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Wall-clock time within the guest, over all its calls for one request.
    pub time: Duration,
    /// Bytes of all its memories and tables.
    pub memory_bytes: usize,
}

/// A compiled component; cheap to clone.
#[derive(Clone)]
pub struct Plugin(pub(super) Arc<Compiled>);

pub(super) struct Compiled {
    pub(super) inner: Arc<Inner>,
    typed: Typed,
    pub(super) exports: Exports,
    /// Imports WASI, whose calls can wait.
    pub(super) waits: bool,
    imports: Vec<String>,
    /// That an instance takes.
    pub(super) places: u32,
    pub(super) log: Arc<LogSource>,
    /// Whose it is.
    pub(super) tenant: Arc<Tenant>,
    /// Of the component as it was uploaded.
    pub(super) digest: Digest,
    /// Its instances begin configured.
    pub(super) is_configured: bool,
    /// The same with configurations, by the digest of both; empty for what is itself configured.
    pub(super) configured: Mutex<HashMap<Digest, Weak<Self>>>,
    /// Configurations with which it can't be copied, so that it is tried once.
    pub(super) unfit: Mutex<HashSet<Digest>>,
}

impl Plugin {
    pub(super) fn new(
        inner: Arc<Inner>,
        linker: &Linker<Ctx>,
        component: &Component,
        digest: Digest,
        (tenant, log): (Arc<Tenant>, LogSource),
    ) -> Result<Self, Refused> {
        let ty = component.component_type();
        let imports: Vec<String> = ty.imports(&inner.engine).map(|(name, _)| name.to_owned()).collect();
        let world = World::of(component);
        // What nobody gets is said first, whatever it exports.
        let worlds = world.as_ref().map_or(World::ALL.as_slice(), std::slice::from_ref);
        if let Some(denied) = imports.iter().find(|import| !worlds.iter().any(|world| imports::is_granted(*world, import))) {
            let may: Vec<_> = worlds.iter().map(|world| format!("a {} may import {}", world.name(), world.imports())).collect();
            return Err(Refused::Import(format!("the component imports `{denied}`, which can't be granted: {}", may.join("; "))));
        }
        let world = world?;
        let pre =
            linker.instantiate_pre(component).map_err(|error| Refused::Import(format!("an import has another type than the host's: {error:#}")))?;
        let other_type = |why: &str| Refused::WrongWorld(format!("an export has another type than `wit/` says: {why}"));
        let typed = Typed::new(world, pre).map_err(|error| other_type(&format!("{error:#}")))?;
        let exports = Exports::find(component, world).ok_or_else(|| other_type("a function is missing"))?;
        let waits = imports.iter().any(|import| import.starts_with("wasi:") && !nn::is_it(import));
        let log = Arc::new(log);
        Ok(Self(Arc::new(Compiled {
            inner,
            typed,
            exports,
            waits,
            imports,
            places: places_of(component),
            log,
            tenant,
            digest,
            is_configured: false,
            configured: Mutex::default(),
            unfit: Mutex::default(),
        })))
    }

    /// Of the component.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }

    /// What it is.
    #[must_use]
    pub fn world(&self) -> World {
        self.0.typed.world()
    }

    /// As `name@version`.
    pub(super) fn name(&self) -> &str {
        &self.0.log.plugin
    }

    /// What it imports.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// Starts it once, so that what fails at each start fails at the upload.
    pub(super) async fn smoke(&self) -> Result<(), Refused> {
        match self.summary("{}").await {
            // A plugin may well ask for configuration that the smoke run does not have.
            Ok(_) | Err(SandboxError::Invalid { .. } | SandboxError::Unavailable(_) | SandboxError::Internal(_)) => Ok(()),
            Err(SandboxError::Busy) => Err(Refused::Busy),
            Err(error) => Err(Refused::Smoke(error.to_string())),
        }
    }

    /// What it does under a configuration, in one sentence of its own.
    ///
    /// # Errors
    /// [`SandboxError::Invalid`] with a pointer into the configuration where that makes no sense.
    pub async fn summary(&self, config: &str) -> Result<String, SandboxError> {
        Ok(match self.world() {
            World::Transform => self.describe_transform(config).await?.summary,
            World::Predictor => self.describe_predictor(config).await?.summary,
        })
    }

    /// What a transform does under a configuration.
    ///
    /// # Errors
    /// As [`Plugin::summary`].
    pub(super) async fn describe_transform(&self, config: &str) -> Result<Description, SandboxError> {
        let Typed::Transform(pre) = &self.0.typed else { return Err(self.is_no(World::Transform)) };
        let (pre, config) = (pre.clone(), config.to_owned());
        // Through the generated bindings, which compare all types: see `exports.rs`.
        let described: Result<transformer::Description, PluginError> = self
            .0
            .trial("describe", move |store| {
                Box::pin(async move {
                    let bindings = pre.instantiate_async(&mut *store).await?;
                    let guest = bindings.bulkhead_plugin_transformer();
                    Ok(match guest.call_configure(&mut *store, &config).await? {
                        Ok(()) => Ok(guest.call_describe(store).await?),
                        Err(refusal) => Err(refusal),
                    })
                })
            })
            .await?;
        Ok(described?.into())
    }

    /// What a predictor does under a configuration.
    ///
    /// # Errors
    /// As [`Plugin::summary`].
    pub(super) async fn describe_predictor(&self, config: &str) -> Result<PredictorDescription, SandboxError> {
        let Typed::Predictor(pre) = &self.0.typed else { return Err(self.is_no(World::Predictor)) };
        let (pre, config) = (pre.clone(), config.to_owned());
        // As for a transform.
        let described: Result<prediction::Description, PluginError> = self
            .0
            .trial("describe", move |store| {
                Box::pin(async move {
                    let bindings = pre.instantiate_async(&mut *store).await?;
                    let guest = bindings.bulkhead_plugin_prediction();
                    Ok(match guest.call_configure(&mut *store, &config).await? {
                        Ok(()) => Ok(guest.call_describe(store).await?),
                        Err(refusal) => Err(refusal),
                    })
                })
            })
            .await?;
        Ok(described?.into())
    }

    fn is_no(&self, wanted: World) -> SandboxError {
        let (wanted, got) = (wanted.name(), self.world().name());
        SandboxError::Invalid {
            pointer: String::new(),
            message: format!("expected a plugin of the world `{wanted}` here, `{}` is a {got}", self.name()),
        }
    }
}

impl Compiled {
    /// Whether a copy of an instance is as good as the instance: it holds nothing of the host's, as one with WASI does.
    pub(super) fn can_be_configured_ahead(&self) -> bool {
        self.imports.iter().all(|import| import.starts_with("bulkhead:plugin/") || nn::is_it(import))
    }

    /// Places for a request of its tenant, or a trial.
    pub(super) async fn take_places(&self, count: u32, deadline: Deadline) -> Result<Places<'_>, SandboxError> {
        self.inner.places.take(&self.tenant, count, deadline, &self.inner.ticker).await
    }

    /// Runs guest code that no request waits for, on a place of its own and within the bounds of a trial.
    async fn trial<T: Send + 'static>(&self, what: &str, call: impl Trial<T>) -> Result<T, SandboxError> {
        let _place = self.take_places(self.places, Deadline::after(PATIENCE)).await?;
        let log = LogLines::new(Arc::clone(&self.log), what.into());
        let mut ctx = Ctx::new(TRIAL.memory_bytes, log);
        if self.typed.world() == World::Predictor {
            ctx = ctx.with_graphs(Arc::default());
        }
        let mut store = store::new(&self.inner, ctx);
        let now = clock::now();
        let time = Time { from: now, left: TRIAL.time, granted: TRIAL.time, at_most: now + TRIAL.time };
        let waits = self.waits;
        let guest = Guest::new(async move {
            let bounds = store::begin(&mut store, time, waits);
            let outcome = bounds.run(call(&mut store)).await;
            store::sorted(&store, time, outcome)
        });
        // It may well be long.
        self.inner.overtime.run(&self.tenant, &Pace::default(), guest).await.unwrap_or(Err(SandboxError::Busy))
    }

    /// The same plugin, by a component that holds a configuration. That is another component, which a guest had a hand
    /// in: its types are compared here, as those of an upload are where it describes itself.
    pub(super) async fn with_configuration(&self, linker: &Linker<Ctx>, component: &Component) -> anyhow::Result<Self> {
        let other = |error: wasmtime::Error| anyhow::anyhow!("{error:#}");
        let world = self.typed.world();
        let typed = Typed::new(world, linker.instantiate_pre(component).map_err(other)?).map_err(other)?;
        let exports = Exports::find(component, world).context("the configured component lacks a function")?;
        let compared = typed.clone();
        self.trial("configure", move |store| Box::pin(async move { compared.compare(store).await })).await?;
        Ok(Self {
            inner: Arc::clone(&self.inner),
            typed,
            exports,
            waits: self.waits,
            imports: self.imports.clone(),
            places: self.places,
            log: Arc::clone(&self.log),
            tenant: Arc::clone(&self.tenant),
            digest: self.digest,
            is_configured: true,
            configured: Mutex::default(),
            unfit: Mutex::default(),
        })
    }

    /// A fresh instance, configured.
    pub(super) async fn instantiate(&self, store: &mut Store<Ctx>, config: &str) -> wasmtime::Result<Result<Functions, PluginError>> {
        let functions = Functions::new(self.typed.pre().instantiate_async(&mut *store).await?);
        if self.is_configured {
            return Ok(Ok(functions));
        }
        Ok(functions.configure(&self.exports, store, config).await?.map(|()| functions))
    }
}

/// A tensor before there is one; -1 in the shape stands for any extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSignature {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub datatype: Datatype,
    /// Its extents.
    pub shape: Vec<i64>,
}
