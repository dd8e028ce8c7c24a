//! Versions change under load, and the host stops under load: nobody notices.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bulkhead_tests::{TestHost, eventually, fixtures, onnx};
use futures_util::future::join_all;
use serde_json::{Value, json};

const PLAIN: &str = fixtures::PLAIN;
const SOON: Duration = Duration::from_secs(20);

fn body() -> Value {
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] })
}

fn rounds(n: i64) -> Value {
    json!({ "inputs": [{ "name": "n", "datatype": "INT64", "shape": [1], "data": [n] }] })
}

#[tokio::test]
async fn new_versions_under_load_fail_no_request_and_never_go_back() {
    const TASKS: usize = 4;
    const LAST: u32 = 6;
    let host = TestHost::start().await;
    host.deploy("m", "1.0.0", PLAIN, onnx::with_note(&fixtures::model("add_one"), "1")).await;
    let (promoted, stop) = (AtomicU32::new(1), AtomicBool::new(false));
    let load = async || {
        let mut seen = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let at_least = promoted.load(Ordering::SeqCst);
            let answer = host.predict("m", &body()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.json()["outputs"][0]["data"], json!([2.0, 3.0, 4.0, 5.0]));
            let version: u32 = answer.header("x-bulkhead-version").split('.').next().unwrap().parse().unwrap();
            assert!(version >= at_least, "{version} after {at_least} was promoted");
            seen.push(version);
        }
        seen
    };
    let change = async {
        for version in 2..=LAST {
            let name = format!("{version}.0.0");
            host.deploy("m", &name, PLAIN, onnx::with_note(&fixtures::model("add_one"), &name)).await;
            let _ = host.promote("m", &name).await.ok();
            promoted.store(version, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (seen, ()) = tokio::join!(join_all((0..TASKS).map(|_| load())), change);
    for seen in &seen {
        assert!(seen.is_sorted(), "{seen:?}");
    }
    assert!(seen.iter().flatten().any(|version| *version == LAST));
    assert_eq!(host.metric("bulkhead_predict_requests_total", &[("outcome", "ok")]).await, seen.iter().map(Vec::len).sum::<usize>() as f64);
    for version in 1..LAST {
        let unloaded = async || host.state("m", &format!("{version}.0.0")).await == "unloaded";
        eventually("an old version is unloaded", SOON, unloaded).await;
    }
}

#[tokio::test]
async fn an_archived_version_is_loaded_when_it_is_asked_for() {
    let host = TestHost::start().await;
    for version in ["1.0.0", "2.0.0"] {
        host.deploy("m", version, PLAIN, onnx::with_note(&fixtures::model("add_one"), version)).await;
    }
    let _ = host.promote("m", "2.0.0").await.ok();
    eventually("the old version is unloaded", SOON, async || host.state("m", "1.0.0").await == "unloaded").await;
    let path = "/v1/models/m/versions/1.0.0/predict";
    let answers = join_all((0..8).map(|_| async { host.post_json(path, &body()).await })).await;
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!((answer.header("x-bulkhead-version"), answer.header("x-bulkhead-variant")), ("1.0.0", "pinned"));
    }
    assert_eq!(host.state("m", "1.0.0").await, "ready");
    assert_eq!(host.predict("m", &body()).await.header("x-bulkhead-version"), "2.0.0");
}

#[tokio::test]
async fn old_versions_give_their_memory_back() {
    const EXTENT: u32 = 2896;
    const MODEL_KB: u64 = EXTENT as u64 * EXTENT as u64 * 4 / 1024;
    let host = TestHost::start().await;
    let mut used = Vec::new();
    for version in 1..=8 {
        let name = format!("{version}.0.0");
        host.deploy("m", &name, PLAIN, onnx::scaled_identity(EXTENT, version as f32)).await;
        let _ = host.promote("m", &name).await.ok();
        let row = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, EXTENT], "data": vec![1; EXTENT as usize] }] });
        assert_eq!(host.predict("m", &row).await.ok()["outputs"][0]["data"][7], version as f32);
        if version > 1 {
            let before = format!("{}.0.0", version - 1);
            eventually("the old version is unloaded", SOON, async || host.state("m", &before).await == "unloaded").await;
            let unloaded = async || {
                host.log().iter().any(|line| line["version"] == before && line["message"].as_str().is_some_and(|text| text.contains("unloaded")))
            };
            eventually("the old version is freed", SOON, unloaded).await;
        }
        used.push(host.resident_kb());
    }
    // Seven models more would be seven times the size of one, at least.
    let grown = used[7].saturating_sub(used[0]);
    assert!(grown < MODEL_KB * 3 / 2, "{grown} kB more after seven swaps of {MODEL_KB} kB: {used:?}");
}

#[tokio::test]
async fn a_request_on_the_old_version_is_answered_by_it() {
    let host = TestHost::start().await;
    let slow = fixtures::model("slow");
    for version in ["1.0.0", "2.0.0"] {
        host.deploy("slow", version, PLAIN, onnx::with_note(&slow, version)).await;
    }
    let n = rounds_for(&host, Duration::from_millis(1500)).await;
    let body = rounds(n);
    let change = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = host.promote("slow", "2.0.0").await.ok();
    };
    let (answer, ()) = tokio::join!(host.predict("slow", &body), change);
    assert_eq!(answer.header("x-bulkhead-version"), "1.0.0");
    assert_eq!(answer.ok()["outputs"][0]["data"], json!([n as f64]));
}

/// How many rounds of `slow` take about so long here.
async fn rounds_for(host: &TestHost, duration: Duration) -> i64 {
    const TRIAL: i64 = 300;
    assert_eq!(host.predict("slow", &rounds(TRIAL)).await.status, 200);
    let began = Instant::now();
    assert_eq!(host.predict("slow", &rounds(TRIAL)).await.status, 200);
    (duration.as_micros() * TRIAL as u128 / began.elapsed().as_micros().max(1)) as i64
}

#[tokio::test]
async fn a_host_that_is_told_to_stop_answers_what_is_under_way() {
    let mut host = TestHost::start().await;
    host.plain(&["slow"]).await;
    let n = rounds_for(&host, Duration::from_millis(1500)).await;
    let body = rounds(n);
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        host.terminate();
        let refused = async || tokio::net::TcpStream::connect(host.address()).await.is_err();
        eventually("nobody new is let in", SOON, refused).await;
    };
    let (answer, ()) = tokio::join!(host.predict("slow", &body), stop);
    assert_eq!(answer.ok()["outputs"][0]["data"], json!([n as f64]));
    assert_eq!(host.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_host_that_is_told_to_stop_does_so_within_its_bound() {
    let mut host = TestHost::setup().env("BULKHEAD_HTTP_DRAIN_TIMEOUT_MS", "500").start().await;
    host.plain(&["slow"]).await;
    let body = rounds(1_000_000_000);
    let request = host.request(reqwest::Method::POST, "/v1/models/slow/predict").body(body.to_string());
    let cut = tokio::spawn(request.send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    host.terminate();
    assert_eq!(host.ended().await.code(), Some(0));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(cut.await.unwrap().is_err());
}

#[tokio::test]
async fn an_idle_host_stops_at_once() {
    let mut host = TestHost::start().await;
    // A connection that is kept open and says nothing.
    let _idle = tokio::net::TcpStream::connect(host.address()).await.unwrap();
    let _ = host.get("/health/live").await;
    let began = Instant::now();
    host.terminate();
    assert_eq!(host.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
