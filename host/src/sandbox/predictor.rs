//! A plugin in place of a model.

use std::ops::Deref;

use serde_json::Value;

use super::convert::handed_on;
use super::error::SandboxError;
use super::exports::{Call, Predict};
use super::places::Places;
use super::plugin::TensorSignature;
use super::running::{RequestInfo, Running};
use super::usage::Use;
use crate::payload::Payload;
use crate::runner::{RunTimes, Terms};

/// What a predictor takes or gives.
#[derive(Debug, Clone)]
pub enum Ports {
    /// A body of its own.
    Body,
    /// These tensors.
    Tensors(Vec<TensorSignature>),
    /// What the graph of this name takes or gives.
    Graph(String),
}

/// What a predictor does with a graph.
#[derive(Debug, Clone)]
pub struct GraphUse {
    /// The name that the manifest must grant one under.
    pub name: String,
    /// Tensors that are given to it, where they are known.
    pub inputs: Vec<TensorSignature>,
    /// Tensors that are read of what it gives, where they are known.
    pub outputs: Vec<TensorSignature>,
    /// The graph in whose place it is asked.
    pub stands_for: Option<String>,
}

/// What a predictor does under its configuration.
#[derive(Debug, Clone)]
pub struct PredictorDescription {
    /// One sentence.
    pub summary: String,
    /// It is told of the request.
    pub request: bool,
    /// What goes in.
    pub takes: Ports,
    /// What comes out.
    pub gives: Ports,
    /// Content types of bodies that it takes.
    pub accepts: Vec<String>,
    /// JSON Schema of the request's body.
    pub input_schema: Option<Value>,
    /// JSON Schema of the answer.
    pub output_schema: Option<Value>,
    /// JSON Schema of the configuration.
    pub config_schema: Option<Value>,
    /// Graphs that it loads by name.
    pub graphs: Vec<GraphUse>,
}

/// A predictor as one model version uses it.
pub struct Predictor {
    usage: Use,
    description: PredictorDescription,
}

impl Deref for Predictor {
    type Target = Use;

    fn deref(&self) -> &Use {
        &self.usage
    }
}

impl Predictor {
    pub(super) fn new(usage: Use, description: PredictorDescription) -> Self {
        Self { usage, description }
    }

    /// What it does.
    #[must_use]
    pub fn description(&self) -> &PredictorDescription {
        &self.description
    }

    /// Answers a request in a sandbox of its own, on one of the places that the request took; the models that it runs are
    /// run on these terms. With where the time of those went.
    ///
    /// # Errors
    /// See [`SandboxError`].
    pub async fn predict(
        &self,
        request: &RequestInfo,
        places: &Places<'_>,
        payload: Payload,
        terms: Terms,
    ) -> (Result<Payload, SandboxError>, RunTimes) {
        let mut running = Running::new(&self.usage, request, places).may_compute(terms);
        let told = self.description.request.then(|| request.clone());
        let answer = running.bounded(Call::<Predict>::new(told, payload.into())).await;
        let times = running.times();
        let answer = answer.and_then(handed_on).and_then(|answer| self.checked(answer));
        if answer.is_ok() {
            running.finish();
        }
        (answer, times)
    }

    /// What others will read as tensors.
    fn checked(&self, answer: Payload) -> Result<Payload, SandboxError> {
        match &self.description.gives {
            Ports::Body => Ok(answer),
            _ if matches!(answer, Payload::Tensors(_)) => Ok(answer),
            _ => Err(SandboxError::Internal(format!("it says that it gives tensors, and answered with {}", answer.kind()))),
        }
    }
}
