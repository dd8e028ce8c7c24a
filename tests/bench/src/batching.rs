//! A wide network of dense layers, whose weights cost more to read than to use: with batching, without, as a loop over full
//! batches without any server, and driven by a component in a sandbox for each request.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use ort::session::Session;
use ort::value::TensorRef;

use crate::http::{self, Connection};
use crate::load::Load;
use crate::process::Server;
use crate::report::{Compared, Pair, Report, Target};
use crate::stats::{Ratio, percentile};
use crate::{Options, Row, deploy, progress, reference};

/// About 100 MB of weights.
pub(crate) const WIDTHS: [u32; 4] = [1024, 4096, 4096, 1000];

/// Rows of a full batch: two of them keep 64 connections busy.
const BATCH: usize = 32;

const CROWD: usize = 64;

/// Times that each model is deployed. Where its weights happen to lie in memory makes one copy up to a tenth faster than
/// another; the rounds go through all of them.
const COPIES: usize = 3;

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(Row::Batching) && !options.wants(Row::Predictor) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let artifact = bulkhead_tests::onnx::dense(&WIDTHS);
    let path = folder.path().join("dense.onnx");
    std::fs::write(&path, &artifact)?;
    let host = Server::host(options, &folder.path().join("host")).await?;
    let mut connection = Connection::open(host.address).await?;
    let plain = "runtime = \"onnx\"\n";
    let batched = format!("{plain}[batching]\nmax_batch_size = {BATCH}\n");
    for copy in 0..COPIES {
        for (name, manifest) in [("alone", plain), ("batched", &batched)] {
            let name = format!("{name}-{copy}");
            deploy::model(&mut connection, &deploy::Model { name: &name, version: "1.0.0", manifest, artifact: &artifact }).await?;
        }
    }
    if options.wants(Row::Predictor) {
        deploy::plugin(&mut connection, options, "cascade").await?;
        for copy in 0..COPIES {
            let manifest = cascade(&format!("batched-{copy}"));
            deploy::model(&mut connection, &deploy::Model { name: &format!("driven-{copy}"), version: "1.0.0", manifest: &manifest, artifact: &[] })
                .await?;
        }
        driven(options, &host, report).await?;
    }
    let mut full = Loop::load(&path)?;
    for (connections, batched_requests, alone_requests) in [(1, 30, 30), (CROWD, 640, 128)].into_iter().filter(|_| options.wants(Row::Batching)) {
        progress(&format!("wide dense network, {connections} connections"));
        let mut batched = Side::open(&host, connections, "batched", batched_requests).await?;
        let mut alone = Side::open(&host, connections, "alone", alone_requests).await?;
        let mut of_loop = Vec::new();
        for round in 0..options.rounds() {
            if round % 2 == 0 {
                batched.round(&host, round).await?;
                alone.round(&host, round).await?;
            } else {
                alone.round(&host, round).await?;
                batched.round(&host, round).await?;
            }
            if connections == CROWD {
                of_loop.push(full.rows_per_second(batched_requests / BATCH)?);
            }
        }
        let of_batched = batched.rate.clone();
        report.compared.push(compared(connections, batched, alone));
        if connections == CROWD {
            report.pairs.push(Pair {
                title: format!(
                    "wide dense network, {CROWD} connections: rows a second, through `/v2` in batches of {BATCH} / in a loop over full ones"
                ),
                unit: "rows/s",
                numbers: Ratio::of(&of_batched, &of_loop),
                target: Some(Target::AtLeast(0.85)),
            });
        }
    }
    host.stop().await
}

/// A predictor that asks the same model in each of its requests: a cascade that is always sure.
fn cascade(model: &str) -> String {
    format!(
        "runtime = \"predictor\"\n[predictor]\nplugin = \"cascade@0.1.0\"\nconfig = {{ output = \"y\", sure_from = 0.0 }}\n\
         [predictor.grants]\ngraphs = {{ small = \"{model}@1.0.0\", big = \"{model}@1.0.0\" }}\n"
    )
}

/// The same requests, to the model itself and to a component that drives it.
async fn driven(options: &Options, host: &Server, report: &mut Report) -> Result<()> {
    const REQUESTS: usize = 640;
    progress(&format!("wide dense network, driven by a component, {CROWD} connections"));
    let mut driven = Side::open(host, CROWD, "driven", REQUESTS).await?;
    let mut straight = Side::open(host, CROWD, "batched", REQUESTS).await?;
    for round in 0..options.rounds() {
        if round % 2 == 0 {
            driven.round(host, round).await?;
            straight.round(host, round).await?;
        } else {
            straight.round(host, round).await?;
            driven.round(host, round).await?;
        }
    }
    report.compared.push(Compared {
        row: format!("{:?}", Row::Predictor),
        title: format!("wide dense network, `max_batch_size = {BATCH}`, by `compute` from {CROWD} sandboxes"),
        against: "straight through `/v2`".to_owned(),
        rate_target: Some(Target::AtLeast(0.85)),
        ..compared(CROWD, driven, straight)
    });
    Ok(())
}

/// One way to ask for it, and what it gave round by round.
struct Side {
    /// To each copy.
    loads: Vec<Load>,
    requests: usize,
    cpu: Vec<f64>,
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Side {
    async fn open(host: &Server, connections: usize, model: &str, requests: usize) -> Result<Self> {
        let mut loads = Vec::with_capacity(COPIES);
        for copy in 0..COPIES {
            let mut load = Load::open(host.address, connections, &request(&format!("{model}-{copy}"))).await?;
            load.round(requests).await?;
            loads.push(load);
        }
        Ok(Self { loads, requests, cpu: Vec::new(), rate: Vec::new(), p50: Vec::new(), p99: Vec::new() })
    }

    async fn round(&mut self, host: &Server, at: usize) -> Result<()> {
        let before = host.cpu()?;
        let mut round = self.loads[at % COPIES].round(self.requests).await?;
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        self.cpu.push(micros(host.cpu()? - before) / self.requests as f64);
        self.rate.push(self.requests as f64 / round.elapsed.as_secs_f64());
        self.p50.push(micros(percentile(&mut round.latencies, 0.5)));
        self.p99.push(micros(percentile(&mut round.latencies, 0.99)));
        Ok(())
    }
}

fn compared(connections: usize, batched: Side, alone: Side) -> Compared {
    Compared {
        row: format!("{:?}", Row::Batching),
        title: format!("wide dense network, `max_batch_size = {BATCH}`"),
        against: "without batching".to_owned(),
        connections,
        cpu_us: Ratio::of(&batched.cpu, &alone.cpu),
        requests_per_second: Ratio::of(&batched.rate, &alone.rate),
        p50_us: Ratio::of(&batched.p50, &alone.p50),
        p99_us: Ratio::of(&batched.p99, &alone.p99),
        cpu_target: None,
        rate_target: Some(Target::AtLeast(if connections == 1 { 0.97 } else { 4.0 })),
    }
}

fn row() -> Vec<f32> {
    (0..WIDTHS[0]).map(|at| (at % 251) as f32 / 251.0).collect()
}

pub(crate) fn request(model: &str) -> Vec<u8> {
    let values: Vec<u8> = row().iter().flat_map(|value| value.to_le_bytes()).collect();
    let json = format!(
        r#"{{"parameters":{{"binary_data_output":true}},"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{}],"parameters":{{"binary_data_size":{}}}}}]}}"#,
        WIDTHS[0],
        values.len()
    );
    let head = format!("inference-header-content-length: {}\r\n", json.len());
    http::request_with("POST", &format!("/v2/models/{model}/infer"), &head, &[json.as_bytes(), &values].concat())
}

/// ONNX Runtime with all cores and full batches, and nothing around it.
struct Loop {
    session: Session,
    batch: Vec<f32>,
}

impl Loop {
    fn load(model: &Path) -> Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let session = reference::onnx::session(&reference::onnx::load()?, model, cores)?.into_inner();
        Ok(Self { session, batch: row().repeat(BATCH) })
    }

    fn rows_per_second(&mut self, runs: usize) -> Result<f64> {
        let started = Instant::now();
        for _ in 0..runs {
            let value = TensorRef::from_array_view(([BATCH, WIDTHS[0] as usize], self.batch.as_slice()))?;
            let ran = self.session.run(ort::inputs!["x" => value])?;
            std::hint::black_box(&ran);
        }
        Ok((runs * BATCH) as f64 / started.elapsed().as_secs_f64())
    }
}
