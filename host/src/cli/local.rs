//! The engine in this process, for commands that need no host.

use bulkhead::aside::processors;
use bulkhead::config;
use bulkhead::engine::Engine;

/// As many cores as are wanted, else all.
pub(super) fn cores(wanted: Option<u32>) -> usize {
    wanted.map_or_else(processors, |cores| cores as usize)
}

/// The engine, over that many cores.
pub(super) fn engine(cores: usize) -> anyhow::Result<Engine> {
    let library = config::find_onnxruntime(None)
        .ok_or_else(|| anyhow::anyhow!("ONNX Runtime's library was not found: `bulkhead doctor` says how to get it"))?;
    Ok(Engine::start(&library, cores, usize::MAX)?)
}
