//! The bench: the host against a bare reference server doing the same work, as ratios measured in one run.
//!
//! It reports and never judges: a row that misses its target says so, and the exit status stays 0. An error ends it
//! where the two servers' answers differ, because a comparison of different work means nothing.

mod auth;
mod batching;
mod cache;
mod cases;
mod confined;
mod deploy;
mod hostile;
mod http;
mod json;
mod life;
mod load;
mod machine;
mod picture;
mod process;
mod reference;
mod report;
mod sandbox;
mod stats;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};

use report::Report;

/// The host's, so that allocation costs both servers the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the host against a bare reference server, and prints a table of ratios.
#[derive(Parser)]
#[command(name = "bulkhead-bench")]
struct Arguments {
    #[command(subcommand)]
    mode: Option<Mode>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Mode {
    /// Run the reference server; the bench starts itself so.
    #[command(hide = true)]
    Reference(reference::Flags),
}

#[derive(clap::Args)]
struct Options {
    /// The host's program, built for release.
    #[arg(long, default_value = "target/release/bulkhead")]
    bulkhead: PathBuf,
    /// The folder of built plugins.
    #[arg(long, default_value = "target/plugins")]
    plugins: PathBuf,
    /// The folder of demo models.
    #[arg(long, default_value = "deploy/demo")]
    demo: PathBuf,
    /// Fewer and shorter rounds: a first look, with more noise.
    #[arg(long)]
    quick: bool,
    /// Only these rows.
    #[arg(long, value_enum)]
    only: Vec<Row>,
    /// Write all numbers here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What can be measured; README.md says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    Plain,
    Iris,
    IrisWarm,
    Jpeg,
    Binary,
    Json,
    Batching,
    Predictor,
    Confined,
    Cache,
    Auth,
    Hostile,
    Sandbox,
    Upload,
    Restart,
    Memory,
}

impl Options {
    fn wants(&self, row: Row) -> bool {
        self.only.is_empty() || self.only.contains(&row)
    }

    /// Of each comparison; a median needs an odd number. Many short rounds rather than few long ones: a disturbance then
    /// spoils single pairs, which the median passes over.
    fn rounds(&self) -> usize {
        if self.quick { 7 } else { 31 }
    }

    fn plugin(&self, name: &str) -> PathBuf {
        self.plugins.join(name).with_extension("wasm")
    }
}

fn main() -> Result<()> {
    let Arguments { mode, options } = Arguments::parse();
    if let Some(Mode::Reference(flags)) = mode {
        return reference::run(&flags);
    }
    for needed in [
        &options.bulkhead,
        &options.plugin("tabular"),
        &options.plugin("classify"),
        &options.plugin("image"),
        &options.plugin("cascade"),
        &options.demo,
    ] {
        there(needed)?;
    }
    let mut report = Report::new(machine::describe());
    // The load generator takes the fewest threads that keep the servers busy: on two cores a second one would only
    // take processor time from what is measured.
    let threads = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 4).max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(until_told_to_stop(cases::run(&options, &mut report)))?;
    runtime.block_on(until_told_to_stop(json::run(&options, &mut report)))?;
    runtime.block_on(until_told_to_stop(batching::run(&options, &mut report)))?;
    runtime.block_on(until_told_to_stop(confined::run(&options, &mut report)))?;
    runtime.block_on(until_told_to_stop(cache::run(&options, &mut report)))?;
    runtime.block_on(until_told_to_stop(auth::run(&options, &mut report)))?;
    runtime.block_on(until_told_to_stop(hostile::run(&options, &mut report)))?;
    if options.wants(Row::Sandbox) {
        sandbox::run(&options, &mut report)?;
    }
    runtime.block_on(until_told_to_stop(life::run(&options, &mut report)))?;
    write!(std::io::stdout().lock(), "{}", report.markdown())?;
    if let Some(path) = &options.json {
        std::fs::write(path, report.json()?).with_context(|| format!("`{}` can't be written", path.display()))?;
    }
    Ok(())
}

/// Ends the servers with the bench, not only when the terminal tells all of them.
async fn until_told_to_stop(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = terminate.recv() => bail!("the bench was told to stop"),
    }
}

fn there(path: &Path) -> Result<()> {
    std::fs::metadata(path).map(drop).with_context(|| format!("`{}` is missing: `make bench` builds what the bench needs", path.display()))
}

/// A line about what is under way; the table alone goes to standard output.
fn progress(line: &str) {
    // Nobody may be reading.
    let _ = writeln!(std::io::stderr().lock(), "bench: {line}");
}
