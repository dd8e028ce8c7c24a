//! What the engine asks of a runtime; the real one is ONNX Runtime, in `onnx/`.

use super::merge::View;
use crate::runner::Signature;
use crate::tensor::Tensor;

/// A model that is loaded, with what one run at a time needs.
pub(super) trait Backend: Send {
    /// What it takes and gives.
    fn signature(&self) -> &Signature;

    /// Runs it, and hands each output to `take`, in the order of the signature. `inputs` are checked against the signature
    /// and stand in its order; optional ones may be missing.
    ///
    /// # Errors
    /// With the runtime's own message, or what `take` refused.
    fn run(&mut self, inputs: &[Tensor], stop: &Stop, take: &mut Take<'_>) -> Result<(), BackendError>;

    /// Runs it and copies the outputs.
    ///
    /// # Errors
    /// With the runtime's own message.
    fn outputs(&mut self, inputs: &[Tensor], stop: &Stop) -> Result<Vec<Tensor>, BackendError> {
        let mut outputs = Vec::with_capacity(self.signature().outputs.len());
        self.run(inputs, stop, &mut |view| {
            outputs.push(view.into());
            Ok(())
        })?;
        Ok(outputs)
    }

    /// A handle that can end a run from another thread.
    ///
    /// # Errors
    /// Where the runtime can't make one.
    fn stop(&self) -> Result<Stop, BackendError>;
}

/// Gets each output of a run.
pub(super) type Take<'a> = dyn FnMut(View<'_>) -> Result<(), BackendError> + 'a;

/// Ends a run from another thread: the runtime gives up between two kernels.
pub(super) struct Stop(Box<dyn Terminate>);

/// What a runtime does to end a run.
pub(super) trait Terminate: Send + Sync + std::any::Any {
    /// Ends the run under way and each later one.
    fn set(&self);
    /// Lets runs go on again.
    fn clear(&self);
}

impl Stop {
    /// Wraps a runtime's own handle.
    pub(super) fn new(inner: impl Terminate) -> Self {
        Self(Box::new(inner))
    }

    /// Ends the run under way and each later one.
    pub(super) fn set(&self) {
        self.0.set();
    }

    /// Lets runs go on again.
    pub(super) fn clear(&self) {
        self.0.clear();
    }

    /// The runtime's own handle.
    pub(super) fn inner<T: 'static>(&self) -> Option<&T> {
        (&*self.0 as &dyn std::any::Any).downcast_ref()
    }
}

/// Why a runtime refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackendError {
    /// The model or the inputs, with the runtime's own message.
    #[error("{0}")]
    Refused(String),
    /// The manifest does not fit the model.
    #[error("`{pointer}`: {message}")]
    Manifest {
        /// JSON pointer into the manifest.
        pointer: String,
        /// What was expected and what came.
        message: String,
    },
    /// The device that the manifest names is not there, or the runtime has nothing for it.
    #[error("device `{device}` can't be had on this host: {why}")]
    Device {
        /// As the manifest has it.
        device: String,
        /// The runtime's own message, and what to do.
        why: String,
    },
    /// Ended by [`Stop`].
    #[error("the run was ended")]
    Stopped,
}
