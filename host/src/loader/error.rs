//! Why something can't be put in place.

use bulkhead_registry::{ArtifactError, ManifestError, PluginRef, StoreError};

use crate::engine::BackendError;
use crate::sandbox::{Refused, SandboxError};

/// Why something can't be put in place.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// The component breaks a rule.
    #[error(transparent)]
    Component(#[from] Refused),
    /// The manifest breaks a rule.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The runtime refuses the model; its own message.
    #[error("the model can't be loaded: {0}")]
    Model(String),
    /// The manifest does not fit the model.
    #[error("the manifest does not fit the model: `{pointer}`: {message}")]
    Unfit {
        /// JSON pointer into the manifest.
        pointer: String,
        /// What was expected and what came.
        message: String,
    },
    /// A runtime that this version has not.
    #[error("runtime `{0}` is not there yet in this version; only `onnx` is")]
    Runtime(String),
    /// The manifest names a plugin that isn't there.
    #[error("the manifest's transform `{0}` is no plugin that was uploaded: push it first")]
    MissingPlugin(PluginRef),
    /// A plugin refuses its configuration, or fails when it is asked about it.
    #[error("transform {at} (`{plugin}`) does not take its configuration, or fails to describe itself under it: {source}")]
    Config {
        /// Place in the manifest.
        at: usize,
        /// Which.
        plugin: PluginRef,
        /// What it says.
        source: SandboxError,
    },
    /// Transforms and model don't fit together.
    #[error("the transforms and the model do not fit: {0}")]
    Mismatch(String),
    /// Other bytes are there under this name and version.
    #[error("{what} is already there with other content (there: {there}, and its own manifest); versions never change: upload this as a new version")]
    AlreadyExists {
        /// Which.
        what: String,
        /// Digest of what is there.
        there: String,
    },
    /// Something still refers to it.
    #[error("{what} is in use by {}", .by.join(", "))]
    InUse {
        /// Which.
        what: String,
        /// By whom.
        by: Vec<String>,
    },
    /// There is none.
    #[error("there is no {0}")]
    NotFound(String),
    /// No version was in production before this one.
    #[error("model `{0}` has no earlier production version to go back to")]
    NothingToRollBack(String),
    /// Storing bytes failed.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host's own fault.
    #[error("{0}")]
    Host(String),
}

impl From<BackendError> for LoaderError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Manifest { pointer, message } => Self::Unfit { pointer, message },
            other => Self::Model(other.to_string()),
        }
    }
}
