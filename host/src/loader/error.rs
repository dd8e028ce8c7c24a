//! Why something can't be put in place.

use std::time::Duration;

use bulkhead_registry::{ArtifactError, ManifestError, ModelRef, PluginRef, StoreError};

use crate::confined::LoadError;
use crate::engine::BackendError;
use crate::sandbox::{Refused, SandboxError};
use crate::tenants::Exceeded;
use crate::trust::{Barred, SignatureError};

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
    /// The process that runs the tenant's models can't be had just now.
    #[error("the process that runs this tenant's models ended too often, and is not started again yet; try again later")]
    Unavailable {
        /// Until it is tried again.
        retry_after: Duration,
    },
    /// The manifest does not fit the model.
    #[error("the manifest does not fit the model: `{pointer}`: {message}")]
    Unfit {
        /// JSON pointer into the manifest.
        pointer: String,
        /// What was expected and what came.
        message: String,
    },
    /// The device that the manifest names can't be had.
    #[error(transparent)]
    Device(BackendError),
    /// A runtime that this version has not.
    #[error("runtime `{0}` is not there yet in this version; `onnx` and `predictor` are")]
    Runtime(String),
    /// The manifest names a plugin that isn't there.
    #[error("`{0}`, which the manifest names, is no plugin that was uploaded: push it first")]
    MissingPlugin(PluginRef),
    /// The manifest grants a version that isn't there.
    #[error("the manifest grants `{0}`, which is no version of a model that was uploaded: push it first")]
    MissingGraph(ModelRef),
    /// A version that the manifest grants can't be had.
    #[error("the graph `{name}`, which is `{graph}`, can't be granted: {why}")]
    Graph {
        /// As the plugin calls it.
        name: String,
        /// Which.
        graph: ModelRef,
        /// Why not.
        why: String,
    },
    /// The tenant keeps, or has compiled, as much as it may.
    #[error(transparent)]
    Quota(#[from] Exceeded),
    /// It may not run: it was revoked, or nobody vouches for it.
    #[error(transparent)]
    Barred(#[from] Barred),
    /// The signatures that come with an upload are not accepted.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The manifest grants a plugin what it did not have, and whoever brings it may not.
    #[error("{0}")]
    Grant(String),
    /// The upload brings an artifact that the manifest has no use for, or lacks one that it needs.
    #[error("{0}")]
    Parts(String),
    /// A plugin is of a world that has no place where the manifest names it.
    #[error("`{at}` takes a plugin of the world `{expected}`, and `{plugin}` is a {got}")]
    World {
        /// JSON pointer to the plugin's use in the manifest.
        at: String,
        /// Which.
        plugin: PluginRef,
        /// The world that has its place there.
        expected: &'static str,
        /// Its own.
        got: &'static str,
    },
    /// A plugin refuses its configuration, or fails when it is asked about it.
    #[error("`{at}` (`{plugin}`) does not take its configuration, or fails to describe itself under it: {source}")]
    Config {
        /// JSON pointer to the plugin's use in the manifest.
        at: String,
        /// Which.
        plugin: PluginRef,
        /// What it says.
        source: SandboxError,
    },
    /// Plugins and models don't fit together.
    #[error("the plugins and the models do not fit: {0}")]
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
    #[error("{what} is still in use, and can't be deleted: {}", .by.join(", "))]
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
            error @ BackendError::Device { .. } => Self::Device(error),
            other => Self::Model(other.to_string()),
        }
    }
}

impl From<LoadError> for LoaderError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Backend(error) => error.into(),
            LoadError::Ended(why) => Self::Model(why),
            LoadError::Unavailable { retry_after } => Self::Unavailable { retry_after },
            LoadError::Host(why) => Self::Host(why),
        }
    }
}
