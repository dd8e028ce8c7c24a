//! Runs a component by hand: one that is a program, and uses `wasi:nn`, with the models and folders that its user names.
//!
//! For who writes such components: no host is needed, and what they ask of `wasi:nn` is answered as a host does. What it may
//! do is its user's affair: its time and memory are not bounded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_registry::Digest;
use prometheus::IntCounter;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::Command;
use wasmtime_wasi::{FsPerms, WasiCtx};

use super::imports::log::{LogLines, LogSource};
use super::imports::nn::Grants;
use super::store::Ctx;
use super::{engine, errand, imports};
use crate::clock::Deadline;
use crate::runner::Terms;

/// Bytes of its memories and tensors: all that such a component can address.
const MEMORY_BYTES: usize = 4 << 30;

/// How long it may take. Arbitrary: whoever waits for it can end it.
const TIME: Duration = Duration::from_secs(24 * 3600);

/// What a program gets.
#[derive(Default)]
pub struct CommandOptions {
    /// Its name and what follows it.
    pub arguments: Vec<String>,
    /// Folders of this machine, and what it knows them as; it may read them.
    pub folders: Vec<(PathBuf, String)>,
    /// Models.
    pub grants: Grants,
}

/// Runs a program to its end; true where it says that it went well. It prints where this process does.
///
/// # Errors
/// Where it is no such component, or breaks off.
pub async fn run_command(component: &[u8], options: CommandOptions) -> anyhow::Result<bool> {
    let other = |error: wasmtime::Error| anyhow::anyhow!("{error:#}");
    let engine = Engine::new(&engine::config()).map_err(other)?;
    let component = Component::from_binary(&engine, component).map_err(other).context("it is no component")?;
    let mut linker = Linker::new(&engine);
    imports::link(&mut linker).map_err(other)?;
    let mut wasi = WasiCtx::builder();
    wasi.inherit_stdio().args(&options.arguments);
    for (folder, name) in &options.folders {
        wasi.preopened_dir(folder, name, FsPerms::ReadOnly).map_err(other).with_context(|| format!("`{}` can't be opened", folder.display()))?;
    }
    let dropped = IntCounter::new("dropped", "Log lines over their bounds")?;
    let log = LogLines::new(Arc::new(LogSource::new(String::new(), Digest::of(b"").hex(), dropped)), "run".into());
    let mut ctx = Ctx::new(MEMORY_BYTES, log).with_graphs(Arc::new(options.grants)).with_wasi(wasi.build());
    let errands = match &mut ctx.nn {
        Some(nn) => {
            nn.serve(Terms::by(Deadline::after(TIME)));
            nn.errands.clone()
        }
        None => errand::Errands::default(),
    };
    let mut store = Store::new(&engine, ctx);
    store.limiter(|ctx| &mut ctx.meter);
    store.set_hostcall_fuel(MEMORY_BYTES);
    // Nothing ticks here.
    store.set_epoch_deadline(u64::MAX);
    let run = async {
        let program = Command::instantiate_async(&mut store, &component, &linker).await?;
        program.wasi_cli_run().call_run(&mut store).await
    };
    Ok(errand::drive(&errands, None, run).await.map_err(other)?.is_ok())
}
