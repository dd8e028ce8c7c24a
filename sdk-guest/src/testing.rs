//! A plugin as the host drives it, natively: for plain `cargo test`.

use crate::{Open, Payload, Predictor, Request, Result, Step, Transform, glue};
#[cfg(not(target_family = "wasm"))]
use crate::{Tensors, nn::native};

/// One request's life inside a transform.
#[derive(Debug)]
pub struct Exchange<T>(T);

impl<T: Transform> Exchange<T> {
    /// Opens one with the configuration that a manifest would carry, without a request: for a transform that implements
    /// [`Open`] use [`Exchange::open_with`].
    ///
    /// # Errors
    /// As the transform.
    pub fn open(config: &serde_json::Value) -> Result<Self> {
        Ok(Self(glue::configured(&config.to_string(), T::check)?))
    }

    /// Opens one for a request that the transform looks at.
    ///
    /// # Errors
    /// As the transform.
    pub fn open_with(config: &serde_json::Value, request: Request) -> Result<Self>
    where
        T: Open,
    {
        let mut exchange = Self::open(config)?;
        exchange.0.open(request)?;
        Ok(exchange)
    }

    /// # Errors
    /// As the transform.
    pub fn before(&mut self, payload: Payload) -> Result<Step> {
        self.0.before(payload)
    }

    /// # Errors
    /// As the transform.
    pub fn after(&mut self, payload: Payload) -> Result<Payload> {
        self.0.after(payload)
    }

    /// The transform, to look at what it kept.
    pub fn transform(&self) -> &T {
        &self.0
    }
}

/// A predictor, without a request that it might look at, as its configuration leaves it.
///
/// # Errors
/// As the predictor's `check`.
pub fn predictor<T: Predictor>(config: &serde_json::Value) -> Result<T> {
    glue::configured(&config.to_string(), T::check)
}

/// What stands for the graph of that name in this thread from now on: in a native test there is no host, and so no model.
#[cfg(not(target_family = "wasm"))]
pub fn grant(name: &str, graph: impl Fn(&Tensors) -> Result<Tensors> + 'static) {
    native::GRANTED.with_borrow_mut(|granted| granted.insert(name.to_owned(), std::rc::Rc::new(graph)));
}
