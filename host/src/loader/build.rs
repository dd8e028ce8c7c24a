//! Makes a slot of a version: its plugins configured, its model loaded and warmed, and both fitted together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_registry::{Device, Digest, Manifest, ModelRef, Reuse, Runtime, TenantId};

use sha2::{Digest as _, Sha256};

use super::{Loader, LoaderError};
use crate::engine::{LoadOptions, Model, Port};
use crate::predict::{LocalCache, Slot, SlotParts};
use crate::sandbox::{Limits, TensorSignature, Transform, TransformOptions};
use crate::telemetry::metrics::EngineMetrics;

impl Loader {
    /// Loads a version from its artifact.
    pub(super) async fn build(&self, tenant: &TenantId, model: &ModelRef, manifest: &Manifest, artifact: &Digest) -> Result<Slot, LoaderError> {
        if manifest.runtime != Runtime::Onnx {
            return Err(LoaderError::Runtime("container".to_owned()));
        }
        let transforms = self.transforms(tenant, manifest).await?;
        let metrics = self.0.metrics.engine(tenant.as_str(), model.name.as_str(), &model.version.to_string());
        let engine = self.load_model(self.artifacts().path(artifact), manifest, metrics).await?;
        fit(&transforms, &engine)?;
        let identity = identity(tenant, artifact, &transforms);
        let cache =
            manifest.cache.as_ref().map(|cache| LocalCache::new(Duration::from_secs(cache.ttl_seconds.into()), u64::from(cache.max_mb) << 20));
        Ok(Slot::new(SlotParts {
            model: model.name.as_str().into(),
            version: model.version.to_string().into(),
            transforms,
            headers: manifest.headers.clone(),
            engine,
            metrics: self.0.metrics.version(tenant.as_str(), model.name.as_str(), &model.version.to_string()),
            identity,
            cache,
        }))
    }

    async fn transforms(&self, tenant: &TenantId, manifest: &Manifest) -> Result<Vec<Transform>, LoaderError> {
        let limits = Limits { time: Duration::from_millis(manifest.sandbox.timeout_ms), memory_bytes: (manifest.sandbox.memory_mb as usize) << 20 };
        let mut transforms = Vec::with_capacity(manifest.transforms.len());
        for (at, wanted) in manifest.transforms.iter().enumerate() {
            let plugin = self.plugin(tenant, &wanted.plugin).await?;
            let config = serde_json::Value::Object(wanted.config.clone()).to_string();
            let options = TransformOptions { config, limits, warm: manifest.sandbox.reuse == Reuse::Warm };
            let (loader, digest) = (self.clone(), *plugin.digest());
            let component = async move { Ok(loader.artifacts().get(&digest).await?.to_vec()) };
            let transform = self.0.sandboxes.transform(&plugin, options, component).await;
            transforms.push(transform.map_err(|source| LoaderError::Config { at, plugin: wanted.plugin.clone(), source })?);
        }
        Ok(transforms)
    }

    async fn load_model(&self, artifact: PathBuf, manifest: &Manifest, metrics: EngineMetrics) -> Result<Arc<Model>, LoaderError> {
        let options = LoadOptions {
            instances: manifest.engine.instances.map(|instances| instances as usize),
            threads: manifest.engine.threads.map(|threads| threads as usize),
            cuda: match manifest.engine.device {
                Device::Cpu => None,
                Device::Cuda { id } => Some(i32::try_from(id).unwrap_or(i32::MAX)),
            },
            batching: manifest.batching.clone(),
            warmup: manifest.warmup.clone(),
            metrics,
        };
        let loader = self.clone();
        tokio::task::spawn_blocking(move || loader.0.engine.load(&artifact, &options))
            .await
            .map_err(|error| LoaderError::Host(error.to_string()))?
            .map_err(LoaderError::from)
    }
}

/// Stands for all that an answer depends on but the request.
fn identity(tenant: &TenantId, artifact: &Digest, transforms: &[Transform]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let parts = transforms.iter().flat_map(|transform| [transform.digest().to_string(), transform.config().to_owned()]);
    for part in [tenant.to_string(), artifact.to_string()].into_iter().chain(parts) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Compares what the transforms make and read with what the model takes and gives.
fn fit(transforms: &[Transform], model: &Model) -> Result<(), LoaderError> {
    let signature = model.signature();
    let into = transforms.iter().rfind(|transform| transform.description().before);
    if let Some(transform) = into.filter(|transform| !transform.description().produces.is_empty()) {
        let produces = &transform.description().produces;
        for made in produces {
            check(transform, "makes", made, "takes", &signature.inputs)?;
        }
        if let Some(missing) = signature.inputs.iter().find(|port| !port.optional && produces.iter().all(|made| made.name != port.name)) {
            return Err(LoaderError::Mismatch(format!(
                "the model takes an input `{}`, which `{}` does not make: it makes {}",
                missing.name,
                transform.plugin(),
                produces.iter().map(shown).collect::<Vec<_>>().join(", ")
            )));
        }
    }
    let out = transforms.iter().rfind(|transform| transform.description().after);
    if let Some(transform) = out {
        for read in &transform.description().consumes {
            check(transform, "reads", read, "gives", &signature.outputs)?;
        }
    }
    Ok(())
}

fn check(transform: &Transform, verb: &str, tensor: &TensorSignature, model_verb: &str, ports: &[Port]) -> Result<(), LoaderError> {
    let port = ports.iter().find(|port| port.name == tensor.name);
    if port.is_some_and(|port| port.is_compatible(tensor.datatype, &tensor.shape)) {
        return Ok(());
    }
    let ports: Vec<_> =
        ports.iter().map(|port| format!("`{}` {} {:?}", port.name, port.datatype, port.shape.as_deref().unwrap_or_default())).collect();
    Err(LoaderError::Mismatch(format!(
        "`{}` {verb} {}, and the model {model_verb} {}",
        transform.plugin(),
        shown(tensor),
        if ports.is_empty() { "nothing".to_owned() } else { ports.join(", ") }
    )))
}

fn shown(tensor: &TensorSignature) -> String {
    format!("`{}` {} {:?}", tensor.name, tensor.datatype, tensor.shape)
}
