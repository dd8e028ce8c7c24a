//! Configures plugins ahead of requests.
//!
//! A version is ready as soon as its plugins have accepted their configurations; until the configured component of one
//! is compiled (`snapshot.rs`), its requests configure their instances themselves. After a restart it comes from the
//! cache.

use std::sync::{Arc, Weak};

use anyhow::Context as _;
use bulkhead_registry::Digest;
use wasmtime::component::Component;

use super::engine::Sandboxes;
use super::error::SandboxError;
use super::plugin::{Compiled, Plugin};
use super::transform::{Transform, TransformOptions};

impl Sandboxes {
    /// A plugin as a version of a model uses it. `component` gives the plugin's bytes; it is asked only where they must
    /// be compiled with the configuration.
    ///
    /// # Errors
    /// As [`Plugin::describe`] where the plugin refuses the configuration.
    pub async fn transform(
        &self,
        plugin: &Plugin,
        options: TransformOptions,
        component: impl Future<Output = anyhow::Result<Vec<u8>>> + Send + 'static,
    ) -> Result<Transform, SandboxError> {
        let description = plugin.describe(&options.config).await?;
        let config = options.config.clone();
        let transform = Transform::new(Arc::clone(&plugin.0), options, description);
        if !plugin.0.can_be_configured_ahead() {
            return Ok(transform);
        }
        let key = Digest::of(format!("{}\n{config}", plugin.digest().hex()).as_bytes());
        if let Some(compiled) = self.known(plugin, key).await {
            // Nobody else has the place yet.
            let _ = transform.ahead.set(compiled);
            return Ok(transform);
        }
        let (this, plugin, place) = (self.clone(), plugin.clone(), Arc::downgrade(&transform.ahead));
        tokio::spawn(async move {
            let Ok(_turn) = this.0.ahead.acquire().await else { return };
            // The version may have gone while this waited.
            let Some(place) = place.upgrade() else { return };
            match this.make(&plugin, key, config, component).await {
                Ok(compiled) => {
                    // Set once, here.
                    let _ = place.set(compiled);
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(plugin = plugin.name(), error, "a plugin can't be configured ahead of its requests: each configures it");
                }
            }
        });
        Ok(transform)
    }

    /// From another version with the same configuration, or from the cache.
    async fn known(&self, plugin: &Plugin, key: Digest) -> Option<Arc<Compiled>> {
        if let Some(compiled) = plugin.0.configured.lock().get(&key).and_then(Weak::upgrade) {
            return Some(compiled);
        }
        let component = self.cached(key).await?;
        self.keep(plugin, key, &component).ok()
    }

    async fn make(
        &self,
        plugin: &Plugin,
        key: Digest,
        config: String,
        component: impl Future<Output = anyhow::Result<Vec<u8>>>,
    ) -> anyhow::Result<Arc<Compiled>> {
        // While this waited for its turn, another version may have made the same.
        if let Some(compiled) = self.known(plugin, key).await {
            return Ok(compiled);
        }
        let bytes = component.await.context("the plugin's bytes can't be read")?;
        let component = self.compile(key, bytes, Some(config)).await?;
        self.keep(plugin, key, &component)
    }

    fn keep(&self, plugin: &Plugin, key: Digest, component: &Component) -> anyhow::Result<Arc<Compiled>> {
        let compiled = Arc::new(plugin.0.with_configuration(&self.0.linker, component)?);
        let mut known = plugin.0.configured.lock();
        known.retain(|_, compiled| compiled.strong_count() > 0);
        known.insert(key, Arc::downgrade(&compiled));
        Ok(compiled)
    }
}
