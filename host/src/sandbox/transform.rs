//! The use that a version of a model makes of a plugin.

use std::sync::{Arc, OnceLock};

use bulkhead_registry::Digest;

use super::error::SandboxError;
use super::exchange::{Exchange, RequestInfo, Step};
use super::places::{self, Places};
use super::plugin::{Compiled, Description, Limits};
use super::pool::Pool;
use crate::clock::Deadline;
use crate::payload::Payload;

/// How a model uses a plugin.
#[derive(Debug, Clone)]
pub struct TransformOptions {
    /// JSON text of the configuration.
    pub config: String,
    /// Bounds of each exchange.
    pub limits: Limits,
    /// Instances may serve several requests, of this model version only.
    pub warm: bool,
}

/// A plugin as one model version uses it.
pub struct Transform {
    plain: Arc<Compiled>,
    /// The same, configured ahead of requests; see `ahead.rs`.
    pub(super) ahead: Arc<OnceLock<Arc<Compiled>>>,
    pub(super) options: TransformOptions,
    pub(super) warm: Option<Pool>,
    description: Description,
}

impl Transform {
    pub(super) fn new(plain: Arc<Compiled>, options: TransformOptions, description: Description) -> Self {
        let warm = options.warm.then(Pool::default);
        Self { plain, ahead: Arc::default(), options, warm, description }
    }

    /// The component that fresh instances are made of.
    pub(super) fn compiled(&self) -> &Arc<Compiled> {
        self.ahead.get().unwrap_or(&self.plain)
    }

    /// What it does.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
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

    /// Takes the places that a request needs for all of these.
    ///
    /// # Errors
    /// [`SandboxError::Busy`] where none came free in time.
    pub async fn places(transforms: &[Self], deadline: Deadline) -> Result<Option<Places<'_>>, SandboxError> {
        match transforms {
            [] => Ok(None),
            // All transforms are of one host.
            [first, ..] => Ok(Some(first.plain.inner.places(places::needed(transforms), deadline).await?)),
        }
    }

    /// Begins an exchange with the way in, in a fresh sandbox (or a warm one, where the manifest allows that), on one of
    /// the places that the request took. The exchange is there where it has a way out.
    ///
    /// # Errors
    /// See [`SandboxError`].
    pub async fn before<'a>(
        &'a self,
        request: &RequestInfo,
        places: &'a Places<'a>,
        payload: Payload,
    ) -> Result<(Step, Option<Exchange<'a>>), SandboxError> {
        let mut exchange = Exchange::new(self, request, places);
        let step = exchange.before(request, payload).await?;
        if self.description.after && matches!(step, Step::Proceed(_)) {
            return Ok((step, Some(exchange)));
        }
        exchange.finish();
        Ok((step, None))
    }

    /// The whole exchange of a transform that has no way in.
    ///
    /// # Errors
    /// See [`SandboxError`].
    pub async fn after(&self, request: &RequestInfo, places: &Places<'_>, payload: Payload) -> Result<Payload, SandboxError> {
        Exchange::new(self, request, places).only_after(request, payload).await
    }
}
