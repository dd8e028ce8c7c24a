//! Models that somebody brings along as bytes.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::Engine;
use crate::aside::apart;
use crate::runner::{Load, Runner};
use crate::telemetry::metrics::EngineMetrics;
use crate::tenants::Tenant;

/// Loads at one time for one version: none can be ended, and one that lasts is in nobody else's way. Arbitrary.
const TURNS: usize = 2;

/// Loads models that somebody brings along as bytes.
pub struct Brought {
    /// What runs them.
    engine: Arc<Engine>,
    /// What counts their runs.
    metrics: EngineMetrics,
    /// Whose they are, where tenants share the engine.
    tenant: Option<Arc<Tenant>>,
    turns: Arc<Semaphore>,
}

impl Brought {
    /// For the components of one version.
    #[must_use]
    pub fn new(engine: Arc<Engine>, metrics: EngineMetrics, tenant: Option<Arc<Tenant>>) -> Self {
        Self { engine, metrics, tenant, turns: Arc::new(Semaphore::new(TURNS)) }
    }
}

#[async_trait]
impl Load for Brought {
    async fn load(&self, model: Vec<u8>) -> Result<Arc<dyn Runner>, String> {
        let (engine, metrics, tenant) = (Arc::clone(&self.engine), self.metrics.clone(), self.tenant.clone());
        // Held until the load is over, though nobody may wait for it any more.
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|error| error.to_string())?;
        let load = move || {
            let loaded = engine.load_bytes(&model, metrics, tenant);
            drop(turn);
            loaded
        };
        let loaded = apart(load).await.map_err(|error| error.to_string())?;
        Ok(loaded.map_err(|error| error.to_string())?)
    }
}
