//! One request's life inside a transform: `before`, `after`; then the sandbox is gone.

use super::convert::handed_on;
use super::error::SandboxError;
use super::exports::{After, Before, Call};
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
        let call = Call::<Before>::new(self.told(request), payload.into());
        self.running.bounded(call).await?.try_into()
    }

    /// The way out of an exchange that begins there.
    pub(super) async fn only_after(self, request: &RequestInfo, payload: Payload) -> Result<Payload, SandboxError> {
        let told = self.told(request);
        self.end(told, payload).await
    }

    /// The way out.
    ///
    /// # Errors
    /// See [`SandboxError`].
    pub async fn after(self, payload: Payload) -> Result<Payload, SandboxError> {
        self.end(None, payload).await
    }

    async fn end(mut self, told: Option<RequestInfo>, payload: Payload) -> Result<Payload, SandboxError> {
        let answer = self.running.bounded(Call::<After>::new(told, payload.into())).await?;
        let answer = handed_on(answer)?;
        self.finish();
        Ok(answer)
    }

    /// Ends an exchange that went well.
    pub(super) fn finish(self) {
        self.running.finish();
    }

    /// What the guest is told of the request.
    fn told(&self, request: &RequestInfo) -> Option<RequestInfo> {
        self.transform.description().request.then(|| request.clone())
    }
}
