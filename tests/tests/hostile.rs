//! The hostile corpus: every file of `tests/cases/hostile` on one host, each with its own outcome in its own time, while a
//! neighbour is served as if nothing were. The folder's README.md says what each case is, and where those are tested that
//! are no component.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bulkhead_tests::{Answer, TestHost, WatFile, eventually, fixtures, onnx};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

/// Each misbehaviour is asked for so often.
const TIMES: u32 = 2;

/// Between two requests of the neighbour.
const PAUSE: Duration = Duration::from_millis(5);

/// Memory that the host may keep of all of it: the versions and plugins that are deployed then, pages of sandboxes that wait for
/// their next instance, and the allocator's.
const KEPT_KB: u64 = 128 << 10;

fn corpus() -> Vec<WatFile> {
    WatFile::all(&fixtures::workspace().join("tests/cases/hostile"))
}

/// What the header says must come of it: a status, and the code of an error.
fn is_expected(file: &WatFile, answer: &Answer) -> bool {
    let (status, code) = file.says("expect").split_once(' ').unwrap_or((file.says("expect"), ""));
    let has_status = answer.status.to_string() == status;
    let is_error = !code.is_empty();
    let has_code = is_error && serde_json::from_slice::<Value>(&answer.body).is_ok_and(|body| body["error"]["code"] == code);
    has_status && (!is_error || has_code) && answer.text().contains(file.says("says"))
}

/// The metric that counts it, with its labels; none where nothing went wrong.
fn counter(file: &WatFile, plugin: &str) -> Option<(String, Vec<(&'static str, String)>)> {
    if !file.says("counts").is_empty() {
        return Some((file.says("counts").to_owned(), Vec::new()));
    }
    let code = file.says("expect").split_once(' ')?.1;
    if file.says("when") == "upload" {
        return Some(("bulkhead_plugin_uploads_refused_total".to_owned(), vec![("why", code.to_owned())]));
    }
    let kind = if code == "plugin_error" { code } else { code.strip_prefix("plugin_")? };
    Some(("bulkhead_plugin_failures_total".to_owned(), vec![("plugin", plugin.to_owned()), ("kind", kind.to_owned())]))
}

async fn counted(host: &TestHost, counter: Option<&(String, Vec<(&'static str, String)>)>) -> f64 {
    let Some((name, labels)) = counter else { return 0.0 };
    let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
    host.metric(name, &labels).await
}

async fn run(host: &TestHost, file: &Arc<WatFile>) -> Result<(), String> {
    let name = format!("c{}", file.name);
    let counter = counter(file, &format!("{name}@0.1.0"));
    let before = counted(host, counter.as_ref()).await;
    let text = Arc::clone(file);
    let component = tokio::task::spawn_blocking(move || text.component()).await.map_err(|error| error.to_string())?;
    let limit = Duration::from_millis(file.says("within_ms").parse().map_err(|_| "no bound on its time")?);
    let mut times = 0;
    let uploaded = timed(limit, host.put_plugin(&name, "0.1.0", component)).await?;
    if file.says("when") == "upload" {
        times += 1;
        check(file, &uploaded)?;
    } else {
        if uploaded.status != 201 {
            return Err(format!("its upload: {}", uploaded.text()));
        }
        deploy(host, file, &name).await?;
        for _ in 0..TIMES {
            let request = host.request(Method::POST, &format!("/v1/models/{name}/predict")).header("content-type", "application/json");
            check(file, &timed(limit, host.send(request.header("x-shown", "yes").body("{}"))).await?)?;
            times += 1;
        }
    }
    let more = counted(host, counter.as_ref()).await - before;
    if counter.is_some() && more < f64::from(times) { Err(format!("counted {more} times, and happened {times} times")) } else { Ok(()) }
}

fn check(file: &WatFile, answer: &Answer) -> Result<(), String> {
    if is_expected(file, answer) { Ok(()) } else { Err(format!("expected {}, got {} {}", file.says("expect"), answer.status, answer.text())) }
}

async fn timed(limit: Duration, answer: impl Future<Output = Answer>) -> Result<Answer, String> {
    let began = Instant::now();
    let answer = answer.await;
    if began.elapsed() <= limit { Ok(answer) } else { Err(format!("took {:?}: {}", began.elapsed(), answer.text())) }
}

async fn deploy(host: &TestHost, file: &WatFile, name: &str) -> Result<(), String> {
    let sandbox = format!("[sandbox]\n{}", file.says("sandbox").replace(", ", "\n"));
    let at = format!("{name}/versions/1.0.0");
    let answer = if file.is_predictor() {
        let manifest = format!("runtime = \"predictor\"\nheaders = [\"x-shown\"]\n[predictor]\nplugin = \"{name}@0.1.0\"\n{sandbox}");
        host.put_form(&at, Form::new().part("manifest", Part::text(manifest).file_name("manifest.toml"))).await
    } else {
        let manifest = format!("{}\nheaders = [\"x-shown\"]\ntransforms = [{{ plugin = \"{name}@0.1.0\" }}]\n{sandbox}", fixtures::PLAIN);
        host.put_version(&at, &manifest, fixtures::model("identity_f32")).await
    };
    if answer.status == 201 { Ok(()) } else { Err(format!("its version: {}", answer.text())) }
}

/// An honest model with a plugin of the project.
async fn neighbour(host: &TestHost) {
    host.plugins(&["classify"]).await;
    let manifest = format!("{}\ntransforms = [{{ plugin = \"classify@0.1.0\", config = {{ labels = [\"a\", \"b\"] }} }}]", fixtures::PLAIN);
    host.deploy("neighbour", "1.0.0", &manifest, fixtures::model("identity_f32")).await;
    host.configured_ahead("neighbour", "1.0.0").await;
}

async fn ask_neighbour(host: &TestHost, its: &str) -> Duration {
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.0, 1.0] }] });
    let began = Instant::now();
    let request = host.request_as(its, Method::POST, "/v1/models/neighbour/predict").json(&body);
    assert_eq!(host.send(request).await.ok()["label"], "b");
    began.elapsed()
}

/// What takes far more than a second to compile, within all bounds of an upload.
fn bomb() -> Vec<u8> {
    let function = format!(
        "(func (param i64) (result i64) {} (local.get 0))",
        "(local.set 0 (i64.mul (local.get 0) (i64.add (local.get 0) (i64.const 3))))".repeat(20_000)
    );
    bulkhead_tests::wasm::transform(&function.repeat(40))
}

/// What is no component of its own: one that no compiler gets done with, and models that take their process along.
async fn beside_components(host: &TestHost) {
    host.put_plugin("bomb", "1.0.0", bomb()).await.error(422, "compile_failed");
    host.deploy("crash", "1.0.0", fixtures::PLAIN, onnx::named_identity("bulkhead.crash")).await;
    let crash = json!({ "inputs": [{ "name": "bulkhead.crash", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
    host.predict("crash", &crash).await.error(503, "engine_unavailable");
    let hungry = host.put_version("hungry/versions/1.0.0", fixtures::PLAIN, onnx::hungry(16)).await;
    hungry.error(422, "invalid_model").says("engine.process_memory_mb");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_ends_as_it_should_and_a_neighbour_notices_nothing() {
    let setup = TestHost::setup().env("BULKHEAD_AUTH_MODE", "required").env("BULKHEAD_SANDBOX_COMPILE_SECONDS", "5");
    let host = Arc::new(setup.env("BULKHEAD_ENGINE_PROCESS_MEMORY_MB", "256").start().await);
    let its = host.token("honest", "all");
    host.bear(&its);
    neighbour(&host).await;
    for _ in 0..200 {
        ask_neighbour(&host, &its).await;
    }
    // What is counted of uploads is no tenant's.
    host.bear(&host.mint(&["--tenant", "hostile", "--scope", "all", "--across", "models:read"]));
    let resident = host.resident_kb();
    let done = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (host, done) = (Arc::clone(&host), Arc::clone(&done));
        async move {
            let mut took = Vec::new();
            while !done.load(Ordering::Relaxed) {
                took.push(ask_neighbour(&host, &its).await);
                tokio::time::sleep(PAUSE).await;
            }
            took
        }
    });
    let (mut failures, mut count) = (Vec::new(), 0);
    for file in corpus().into_iter().map(Arc::new) {
        count += 1;
        let began = Instant::now();
        if let Err(failure) = run(&host, &file).await {
            failures.push(format!("{}: {failure}", file.name));
        }
        println!("{:>6} ms {}", began.elapsed().as_millis(), file.name);
    }
    beside_components(&host).await;
    done.store(true, Ordering::Relaxed);
    let mut took = load.await.expect("a neighbour that was served");
    took.sort();
    println!("{} requests of the neighbour, the slowest {:?}, 99 of 100 within {:?}", took.len(), took.last(), took[took.len() * 99 / 100]);
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
    assert!(count >= 80 && took.len() > count, "{count} cases, {} requests", took.len());
    assert_eq!(host.get("/health/ready").await.status, 200);
    eventually("memory returns", Duration::from_secs(60), async || host.resident_kb() < resident + KEPT_KB).await;
    println!("{resident} kB before, {} kB after", host.resident_kb());
}

#[tokio::test]
async fn what_can_not_be_compiled_in_time_is_refused_and_remembered() {
    let host = TestHost::setup().env("BULKHEAD_SANDBOX_COMPILE_SECONDS", "1").start().await;
    let bomb = bomb();
    let began = Instant::now();
    host.put_plugin("bomb", "1.0.0", bomb.clone()).await.error(422, "compile_failed").says("1 seconds of processor time");
    let first = began.elapsed();
    let began = Instant::now();
    host.put_plugin("bomb", "2.0.0", bomb).await.error(422, "compile_failed").says("1 seconds of processor time");
    let second = began.elapsed();
    assert!(second < first / 2, "{first:?}, then {second:?}");
    assert_eq!(host.metric("bulkhead_plugin_uploads_refused_total", &[("why", "compile_failed")]).await, 2.0);
    // Others are compiled as ever.
    assert_eq!(host.put_plugin("good", "1.0.0", bulkhead_tests::wasm::transform("")).await.status, 201);
}

#[test]
fn the_compilers_process_is_shut_in() {
    let mut command = bulkhead_tests::command();
    let mut compiler =
        command.args(["compile-component", "--cpu-seconds", "7"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    let proc = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", compiler.id())).expect("a process that waits for its input");
    let says = |text: &str, name: &str, value: &str| text.lines().any(|line| line.starts_with(name) && line.contains(value));
    let began = Instant::now();
    let is_filtered = || says(&proc("status"), "Seccomp:", "2");
    while !is_filtered() && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    if !is_filtered() {
        compiler.kill().expect("a process to end");
        compiler.wait().expect("a process that ended");
        return bulkhead_tests::cannot_run_here("no filter for system calls");
    }
    assert!(says(&proc("status"), "NoNewPrivs:", "1"));
    let limits = proc("limits");
    for (name, value) in [("Max cpu time", "7 "), ("Max open files", "3 "), ("Max file size", "0 "), ("Max core file size", "0 ")] {
        assert!(says(&limits, name, value), "{limits}");
    }
    let mut open: Vec<_> =
        std::fs::read_dir(format!("/proc/{}/fd", compiler.id())).expect("its files").map(|file| file.unwrap().file_name()).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
    // And as it is, it compiles.
    let component = bulkhead_tests::wasm::transform("");
    compiler.stdin.take().expect("standard input").write_all(&component).expect("a component that is taken");
    let done = compiler.wait_with_output().expect("native code");
    assert!(done.status.success() && done.stdout.starts_with(b"\x7fELF"));
}
