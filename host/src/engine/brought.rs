//! Models that somebody brings along as bytes.

use std::sync::Arc;

use async_trait::async_trait;

use super::Engine;
use crate::runner::{Load, Runner};
use crate::telemetry::metrics::EngineMetrics;

/// Loads models that somebody brings along as bytes.
pub struct Brought {
    /// What runs them.
    pub engine: Arc<Engine>,
    /// What counts their runs.
    pub metrics: EngineMetrics,
}

#[async_trait]
impl Load for Brought {
    async fn load(&self, model: Vec<u8>) -> Result<Arc<dyn Runner>, String> {
        let (engine, metrics) = (Arc::clone(&self.engine), self.metrics.clone());
        let loaded = tokio::task::spawn_blocking(move || engine.load_bytes(&model, metrics)).await.map_err(|error| error.to_string())?;
        Ok(loaded.map_err(|error| error.to_string())?)
    }
}
