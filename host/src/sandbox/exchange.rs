//! One request's life inside a transform: open, `before`, `after`; then the sandbox is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;
use wasmtime::component::ResourceAny;

use super::bindings::bulkhead::plugin::types as wit;
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
    functions: Functions,
    /// Requests that it has served.
    pub(super) uses: u32,
    /// The place on which it is kept once it serves nobody; taken when it is first kept.
    pub(super) idle: Option<OwnedSemaphorePermit>,
}

/// One request's life inside a transform. Dropping it drops the sandbox; so does any error.
pub struct Exchange<'a> {
    transform: &'a Transform,
    instance: Instance,
    resource: ResourceAny,
    deadline: Deadline,
    /// Guest time that is left.
    left: Duration,
    _places: &'a Places<'a>,
}

impl<'a> Exchange<'a> {
    pub(super) async fn open(transform: &'a Transform, request: &RequestInfo, places: &'a Places<'a>) -> Result<Self, SandboxError> {
        let options = &transform.options;
        let granted = options.limits.time;
        let started = clock::now();
        let time = Time { from: started, left: granted.min(request.deadline.left_at(started)), granted };
        let info = transform.description().open.then(|| exports::RequestInfo {
            id: &request.id,
            model: &request.model,
            version: &request.version,
            headers: &request.headers,
            time_left_us: u64::try_from(request.deadline.left_at(started).as_micros()).unwrap_or(u64::MAX),
        });
        let (instance, resource) = match transform.warm.as_ref().and_then(Pool::take) {
            Some(mut instance) => {
                let Instance { store, compiled, functions, .. } = &mut instance;
                let ctx = store.data_mut();
                ctx.meter.exhausted = false;
                ctx.log = LogLines::new(Arc::clone(&compiled.log), Arc::clone(&request.id));
                let opened = store::bounded(store, time, compiled.waits, async |store| functions.open(&compiled.exports, store, info).await).await?;
                (instance, opened?)
            }
            None => {
                let compiled = Arc::clone(transform.compiled());
                let log = LogLines::new(Arc::clone(&compiled.log), Arc::clone(&request.id));
                let mut store = store::new(&compiled.inner, Ctx::new(options.limits.memory_bytes, log));
                let (functions, resource) = store::bounded(&mut store, time, compiled.waits, async |store| {
                    let mut functions = match compiled.instantiate(store, &options.config).await? {
                        Ok(functions) => functions,
                        Err(refusal) => return Ok(Err(refusal)),
                    };
                    let opened = functions.open(&compiled.exports, store, info).await?;
                    Ok(opened.map(|resource| (functions, resource)))
                })
                .await??;
                (Instance { store, compiled, functions, uses: 0, idle: None }, resource)
            }
        };
        let left = granted.saturating_sub(clock::now() - started);
        Ok(Self { transform, instance, resource, deadline: request.deadline, left, _places: places })
    }

    /// The way in.
    ///
    /// # Errors
    /// See [`SandboxError`]; the exchange is of no use afterwards.
    pub async fn before(&mut self, payload: Payload) -> Result<Step, SandboxError> {
        let (resource, payload) = (self.resource, wit::Payload::from(payload));
        let step = self.bounded(async |functions, exports, store| functions.before(exports, store, resource, &payload).await).await?;
        Ok(step?.into())
    }

    /// The way out.
    ///
    /// # Errors
    /// See [`SandboxError`]; the exchange is of no use afterwards.
    pub async fn after(&mut self, payload: Payload) -> Result<Payload, SandboxError> {
        let (resource, payload) = (self.resource, wit::Payload::from(payload));
        let answer = self.bounded(async |functions, exports, store| functions.after(exports, store, resource, &payload).await).await?;
        Ok(answer?.into())
    }

    /// Ends an exchange that went well: its instance may serve another request where the manifest allows that. An
    /// exchange that is merely dropped takes its instance along.
    ///
    /// # Errors
    /// Where the guest fails to drop its side.
    pub async fn finish(mut self) -> Result<(), SandboxError> {
        let Some(pool) = &self.transform.warm else { return Ok(()) };
        let resource = self.resource;
        self.bounded(async |_, _, store| resource.resource_drop_async(store).await).await?;
        pool.give_back(self.instance);
        Ok(())
    }

    async fn bounded<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Functions, &Exports, &mut Store<Ctx>) -> wasmtime::Result<T>,
    ) -> Result<T, SandboxError> {
        let started = clock::now();
        let granted = self.transform.options.limits.time;
        let time = Time { from: started, left: self.left.min(self.deadline.left_at(started)), granted };
        let Instance { store, compiled, functions, .. } = &mut self.instance;
        let outcome = store::bounded(store, time, compiled.waits, async |store| call(functions, &compiled.exports, store).await).await;
        self.left = self.left.saturating_sub(clock::now() - started);
        outcome
    }
}
