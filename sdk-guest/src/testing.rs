//! A plugin's transform as the host drives it, natively: for plain `cargo test`.

use crate::{Open, Payload, Request, Result, Step, Transform, glue};

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
        Ok(Self(glue::configured(&config.to_string())?))
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
