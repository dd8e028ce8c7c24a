//! The use that a version of a model makes of a plugin, whatever its world.

use std::sync::{Arc, OnceLock};

use bulkhead_registry::Digest;

use super::imports::nn::Grants;
use super::overtime::Pace;
use super::plugin::{Compiled, Limits};
use super::pool::Pool;

/// How a model uses a plugin.
#[derive(Debug, Clone)]
pub struct UseOptions {
    /// JSON text of the configuration.
    pub config: Arc<str>,
    /// Bounds of each request.
    pub limits: Limits,
    /// Instances may serve several requests, of this model version only.
    pub warm: bool,
}

/// A plugin as one model version uses it.
pub struct Use {
    pub(super) plain: Arc<Compiled>,
    /// The same, configured ahead of requests; see `ahead.rs`.
    pub(super) ahead: Arc<OnceLock<Arc<Compiled>>>,
    pub(super) options: UseOptions,
    /// What a predictor gets beyond log lines.
    pub(super) grants: Option<Arc<Grants>>,
    pub(super) warm: Option<Pool>,
    /// How long its calls take.
    pub(super) pace: Pace,
}

impl Use {
    pub(super) fn new(plain: Arc<Compiled>, options: UseOptions, grants: Option<Grants>) -> Self {
        let warm = options.warm.then(Pool::default);
        Self { plain, ahead: Arc::default(), options, grants: grants.map(Arc::new), warm, pace: Pace::default() }
    }

    /// The component that fresh instances are made of.
    pub(super) fn compiled(&self) -> &Arc<Compiled> {
        self.ahead.get().unwrap_or(&self.plain)
    }

    /// The plugin, as `name@version`.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.plain.log.plugin
    }

    /// Of the plugin's component.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.plain.digest
    }

    /// JSON text of the configuration.
    #[must_use]
    pub fn config(&self) -> &str {
        &self.options.config
    }

    /// Whether fresh instances begin configured; else each request configures its own.
    #[must_use]
    pub fn is_configured_ahead(&self) -> bool {
        self.ahead.get().is_some()
    }
}
