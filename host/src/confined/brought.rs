//! Models that components bring along, loaded in their tenant's process.

use std::sync::Arc;

use async_trait::async_trait;

use super::keeper::Keeper;
use crate::runner::{Load, Runner};
use crate::telemetry::metrics::EngineMetrics;

/// Loads models that components bring along.
pub struct Brought {
    keeper: Arc<Keeper>,
    metrics: EngineMetrics,
}

impl Brought {
    /// For the components of one version; `metrics` counts the runs.
    #[must_use]
    pub fn new(keeper: Arc<Keeper>, metrics: EngineMetrics) -> Self {
        Self { keeper, metrics }
    }
}

#[async_trait]
impl Load for Brought {
    async fn load(&self, model: Vec<u8>) -> Result<Arc<dyn Runner>, String> {
        Ok(self.keeper.load_brought(model, self.metrics.clone()).await.map_err(|error| error.to_string())?)
    }
}
