//! A fresh sandbox, from its store's creation to its drop, around one call of a small transform: the host's own room
//! for sandboxes against a plain wasmtime loop, in one process and in turn.

mod host;
mod raw;

use anyhow::{Context as _, Result, anyhow};
use nix::time::{ClockId, clock_gettime};

use crate::report::{Pair, Report, Target};
use crate::stats::Ratio;
use crate::{Options, deploy, progress};

/// Cycles of one round.
const CYCLES: usize = 400;

/// What a cycle calls.
pub(crate) struct Trial {
    plugin: &'static str,
    config: &'static str,
    call: Call,
}

/// The call between the store's creation and its drop.
#[derive(Clone, Copy)]
enum Call {
    /// On a JSON record.
    Before(&'static str),
    /// On one tensor of floats of that name.
    After(&'static str, [f32; 3]),
}

const TRIALS: [Trial; 2] = [
    Trial {
        plugin: "classify",
        config: r#"{"kind":"probabilities","labels":["setosa","versicolor","virginica"]}"#,
        call: Call::After("probabilities", [0.1, 0.2, 0.7]),
    },
    Trial {
        plugin: "tabular",
        config: r#"{"columns":["sepal_length","sepal_width","petal_length","petal_width"]}"#,
        call: Call::Before(r#"{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}"#),
    },
];

/// Measures both, on one thread.
pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for trial in TRIALS {
        progress(&format!("fresh sandboxes of `{}`", trial.plugin));
        let cpu_us = runtime.block_on(compare(options, &trial)).with_context(|| format!("sandboxes of `{}`", trial.plugin))?;
        let title = format!("fresh sandbox of `{}`, one call: host / plain wasmtime loop", trial.plugin);
        report.pairs.push(Pair { title, unit: "µs", numbers: cpu_us, target: Some(Target::AtMost(0.5)) });
    }
    Ok(())
}

async fn compare(options: &Options, trial: &Trial) -> Result<Ratio> {
    let component = deploy::read(&options.plugin(trial.plugin))?;
    let host = host::Loop::new(options, trial, component.clone()).await?;
    let raw = raw::Loop::new(trial, &component).map_err(plain)?;
    host.cycles(CYCLES).await?;
    raw.cycles(CYCLES).await.map_err(plain)?;
    let (mut of_host, mut of_raw) = (Vec::new(), Vec::new());
    for round in 0..options.rounds() {
        if round % 2 == 0 {
            of_host.push(timed(host.cycles(CYCLES)).await?);
            of_raw.push(timed(async { raw.cycles(CYCLES).await.map_err(plain) }).await?);
        } else {
            of_raw.push(timed(async { raw.cycles(CYCLES).await.map_err(plain) }).await?);
            of_host.push(timed(host.cycles(CYCLES)).await?);
        }
    }
    Ok(Ratio::of(&of_host, &of_raw))
}

/// Microseconds of this thread's processor time for each cycle, the kernel's share included.
async fn timed(cycles: impl Future<Output = Result<()>>) -> Result<f64> {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(std::time::Duration::from);
    let before = now()?;
    cycles.await?;
    Ok((now()? - before).as_secs_f64() * 1e6 / CYCLES as f64)
}

/// wasmtime's errors are no standard ones.
fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}
