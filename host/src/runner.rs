//! Whatever answers for one version of a model: the engine in this process; later, components and containers.

use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Deadline;
use crate::tensor::Tensor;

/// Answers for one version.
#[async_trait]
pub trait Runner: Send + Sync {
    /// Runs checked or unchecked tensors through the version; the order of `inputs` is free.
    ///
    /// # Errors
    /// See [`RunError`].
    async fn run(&self, inputs: Vec<Tensor>, deadline: Deadline) -> Result<Ran, RunError>;
}

/// What a run gave, and where its time went.
#[derive(Debug)]
pub struct Ran {
    /// In the model's order.
    pub outputs: Vec<Tensor>,
    /// From the hand-over to the start of the run.
    pub queue: Duration,
    /// The run.
    pub inference: Duration,
}

/// Why a run gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The inputs are not what the model takes; the caller's fault.
    #[error("{message}")]
    Invalid {
        /// Which input, where one can be named.
        input: Option<String>,
        /// What was expected and what came.
        message: String,
    },
    /// The queue in front of the model is full.
    #[error("{waiting} requests already wait for this model, which is its `max_queue_size`; try again in a moment")]
    Overloaded {
        /// How many.
        waiting: usize,
    },
    /// Time was up before the model could answer.
    #[error("the model did not answer in time")]
    Deadline,
    /// The runtime refused inputs of the right type and shape; its own message.
    #[error("the model can't be run on these inputs: {0}")]
    Failed(String),
    /// The version is being taken down.
    #[error("this version is being taken down; try again")]
    Stopped,
}
