//! Why a predict request has no answer.

use crate::runner::RunError;
use crate::sandbox::SandboxError;
use crate::tensor_json::Malformed;
use crate::trust::Barred;

/// Why a predict request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PredictError {
    /// A plugin gave none.
    #[error("plugin `{plugin}`: {source}")]
    Plugin {
        /// As `name@version`.
        plugin: String,
        /// What it did instead.
        source: SandboxError,
    },
    /// The model gave none.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The version may not run any more, since after the request had begun.
    #[error("the version does not answer any more: {0}")]
    Barred(Barred),
    /// The body is no tensors.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The body is none that this model can take.
    #[error(
        "this model takes tensors as JSON; got a body of type `{content_type}`, which needs a transform such as `image` or `tabular` in the manifest"
    )]
    NotTensors {
        /// What came.
        content_type: String,
    },
    /// An output was asked for twice.
    #[error("output `{name}` is asked for twice")]
    OutputTwice {
        /// Which.
        name: String,
    },
    /// An output was asked for that there isn't.
    #[error("the model has no output `{name}`: it gives {}", listed(have))]
    UnknownOutput {
        /// What was asked for.
        name: String,
        /// What there is.
        have: Vec<String>,
    },
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl PredictError {
    pub(super) fn plugin(plugin: &str, source: SandboxError) -> Self {
        Self::Plugin { plugin: plugin.to_owned(), source }
    }

    /// Whether another request of the same content may fare better: this one had no time, no place, or met a fault of the moment.
    pub(super) fn is_of_the_moment(&self) -> bool {
        match self {
            Self::Plugin { source, .. } => matches!(source, SandboxError::Unavailable(_) | SandboxError::Deadline(_) | SandboxError::Busy),
            Self::Run(error) => matches!(
                error,
                RunError::Overloaded { .. }
                    | RunError::OutOfMemory { .. }
                    | RunError::Waited { .. }
                    | RunError::Deadline
                    | RunError::Stopped
                    | RunError::EngineGone { .. }
            ),
            _ => false,
        }
    }

    /// The error's code: in answers and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Plugin { source, .. } => match source {
                SandboxError::Invalid { .. } => "invalid_input",
                SandboxError::Unavailable(_) => "plugin_unavailable",
                SandboxError::Internal(_) => "plugin_error",
                SandboxError::Trapped(_) => "plugin_trapped",
                SandboxError::Deadline(_) => "plugin_deadline",
                SandboxError::OutOfMemory(_) => "plugin_out_of_memory",
                SandboxError::Busy => "overloaded",
            },
            Self::Run(error) => match error {
                RunError::Invalid { .. } => "invalid_input",
                RunError::Overloaded { .. } | RunError::OutOfMemory { .. } | RunError::Waited { .. } => "overloaded",
                RunError::TooLarge { .. } => "payload_too_large",
                RunError::Deadline => "deadline_exceeded",
                RunError::Failed(_) => "inference_failed",
                RunError::EngineGone { .. } => "engine_unavailable",
                RunError::Stopped => "not_ready",
            },
            Self::Barred(Barred::Revoked { .. }) => "revoked",
            Self::Barred(Barred::Unsigned { .. }) => "not_ready",
            Self::Malformed(_) | Self::OutputTwice { .. } | Self::UnknownOutput { .. } => "invalid_input",
            Self::NotTensors { .. } => "unsupported_media_type",
        }
    }
}
