//! From what the registry keeps to what answers: fetch, compile, load, warm, put in place; and drain back out.

mod blobs;
mod build;
mod deploy;
mod error;
mod fit;
mod grants;
mod isolation;
mod models;
mod plugins;
mod predictor;
mod retire;
mod trust;
mod versions;

use std::collections::HashMap;
use std::sync::Arc;

use bulkhead_registry::{Artifacts, PluginRef, Store, TenantId};
use parking_lot::Mutex;

pub use blobs::Blobs;
pub use deploy::Problem;
pub use error::LoaderError;
pub use isolation::Isolation;
pub use models::{ModelKey, ModelPlace};
pub use versions::{NewVersion, Signed};

use crate::engine::Engine;
use crate::predict::Slots;
use crate::sandbox::{Plugin, Sandboxes};
use crate::telemetry::metrics::Metrics;
use crate::tenants::Tenants;
use crate::trust::Trust;

/// Held by who changes a model.
pub type Turn = Arc<tokio::sync::Mutex<()>>;

/// Loads and unloads.
#[derive(Clone)]
pub struct Loader(Arc<Parts>);

/// What a loader works with.
pub struct Parts {
    /// What exists.
    pub store: Arc<dyn Store>,
    /// Its bytes.
    pub artifacts: Artifacts,
    /// Runs models.
    pub engine: Arc<Engine>,
    /// Whose models run in a process of their tenant's own.
    pub isolation: Isolation,
    /// Runs plugins.
    pub sandboxes: Sandboxes,
    /// What answers.
    pub slots: Arc<Slots>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What each tenant may take.
    pub tenants: Arc<Tenants>,
    /// What may run.
    pub trust: Arc<Trust>,
    /// Models in memory, which live as long as somebody uses them.
    pub models: Mutex<HashMap<ModelKey, ModelPlace>>,
    /// Plugins that are compiled.
    pub plugins: Mutex<HashMap<(TenantId, PluginRef), Plugin>>,
    /// Bytes that are being taken in: else an upload could be recorded whose bytes another, failed one has just removed.
    pub blobs: Blobs,
    /// One change of one model at a time: an upload and a promotion must not cross.
    pub turns: Mutex<HashMap<(TenantId, String), Turn>>,
}

impl Loader {
    /// A loader of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// What exists.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    /// Its bytes.
    #[must_use]
    pub fn artifacts(&self) -> &Artifacts {
        &self.0.artifacts
    }

    /// Whose models run in a process of their tenant's own.
    #[must_use]
    pub fn isolation(&self) -> &Isolation {
        &self.0.isolation
    }

    /// What may run.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.0.trust
    }

    /// What answers.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.0.slots
    }

    /// Waits until no other change of that model is under way.
    async fn turn(&self, tenant: &TenantId, model: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.turns.lock();
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry((tenant.clone(), model.to_owned())).or_default())
        };
        turn.lock_owned().await
    }

    fn count_versions(&self) {
        use crate::predict::State;
        let all = self.0.slots.all();
        let count = |wanted: fn(&State) -> bool| all.iter().filter(|(_, _, state)| wanted(state)).count();
        self.0.metrics.set_versions(
            count(|state| matches!(state, State::Ready(_))),
            count(|state| matches!(state, State::Unloaded | State::Stopped)),
            count(|state| matches!(state, State::Failed(_) | State::Barred(_))),
        );
    }
}
