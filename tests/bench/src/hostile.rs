//! What a neighbour notices of plugins that never end: its latency beside them, against its latency alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use bulkhead_tests::WatFile;

use crate::http::{self, Connection};
use crate::load::Load;
use crate::process::Server;
use crate::report::{Pair, Report};
use crate::stats::{self, Ratio};
use crate::{Options, Row, deploy, progress};

const CONNECTIONS: usize = 8;

/// Of one round, of the neighbour.
const REQUESTS: usize = 2_000;

/// Plugins that loop at one time, for each core.
const LOOPS: usize = 4;

/// Ends soon, so that rounds with and without it can take turns; the next one begins at once.
const MANIFEST: &str = "runtime = \"onnx\"\ntransforms = [{ plugin = \"loops@0.1.0\" }]\n[sandbox]\ntimeout_ms = 50\n";

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(Row::Hostile) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let host = Server::host(options, &folder.path().join("host")).await?;
    let mut connection = Connection::open(host.address).await?;
    for plugin in ["tabular", "classify"] {
        deploy::plugin(&mut connection, options, plugin).await?;
    }
    let (manifest, artifact) = deploy::demo(options, "iris")?;
    deploy::model(&mut connection, &deploy::Model { name: "iris", version: "1.0.0", manifest: &manifest, artifact: &artifact }).await?;
    let files = WatFile::all(Path::new("tests/cases/hostile"));
    let component = files.iter().find(|file| file.name == "01-loop").context("`tests/cases/hostile` has no loop")?.component();
    connection.send(&http::request("PUT", "/v1/plugins/loops/versions/0.1.0", "application/wasm", &component)).await?;
    deploy::model(&mut connection, &deploy::Model { name: "loops", version: "1.0.0", manifest: MANIFEST, artifact: &artifact }).await?;

    let sample = deploy::read(&options.demo.join("iris/sample.json"))?;
    let request = http::request("POST", "/v1/models/iris/predict", "application/json", &sample);
    let mut neighbour = Load::open(host.address, CONNECTIONS, &request).await?;
    progress("a neighbour of plugins that loop");
    neighbour.round(REQUESTS).await?;
    let loops = LOOPS * std::thread::available_parallelism().map_or(1, usize::from);
    let (mut beside, mut alone) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..options.rounds() {
        for looping in [round % 2 == 0, round % 2 == 1] {
            let loops = Loops::start(&host, if looping { loops } else { 0 }).await?;
            let mut latencies = neighbour.round(REQUESTS).await?.latencies;
            loops.end().await?;
            let into = if looping { &mut beside } else { &mut alone };
            for (share, into) in [0.5, 0.99].into_iter().zip(into) {
                into.push(stats::percentile(&mut latencies, share).as_secs_f64() * 1e6);
            }
        }
    }
    for (at, share) in ["half", "99 of 100"].into_iter().enumerate() {
        report.pairs.push(Pair {
            title: format!("latency of {share} of a neighbour's requests (iris, two sandboxes, {CONNECTIONS} connections) beside {loops} plugins that loop / alone"),
            unit: "µs",
            numbers: Ratio::of(&beside[at], &alone[at]),
            target: None,
        });
    }
    host.stop().await
}

/// Requests to a plugin that loops, over and over.
struct Loops {
    go_on: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Result<()>>>,
}

impl Loops {
    async fn start(host: &Server, count: usize) -> Result<Self> {
        let (go_on, mut tasks) = (Arc::new(AtomicBool::new(true)), Vec::with_capacity(count));
        for _ in 0..count {
            let mut connection = Connection::open(host.address).await?;
            let go_on = Arc::clone(&go_on);
            tasks.push(tokio::spawn(async move {
                let request = http::request("POST", "/v1/models/loops/predict", "application/json", b"{}");
                while go_on.load(Ordering::Relaxed) {
                    connection.exchange(&request).await?;
                }
                Ok(())
            }));
        }
        Ok(Self { go_on, tasks })
    }

    async fn end(self) -> Result<()> {
        self.go_on.store(false, Ordering::Relaxed);
        for task in self.tasks {
            task.await??;
        }
        Ok(())
    }
}
