//! Models in a process of their tenant's own: they answer as others do, and end alone.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bulkhead::clock::Deadline;
use bulkhead::config::find_onnxruntime;
use bulkhead::confined::{Confined, Options};
use bulkhead::engine::Engine;
use bulkhead::runner::{RunError, Runner, Terms};
use bulkhead::telemetry::metrics::Metrics;
use bulkhead::tenants::{Tenants, Turns};
use bulkhead::tensor::{Datatype, Tensor};
use bulkhead_registry::{Manifest, Quotas};
use bulkhead_tests::{Answer, Setup, TestHost, eventually, fixtures, onnx};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

const PLAIN: &str = fixtures::PLAIN;
const SOON: Duration = Duration::from_secs(30);

/// Rounds of `slow` that take longer than any test.
const FOREVER: i64 = 1_000_000_000;

fn confined() -> Setup {
    TestHost::setup().env("BULKHEAD_ENGINE_ISOLATION", "process")
}

fn four(name: &str) -> Value {
    json!({ "inputs": [{ "name": name, "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] })
}

fn rounds(n: i64) -> Value {
    json!({ "inputs": [{ "name": "n", "datatype": "INT64", "shape": [1], "data": [n] }] })
}

/// The numbers of all processes of models so far.
fn processes(host: &TestHost) -> Vec<u64> {
    let is_start = |line: &Value| line["message"] == "a process of models runs";
    host.log().iter().filter(|line| is_start(line)).filter_map(|line| line["pid"].as_u64()).collect()
}

/// False where there is none of that number any more.
fn kill9(process: u64) -> bool {
    Command::new("sh").args(["-c", &format!("kill -KILL {process}")]).status().expect("a shell").success()
}

/// One that has ended may still have a row for its parent to read.
fn is_there(process: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn answers(host: &TestHost, model: &str) {
    eventually("the model answers", SOON, async || host.predict(model, &four("x")).await.status == 200).await;
    assert_eq!(host.predict(model, &four("x")).await.ok()["outputs"][0]["data"], json!([2.0, 3.0, 4.0, 5.0]));
}

/// Status and body, without what differs from request to request.
fn told(answer: &Answer) -> (u16, Value) {
    let mut body = answer.json();
    if let Some(error) = body["error"].as_object_mut() {
        error.remove("request_id");
    }
    (answer.status, body)
}

#[tokio::test]
async fn answers_and_refusals_are_those_of_the_hosts_own_process() {
    let (apart, within) = (confined().start().await, TestHost::start().await);
    let (iris, batched) = (fixtures::demo("iris/model.onnx"), format!("{PLAIN}\n[batching]\nmax_batch_size = 4"));
    for host in [&apart, &within] {
        host.plain(&["add_one", "two_inputs", "string_identity", "default_rank0", "table", "slow"]).await;
        host.deploy("iris", "1.0.0", PLAIN, iris.clone()).await;
        host.deploy("batched", "1.0.0", &batched, fixtures::model("add_one")).await;
        for (name, element) in onnx::TYPES {
            host.deploy(&name.to_lowercase(), "1.0.0", PLAIN, onnx::identity(element)).await;
        }
    }
    assert!(processes(&within).is_empty() && processes(&apart).len() == 1);
    let input = |name: &str, datatype: &str, shape: Value, data: Value| json!({ "inputs": [{ "name": name, "datatype": datatype, "shape": shape, "data": data }] });
    let large: Vec<f32> = (0..400_000).map(|at| at as f32).collect();
    let mut requests = vec![
        ("add_one", four("x")),
        ("batched", four("x")),
        ("slow", rounds(3)),
        // Larger than a lane is at first, in and out.
        ("add_one", input("x", "FP32", json!([100_000, 4]), json!(large))),
        ("add_one", input("x", "FP32", json!([0, 4]), json!([]))),
        ("add_one", input("x", "FP32", json!([1, 3]), json!([1, 2, 3]))),
        ("add_one", input("nobody", "FP32", json!([1, 4]), json!([1, 2, 3, 4]))),
        ("add_one", input("x", "INT64", json!([1, 4]), json!([1, 2, 3, 4]))),
        ("iris", input("features", "FP32", json!([2, 4]), json!([5.1, 3.5, 1.4, 0.2, 6.0, 3.0, 4.8, 1.8]))),
        ("string_identity", input("s", "BYTES", json!([2]), json!(["", "a\u{e9}\u{1F600}"]))),
    ];
    let names: Vec<String> = onnx::TYPES.iter().map(|(name, _)| name.to_lowercase()).collect();
    for (at, (datatype, _)) in onnx::TYPES.iter().enumerate() {
        let data = match *datatype {
            "BOOL" => json!([true, false]),
            "BYTES" => json!(["one", "two"]),
            _ => json!([1, 2]),
        };
        requests.push((&names[at], input("x", datatype, json!([2]), data)));
    }
    for (model, body) in &requests {
        let (one, other) = (apart.predict(model, body).await, within.predict(model, body).await);
        assert_eq!(told(&one), told(&other), "{model}");
    }
    for model in ["iris", "batched", "table", "default_rank0"] {
        for path in [format!("/v1/models/{model}/versions/1.0.0"), format!("/v2/models/{model}"), format!("/v2/models/{model}/config")] {
            let (mut one, mut other) = (apart.get(&path).await.ok(), within.get(&path).await.ok());
            for document in [&mut one, &mut other] {
                let fields = document.as_object_mut().expect("an object");
                fields.retain(|field, _| !field.ends_with("_at"));
            }
            assert_eq!(one, other, "{path}");
        }
    }
    for name in ["unknown_op", "truncated", "elsewhere"] {
        let at = format!("{name}/versions/1.0.0");
        let (one, other) = (apart.put_version(&at, PLAIN, fixtures::model(name)).await, within.put_version(&at, PLAIN, fixtures::model(name)).await);
        assert_eq!((one.status, one.json()["error"]["code"].clone()), (422, json!("invalid_model")), "{name}: {}", one.text());
        assert_eq!(other.json()["error"]["code"], "invalid_model", "{name}");
    }
    let elsewhere = apart.put_version("elsewhere/versions/1.0.0", PLAIN, fixtures::model("elsewhere")).await;
    elsewhere.error(422, "invalid_model").says("lies in another file");
    // What ran there is counted here.
    for (name, labels) in [("bulkhead_engine_batch_rows_count", [("model", "iris")]), ("bulkhead_engine_model_bytes", [("model", "iris")])] {
        assert_eq!(apart.metric(name, &labels).await, within.metric(name, &labels).await, "{name}");
    }
    let stats = async |host: &TestHost| host.get("/v2/models/iris/versions/1.0.0/stats").await.ok()["model_stats"][0]["inference_count"].clone();
    assert_eq!(stats(&apart).await, stats(&within).await);
    // None of all that has ended it.
    assert_eq!(processes(&apart).len(), 1);
}

#[tokio::test]
async fn who_waits_for_a_process_that_is_killed_is_told_and_the_next_are_answered() {
    let mut host = confined().start().await;
    host.plain(&["slow", "add_one"]).await;
    assert_eq!(host.predict("slow", &rounds(500)).await.status, 200);
    for killed in 1..=2 {
        let process = *processes(&host).last().expect("a process");
        let body = rounds(FOREVER);
        let kill = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(kill9(process));
        };
        let (one, other, ()) = tokio::join!(host.predict("slow", &body), host.predict("slow", &body), kill);
        for answer in [&one, &other] {
            answer.error(503, "engine_unavailable").says("try again");
            assert!(!answer.header("retry-after").is_empty());
        }
        answers(&host, "add_one").await;
        assert_eq!(host.predict("slow", &rounds(3)).await.status, 200);
        assert_eq!(processes(&host).len(), killed + 1);
    }
    assert_eq!(host.metric("bulkhead_predict_requests_total", &[("model", "slow"), ("outcome", "engine_unavailable")]).await, 4.0);
    // And so they are by a host that starts with them.
    host.restart().await;
    answers(&host, "add_one").await;
    let process = *processes(&host).last().expect("a process");
    for model in ["slow", "add_one"] {
        assert_eq!(host.post_json(&format!("/v2/repository/models/{model}/unload"), &json!({})).await.status, 200);
    }
    eventually("a process without models ends", SOON, async || !is_there(process)).await;
    assert_eq!(host.post_json("/v2/repository/models/add_one/load", &json!({})).await.status, 200);
    answers(&host, "add_one").await;
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_is_ended_and_its_process_is_not() {
    let host = confined().start().await;
    host.plain(&["slow"]).await;
    assert_eq!(host.predict("slow", &rounds(500)).await.status, 200);
    for _ in 0..3 {
        let body = rounds(FOREVER);
        let gone = tokio::time::timeout(Duration::from_millis(300), join_all((0..3).map(|_| host.predict("slow", &body)))).await;
        assert!(gone.is_err());
        // The session is free again, long before any deadline.
        let next = tokio::time::timeout(Duration::from_secs(10), host.predict("slow", &rounds(3))).await;
        assert_eq!(next.expect("an answer soon").status, 200);
    }
    // And so it is where it is the time that has run out.
    let request = host.request(Method::POST, "/v1/models/slow/predict").header("x-bulkhead-timeout-ms", "300").json(&rounds(FOREVER));
    host.send(request).await.error(504, "deadline_exceeded");
    assert_eq!(host.predict("slow", &rounds(3)).await.status, 200);
    assert_eq!(processes(&host).len(), 1);
}

#[tokio::test]
async fn while_tenants_share_threads_of_models_leave_one_processor() {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return bulkhead_tests::cannot_run_here("there is one processor alone");
    }
    let library = find_onnxruntime(None).expect("ONNX Runtime's library: `make setup` fetches it");
    let engine = Engine::start(&library, 2, 1 << 30).unwrap();
    let options = Options { program: fixtures::bulkhead(), library, cores: 2, memory_bytes: 256 << 20, max_queued_bytes: 1 << 30 };
    let (confined, tenants, turns) = (Confined::new(options, &engine), Tenants::new(Quotas::default(), 1), Turns::new(1));
    let [one, other] = ["one", "other"].map(|name| tenants.tenant(&name.parse().expect("a name")));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), fixtures::model("add_one")).unwrap();
    let (manifest, metrics) = (Manifest::from_toml(PLAIN).unwrap(), Metrics::new().unwrap());
    let keeper = confined.of(&one).unwrap();
    let load = async |name: &str| keeper.load(file.path().to_owned(), &manifest, metrics.engine("one", name, "1.0.0")).await.unwrap();
    let model = load("m").await;
    let process = keeper.process_id().expect("a process");
    // Which processors those of its threads may take that have this name.
    let processors = |named: &str| {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let status = |thread: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let field = |status: &str, name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        let mut found: Vec<_> =
            threads.map(status).filter(|status| field(status, "Name:") == named).map(|status| field(&status, "Cpus_allowed:")).collect();
        found.sort();
        found.dedup();
        assert!(!found.is_empty(), "no thread has the name `{named}`");
        found
    };
    run(&*model, "x").await.unwrap();
    let all = processors("bulkhead-lane");
    assert_eq!(processors("bulkhead-engine"), all);
    let meet = async || {
        for tenant in [&one, &other] {
            turns.in_turn(tenant, std::pin::pin!(async {})).await;
        }
        run(&*model, "x").await.unwrap();
    };
    eventually("one is left", SOON, async || {
        meet().await;
        processors("bulkhead-engine") != all
    })
    .await;
    assert_eq!(processors("bulkhead-lane"), all);
    // One that is loaded meanwhile leaves it too.
    let _second = load("n").await;
    eventually("all of them leave it", SOON, async || {
        meet().await;
        let left = processors("bulkhead-engine");
        left.len() == 1 && left != all
    })
    .await;
    eventually("it is taken again", SOON, async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        run(&*model, "x").await.unwrap();
        processors("bulkhead-engine") == all
    })
    .await;
}

#[tokio::test]
async fn a_process_that_crashes_again_and_again_is_left_alone_for_a_while() {
    let host = confined().start().await;
    host.plain(&["add_one"]).await;
    host.deploy("crash", "1.0.0", PLAIN, onnx::named_identity("bulkhead.crash")).await;
    let crash = four("bulkhead.crash");
    let ended = || host.log().iter().filter(|line| line["message"] == "a process of models ended").count();
    for crashes in 1..=5 {
        // It may be on its way back still, and then is asked again.
        eventually("the process ends", SOON, async || {
            host.predict("crash", &crash).await.error(503, "engine_unavailable");
            ended() >= crashes
        })
        .await;
        if crashes < 5 {
            // Innocent models of the same tenant come back with the process.
            answers(&host, "add_one").await;
        }
    }
    let is_open = || host.log().iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains("ended too often")));
    eventually("it is given up for a while", SOON, async || is_open()).await;
    let began = Instant::now();
    let refused = host.predict("add_one", &four("x")).await;
    refused.error(503, "engine_unavailable");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 1 && began.elapsed() < Duration::from_secs(2));
    let upload = host.put_version("late/versions/1.0.0", PLAIN, onnx::with_note(&fixtures::model("add_one"), "late")).await;
    upload.error(503, "engine_unavailable").says("too often");
    answers(&host, "add_one").await;
    assert_eq!(processes(&host).len(), 6);
}

#[tokio::test]
async fn a_run_that_does_not_end_is_ended_with_its_process() {
    let host = confined().env("BULKHEAD_HTTP_REQUEST_TIMEOUT_MS", "500").start().await;
    host.plain(&["add_one"]).await;
    host.deploy("hang", "1.0.0", PLAIN, onnx::named_identity("bulkhead.hang")).await;
    let process = processes(&host)[0];
    host.predict("hang", &four("bulkhead.hang")).await.error(504, "deadline_exceeded");
    // It gets some time for that, in which others are answered.
    assert!(is_there(process));
    answers(&host, "add_one").await;
    eventually("the process is ended", 2 * SOON, async || !is_there(process)).await;
    answers(&host, "add_one").await;
}

#[tokio::test]
async fn a_model_that_eats_memory_is_refused_and_the_others_go_on() {
    let host = confined().env("BULKHEAD_ENGINE_PROCESS_MEMORY_MB", "256").start().await;
    host.plain(&["add_one"]).await;
    host.deploy("modest", "1.0.0", PLAIN, onnx::hungry(1)).await;
    let hungry = onnx::hungry(16);
    assert!(hungry.len() < 10_000);
    let began = Instant::now();
    let refused = host.put_version("hungry/versions/1.0.0", PLAIN, hungry).await;
    refused.error(422, "invalid_model").says("engine.process_memory_mb");
    assert!(began.elapsed() < SOON);
    answers(&host, "add_one").await;
    assert_eq!(host.state("modest", "1.0.0").await, "ready");
    // What a load took was measured.
    let peaks = host.log();
    let peak = peaks.iter().filter_map(|line| line["peak_bytes"].as_u64()).max().unwrap_or_default();
    assert!(peak > 60 << 20, "{peak}");
}

#[tokio::test]
async fn a_process_ends_with_its_host_however_that_ends() {
    let mut host = confined().start().await;
    host.plain(&["slow"]).await;
    let process = processes(&host)[0];
    // While it works, too.
    let request = host.request(reqwest::Method::POST, "/v1/models/slow/predict").body(rounds(FOREVER).to_string());
    let _cut = tokio::spawn(request.send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(is_there(process));
    host.kill9();
    eventually("the process ends with its host", SOON, async || !is_there(process)).await;
}

#[tokio::test]
async fn a_process_has_no_files_no_network_and_no_programs() {
    let host = confined().start().await;
    host.deploy("escape", "1.0.0", PLAIN, onnx::named_identity("bulkhead.escape")).await;
    let process = processes(&host)[0];
    let lacks: Vec<Value> = host.log().into_iter().filter(|line| line.get("lacks").is_some()).collect();
    if !lacks.is_empty() {
        return bulkhead_tests::cannot_run_here(&format!("{lacks:?}"));
    }
    let answer = host.predict("escape", &four("bulkhead.escape")).await;
    answer.error(400, "inference_failed").says("done: []");
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).expect("the process's state");
    let status = read("status");
    for expected in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(expected), "{status}");
    }
    let limits = read("limits");
    let limit = |name: &str| {
        limits.lines().find(|line| line.starts_with(name)).unwrap_or_default().split_whitespace().rev().nth(2).unwrap_or_default().to_owned()
    };
    for name in ["Max core file size", "Max file size"] {
        assert_eq!(limit(name), "0", "{name}");
    }
    assert!(limit("Max data size").parse::<u64>().is_ok(), "{limits}");
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).expect("its files").flatten();
    let open: Vec<_> = open.filter_map(|file| std::fs::read_link(file.path()).ok()).map(|file| file.display().to_string()).collect();
    let status = format!("/proc/{process}/status");
    assert!(open.iter().all(|file| ["socket:", "pipe:", "/dev/null", "/memfd:", &status].iter().any(|kind| file.starts_with(kind))), "{open:?}");
}

#[tokio::test]
async fn what_runs_moves_once_its_tenant_is_trusted_or_is_not_any_more() {
    let host = TestHost::guarded().await;
    let (operator, acme) = (host.mint(&["--tenant", "ops", "--scope", "all", "--across", "admin:tenants"]), host.token("acme", "all"));
    let trust = async |trusted: bool| {
        host.bear(&operator);
        host.send(host.request(Method::PUT, "/v1/tenants/acme").json(&json!({ "trusted": trusted }))).await.ok();
        host.bear(&acme);
    };
    trust(true).await;
    host.plain(&["add_one"]).await;
    answers(&host, "add_one").await;
    assert_eq!(processes(&host), [0_u64; 0]);
    // Whoever asks meanwhile notices nothing.
    let moved = async |times: usize| {
        let says_so = |line: &&Value| line["message"] == "a version moved to where it belongs now";
        eventually("it moves", SOON, async || {
            host.predict("add_one", &four("x")).await.ok();
            host.log().iter().filter(says_so).count() == times
        })
        .await;
    };
    trust(false).await;
    moved(1).await;
    let [process] = processes(&host)[..] else { panic!("one process") };
    assert!(kill9(process));
    host.predict("add_one", &four("x")).await.expect(503);
    answers(&host, "add_one").await;
    trust(true).await;
    moved(2).await;
    eventually("nothing is left apart", SOON, async || !processes(&host).into_iter().any(is_there)).await;
    answers(&host, "add_one").await;
}

fn tensor(name: &str) -> Vec<Tensor> {
    let data = [1.0f32; 4].iter().flat_map(|value| value.to_le_bytes()).collect();
    vec![Tensor { name: name.to_owned(), datatype: Datatype::Fp32, shape: vec![1, 4], data }]
}

async fn run(model: &dyn Runner, input: &str) -> Result<(), RunError> {
    model.run(tensor(input), Terms::by(Deadline::after(SOON))).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_tenants_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: Vec<u8>| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let library = find_onnxruntime(None).expect("ONNX Runtime's library: `make setup` fetches it");
    let engine = Engine::start(&library, 2, 1 << 30).unwrap();
    let options = Options { program: fixtures::bulkhead(), library, cores: 2, memory_bytes: 256 << 20, max_queued_bytes: 1 << 30 };
    let confined = Confined::new(options, &engine);
    let tenants = Tenants::new(Quotas::default(), 1);
    let of = |tenant: &str| tenants.tenant(&tenant.parse().expect("a name"));
    let metrics = Metrics::new().unwrap();
    let manifest = Manifest::from_toml(PLAIN).unwrap();
    let load = async |tenant: &str, path: &Path| {
        confined.of(&of(tenant)).unwrap().load(path.to_owned(), &manifest, metrics.engine(tenant, "m", "1.0.0")).await
    };
    let (good, crash, hungry) =
        (file("good", fixtures::model("add_one")), file("crash", onnx::named_identity("bulkhead.crash")), file("hungry", onnx::hungry(16)));
    let quiet = load("quiet", &good).await.unwrap();
    let hostile = load("hostile", &crash).await.unwrap();
    let process = confined.of(&of("quiet")).unwrap().process_id();
    assert!(process.is_some() && process != confined.of(&of("hostile")).unwrap().process_id());
    let stop = Arc::new(AtomicBool::new(false));
    let others = {
        let (quiet, stop) = (Arc::clone(&quiet), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut answered = 0;
            while !stop.load(Ordering::SeqCst) {
                run(&*quiet, "x").await.unwrap();
                answered += 1;
            }
            answered
        })
    };
    // By itself, by its memory, and by whoever kills it.
    assert!(matches!(run(&*hostile, "bulkhead.crash").await, Err(RunError::EngineGone { .. })));
    assert!(load("hostile", &hungry).await.err().expect("an error").to_string().contains("engine.process_memory_mb"));
    let keeper = confined.of(&of("hostile")).unwrap();
    eventually("it runs again, and is killed", SOON, async || keeper.process_id().is_some_and(|process| kill9(process.into()))).await;
    eventually("it ends again", SOON, async || matches!(run(&*hostile, "bulkhead.crash").await, Err(RunError::EngineGone { .. }))).await;
    eventually("it runs again", SOON, async || keeper.process_id().is_some()).await;
    stop.store(true, Ordering::SeqCst);
    assert!(others.await.unwrap() > 0);
    assert_eq!(confined.of(&of("quiet")).unwrap().process_id(), process);
}

#[tokio::test]
async fn requests_of_another_tenant_are_all_answered_meanwhile() {
    let host = confined().env("BULKHEAD_AUTH_MODE", "required").env("BULKHEAD_ENGINE_PROCESS_MEMORY_MB", "256").start().await;
    let [quiet, hostile] = ["quiet", "hostile"].map(|tenant| host.token(tenant, "all"));
    host.bear(&quiet);
    host.plain(&["add_one"]).await;
    host.bear(&hostile);
    host.deploy("crash", "1.0.0", PLAIN, onnx::named_identity("bulkhead.crash")).await;
    let predict = async |token: &str, model: &str, body: Value| {
        host.send(host.request_as(token, Method::POST, &format!("/v1/models/{model}/predict")).json(&body)).await
    };
    let [of_quiet, of_hostile] = processes(&host)[..] else { panic!("one process for each tenant") };
    let stop = AtomicBool::new(false);
    let goes_on = async {
        let mut answered = 0;
        while !stop.load(Ordering::SeqCst) {
            let answer = predict(&quiet, "add_one", four("x")).await;
            assert_eq!(answer.ok()["outputs"][0]["data"], json!([2.0, 3.0, 4.0, 5.0]));
            answered += 1;
        }
        answered
    };
    let ends = async {
        predict(&hostile, "crash", four("bulkhead.crash")).await.error(503, "engine_unavailable");
        eventually("it runs again", SOON, async || processes(&host).len() == 3).await;
        assert!(!is_there(of_hostile) && kill9(processes(&host)[2]));
        eventually("it runs once more", SOON, async || processes(&host).len() == 4).await;
        let hungry = host.put_version("hungry/versions/1.0.0", PLAIN, onnx::hungry(16)).await;
        hungry.error(422, "invalid_model").says("engine.process_memory_mb");
        stop.store(true, Ordering::SeqCst);
    };
    let (answered, ()) = tokio::join!(goes_on, ends);
    assert!(answered > 10, "{answered}");
    assert!(is_there(of_quiet));
    // Nor is the other's model there for either of them.
    predict(&quiet, "crash", four("x")).await.error(404, "not_found");
    predict(&hostile, "add_one", four("x")).await.error(404, "not_found");
}
