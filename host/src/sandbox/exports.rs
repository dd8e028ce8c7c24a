//! The functions of a component, found once when it is loaded.
//!
//! The generated bindings compare the types of all functions with those of `wit/` at every instantiation, which costs a
//! fresh sandbox several microseconds. Here that is done once for each component, by the generated bindings, before
//! there is a [`super::usage::Use`] of it: of an uploaded one where it describes itself, of a configured one in
//! `Compiled::with_configuration`. Requests call what was found then.

use std::marker::PhantomData;

use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, ComponentNamedList, ComponentType, Func, Instance, Lift, Lower, TypedFunc};

use super::bindings::bulkhead::plugin::types::{Payload, PluginError};
use super::bindings::exports::bulkhead::plugin::transformer::Step;
use super::running::RequestInfo;
use super::store::Ctx;
use super::world::World;
use crate::clock;

/// `request-info`, borrowed: the record as the bindings have it would own copies.
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
struct Told<'a> {
    id: &'a str,
    model: &'a str,
    version: &'a str,
    headers: &'a [(String, String)],
    #[component(name = "time-left-us")]
    time_left_us: u64,
}

impl<'a> Told<'a> {
    fn of(request: &'a RequestInfo) -> Self {
        Self {
            id: &request.id,
            model: &request.model,
            version: &request.version,
            headers: &request.headers,
            time_left_us: u64::try_from(request.deadline.left_at(clock::now()).as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// The functions that take a request and a payload, in the order of [`NAMES`].
#[derive(Clone, Copy)]
pub(super) enum Which {
    Before,
    After,
    Predict,
}

const NAMES: [&str; 3] = ["before", "after", "predict"];

/// Where in a component its functions are; those that its world lacks are none.
pub(super) struct Exports {
    configure: ComponentExportIndex,
    /// Of each [`Which`].
    calls: [Option<ComponentExportIndex>; NAMES.len()],
}

impl Exports {
    /// Finds them; none where one is missing.
    pub(super) fn find(component: &Component, world: World) -> Option<Self> {
        let interface = component.get_export_index(None, world.interface())?;
        let find = |name| component.get_export_index(Some(&interface), name);
        let exports = Self { configure: find("configure")?, calls: NAMES.map(find) };
        let has = |which: Which| exports.calls[which as usize].is_some();
        let is_whole = match world {
            World::Transform => has(Which::Before) && has(Which::After),
            World::Predictor => has(Which::Predict),
        };
        is_whole.then_some(exports)
    }
}

/// The functions of one instance, each found when it is first called.
pub(super) struct Functions {
    instance: Instance,
    /// Of each [`Which`].
    calls: [Option<Func>; NAMES.len()],
}

impl Functions {
    pub(super) fn new(instance: Instance) -> Self {
        Self { instance, calls: [None; NAMES.len()] }
    }

    pub(super) async fn configure(&self, exports: &Exports, store: &mut Store<Ctx>, config: &str) -> wasmtime::Result<Result<(), PluginError>> {
        let function = find(self.instance, store, Some(&exports.configure))?;
        #[expect(unsafe_code, reason = "the types were compared when the plugin was loaded")]
        // SAFETY: these are the types that `wit/` gives `configure` in every world.
        let outcome = unsafe { call(function, store, (config,)) };
        outcome.await
    }
}

/// A function that takes a request and a payload.
///
/// # Safety
/// In `wit/`, the function [`Function::WHICH`] gives [`Function::Gives`], or a `plugin-error`.
#[expect(unsafe_code, reason = "what is to be promised is said above")]
pub(super) unsafe trait Function: Send + 'static {
    /// What the guest gives.
    type Gives: ComponentType + Lift + Send + Sync + 'static;

    /// Which it is.
    const WHICH: Which;
}

/// `before` of a transform.
pub(super) enum Before {}

/// `after` of a transform.
pub(super) enum After {}

/// `predict` of a predictor.
pub(super) enum Predict {}

#[expect(unsafe_code, reason = "what is promised is said there")]
// SAFETY: `wit/transform.wit` has it so.
unsafe impl Function for Before {
    type Gives = Step;
    const WHICH: Which = Which::Before;
}

#[expect(unsafe_code, reason = "what is promised is said there")]
// SAFETY: `wit/transform.wit` has it so.
unsafe impl Function for After {
    type Gives = Payload;
    const WHICH: Which = Which::After;
}

#[expect(unsafe_code, reason = "what is promised is said there")]
// SAFETY: `wit/predictor.wit` has it so.
unsafe impl Function for Predict {
    type Gives = Payload;
    const WHICH: Which = Which::Predict;
}

/// One call into an instance, with all that it takes: it may go on, on another thread, after who began it is gone.
pub(super) struct Call<F> {
    /// What the guest is told of the request, where it asks for that and does not know it yet.
    told: Option<RequestInfo>,
    payload: Payload,
    function: PhantomData<fn() -> F>,
}

impl<F: Function> Call<F> {
    pub(super) fn new(told: Option<RequestInfo>, payload: Payload) -> Self {
        Self { told, payload, function: PhantomData }
    }

    /// Calls.
    pub(super) async fn into(
        self,
        functions: &mut Functions,
        exports: &Exports,
        store: &mut Store<Ctx>,
    ) -> wasmtime::Result<Result<F::Gives, PluginError>> {
        let Functions { instance, calls } = functions;
        let function = match &mut calls[F::WHICH as usize] {
            Some(function) => *function,
            none => *none.insert(find(*instance, store, exports.calls[F::WHICH as usize].as_ref())?),
        };
        let told = self.told.as_ref().map(Told::of);
        #[expect(unsafe_code, reason = "the types were compared when the plugin was loaded")]
        // SAFETY: as in `configure`; what it gives is the trait's promise.
        let outcome = unsafe { call(function, store, (told, &self.payload)) };
        outcome.await
    }
}

fn find(instance: Instance, store: &mut Store<Ctx>, at: Option<&ComponentExportIndex>) -> wasmtime::Result<Func> {
    let at = at.ok_or_else(|| wasmtime::Error::msg("the component's world lacks this function"))?;
    instance.get_func(store, at).ok_or_else(|| wasmtime::Error::msg("a function that the component had when it was loaded is missing"))
}

/// Calls without comparing types.
///
/// # Safety
/// The function must have these types. That it has those of `wit/` was checked before the component was first used (see
/// above), and every instance of a component has the same.
#[expect(unsafe_code, reason = "what is unsafe about it is said above")]
async unsafe fn call<P, R>(function: Func, store: &mut Store<Ctx>, parameters: P) -> wasmtime::Result<R>
where
    P: ComponentNamedList + Lower + Send + Sync,
    R: Lift + Send + Sync + 'static,
    (R,): ComponentNamedList,
{
    // SAFETY: the caller's promise.
    let function = unsafe { TypedFunc::<P, (R,)>::new_unchecked(function) };
    let (outcome,) = function.call_async(store, parameters).await?;
    Ok(outcome)
}
