//! `plugin run`: a program that uses `wasi:nn`, on this machine and without a host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use bulkhead_registry::Batching;
use clap::Args;

use super::component;
use crate::cli::local;
use bulkhead::engine::{Brought, Engine, LoadOptions};
use bulkhead::runner::Runner;
use bulkhead::sandbox::{CommandOptions, Grants, LoadGrant, run_command};
use bulkhead::telemetry::metrics::Metrics;

/// Bytes of models that a program may bring along. Arbitrary: they are its user's own.
const LOAD_BYTES: usize = 2 << 30;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The component, which exports `wasi:cli/run`
    file: PathBuf,

    /// A model that it may load by name; may be given several times
    #[arg(long = "graph", value_name = "NAME=FILE", value_parser = graph)]
    graphs: Vec<(String, PathBuf)>,

    /// A folder that it may read, and what it knows that as; may be given several times
    #[arg(long = "dir", value_name = "DIR[::NAME]", value_parser = folder)]
    folders: Vec<(PathBuf, String)>,

    /// What it is given as arguments
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(super) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let bytes = component::read(&args.file)?;
    let found = component::inspect(&bytes).with_context(|| format!("`{}`", args.file.display()))?;
    if let Some(world) = found.world {
        anyhow::bail!(
            "`{}` is a plugin, a {world}: push it to a host; `plugin run` takes programs, which export `wasi:cli/run`",
            args.file.display()
        );
    }
    let engine = Arc::new(local::engine(local::cores(None))?);
    let metrics = Metrics::new()?;
    let mut graphs: BTreeMap<String, Arc<dyn Runner>> = BTreeMap::new();
    for (name, file) in &args.graphs {
        let model = load(&engine, file, &metrics).await.with_context(|| format!("the graph `{name}`, `{}`, can't be loaded", file.display()))?;
        graphs.insert(name.clone(), model);
    }
    let loader = Arc::new(Brought::new(engine, metrics.engine("", "", ""), None));
    let name = args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let options = CommandOptions {
        arguments: std::iter::once(name).chain(args.arguments).collect(),
        folders: args.folders,
        grants: Grants { graphs, load: Some(LoadGrant { max_bytes: LOAD_BYTES, loader }) },
    };
    let went_well = run_command(&bytes, options).await.with_context(|| format!("`{}` can't be run to its end", args.file.display()))?;
    Ok(if went_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn load(engine: &Arc<Engine>, file: &Path, metrics: &Metrics) -> anyhow::Result<Arc<dyn Runner>> {
    let metrics = metrics.engine("", "", "");
    let options =
        LoadOptions { instances: None, threads: None, cuda: None, batching: Batching::default(), warmup: Vec::new(), metrics, tenant: None };
    let (engine, file) = (Arc::clone(engine), file.to_owned());
    Ok(tokio::task::spawn_blocking(move || engine.load(&file, &options)).await??)
}

fn graph(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("expected NAME=FILE")?;
    Ok((name.to_owned(), file.into()))
}

fn folder(text: &str) -> Result<(PathBuf, String), String> {
    let (folder, name) = text.split_once("::").unwrap_or((text, text));
    if name.is_empty() || folder.is_empty() { Err("expected DIR or DIR::NAME".to_owned()) } else { Ok((folder.into(), name.to_owned())) }
}
