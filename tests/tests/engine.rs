//! The engine under a model that runs for as long as it is told to.

use std::time::{Duration, Instant};

use bulkhead_tests::{Answer, TestHost, fixtures};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// Rounds that take longer than any test.
const FOREVER: i64 = 1_000_000_000;

/// What a free engine needs for a short run, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(3);

fn rounds(n: i64) -> Value {
    json!({ "inputs": [{ "name": "n", "datatype": "INT64", "shape": [1], "data": [n] }] })
}

async fn run(host: &TestHost, n: i64) -> Answer {
    host.predict("slow", &rounds(n)).await
}

/// A short run is answered: the engine is free.
async fn is_free(host: &TestHost) {
    let began = Instant::now();
    let answer = run(host, 1).await.ok();
    assert_eq!(answer["outputs"][0]["data"], json!([1.0]));
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_request_that_runs_too_long_is_ended_and_frees_the_engine() {
    let host = TestHost::setup().env("BULKHEAD_HTTP_REQUEST_TIMEOUT_MS", "500").start().await;
    host.plain(&["slow"]).await;
    for _ in 0..3 {
        let began = Instant::now();
        run(&host, FOREVER).await.error(504, "deadline_exceeded").says("in time");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(10), "{took:?}");
        is_free(&host).await;
    }
    assert_eq!(host.metric("bulkhead_predict_requests_total", &[("model", "slow"), ("outcome", "deadline_exceeded")]).await, 3.0);
}

#[tokio::test]
async fn a_caller_may_say_how_long_it_waits() {
    let host = TestHost::start().await;
    host.plain(&["slow"]).await;
    for path in ["/v1/models/slow/predict", "/v2/models/slow/infer"] {
        let ask = async |timeout: &str| {
            let request = host.request(reqwest::Method::POST, path).header("x-bulkhead-timeout-ms", timeout).json(&rounds(FOREVER));
            host.send(request).await
        };
        let began = Instant::now();
        assert_eq!(ask("300").await.status, 504);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(10), "{took:?}");
        for odd in ["", "soon", "-1", "1.5", "99999999999"] {
            let answer = ask(odd).await;
            assert!(answer.status == 400 && answer.text().contains("whole milliseconds"), "{odd}: {}", answer.text());
        }
        is_free(&host).await;
    }
    // What models hold is known as long as they are there.
    let held = async || host.metric("bulkhead_engine_model_bytes", &[("model", "slow")]).await;
    let document = host.get("/v1/models/slow/versions/1.0.0").await.ok();
    let expected = document["size"].as_f64().unwrap_or_default() * document["engine"]["instances"].as_f64().unwrap_or_default();
    assert_eq!(held().await, expected);
    assert_eq!(host.post_json("/v2/repository/models/slow/unload", &json!({})).await.status, 200);
    bulkhead_tests::eventually("it is given back", AT_ONCE, async || held().await == 0.0).await;
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let host = TestHost::setup().env("BULKHEAD_HTTP_REQUEST_TIMEOUT_MS", "4000").start().await;
    host.deploy("slow", "1.0.0", &format!("{}\n[engine]\ninstances = 1\n[batching]\nmax_queue_size = 2", fixtures::PLAIN), fixtures::model("slow"))
        .await;
    // Long enough that the model is no longer taken for a tiny one.
    assert_eq!(run(&host, 500).await.status, 200);
    let answers = join_all((0..6).map(|_| async {
        let began = Instant::now();
        (run(&host, FOREVER).await, began.elapsed())
    }))
    .await;
    let (refused, expired): (Vec<_>, Vec<_>) = answers.iter().partition(|(answer, _)| answer.status == 503);
    for (answer, took) in &refused {
        answer.error(503, "overloaded").says("max_queue_size");
        assert!(!answer.header("retry-after").is_empty());
        assert!(*took < Duration::from_secs(3), "{took:?}");
    }
    for (answer, _) in &expired {
        answer.error(504, "deadline_exceeded");
    }
    // One runs and two wait; it depends on the first step of its thread whether the fourth still finds two.
    assert!((3..=4).contains(&refused.len()), "{} refused", refused.len());
    is_free(&host).await;
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_engine() {
    let host = TestHost::start().await;
    host.plain(&["slow"]).await;
    for _ in 0..3 {
        let gone = tokio::time::timeout(Duration::from_millis(300), join_all((0..3).map(|_| run(&host, FOREVER)))).await;
        assert!(gone.is_err());
        is_free(&host).await;
    }
    assert_eq!(host.metric("bulkhead_predict_requests_total", &[("model", "slow"), ("outcome", "cancelled")]).await, 9.0);
}

#[tokio::test]
async fn other_models_answer_while_one_runs_long() {
    let host = TestHost::start().await;
    host.plain(&["slow", "add_one"]).await;
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
    let others = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(host.predict("add_one", &body).await.status, 200);
        }
        began.elapsed()
    };
    tokio::select! {
        answer = run(&host, FOREVER) => panic!("{}", answer.text()),
        took = others => assert!(took < Duration::from_secs(10), "{took:?}"),
    }
}

#[tokio::test]
async fn several_instances_run_at_the_same_time() {
    let host = TestHost::start().await;
    host.deploy("slow", "1.0.0", &format!("{}\n[engine]\ninstances = 2\nthreads = 1", fixtures::PLAIN), fixtures::model("slow")).await;
    let answer = host.get("/v1/models/slow/versions/1.0.0").await.ok();
    assert_eq!((&answer["engine"]["instances"], &answer["engine"]["threads"]), (&json!(2), &json!(1)));
    assert_eq!(run(&host, 500).await.status, 200);
    tokio::select! {
        answer = run(&host, FOREVER) => panic!("{}", answer.text()),
        () = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            is_free(&host).await;
        } => {}
    }
}

#[tokio::test]
async fn the_runtime_keeps_no_records_of_its_use() {
    let home = tempfile::tempdir().expect("a folder");
    let library = bulkhead::config::find_onnxruntime(None).expect("ONNX Runtime's library: `make setup` fetches it");
    let setup = TestHost::setup().env("HOME", &home.path().to_string_lossy()).env("ORT_DYLIB_PATH", &library.to_string_lossy());
    let host = setup.env("XDG_CACHE_HOME", "").start().await;
    host.plain(&["add_one"]).await;
    let left: Vec<_> = std::fs::read_dir(home.path()).expect("a folder").flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
