//! Configures plugins ahead of requests.
//!
//! A version is ready as soon as its plugins have accepted their configurations; until the configured component of one
//! is compiled (`snapshot.rs`), its requests configure their instances themselves. After a restart it comes from the
//! cache.

use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_registry::Digest;
use tokio::sync::MutexGuard;
use wasmtime::component::Component;

use super::admission::Refused;
use super::engine::Sandboxes;
use super::error::SandboxError;
use super::imports::nn::Grants;
use super::plugin::{Compiled, Plugin};
use super::predictor::{Predictor, PredictorDescription};
use super::transform::Transform;
use super::usage::{Use, UseOptions};
use crate::tenants::Tenant;

/// Raised where `snapshot.rs` changes what it makes, so that no cache gives what an older version made.
const FORMAT: u32 = 1;

/// Before each attempt: what fails once for want of memory or time may succeed later. Arbitrary.
const PAUSES: [Duration; 4] = [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(60), Duration::from_secs(600)];

/// Gives the plugin's bytes.
type Bytes = Pin<Box<dyn Future<Output = anyhow::Result<Vec<u8>>> + Send>>;

/// A configured component that is to be made.
struct Wanted {
    plugin: Plugin,
    key: Digest,
    config: String,
    bytes: Bytes,
    /// Of a use that may be gone before it is made.
    into: Weak<OnceLock<Arc<Compiled>>>,
}

/// The plugin's bytes, read only when they are needed: a hundred versions may wait for the same component.
enum Source {
    Unread(Bytes),
    Read(Vec<u8>),
    Failed,
}

impl Source {
    async fn read(&mut self) -> anyhow::Result<&[u8]> {
        if let Self::Unread(bytes) = self {
            let outcome = bytes.await;
            *self = Self::Failed;
            *self = Self::Read(outcome?);
        }
        match self {
            Self::Read(bytes) => Ok(bytes),
            Self::Unread(_) | Self::Failed => anyhow::bail!("they could not be read before"),
        }
    }
}

/// The turn to compile of a tenant: of each, one waits for the compiler, as with uploads. Who has had what it may waits here until
/// there is some again; each request configures its own until then. None where nobody wants it any more.
async fn may_compile<'t, T>(tenant: &'t Tenant, into: &Weak<T>) -> Option<MutexGuard<'t, ()>> {
    loop {
        let turn = tenant.compiling().await;
        let Err(exceeded) = tenant.may_compile() else { return Some(turn) };
        // Uploads are refused meanwhile, and need not wait to learn it.
        drop(turn);
        if into.strong_count() == 0 {
            return None;
        }
        tokio::time::sleep(exceeded.wait.max(Duration::from_secs(1))).await;
    }
}

impl Sandboxes {
    /// A transform as a version of a model uses it. `component` gives the plugin's bytes; it is asked only where they must
    /// be compiled with the configuration.
    ///
    /// # Errors
    /// [`SandboxError::Invalid`] with a pointer into the configuration where the plugin refuses that, or is no transform.
    pub async fn transform(
        &self,
        plugin: &Plugin,
        options: UseOptions,
        component: impl Future<Output = anyhow::Result<Vec<u8>>> + Send + 'static,
    ) -> Result<Transform, SandboxError> {
        let description = plugin.describe_transform(&options.config).await?;
        Ok(Transform::new(self.usage(plugin, options, None, Box::pin(component)).await, description))
    }

    /// A predictor as a version of a model uses it. `grants` gives what it gets for what it says of itself.
    ///
    /// # Errors
    /// As [`Sandboxes::transform`]; or with what `grants` says.
    pub async fn predictor<E: From<SandboxError>>(
        &self,
        plugin: &Plugin,
        options: UseOptions,
        component: impl Future<Output = anyhow::Result<Vec<u8>>> + Send + 'static,
        grants: impl AsyncFnOnce(&PredictorDescription) -> Result<Grants, E>,
    ) -> Result<Predictor, E> {
        let description = plugin.describe_predictor(&options.config).await?;
        let grants = grants(&description).await?;
        Ok(Predictor::new(self.usage(plugin, options, Some(grants), Box::pin(component)).await, description))
    }

    async fn usage(&self, plugin: &Plugin, options: UseOptions, grants: Option<Grants>, bytes: Bytes) -> Use {
        let config = options.config.to_string();
        let usage = Use::new(Arc::clone(&plugin.0), options, grants);
        if !plugin.0.can_be_configured_ahead() {
            return usage;
        }
        let key = Digest::of(format!("{FORMAT}\n{}\n{config}", plugin.digest().hex()).as_bytes());
        if let Some(compiled) = self.known(plugin, key).await {
            // Nobody else has it yet.
            let _ = usage.ahead.set(compiled);
        } else if !plugin.0.unfit.lock().contains(&key) {
            let into = Arc::downgrade(&usage.ahead);
            tokio::spawn(self.clone().fill(Wanted { plugin: plugin.clone(), key, config, bytes, into }));
        }
        usage
    }

    async fn fill(self, wanted: Wanted) {
        let Wanted { plugin, key, config, bytes, into } = wanted;
        let mut source = Source::Unread(bytes);
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            let tenant = Arc::clone(&plugin.0.tenant);
            let Some(_its_turn) = may_compile(&tenant, &into).await else { return };
            let Ok(_turn) = self.0.ahead.acquire().await else { return };
            let Some(into) = into.upgrade() else { return };
            match self.make(&plugin, key, &config, &mut source).await {
                Ok(compiled) => {
                    // Set once, here.
                    let _ = into.set(compiled);
                    return;
                }
                Err(error) => {
                    let (plugin_name, why) = (plugin.name(), format!("{error:#}"));
                    tracing::warn!(plugin = plugin_name, why, "a plugin can't be configured ahead of its requests: each configures it");
                    // What it is will not change; what the machine was short of may.
                    if matches!(error.downcast_ref(), Some(Refused::Malformed(_))) {
                        plugin.0.unfit.lock().insert(key);
                        return;
                    }
                }
            }
        }
    }

    /// From another version with the same configuration, or from the cache.
    async fn known(&self, plugin: &Plugin, key: Digest) -> Option<Arc<Compiled>> {
        if let Some(compiled) = plugin.0.configured.lock().get(&key).and_then(Weak::upgrade) {
            return Some(compiled);
        }
        let component = self.cached(key).await?;
        self.keep(plugin, key, &component).await.ok()
    }

    async fn make(&self, plugin: &Plugin, key: Digest, config: &str, source: &mut Source) -> anyhow::Result<Arc<Compiled>> {
        // While this waited for its turn, another version may have made the same.
        if let Some(compiled) = self.known(plugin, key).await {
            return Ok(compiled);
        }
        let bytes = source.read().await.context("the plugin's bytes can't be read")?;
        let component = self.compile(&plugin.0.tenant, key, bytes.to_vec(), Some(config.to_owned())).await?;
        self.keep(plugin, key, &component).await
    }

    async fn keep(&self, plugin: &Plugin, key: Digest, component: &Component) -> anyhow::Result<Arc<Compiled>> {
        let compiled = plugin.0.with_configuration(&self.0.linker, component).await.context("the configured component is of no use")?;
        let compiled = Arc::new(compiled);
        let mut known = plugin.0.configured.lock();
        known.retain(|_, compiled| compiled.strong_count() > 0);
        known.insert(key, Arc::downgrade(&compiled));
        Ok(compiled)
    }
}
