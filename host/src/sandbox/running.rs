//! A sandbox that serves a request.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;

use super::error::SandboxError;
use super::exports::{Call, Function, Functions};
use super::imports::log::LogLines;
use super::overtime::Guest;
use super::places::{IdlePlace, Places};
use super::plugin::Compiled;
use super::pool::Pool;
use super::store::{self, Ctx, Time};
use super::usage::Use;
use crate::clock::{self, Deadline};
use crate::runner::{RunTimes, Terms};

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

/// A store with its instance.
pub(super) struct Instance {
    store: Store<Ctx>,
    pub(super) compiled: Arc<Compiled>,
    /// None until the instance is made.
    functions: Option<Functions>,
    /// Requests that it has served.
    pub(super) uses: u32,
    /// The place on which it is kept once it serves nobody; taken when it is first kept.
    pub(super) idle: Option<IdlePlace>,
}

impl Instance {
    /// Of a fresh store; the rest is made within the guest's time.
    fn fresh(usage: &Use, request: &RequestInfo) -> Self {
        let compiled = Arc::clone(usage.compiled());
        let log = LogLines::new(Arc::clone(&compiled.log), Arc::clone(&request.id));
        let mut ctx = Ctx::new(usage.options.limits.memory_bytes, log);
        if let Some(grants) = &usage.grants {
            ctx = ctx.with_graphs(Arc::clone(grants));
        }
        let store = store::new(&compiled.inner, ctx);
        Self { store, compiled, functions: None, uses: 0, idle: None }
    }

    fn serve_another(&mut self, request: &RequestInfo) {
        let log = LogLines::new(Arc::clone(&self.compiled.log), Arc::clone(&request.id));
        self.store.data_mut().serve(log);
    }

    /// Runs one call in it, and gives it back.
    async fn serve<F: Function>(
        mut self,
        config: Arc<str>,
        time: Time,
        terms: Option<Terms>,
        call: Call<F>,
    ) -> (Self, Result<F::Gives, SandboxError>) {
        let Self { store, compiled, functions, .. } = &mut self;
        let bounds = store::begin(store, time, compiled.waits);
        let guest = async {
            let functions = match functions {
                Some(functions) => functions,
                None => match compiled.instantiate(store, &config).await? {
                    Ok(made) => functions.insert(made),
                    Err(refusal) => return Ok(Err(refusal)),
                },
            };
            // Only now: configuring is done without models, as it is ahead of requests.
            if let (Some(nn), Some(terms)) = (&mut store.data_mut().nn, terms) {
                nn.serve(terms);
            }
            call.into(functions, &compiled.exports, store).await
        };
        let outcome = bounds.run(guest).await;
        let outcome = store::sorted(&self.store, time, outcome).and_then(|outcome| Ok(outcome?));
        (self, outcome)
    }
}

/// A sandbox that serves a request. Dropping it drops the sandbox; so does any error.
pub(super) struct Running<'a> {
    usage: &'a Use,
    /// None while the guest runs.
    instance: Option<Instance>,
    deadline: Deadline,
    /// Guest time that is left.
    left: Duration,
    /// On which it may run models.
    terms: Option<Terms>,
    _places: &'a Places<'a>,
}

impl<'a> Running<'a> {
    /// Without anything run yet: in a fresh sandbox, or a warm one where the manifest allows that.
    pub(super) fn new(usage: &'a Use, request: &RequestInfo, places: &'a Places<'a>) -> Self {
        let instance = match usage.warm.as_ref().and_then(Pool::take) {
            Some(mut instance) => {
                instance.serve_another(request);
                instance
            }
            None => Instance::fresh(usage, request),
        };
        let left = usage.options.limits.time;
        Self { usage, instance: Some(instance), deadline: request.deadline, left, terms: None, _places: places }
    }

    /// Lets the guest run models once it is configured, on these terms.
    pub(super) fn may_compute(mut self, terms: Terms) -> Self {
        self.terms = Some(terms);
        self
    }

    /// Where the time of the models that it ran went.
    pub(super) fn times(&self) -> RunTimes {
        let nn = self.instance.as_ref().and_then(|instance| instance.store.data().nn.as_ref());
        nn.map(|nn| nn.times).unwrap_or_default()
    }

    /// Calls into the guest, within its time.
    pub(super) async fn bounded<F: Function>(&mut self, call: Call<F>) -> Result<F::Gives, SandboxError> {
        let started = clock::now();
        let options = &self.usage.options;
        let left = self.left.min(self.deadline.left_at(started));
        let time = Time { from: started, left, granted: options.limits.time, at_most: self.deadline.moment() };
        let instance = self.instance.take().ok_or_else(|| SandboxError::Trapped("its sandbox is gone".to_owned()))?;
        let (tenant, overtime) = (Arc::clone(&instance.compiled.tenant), Arc::clone(&instance.compiled.inner));
        let guest = Guest::new(instance.serve(Arc::clone(&options.config), time, self.terms, call));
        let (instance, outcome) = overtime.overtime.run(&tenant, &self.usage.pace, guest).await.ok_or(SandboxError::Busy)?;
        self.instance = Some(instance);
        self.left = self.left.saturating_sub(clock::now() - started);
        outcome
    }

    /// The request went well: the instance may serve another one where the manifest allows that. One that is merely dropped
    /// takes its instance along.
    pub(super) fn finish(self) {
        // It may keep what it brought along.
        let Some(instance) = self.instance else { return };
        let has_brought = instance.store.data().nn.as_ref().is_some_and(|nn| nn.has_brought());
        if let Some(pool) = self.usage.warm.as_ref().filter(|_| !has_brought) {
            pool.give_back(instance);
        }
    }
}
