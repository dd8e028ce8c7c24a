//! Between the generated bindings and [`Transform`]; what [`crate::transform!`] expands to.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::thread::LocalKey;

use crate::bindings::bulkhead::plugin::types as wit;
use crate::bindings::exports::bulkhead::plugin::transformer as export;
use crate::{Error, Result, Transform};

/// The component's export.
#[derive(Debug)]
pub struct Component<T>(PhantomData<T>);

/// One request's transform. Calls never overlap: the world has no async functions and the host enters one at a time.
#[derive(Debug)]
pub struct Opened<T>(RefCell<T>);

/// The transform as it was configured; each request works on a copy.
pub type Configured<T> = RefCell<Option<T>>;

/// A transform with a place for the configured one, which [`crate::transform!`] makes.
pub trait Plugin: Transform {
    /// The place. A component has one thread.
    const CONFIGURED: &'static LocalKey<Configured<Self>>;
}

impl<T: Plugin> export::Guest for Component<T> {
    type Exchange = Opened<T>;

    fn configure(config: String) -> Result<(), wit::PluginError> {
        let transform = configured(&config)?;
        T::CONFIGURED.set(Some(transform));
        Ok(())
    }

    fn describe() -> export::Description {
        // The host configures first; one that does not gets a description of nothing.
        let described = T::CONFIGURED.with_borrow(|transform| transform.as_ref().map(Transform::describe));
        described.unwrap_or_else(|| crate::Description::new("")).into()
    }
}

impl<T: Plugin> export::GuestExchange for Opened<T> {
    fn open(request: wit::RequestInfo) -> Result<export::Exchange, wit::PluginError> {
        let mut transform = T::CONFIGURED.with_borrow(Clone::clone).ok_or_else(|| Error::internal("the host did not configure this plugin"))?;
        transform.open(request)?;
        Ok(export::Exchange::new(Self(RefCell::new(transform))))
    }

    fn before(&self, payload: wit::Payload) -> Result<export::Step, wit::PluginError> {
        Ok(self.0.borrow_mut().before(payload.into())?.into())
    }

    fn after(&self, payload: wit::Payload) -> Result<wit::Payload, wit::PluginError> {
        Ok(self.0.borrow_mut().after(payload.into())?.into())
    }
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
