//! Between the generated bindings and [`Transform`] and [`Predictor`]; what [`crate::transform!`] and [`crate::predictor!`]
//! expand to.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::thread::LocalKey;

use crate::bindings::bulkhead::plugin::types as wit;
use crate::bindings::exports::bulkhead::plugin::transformer as export;
use crate::bindings::predictor::exports::bulkhead::plugin::prediction;
use crate::{Description, Error, Open, Predictor, PredictorDescription, Request, Result, Step, Transform};

/// What the macros add to a plugin.
pub trait Plugin: Clone + 'static {
    /// What its instance keeps. A component has one thread.
    const KEPT: &'static LocalKey<Kept<Self>>;

    /// Its [`Open::open`], where it has one.
    fn opener() -> Option<Opener<Self>>;
}

/// [`Open::open`] of a plugin.
pub type Opener<T> = fn(&mut T, Request) -> Result<()>;

/// What an instance keeps.
#[derive(Debug)]
pub struct Kept<T> {
    /// As `configure` left it.
    configured: RefCell<Option<T>>,
    /// The copy that the exchange works on, from `before` to `after`.
    exchange: RefCell<Option<T>>,
}

impl<T> Kept<T> {
    /// Nothing yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a constant is needed")]
    pub const fn new() -> Self {
        Self { configured: RefCell::new(None), exchange: RefCell::new(None) }
    }
}

/// Tells whether a type implements [`Open`], in the macros: of two methods of the same name the one that needs
/// fewer references is called, and [`Opens`] needs fewer than [`OpensNothing`].
#[derive(Debug)]
pub struct Probe<T>(pub PhantomData<T>);

/// See [`Probe`].
pub trait Opens<T> {
    /// The function.
    fn opener(&self) -> Option<Opener<T>>;
}

impl<T: Open> Opens<T> for Probe<T> {
    fn opener(&self) -> Option<Opener<T>> {
        Some(T::open)
    }
}

/// See [`Probe`].
pub trait OpensNothing<T> {
    /// None.
    fn opener(&self) -> Option<Opener<T>>;
}

impl<T> OpensNothing<T> for &Probe<T> {
    fn opener(&self) -> Option<Opener<T>> {
        None
    }
}

/// The export of a transform's component.
#[derive(Debug)]
pub struct Component<T>(PhantomData<T>);

impl<T: Plugin + Transform> export::Guest for Component<T> {
    fn configure(config: String) -> Result<(), wit::PluginError> {
        let transform = configured(&config, T::check)?;
        T::KEPT.with(|kept| kept.configured.replace(Some(transform)));
        Ok(())
    }

    fn describe() -> export::Description {
        // The host configures first; one that does not gets a description of nothing.
        let description = T::KEPT.with(|kept| kept.configured.borrow().as_ref().map(Transform::describe));
        let mut description: export::Description = description.unwrap_or_else(|| Description::new("")).into();
        if T::opener().is_some() {
            description.hooks |= export::Hooks::REQUEST;
        }
        description
    }

    fn before(request: Option<Request>, payload: wit::Payload) -> Result<export::Step, wit::PluginError> {
        // What is left of an exchange that ended without `after`.
        drop(T::KEPT.with(|kept| kept.exchange.take()));
        let mut transform = begun::<T>(request)?;
        let step = transform.before(payload.into())?;
        if matches!(step, Step::Proceed(_)) {
            T::KEPT.with(|kept| kept.exchange.replace(Some(transform)));
        }
        Ok(step.into())
    }

    fn after(request: Option<Request>, payload: wit::Payload) -> Result<wit::Payload, wit::PluginError> {
        let mut transform = match T::KEPT.with(|kept| kept.exchange.take()) {
            Some(transform) => transform,
            None => begun(request)?,
        };
        Ok(transform.after(payload.into())?.into())
    }
}

/// The export of a predictor's component.
#[derive(Debug)]
pub struct PredictorComponent<T>(PhantomData<T>);

impl<T: Plugin + Predictor> prediction::Guest for PredictorComponent<T> {
    fn configure(config: String) -> Result<(), wit::PluginError> {
        let predictor = configured(&config, T::check)?;
        T::KEPT.with(|kept| kept.configured.replace(Some(predictor)));
        Ok(())
    }

    fn describe() -> prediction::Description {
        // As for a transform.
        let description = T::KEPT.with(|kept| kept.configured.borrow().as_ref().map(Predictor::describe));
        let mut description = description.unwrap_or_else(|| PredictorDescription::new("")).0;
        description.request = T::opener().is_some();
        description
    }

    fn predict(request: Option<Request>, payload: wit::Payload) -> Result<wit::Payload, wit::PluginError> {
        Ok(begun::<T>(request)?.predict(payload.into())?.into())
    }
}

/// The copy that a request works on.
fn begun<T: Plugin>(request: Option<Request>) -> Result<T> {
    let configured = T::KEPT.with(|kept| kept.configured.borrow().clone());
    let mut plugin = configured.ok_or_else(|| Error::internal("the host did not configure this plugin"))?;
    if let (Some(opener), Some(request)) = (T::opener(), request) {
        opener(&mut plugin, request)?;
    }
    Ok(plugin)
}

/// A plugin with its configuration, checked.
///
/// # Errors
/// [`Error::Invalid`] with a pointer into the configuration.
pub fn configured<T: serde::de::DeserializeOwned>(config: &str, check: fn(&T) -> Result<()>) -> Result<T> {
    let plugin: T = Error::from_json(config)?;
    check(&plugin)?;
    Ok(plugin)
}
