//! Models in memory: each version's once, however many use it.

use std::sync::{Arc, Weak};

use bulkhead_registry::{Digest, Manifest, ModelRef, TenantId};

use super::{Loader, LoaderError};
use crate::aside::apart;
use crate::confined::Keeper;
use crate::engine::{LoadOptions, Loaded};

/// Which model: a name and version may stand for another one once the version was deleted, so its content counts too, and so
/// does where it runs.
pub type ModelKey = (TenantId, ModelRef, Digest);

/// A model that is in memory, or being loaded by who holds the lock; none before it ever was.
pub type ModelPlace = Arc<tokio::sync::Mutex<Option<Weak<dyn Loaded>>>>;

impl Loader {
    /// A version's model: the one in memory, or loaded.
    pub(super) async fn model(
        &self,
        tenant: &TenantId,
        model: &ModelRef,
        manifest: &Manifest,
        artifact: &Digest,
    ) -> Result<Arc<dyn Loaded>, LoaderError> {
        let keeper = self.0.isolation.of(tenant)?;
        let content = Digest::of(format!("{}\n{artifact}\n{}", keeper.is_some(), manifest.to_json()).as_bytes());
        let place: ModelPlace = {
            let is_held = |place: &ModelPlace| place.try_lock().is_ok_and(|model| model.as_ref().is_some_and(|model| model.strong_count() > 0));
            let mut models = self.0.models.lock();
            models.retain(|_, place| Arc::strong_count(place) > 1 || is_held(place));
            Arc::clone(models.entry((tenant.clone(), model.clone(), content)).or_default())
        };
        let mut place = place.lock().await;
        // One that is being let go of is there for a moment yet.
        if let Some(model) = place.as_ref().and_then(Weak::upgrade).filter(|model| !model.is_closed()) {
            return Ok(model);
        }
        let loaded = self.load_model(tenant, model, manifest, artifact, keeper).await?;
        *place = Some(Arc::downgrade(&loaded));
        Ok(loaded)
    }

    /// Loads it where the tenant's models run.
    async fn load_model(
        &self,
        tenant: &TenantId,
        model: &ModelRef,
        manifest: &Manifest,
        artifact: &Digest,
        keeper: Option<Arc<Keeper>>,
    ) -> Result<Arc<dyn Loaded>, LoaderError> {
        let metrics = self.0.metrics.engine(tenant.as_str(), model.name.as_str(), &model.version.to_string());
        let artifact = self.artifacts().path(artifact);
        if let Some(keeper) = keeper {
            return Ok(keeper.load(artifact, manifest, metrics).await?);
        }
        let options = LoadOptions::of(manifest, metrics, Some(self.0.tenants.tenant(tenant)));
        let engine = Arc::clone(&self.0.engine);
        // The threads that it starts are the model's.
        let loaded = apart(move || engine.load(&artifact, &options)).await;
        Ok(loaded.map_err(|error| LoaderError::Host(error.to_string()))??)
    }
}
