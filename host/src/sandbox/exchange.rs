//! One request's life inside a transform: open, `before`, `after`; then the sandbox is gone.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::{self, ResourceAny};

use super::bindings::bulkhead::plugin::types as wit;
use super::error::SandboxError;
use super::exports::Exports;
use super::imports::log::LogLines;
use super::places::Places;
use super::plugin::Transform;
use super::pool::Pool;
use super::store::{self, Ctx, Time};
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
    pub(super) store: Store<Ctx>,
    pub(super) instance: component::Instance,
    /// Requests that it has served.
    pub(super) uses: u32,
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
        let compiled = &transform.compiled;
        let limits = transform.options.limits;
        let started = clock::now();
        let mut instance = match transform.warm.as_ref().and_then(Pool::take) {
            Some(mut instance) => {
                let ctx = instance.store.data_mut();
                ctx.meter.exhausted = false;
                ctx.log = LogLines::new(Arc::clone(&compiled.log), Arc::clone(&request.id));
                instance
            }
            None => compiled.instantiate(Arc::clone(&request.id), &transform.options).await?,
        };
        let left = limits.time.saturating_sub(started.elapsed());
        let info = wit::RequestInfo {
            id: request.id.as_ref().into(),
            model: request.model.as_ref().into(),
            version: request.version.as_ref().into(),
            headers: request.headers.clone(),
            time_left_us: u64::try_from(request.deadline.left().as_micros()).unwrap_or(u64::MAX),
        };
        let Instance { store, instance: guest, .. } = &mut instance;
        let time = Time { left: left.min(request.deadline.left()), granted: limits.time };
        let opened =
            store::bounded(&compiled.inner, store, time, compiled.waits, async |store| compiled.exports.open(*guest, store, &info).await).await?;
        let resource = opened?;
        let left = limits.time.saturating_sub(started.elapsed());
        Ok(Self { transform, instance, resource, deadline: request.deadline, left, _places: places })
    }

    /// The way in.
    ///
    /// # Errors
    /// See [`SandboxError`]; the exchange is of no use afterwards.
    pub async fn before(&mut self, payload: Payload) -> Result<Step, SandboxError> {
        let (resource, payload) = (self.resource, wit::Payload::from(payload));
        let step = self.bounded(async |exports, guest, store| exports.before(guest, store, resource, &payload).await).await?;
        Ok(step?.into())
    }

    /// The way out.
    ///
    /// # Errors
    /// See [`SandboxError`]; the exchange is of no use afterwards.
    pub async fn after(&mut self, payload: Payload) -> Result<Payload, SandboxError> {
        let (resource, payload) = (self.resource, wit::Payload::from(payload));
        let answer = self.bounded(async |exports, guest, store| exports.after(guest, store, resource, &payload).await).await?;
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
        pool.give_back(self.instance, &self.transform.compiled.inner.places);
        Ok(())
    }

    async fn bounded<T>(
        &mut self,
        call: impl AsyncFnOnce(&Exports, component::Instance, &mut Store<Ctx>) -> wasmtime::Result<T>,
    ) -> Result<T, SandboxError> {
        let compiled = &self.transform.compiled;
        let started = clock::now();
        let Instance { store, instance: guest, .. } = &mut self.instance;
        let guest = *guest;
        let time = Time { left: self.left.min(self.deadline.left()), granted: self.transform.options.limits.time };
        let outcome = store::bounded(&compiled.inner, store, time, compiled.waits, async |store| call(&compiled.exports, guest, store).await).await;
        self.left = self.left.saturating_sub(started.elapsed());
        outcome
    }
}
