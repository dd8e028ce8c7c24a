//! One request's life inside a transform: `before`, `after`; then the sandbox is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;

use super::bindings::bulkhead::plugin::types::{self as wit, PluginError};
use super::error::SandboxError;
use super::exports::{self, Exports, Functions};
use super::imports::log::LogLines;
use super::places::Places;
use super::plugin::Compiled;
use super::pool::Pool;
use super::store::{self, Ctx, Time};
use super::transform::Transform;
use crate::clock::{self, Deadline};
use crate::payload::Payload;

/// The request as a plugin may know it.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// Its id.
    pub id: Arc<str>,
    /// Name of the model.
    pub model: Arc<str>,
    /// Version of the model.
    pub version: Arc<str>,
    /// Headers that the manifest lets through.
    pub headers: Vec<(String, String)>,
    /// When it must be answered.
    pub deadline: Deadline,
}

/// What `before` decided.
#[derive(Debug)]
pub enum Step {
    /// Go on inwards.
    Proceed(Payload),
    /// This is the answer.
    Answer(Payload),
}

/// A store with its instance.
pub(super) struct Instance {
    store: Store<Ctx>,
    pub(super) compiled: Arc<Compiled>,
    /// None until the instance is made.
    functions: Option<Functions>,
    /// Requests that it has served.
    pub(super) uses: u32,
    /// The place on which it is kept once it serves nobody; taken when it is first kept.
    pub(super) idle: Option<OwnedSemaphorePermit>,
}

impl Instance {
    /// Of a fresh store; the rest is made within the guest's time.
    fn fresh(transform: &Transform, request: &RequestInfo) -> Self {
        let compiled = Arc::clone(transform.compiled());
        let log = LogLines::new(Arc::clone(&compiled.log), Arc::clone(&request.id));
        let store = store::new(&compiled.inner, Ctx::new(transform.options.limits.memory_bytes, log));
        Self { store, compiled, functions: None, uses: 0, idle: None }
    }

    fn serve_another(&mut self, request: &RequestInfo) {
        let ctx = self.store.data_mut();
        ctx.meter.exhausted = false;
        ctx.log = LogLines::new(Arc::clone(&self.compiled.log), Arc::clone(&request.id));
    }
}

/// One request's life inside a transform. Dropping it drops the sandbox; so does any error.
pub struct Exchange<'a> {
    transform: &'a Transform,
    instance: Instance,
    deadline: Deadline,
    /// Guest time that is left.
    left: Duration,
    _places: &'a Places<'a>,
}

impl<'a> Exchange<'a> {
    /// Without anything run yet: in a fresh sandbox, or a warm one where the manifest allows that.
    pub(super) fn new(transform: &'a Transform, request: &RequestInfo, places: &'a Places<'a>) -> Self {
        let instance = match transform.warm.as_ref().and_then(Pool::take) {
            Some(mut instance) => {
                instance.serve_another(request);
                instance
            }
            None => Instance::fresh(transform, request),
        };
        Self { transform, instance, deadline: request.deadline, left: transform.options.limits.time, _places: places }
    }

    /// The way in.
    pub(super) async fn before(&mut self, request: &RequestInfo, payload: Payload) -> Result<Step, SandboxError> {
        let (request, payload) = (self.told(request), wit::Payload::from(payload));
        let step = self.bounded(async |functions, exports, store| functions.before(exports, store, request, &payload).await).await?;
        Ok(step.into())
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
        let answer = self.bounded(async |functions, exports, store| functions.after(exports, store, request, &payload).await).await?;
        self.finish();
        Ok(answer.into())
    }

    /// Ends an exchange that went well: its instance may serve another request where the manifest allows that. One that
    /// is merely dropped takes its instance along.
    pub(super) fn finish(self) {
        if let Some(pool) = &self.transform.warm {
            pool.give_back(self.instance);
        }
    }

    /// What the guest is told of the request.
    fn told<'r>(&self, request: &'r RequestInfo) -> Option<exports::RequestInfo<'r>> {
        self.transform.description().request.then(|| exports::RequestInfo {
            id: &request.id,
            model: &request.model,
            version: &request.version,
            headers: &request.headers,
            time_left_us: u64::try_from(self.deadline.left_at(clock::now()).as_micros()).unwrap_or(u64::MAX),
        })
    }

    async fn bounded<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Functions, &Exports, &mut Store<Ctx>) -> wasmtime::Result<Result<T, PluginError>>,
    ) -> Result<T, SandboxError> {
        let started = clock::now();
        let options = &self.transform.options;
        let time = Time { from: started, left: self.left.min(self.deadline.left_at(started)), granted: options.limits.time };
        let Instance { store, compiled, functions, .. } = &mut self.instance;
        let outcome = store::bounded(store, time, compiled.waits, async |store| {
            let functions = match functions {
                Some(functions) => functions,
                None => match compiled.instantiate(store, &options.config).await? {
                    Ok(made) => functions.insert(made),
                    Err(refusal) => return Ok(Err(refusal)),
                },
            };
            call(functions, &compiled.exports, store).await
        });
        let outcome = outcome.await;
        self.left = self.left.saturating_sub(clock::now() - started);
        Ok(outcome??)
    }
}
