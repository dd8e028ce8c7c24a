//! Tensors as JSON: the bodies of the Open Inference Protocol's `infer`.

mod canonical;
mod decode;
mod elements;
mod encode;
mod reader;

use std::time::Duration;

use crate::tensor::Tensor;

pub use canonical::canonical;
pub use decode::decode;
pub use encode::{Answer, Unwritable, encode};

/// An infer request.
#[derive(Debug, Default)]
pub struct Request {
    /// Echoed in the answer.
    pub id: Option<String>,
    /// Tensors, in the order in which they came. Those whose bytes follow the JSON are empty.
    pub inputs: Vec<Tensor>,
    /// Which of the inputs follow the JSON, in that order, and how many bytes each has.
    pub follow: Vec<(usize, usize)>,
    /// The content type of each input that says so.
    pub content_types: Vec<Option<String>>,
    /// The outputs that are asked for; empty for all.
    pub outputs: Vec<Wanted>,
    /// Outputs that don't say otherwise are wanted as bytes behind the JSON.
    pub binary_outputs: bool,
    /// Level of priority, counted from 1; 0 for what the manifest says.
    pub priority: u64,
    /// How long it may wait in the queue at most.
    pub timeout: Option<Duration>,
}

/// An output that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Whether it is wanted as bytes behind the JSON, where that is said.
    pub binary: Option<bool>,
}

/// Why a body is no infer request.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Malformed {
    /// JSON pointer to what is wrong; empty for the body as a whole.
    pub pointer: String,
    /// What was expected and what came.
    pub message: String,
}

#[cfg(test)]
mod tests;
