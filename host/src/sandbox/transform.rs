//! A plugin around a model.

use std::ops::Deref;

use super::error::SandboxError;
use super::exchange::{Exchange, Step};
use super::places::Places;
use super::plugin::TensorSignature;
use super::running::RequestInfo;
use super::usage::Use;
use crate::payload::Payload;
use serde_json::Value;

/// What a transform does under its configuration.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// One sentence.
    pub summary: String,
    /// It is told of the request.
    pub request: bool,
    /// `before` does something.
    pub before: bool,
    /// `after` does something.
    pub after: bool,
    /// Content types that `before` takes; empty where it takes what it is given.
    pub accepts: Vec<String>,
    /// JSON Schema of the request's body.
    pub input_schema: Option<Value>,
    /// JSON Schema of the answer.
    pub output_schema: Option<Value>,
    /// JSON Schema of the configuration.
    pub config_schema: Option<Value>,
    /// Tensors that `before` hands on.
    pub produces: Vec<TensorSignature>,
    /// Tensors that `after` reads; all where there are none.
    pub consumes: Vec<TensorSignature>,
}

/// A transform as one model version uses it.
pub struct Transform {
    usage: Use,
    description: Description,
}

impl Deref for Transform {
    type Target = Use;

    fn deref(&self) -> &Use {
        &self.usage
    }
}

impl Transform {
    pub(super) fn new(usage: Use, description: Description) -> Self {
        Self { usage, description }
    }

    pub(super) fn usage(&self) -> &Use {
        &self.usage
    }

    /// What it does.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
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
