//! `tune`: which settings suit a model on this machine.

use std::path::PathBuf;
use std::time::Duration;

use bulkhead_registry::{Batching, Device, Manifest};
use clap::Args;
use serde_json::{Value, json};

use super::table::Table;
use super::{local, out};
use bulkhead::engine::{Measured, Tuned, Wish};

/// Measures sizes of batches, sessions and threads for a model file, and prints the lines for its manifest.
#[derive(Debug, Args)]
pub(crate) struct TuneArgs {
    /// The model's file
    model: PathBuf,

    /// Its manifest, where that says how it batches
    #[arg(long)]
    manifest: Option<PathBuf>,

    /// What a request may take when the model has as much to do as it can
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    latency_ms: u64,

    /// Rows of one run at most
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_batch_size: u32,

    /// Cores to use [default: all]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    cores: Option<u32>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: TuneArgs) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || tune(&args)).await?
}

fn tune(args: &TuneArgs) -> anyhow::Result<()> {
    let manifest = args.manifest.as_deref().map(read_manifest).transpose()?;
    let cuda = match manifest.as_ref().map(|manifest| manifest.engine.device) {
        Some(Device::Cuda { id }) => Some(i32::try_from(id)?),
        _ => None,
    };
    let has_manifest = manifest.is_some();
    let batching = manifest.map_or_else(Batching::default, |manifest| manifest.batching);
    let cores = local::cores(args.cores);
    anyhow::ensure!(args.model.is_file(), "`{}` is no file", args.model.display());
    let engine = local::engine(cores)?;
    let wish = Wish { latency: Duration::from_millis(args.latency_ms), max_rows: args.max_batch_size as usize, cuda, batching };
    let mut seen = Vec::new();
    if !args.json {
        out::note(format!("measuring `{}` on {cores} cores; a busy machine spoils the numbers", args.model.display()));
    }
    let tuned = engine.tune(&args.model, &wish, |one| {
        if !args.json {
            out::note(format!(
                "  {} × {} threads, batch {}: {:.2} ms a run, {:.0} rows/s",
                one.instances,
                one.threads,
                one.rows,
                one.run.as_secs_f64() * 1e3,
                one.rows_per_second
            ));
        }
        seen.push(*one);
    })?;
    if args.json {
        return out::json(&document(&tuned, &lines(&tuned, cuda, has_manifest), &seen));
    }
    let mut table = Table::new(&["", "INSTANCES", "THREADS", "BATCH", "RUN", "LATENCY", "ROWS/S"]);
    for (name, one) in [("without batches", tuned.unbatched), ("best", tuned.best)] {
        let ms = |duration: Duration| format!("{:.2} ms", duration.as_secs_f64() * 1e3);
        table.row([
            name.to_owned(),
            one.instances.to_string(),
            one.threads.to_string(),
            one.rows.to_string(),
            ms(one.run),
            ms(one.latency()),
            format!("{:.0}", one.rows_per_second),
        ]);
    }
    out::note(table.render());
    out::line(lines(&tuned, cuda, has_manifest))
}

fn read_manifest(path: &std::path::Path) -> anyhow::Result<Manifest> {
    let text = std::fs::read_to_string(path).map_err(|error| anyhow::anyhow!("`{}` can't be read: {error}", path.display()))?;
    let read = if text.trim_start().starts_with('{') { Manifest::from_json(&text) } else { Manifest::from_toml(&text) };
    read.map_err(|error| anyhow::anyhow!("`{}`: {error}", path.display()))
}

/// The manifest's lines; of one that there is, only those that change.
fn lines(tuned: &Tuned, cuda: Option<i32>, has_manifest: bool) -> String {
    let Measured { instances, threads, rows, .. } = tuned.best;
    let batching = match (&tuned.why_not, rows) {
        (Some(why), _) => format!("# requests can't share a run: {why}\n"),
        (None, 1) => "# no [batching]: it gains nothing here\n".to_owned(),
        (None, rows) => format!("[batching]\n# {:.1} times as much as without\nmax_batch_size = {rows}\n\n", tuned.gain()),
    };
    let keep = if has_manifest { "# in place of these keys in your manifest; what else its sections say stays\n" } else { "" };
    let device = cuda.map(|id| format!("\ndevice = \"cuda:{id}\"")).unwrap_or_default();
    format!("{keep}{batching}[engine]\ninstances = {instances}\nthreads = {threads}{device}")
}

fn document(tuned: &Tuned, lines: &str, seen: &[Measured]) -> Value {
    let one = |measured: &Measured| {
        json!({
            "instances": measured.instances, "threads": measured.threads, "max_batch_size": measured.rows,
            "run_ms": measured.run.as_secs_f64() * 1e3, "latency_ms": measured.latency().as_secs_f64() * 1e3, "rows_per_second": measured.rows_per_second,
        })
    };
    json!({
        "best": one(&tuned.best),
        "without_batches": one(&tuned.unbatched),
        "gain": tuned.gain(),
        "why_not": tuned.why_not,
        "manifest": lines,
        "measured": seen.iter().map(one).collect::<Vec<_>>(),
    })
}
