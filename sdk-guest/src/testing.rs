//! A plugin's transform as the host drives it, natively: for plain `cargo test`.

use crate::{Payload, Request, Result, Step, Transform, glue};

/// One request's life inside a transform.
#[derive(Debug)]
pub struct Exchange<T>(T);

impl<T: Transform> Exchange<T> {
    /// Opens one with the configuration that a manifest would carry.
    ///
    /// # Errors
    /// As the transform.
    pub fn open(config: &serde_json::Value) -> Result<Self> {
        let request =
            Request { id: "test".to_owned(), model: "model".to_owned(), version: "1.0.0".to_owned(), headers: Vec::new(), time_left_us: 1_000_000 };
        Self::open_with(config, request)
    }

    /// Opens one for a given request.
    ///
    /// # Errors
    /// As the transform.
    pub fn open_with(config: &serde_json::Value, request: Request) -> Result<Self> {
        let mut transform: T = glue::configured(&config.to_string())?;
        transform.open(request)?;
        Ok(Self(transform))
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
