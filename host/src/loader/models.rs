//! Models in memory: each version's once, however many use it.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use bulkhead_registry::{Device, Digest, Manifest, ModelRef, TenantId};

use super::{Loader, LoaderError};
use crate::engine::{LoadOptions, Model};
use crate::telemetry::metrics::EngineMetrics;

/// Which model: a name and version may stand for another one once the version was deleted, so its content counts too.
pub type ModelKey = (TenantId, ModelRef, Digest);

/// A model that is in memory, or being loaded by who holds the lock.
pub type ModelPlace = Arc<tokio::sync::Mutex<Weak<Model>>>;

impl Loader {
    /// A version's model: the one in memory, or loaded.
    pub(super) async fn model(&self, tenant: &TenantId, model: &ModelRef, manifest: &Manifest, artifact: &Digest) -> Result<Arc<Model>, LoaderError> {
        let content = Digest::of(format!("{artifact}\n{}", manifest.to_json()).as_bytes());
        let place: ModelPlace = {
            let mut models = self.0.models.lock();
            models.retain(|_, place| Arc::strong_count(place) > 1 || place.try_lock().is_ok_and(|model| model.strong_count() > 0));
            Arc::clone(models.entry((tenant.clone(), model.clone(), content)).or_default())
        };
        let mut place = place.lock().await;
        if let Some(model) = place.upgrade() {
            return Ok(model);
        }
        let metrics = self.0.metrics.engine(tenant.as_str(), model.name.as_str(), &model.version.to_string());
        let loaded = self.load_model(self.artifacts().path(artifact), manifest, metrics).await?;
        *place = Arc::downgrade(&loaded);
        Ok(loaded)
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
        let engine = Arc::clone(&self.0.engine);
        tokio::task::spawn_blocking(move || engine.load(&artifact, &options))
            .await
            .map_err(|error| LoaderError::Host(error.to_string()))?
            .map_err(LoaderError::from)
    }
}
