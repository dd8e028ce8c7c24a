//! Between the generated bindings and [`Transform`]; what [`crate::transform!`] expands to.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::thread::LocalKey;

use crate::bindings::bulkhead::plugin::types as wit;
use crate::bindings::exports::bulkhead::plugin::transformer as export;
use crate::{Description, Error, Open, Request, Result, Step, Transform};

/// What [`crate::transform!`] adds to a transform.
pub trait Plugin: Transform {
    /// What its instance keeps. A component has one thread.
    const KEPT: &'static LocalKey<Kept<Self>>;

    /// Its [`Open::open`], where it has one.
    fn opener() -> Option<Opener<Self>>;
}

/// [`Open::open`] of a transform.
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

/// Tells whether a type implements [`Open`], in [`crate::transform!`]: of two methods of the same name the one that needs
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

/// The component's export.
#[derive(Debug)]
pub struct Component<T>(PhantomData<T>);

impl<T: Plugin> export::Guest for Component<T> {
    fn configure(config: String) -> Result<(), wit::PluginError> {
        let transform = configured(&config)?;
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

/// The copy that a new exchange works on.
fn begun<T: Plugin>(request: Option<Request>) -> Result<T> {
    let configured = T::KEPT.with(|kept| kept.configured.borrow().clone());
    let mut transform = configured.ok_or_else(|| Error::internal("the host did not configure this plugin"))?;
    if let (Some(opener), Some(request)) = (T::opener(), request) {
        opener(&mut transform, request)?;
    }
    Ok(transform)
}

/// A transform with its configuration, checked.
///
/// # Errors
/// [`Error::Invalid`] with a pointer into the configuration.
pub fn configured<T: Transform>(config: &str) -> Result<T> {
    let transform: T = Error::from_json(config)?;
    transform.check()?;
    Ok(transform)
}
