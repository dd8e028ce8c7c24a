//! One request's life inside a transform: `before`, `after`; then the sandbox is gone.

use super::bindings::bulkhead::plugin::types as wit;
use super::convert::handed_on;
use super::error::SandboxError;
use super::exports;
use super::places::Places;
use super::running::{RequestInfo, Running};
use super::transform::Transform;
use crate::payload::Payload;

/// What `before` decided.
#[derive(Debug)]
pub enum Step {
    /// Go on inwards.
    Proceed(Payload),
    /// This is the answer.
    Answer(Payload),
}

/// One request's life inside a transform. Dropping it drops the sandbox; so does any error.
pub struct Exchange<'a> {
    transform: &'a Transform,
    running: Running<'a>,
}

impl<'a> Exchange<'a> {
    /// Without anything run yet.
    pub(super) fn new(transform: &'a Transform, request: &RequestInfo, places: &'a Places<'a>) -> Self {
        Self { transform, running: Running::new(transform.usage(), request, places) }
    }

    /// The way in.
    pub(super) async fn before(&mut self, request: &RequestInfo, payload: Payload) -> Result<Step, SandboxError> {
        let (request, payload) = (self.told(request), wit::Payload::from(payload));
        let step = self.running.bounded(async |functions, exports, store| functions.before(exports, store, request, &payload).await).await?;
        step.try_into()
    }

    /// The way out of an exchange that begins there.
    pub(super) async fn only_after(self, request: &RequestInfo, payload: Payload) -> Result<Payload, SandboxError> {
        let request = self.told(request);
        self.end(request, payload).await
    }

    /// The way out.
    ///
    /// # Errors
    /// See [`SandboxError`].
    pub async fn after(self, payload: Payload) -> Result<Payload, SandboxError> {
        self.end(None, payload).await
    }

    async fn end(mut self, request: Option<exports::RequestInfo<'_>>, payload: Payload) -> Result<Payload, SandboxError> {
        let payload = wit::Payload::from(payload);
        let answer = self.running.bounded(async |functions, exports, store| functions.after(exports, store, request, &payload).await).await?;
        let answer = handed_on(answer)?;
        self.finish();
        Ok(answer)
    }

    /// Ends an exchange that went well.
    pub(super) fn finish(self) {
        self.running.finish();
    }

    /// What the guest is told of the request.
    fn told<'r>(&self, request: &'r RequestInfo) -> Option<exports::RequestInfo<'r>> {
        self.transform.description().request.then(|| request.told())
    }
}
