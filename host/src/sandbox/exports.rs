//! The functions of a component, found once when it is loaded.
//!
//! The generated bindings compare the types of all functions with those of `wit/` at every instantiation, which costs a
//! fresh sandbox several microseconds. Here that is done once for each component: `Plugin::describe`, which must
//! succeed before there is a [`super::Transform`], goes through the generated bindings. Requests call what was found
//! then.

use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Func, Instance, ResourceAny, TypedFunc};

use super::bindings::bulkhead::plugin::types::{Payload, PluginError, RequestInfo};
use super::bindings::exports::bulkhead::plugin::transformer::Step;
use super::store::Ctx;

/// What a component must export to be a `transform`.
pub(super) const TRANSFORMER: &str = "bulkhead:plugin/transformer@0.1.0";

/// Where in a component its functions are.
pub(super) struct Exports {
    configure: ComponentExportIndex,
    open: ComponentExportIndex,
    before: ComponentExportIndex,
    after: ComponentExportIndex,
}

impl Exports {
    /// Finds them; none where one is missing.
    pub(super) fn find(component: &Component) -> Option<Self> {
        let transformer = component.get_export_index(None, TRANSFORMER)?;
        let find = |name| component.get_export_index(Some(&transformer), name);
        let configure = find("configure")?;
        Some(Self { configure, open: find("[static]exchange.open")?, before: find("[method]exchange.before")?, after: find("[method]exchange.after")? })
    }

    pub(super) async fn configure(
        &self,
        instance: Instance,
        store: &mut Store<Ctx>,
        config: &str,
    ) -> wasmtime::Result<Result<(), PluginError>> {
        let function = function(instance, store, &self.configure)?;
        #[expect(unsafe_code, reason = "the types were compared when the plugin was loaded")]
        // SAFETY: as in `open`, for `configure`.
        let function = unsafe { TypedFunc::<(&str,), (Result<(), PluginError>,)>::new_unchecked(function) };
        let (outcome,) = function.call_async(store, (config,)).await?;
        Ok(outcome)
    }

    pub(super) async fn open(
        &self,
        instance: Instance,
        store: &mut Store<Ctx>,
        request: &RequestInfo,
    ) -> wasmtime::Result<Result<ResourceAny, PluginError>> {
        let function = function(instance, store, &self.open)?;
        #[expect(unsafe_code, reason = "the types were compared when the plugin was loaded")]
        // SAFETY: these are the types that `wit/transform.wit` gives `exchange.open`, by the same bindings; that the
        // component's are the same was checked when it described itself, and every instance of it has them.
        let function = unsafe { TypedFunc::<(&RequestInfo,), (Result<ResourceAny, PluginError>,)>::new_unchecked(function) };
        let (opened,) = function.call_async(store, (request,)).await?;
        Ok(opened)
    }

    pub(super) async fn before(
        &self,
        instance: Instance,
        store: &mut Store<Ctx>,
        exchange: ResourceAny,
        payload: &Payload,
    ) -> wasmtime::Result<Result<Step, PluginError>> {
        let function = function(instance, store, &self.before)?;
        #[expect(unsafe_code, reason = "the types were compared when the plugin was loaded")]
        // SAFETY: as in `open`, for `exchange.before`.
        let function = unsafe { TypedFunc::<(ResourceAny, &Payload), (Result<Step, PluginError>,)>::new_unchecked(function) };
        let (step,) = function.call_async(store, (exchange, payload)).await?;
        Ok(step)
    }

    pub(super) async fn after(
        &self,
        instance: Instance,
        store: &mut Store<Ctx>,
        exchange: ResourceAny,
        payload: &Payload,
    ) -> wasmtime::Result<Result<Payload, PluginError>> {
        let function = function(instance, store, &self.after)?;
        #[expect(unsafe_code, reason = "the types were compared when the plugin was loaded")]
        // SAFETY: as in `open`, for `exchange.after`.
        let function = unsafe { TypedFunc::<(ResourceAny, &Payload), (Result<Payload, PluginError>,)>::new_unchecked(function) };
        let (answer,) = function.call_async(store, (exchange, payload)).await?;
        Ok(answer)
    }
}

fn function(instance: Instance, store: &mut Store<Ctx>, at: &ComponentExportIndex) -> wasmtime::Result<Func> {
    instance.get_func(store, at).ok_or_else(|| wasmtime::Error::msg("a function that the component had when it was loaded is missing"))
}
