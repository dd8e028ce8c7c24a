//! What a neighbour notices of another tenant's floods: the latency of its requests beside one, against their latency alone.
//!
//! Both are tenants of one host, as it is by default once credentials are asked for: the neighbour's models run in the host's
//! process, since it is trusted, and the other's in one of their own. Who sends the flood shares this machine with the host, and
//! steps back for all others, or its own work would be what the neighbour notices.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bulkhead_tests::WatFile;
use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id};

use crate::http::{self, Connection};
use crate::load::Steady;
use crate::process::Server;
use crate::report::{Pair, Report, Target};
use crate::stats::{self, Ratio};
use crate::{Options, Row, batching, deploy, progress};

/// Of the neighbour.
const CONNECTIONS: u32 = 2;

/// Of its requests over one connection: a steady load, which leaves the machine to the flood.
const PACE: Duration = Duration::from_millis(2);

/// Of one round, of the neighbour.
const REQUESTS: usize = 1000;

const PLAIN: &str = "runtime = \"onnx\"\n";

const IRIS: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}"#;

/// What is sent without an end.
struct Flood {
    title: &'static str,
    connections: usize,
    /// The request of that number.
    request: Box<dyn Fn(usize) -> Arc<[u8]> + Send + Sync>,
    next: AtomicUsize,
}

impl Flood {
    /// Sends the same over and over.
    fn of(title: &'static str, connections: usize, request: Vec<u8>) -> Self {
        let request: Arc<[u8]> = request.into();
        Self { title, connections, request: Box::new(move |_| Arc::clone(&request)), next: AtomicUsize::new(0) }
    }

    fn next(&self) -> Arc<[u8]> {
        (self.request)(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Who asks: a line of the request's head.
async fn credential(options: &Options, data: &Path, tenant: &str) -> Result<String> {
    let mut command = tokio::process::Command::new(&options.bulkhead);
    let minted = command.args(["token", "mint", "--scope", "all", "--across", "all", "--tenant", tenant, "--data-dir"]).arg(data).output().await?;
    Ok(format!("authorization: Bearer {}\r\n", String::from_utf8(minted.stdout).context("a token")?.trim()))
}

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(Row::Hostile) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("host");
    let host = Server::host_with(options, &data, &[("BULKHEAD_AUTH_MODE", "required")]).await?;
    let (neighbour, other) = (credential(options, &data, "neighbour").await?, credential(options, &data, "other").await?);
    let mut connection = Connection::open(host.address).await?;
    let json = |credential: &str| format!("content-type: application/json\r\n{credential}");
    let trusted = http::request_with("PUT", "/v1/tenants/neighbour", &json(&neighbour), br#"{"trusted":true}"#);
    connection.send(&trusted).await?;
    for plugin in ["tabular", "classify"] {
        deploy::plugin_as(&mut connection, plugin, &deploy::read(&options.plugin(plugin))?, &neighbour).await?;
    }
    let (manifest, iris) = deploy::demo(options, "iris")?;
    let model = deploy::Model { name: "iris", version: "1.0.0", manifest: &manifest, artifact: &iris };
    deploy::model_as(&mut connection, &model, &neighbour).await?;
    let floods = floods(&mut connection, &other, &iris).await?;

    let sample = deploy::read(&options.demo.join("iris/sample.json"))?;
    let request = http::request_with("POST", "/v1/models/iris/predict", &json(&neighbour), &sample);
    let neighbour =
        Steady { address: host.address, connections: CONNECTIONS, request: request.into(), each: REQUESTS / CONNECTIONS as usize, pace: PACE };
    for flood in floods {
        progress(&format!("a neighbour of {}", flood.title));
        report.pairs.extend(beside(options, &host, &neighbour, flood).await?);
    }
    host.stop().await
}

/// All floods, with what they need in place.
async fn floods(connection: &mut Connection, other: &str, iris: &[u8]) -> Result<Vec<Flood>> {
    let files = WatFile::all(Path::new("tests/cases/hostile"));
    let component = |name: &str| -> Result<Vec<u8>> {
        Ok(files.iter().find(|file| file.name == name).with_context(|| format!("`tests/cases/hostile` has no `{name}`"))?.component())
    };
    let head = format!("content-type: application/json\r\n{other}");
    let predict = |model: &str, body: &[u8]| http::request_with("POST", &format!("/v1/models/{model}/predict"), &head, body);
    for (name, artifact) in [("plain", iris), ("dense", &bulkhead_tests::onnx::dense(&batching::WIDTHS))] {
        deploy::model_as(connection, &deploy::Model { name, version: "1.0.0", manifest: PLAIN, artifact }, other).await?;
    }
    let mut floods = vec![
        Flood::of("requests over 64 connections", 64, predict("plain", IRIS.as_bytes())),
        Flood::of("runs of a large model over 16 connections", 16, with(&batching::request("dense"), other)),
    ];
    for (title, name) in
        [("8 plugins that loop", "01-loop"), ("8 plugins that log", "15-log-flood"), ("8 plugins that call the host", "14-host-call-flood")]
    {
        deploy::plugin_as(connection, name, &component(name)?, other).await?;
        // Ends soon, and the next one begins at once.
        let manifest = format!("runtime = \"onnx\"\ntransforms = [{{ plugin = \"{name}@0.1.0\" }}]\n[sandbox]\ntimeout_ms = 50\n");
        deploy::model_as(connection, &deploy::Model { name, version: "1.0.0", manifest: &manifest, artifact: iris }, other).await?;
        floods.push(Flood::of(title, 8, predict(name, b"{}")));
    }
    let head = format!("content-type: application/wasm\r\n{other}");
    let line = "(local.set 0 (i64.mul (local.get 0) (i64.add (local.get 0) (i64.const 7))))";
    let function = format!("(func (param i64) (result i64) {} (local.get 0))", line.repeat(20_000));
    let component = bulkhead_tests::wasm::transform(&function.repeat(8));
    // Each is another one, within all bounds of an upload: a section that nobody reads has its number. Making whole ones meanwhile
    // would take the neighbour's processor.
    let bomb = move |at: usize| {
        let number = (at as u64).to_le_bytes();
        let another = [&component[..], &[0, 10, 1, b'n'], &number].concat();
        http::request_with("PUT", &format!("/v1/plugins/bomb-{at}/versions/0.1.0"), &head, &another).into()
    };
    floods.push(Flood { title: "components that take long to compile", connections: 2, request: Box::new(bomb), next: AtomicUsize::new(0) });
    Ok(floods)
}

/// A request with another line in its head.
fn with(request: &[u8], line: &str) -> Vec<u8> {
    let end = request.windows(2).position(|two| two == b"\r\n").map_or(0, |at| at + 2);
    [&request[..end], line.as_bytes(), &request[end..]].concat()
}

async fn beside(options: &Options, host: &Server, neighbour: &Steady, flood: Flood) -> Result<Vec<Pair>> {
    let title = flood.title;
    let flood = Arc::new(flood);
    neighbour.latencies().await?;
    let (mut beside, mut alone) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..options.rounds() {
        for flooded in [round % 2 == 0, round % 2 == 1] {
            let sender = flooded.then(|| Sender::start(host, Arc::clone(&flood))).transpose()?;
            if let Some(sender) = &sender {
                sender.begun().await;
            }
            let mut latencies = neighbour.latencies().await?;
            if let Some(sender) = sender {
                sender.end()?;
            }
            let into = if flooded { &mut beside } else { &mut alone };
            for (share, into) in [0.5, 0.99].into_iter().zip(into) {
                into.push(stats::percentile(&mut latencies, share).as_secs_f64() * 1e6);
            }
        }
    }
    let pairs = ["half", "99 of 100"].into_iter().enumerate().map(|(at, share)| Pair {
        title: format!(
            "latency of {share} of a tenant's requests (iris, two sandboxes, {} a second) beside another's {title} / alone",
            u128::from(CONNECTIONS) * 1000 / PACE.as_millis()
        ),
        unit: "µs",
        numbers: Ratio::of(&beside[at], &alone[at]),
        target: (at == 1).then_some(Target::AtMost(1.5)),
    });
    Ok(pairs.collect())
}

/// A thread that sends a flood.
struct Sender {
    go_on: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl Sender {
    fn start(host: &Server, flood: Arc<Flood>) -> Result<Self> {
        let (go_on, answered, address) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)), host.address);
        let (going, count) = (Arc::clone(&go_on), Arc::clone(&answered));
        let thread = std::thread::Builder::new().name("flood".to_owned()).spawn(move || {
            let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
            set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::<Result<()>>::new();
                for _ in 0..flood.connections {
                    let (flood, going, count) = (Arc::clone(&flood), Arc::clone(&going), Arc::clone(&count));
                    tasks.spawn(async move {
                        let mut connection = Connection::open(address).await?;
                        while going.load(Ordering::Relaxed) {
                            // However it is answered.
                            connection.exchange(&flood.next()).await?;
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(())
                    });
                }
                while let Some(ended) = tasks.join_next().await {
                    ended??;
                }
                Ok(())
            })
        })?;
        Ok(Self { go_on, answered, thread })
    }

    /// Waits until something of it was answered, if that takes no longer than some seconds.
    async fn begun(&self) {
        for _ in 0..500 {
            if self.answered.load(Ordering::Relaxed) > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn end(self) -> Result<()> {
        self.go_on.store(false, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the flood broke off"))??;
        anyhow::ensure!(self.answered.load(Ordering::Relaxed) > 0, "the flood was none: nothing of it was answered");
        Ok(())
    }
}
