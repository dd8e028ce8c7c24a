//! Four ways in which a component fails to answer, and one in which the host does.

use std::time::Duration;

/// Why a sandbox gave no answer. Each variant is another status, log field and metric label.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SandboxError {
    /// The component says that the caller's input is wrong.
    #[error("{message}")]
    Invalid {
        /// JSON pointer to what is wrong; empty for the body as a whole.
        pointer: String,
        /// In the component's words.
        message: String,
    },
    /// The component says: not now.
    #[error("{0}")]
    Unavailable(String),
    /// The component says that something went wrong in it.
    #[error("{0}")]
    Internal(String),
    /// The component broke off: `unreachable`, out of bounds, an overflown stack, a malformed value.
    #[error("the plugin trapped: {0}")]
    Trapped(String),
    /// The component used up its time.
    #[error("the plugin used up its {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The component asked for more memory than it is granted, and broke off.
    #[error("the plugin needs more than the {0} MiB that it is granted")]
    OutOfMemory(u64),
    /// All sandboxes were taken until the request's time was up.
    #[error("all sandboxes are taken; try again in a moment")]
    Busy,
}

impl SandboxError {
    /// A short name for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_input",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "plugin_error",
            Self::Trapped(_) => "trapped",
            Self::Deadline(_) => "deadline",
            Self::OutOfMemory(_) => "out_of_memory",
            Self::Busy => "busy",
        }
    }
}

/// Ends a guest whose time is up; carried out of wasmtime as an error of its own, so that it can't be taken for a trap.
#[derive(Debug, thiserror::Error)]
#[error("the guest's time is up")]
pub(super) struct TimeIsUp;
