//! Makes a slot of a version: its plugins configured, its model loaded and warmed, and both fitted together.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_registry::{Digest, Manifest, ModelRef, PluginRef, Reuse, Runtime, TenantId};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::predictor::Granted;
use super::{Loader, LoaderError, fit};
use crate::predict::{Core, LocalCache, Slot, SlotParts};
use crate::sandbox::{Limits, Plugin, Transform, Use, UseOptions, World};

impl Loader {
    /// Loads a version from its artifact.
    pub(super) async fn build(&self, tenant: &TenantId, model: &ModelRef, manifest: &Manifest, artifact: &Digest) -> Result<Slot, LoaderError> {
        let transforms = self.transforms(tenant, manifest).await?;
        let (core, granted) = match (manifest.runtime, &manifest.predictor) {
            (Runtime::Onnx, _) => (Core::Engine(self.model(tenant, model, manifest, artifact).await?), BTreeMap::new()),
            (Runtime::Predictor, Some(used)) => {
                let (driver, granted) = self.driver(tenant, model, manifest, used).await?;
                (Core::Predictor(Box::new(driver)), granted)
            }
            (other, _) => return Err(LoaderError::Runtime(other.to_string())),
        };
        let takes = core.takes_tensors().then_some(core.signature().inputs.as_slice());
        let gives = core.gives_tensors().then_some(core.signature().outputs.as_slice());
        fit::transforms(&transforms, takes, gives)?;
        let plugins = transforms.iter().map(|transform| &**transform).chain(core.predictor().map(|predictor| &**predictor));
        let identity = identity(tenant, artifact, plugins, &granted);
        let cache =
            manifest.cache.as_ref().map(|cache| LocalCache::new(Duration::from_secs(cache.ttl_seconds.into()), u64::from(cache.max_mb) << 20));
        Ok(Slot::new(SlotParts {
            model: model.name.as_str().into(),
            version: model.version.to_string().into(),
            transforms,
            headers: manifest.headers.clone(),
            core,
            metrics: self.0.metrics.version(tenant.as_str(), model.name.as_str(), &model.version.to_string()),
            identity,
            cache,
        }))
    }

    async fn transforms(&self, tenant: &TenantId, manifest: &Manifest) -> Result<Vec<Transform>, LoaderError> {
        let mut transforms = Vec::with_capacity(manifest.transforms.len());
        for (at, wanted) in manifest.transforms.iter().enumerate() {
            let plugin = self.plugin(tenant, &wanted.plugin).await?;
            of_world(&format!("/transforms/{at}"), &wanted.plugin, &plugin, World::Transform)?;
            let transform = self.0.sandboxes.transform(&plugin, Self::options(manifest, &wanted.config), self.component(&plugin)).await;
            let failed = |source| LoaderError::Config { at: format!("/transforms/{at}"), plugin: wanted.plugin.clone(), source };
            transforms.push(transform.map_err(failed)?);
        }
        Ok(transforms)
    }

    /// How a version uses a plugin.
    pub(super) fn options(manifest: &Manifest, config: &Map<String, Value>) -> UseOptions {
        UseOptions {
            config: Value::Object(config.clone()).to_string().into(),
            limits: Limits { time: Duration::from_millis(manifest.sandbox.timeout_ms), memory_bytes: (manifest.sandbox.memory_mb as usize) << 20 },
            warm: manifest.sandbox.reuse == Reuse::Warm,
        }
    }

    /// Gives a plugin's bytes when they are needed.
    pub(super) fn component(&self, plugin: &Plugin) -> impl Future<Output = anyhow::Result<Vec<u8>>> + Send + 'static {
        let (loader, digest) = (self.clone(), *plugin.digest());
        async move { Ok(loader.artifacts().get(&digest).await?.to_vec()) }
    }
}

/// Stands for all that an answer depends on but the request.
fn identity<'a>(tenant: &TenantId, artifact: &Digest, plugins: impl Iterator<Item = &'a Use>, granted: &BTreeMap<String, Granted>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let plugins = plugins.flat_map(|used| [used.digest().to_string(), used.config().to_owned()]);
    let graphs = granted.iter().flat_map(|(name, granted)| [name.clone(), granted.artifact.to_string()]);
    for part in [tenant.to_string(), artifact.to_string()].into_iter().chain(plugins).chain(graphs) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Whether a plugin has its place where the manifest names it.
pub(super) fn of_world(at: &str, named: &PluginRef, plugin: &Plugin, expected: World) -> Result<(), LoaderError> {
    if plugin.world() == expected {
        return Ok(());
    }
    Err(LoaderError::World { at: at.to_owned(), plugin: named.clone(), expected: expected.name(), got: plugin.world().name() })
}
