//! Whatever runs tensors through one version of a model: the engine in this process or in another; later, containers.

mod signature;

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use signature::{Port, Signature, SignatureDocument};

use crate::clock::Deadline;
use crate::tensor::Tensor;

/// Runs one version.
#[async_trait]
pub trait Runner: Send + Sync {
    /// What it takes and gives.
    fn signature(&self) -> &Signature;

    /// Runs checked or unchecked tensors through the version; the order of `inputs` is free.
    ///
    /// # Errors
    /// See [`RunError`].
    async fn run(&self, inputs: Vec<Tensor>, terms: Terms) -> Result<Ran, RunError>;
}

/// What a request asks of the queue before a model.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// When it must be answered.
    pub deadline: Deadline,
    /// Level of priority, counted from 1, which goes first; 0 for what the manifest says.
    pub priority: u64,
    /// How long it may wait in the queue at most, where the manifest lets it say so.
    pub timeout: Option<Duration>,
}

impl Terms {
    /// Of a request that asks for nothing but an answer in time.
    #[must_use]
    pub fn by(deadline: Deadline) -> Self {
        Self { deadline, priority: 0, timeout: None }
    }
}

/// Makes runners of models that come as bytes.
#[async_trait]
pub trait Load: Send + Sync {
    /// Loads a model, on the CPU; it lives as long as what this gives.
    ///
    /// # Errors
    /// The runtime's own message.
    async fn load(&self, model: Vec<u8>) -> Result<Arc<dyn Runner>, String>;
}

/// What a run gave, and where its time went.
#[derive(Debug)]
pub struct Ran {
    /// In the model's order.
    pub outputs: Vec<Tensor>,
    /// Where its time went.
    pub times: RunTimes,
}

/// Where the time of a run, or of several, went.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct RunTimes {
    /// From the hand-over to the start of the run, or of the batch that it is part of.
    pub queue: Duration,
    /// Making one batch of several requests.
    pub assembly: Duration,
    /// The run.
    pub inference: Duration,
    /// Taking the batch apart.
    pub split: Duration,
}

impl AddAssign for RunTimes {
    fn add_assign(&mut self, other: Self) {
        self.queue += other.queue;
        self.assembly += other.assembly;
        self.inference += other.inference;
        self.split += other.split;
    }
}

/// Why a run gave nothing.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
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
    /// The tensors of all queues hold too much memory.
    #[error("requests that wait hold {limit_bytes} bytes of tensors already, which is `engine.max_queued_mb`; try again in a moment")]
    OutOfMemory {
        /// The limit.
        limit_bytes: usize,
    },
    /// The tensors of this request alone hold more memory than all that wait may.
    #[error("the request's tensors hold {bytes} bytes, and at most {limit_bytes} may wait, which is `engine.max_queued_mb`: send less at once")]
    TooLarge {
        /// Of the request.
        bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// It waited for as long as the manifest, or it itself, lets it.
    #[error("the request waited {} µs for this model, which is its timeout in the queue; try again in a moment", waited.as_micros())]
    Waited {
        /// The timeout.
        waited: Duration,
    },
    /// Time was up before the model could answer.
    #[error("the model did not answer in time")]
    Deadline,
    /// The runtime refused inputs of the right type and shape; its own message.
    #[error("the model can't be run on these inputs: {0}")]
    Failed(String),
    /// The process that runs this tenant's models has ended, and is started again.
    #[error("the process that runs this tenant's models has ended, and is started again; try again in a moment")]
    EngineGone {
        /// Until it may be there again.
        retry_after: Duration,
    },
    /// The version is being taken down.
    #[error("this version is being taken down; try again")]
    Stopped,
}
