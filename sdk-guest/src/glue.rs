//! Between the generated bindings and [`Transform`]; what [`crate::transform!`] expands to.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::thread::LocalKey;

use crate::bindings::bulkhead::plugin::types as wit;
use crate::bindings::exports::bulkhead::plugin::transformer as export;
use crate::{Description, Error, Open, Request, Result, Transform};

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
    /// The copy of the exchange that is open. It is here and not behind the exchange's handle, so that the handle needs
    /// no destructor, which would cost each component two more core modules and each instance their instantiation.
    open: RefCell<Option<T>>,
}

impl<T> Kept<T> {
    /// Nothing yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a constant is needed")]
    pub const fn new() -> Self {
        Self { configured: RefCell::new(None), open: RefCell::new(None) }
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

/// The handle of the exchange that is open.
#[derive(Debug)]
pub struct Exchange<T>(PhantomData<T>);

impl<T: Plugin> export::Guest for Component<T> {
    type Exchange = Exchange<T>;

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
            description.hooks |= export::Hooks::OPEN;
        }
        description
    }
}

impl<T: Plugin> export::GuestExchange for Exchange<T> {
    fn open(request: Option<Request>) -> Result<export::Exchange, wit::PluginError> {
        T::KEPT.with(|kept| {
            let mut transform = kept.configured.borrow().clone().ok_or_else(|| Error::internal("the host did not configure this plugin"))?;
            if let (Some(opener), Some(request)) = (T::opener(), request) {
                opener(&mut transform, request)?;
            }
            kept.open.replace(Some(transform));
            Ok(export::Exchange::new(Self(PhantomData)))
        })
    }

    fn before(&self, payload: wit::Payload) -> Result<export::Step, wit::PluginError> {
        Ok(with_open(|transform: &mut T| transform.before(payload.into()))?.into())
    }

    fn after(&self, payload: wit::Payload) -> Result<wit::Payload, wit::PluginError> {
        Ok(with_open(|transform: &mut T| transform.after(payload.into()))?.into())
    }
}

fn with_open<T: Plugin, R>(call: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
    T::KEPT.with(|kept| match &mut *kept.open.borrow_mut() {
        Some(transform) => call(transform),
        None => Err(Error::internal("the host opened no exchange")),
    })
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
