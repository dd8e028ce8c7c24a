//! ONNX Runtime: one session behind a lock.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use parking_lot::Mutex;

/// The library that the host would take.
pub(crate) fn load() -> Result<Environment> {
    let library = bulkhead::config::find_onnxruntime(None).context("ONNX Runtime's library was not found: `bulkhead doctor` says how to get it")?;
    ort::init_from(library)?.with_name("reference").with_telemetry(false).build().map_err(failed)
}

/// A session with the host's settings; those of a small model have one thread.
pub(crate) fn session(environment: &Environment, model: &Path, threads: usize) -> Result<Mutex<Session>> {
    let builder = Session::builder(environment).map_err(failed)?;
    let builder = builder.with_optimization_level(GraphOptimizationLevel::Level3).map_err(failed)?;
    let builder = builder.with_intra_threads(threads).map_err(failed)?;
    let mut builder = builder.with_intra_op_spinning(false).map_err(failed)?;
    Ok(Mutex::new(builder.commit_from_file(model).map_err(failed)?))
}

fn failed<R>(error: ort::Error<R>) -> anyhow::Error {
    anyhow!("{}", error.message())
}
