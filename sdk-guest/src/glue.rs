//! Between the generated bindings and [`Transform`]; what [`crate::transform!`] expands to.

use std::cell::RefCell;
use std::marker::PhantomData;

use crate::bindings::bulkhead::plugin::types as wit;
use crate::bindings::exports::bulkhead::plugin::transformer as export;
use crate::{Error, Result, Transform};

/// The component's export.
#[derive(Debug)]
pub struct Component<T>(PhantomData<T>);

/// One request's transform. Calls never overlap: the world has no async functions and the host enters one at a time.
#[derive(Debug)]
pub struct Opened<T>(RefCell<T>);

impl<T: Transform> export::Guest for Component<T> {
    type Exchange = Opened<T>;

    fn describe(config: String) -> Result<export::Description, wit::PluginError> {
        Ok(configured::<T>(&config)?.describe().0)
    }
}

impl<T: Transform> export::GuestExchange for Opened<T> {
    fn open(request: wit::RequestInfo, config: String) -> Result<export::Exchange, wit::PluginError> {
        let mut transform = configured::<T>(&config)?;
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
