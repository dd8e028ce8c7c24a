//! ONNX Runtime: the only folder that names `ort`.

mod ports;
mod session;
mod values;

use std::path::Path;

use ort::environment::Environment;
use ort::ep::ArenaExtendStrategy;
use ort::ep::cuda::ConvAlgorithmSearch;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::Source;
use super::backend::BackendError;
pub(super) use session::OnnxSession;

/// What the runtime's own message leaves open.
const CUDA_NEEDS: &str = "; CUDA needs a graphics card with its driver, the libraries of CUDA and cuDNN, and ONNX Runtime's library \
                          with CUDA (`deploy/setup/onnxruntime.sh --gpu` fetches it; `engine.library` names it)";

/// ONNX Runtime, loaded into this process once.
#[derive(Clone)]
pub(super) struct Onnx(Environment);

/// Where a session runs, and with how many threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionOptions {
    /// Threads of one run, the calling one counted.
    pub(super) threads: usize,
    /// A CUDA device; none for the CPU.
    pub(super) cuda: Option<i32>,
}

impl Onnx {
    /// Loads the shared library.
    ///
    /// # Errors
    /// With the loader's own message, where there is no such library or it is too old.
    pub(super) fn load(library: &Path) -> Result<Self, BackendError> {
        let environment = ort::init_from(library)
            .map_err(|error| BackendError::Refused(format!("ONNX Runtime can't be loaded from `{}`: {error}", library.display())))?
            .with_name("bulkhead")
            .with_telemetry(false)
            .build()
            .map_err(|error| refused(&error))?;
        Ok(Self(environment))
    }

    /// Loads a model.
    ///
    /// # Errors
    /// With the runtime's own message, without the file's path; where the device can't be had, instead of another.
    pub(super) fn session(&self, model: Source<'_>, options: SessionOptions) -> Result<OnnxSession, BackendError> {
        let mut builder = self.builder(options)?;
        let session = match model {
            Source::File(model) => builder.commit_from_file(model).map_err(|error| without_path(refused(&error), model))?,
            Source::Memory(model) => builder.commit_from_memory(model).map_err(|error| refused(&error))?,
        };
        if options.cuda.is_some() { OnnxSession::bound(session) } else { OnnxSession::new(session) }
    }

    /// Loads a model from its bytes, for one thread of the CPU and without optimising it.
    ///
    /// # Errors
    /// As [`Onnx::session`].
    pub(super) fn session_from_bytes(&self, model: &[u8]) -> Result<OnnxSession, BackendError> {
        let builder = self.builder(SessionOptions { threads: 1, cuda: None })?;
        let mut builder = builder.with_optimization_level(GraphOptimizationLevel::Disable).map_err(|error| refused(&error))?;
        OnnxSession::new(builder.commit_from_memory(model).map_err(|error| refused(&error))?)
    }

    fn builder(&self, options: SessionOptions) -> Result<SessionBuilder, BackendError> {
        let builder = Session::builder(&self.0).map_err(|error| refused(&error))?;
        let builder = builder.with_optimization_level(GraphOptimizationLevel::Level3).map_err(|error| refused(&error))?;
        // The runtime has a format of its own, whose reader is not meant for what strangers send.
        let builder = builder.with_config_entry("session.load_model_format", "ONNX").map_err(|error| refused(&error))?;
        let builder = builder.with_intra_threads(options.threads).map_err(|error| refused(&error))?;
        // A thread that spins while it waits for work takes a core from the sandboxes.
        let builder = builder.with_intra_op_spinning(false).map_err(|error| refused(&error))?;
        let Some(device) = options.cuda else { return Ok(builder) };
        let provider = ort::ep::CUDA::default()
            .with_device_id(device)
            // A batch of another size is another shape, for which the default would try every algorithm of each
            // convolution.
            .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
            // By default it doubles what it holds of the card, on which other models have their place too.
            .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested);
        builder.with_execution_providers([provider.build().error_on_failure()]).map_err(|error| BackendError::Device {
            device: format!("cuda:{device}"),
            why: format!("{}{CUDA_NEEDS}", error.message().trim_end().trim_end_matches('.')),
        })
    }
}

fn refused(error: &ort::Error<impl Sized>) -> BackendError {
    BackendError::Refused(error.message().to_owned())
}

/// The runtime names the file it read; callers have no use for it.
fn without_path(error: BackendError, model: &Path) -> BackendError {
    match error {
        BackendError::Refused(message) => BackendError::Refused(message.replace(&*model.to_string_lossy(), "the model")),
        other => other,
    }
}
