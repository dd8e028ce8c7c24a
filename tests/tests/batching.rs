//! Requests that share runs of a model.
//!
//! A model with `preserve_ordering` never runs on its caller's thread, so that even a tiny one queues; a long delay and a
//! preferred size make what merges certain.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bulkhead_tests::{Answer, TestHost, eventually, fixtures};
use futures_util::future::join_all;
use serde_json::{Value, json};

fn tensor(name: &str, datatype: &str, shape: &[i64], data: &[i64]) -> Value {
    json!({ "name": name, "datatype": datatype, "shape": shape, "data": data })
}

/// Uploads a test model with `[batching]`; gives what the host says of how it batches.
async fn deploy(host: &TestHost, model: &str, batching: &str) -> Value {
    host.deploy(model, "1.0.0", &format!("{}\n[batching]\n{batching}", fixtures::PLAIN), fixtures::model(model)).await;
    let document = host.get(&format!("/v1/models/{model}/versions/1.0.0")).await.ok();
    document["engine"]["batching"].clone()
}

/// Batches of exactly `rows`, however long it takes.
fn exactly(rows: usize) -> String {
    format!("max_batch_size = {rows}\nmax_queue_delay_microseconds = 60000000\npreserve_ordering = true\n")
}

async fn predict(host: &TestHost, model: &str, inputs: &[Value]) -> Answer {
    host.predict(model, &json!({ "inputs": inputs })).await
}

/// The answer's JSON, which must be a success.
fn whole(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn data(answer: &Answer, output: usize) -> Value {
    whole(answer)["outputs"][output]["data"].clone()
}

/// Runs of a model, and the rows of all of them.
async fn runs(host: &TestHost, model: &str) -> (f64, f64) {
    let labels = [("model", model)];
    (host.metric("bulkhead_engine_batch_rows_count", &labels).await, host.metric("bulkhead_engine_batch_rows_sum", &labels).await)
}

#[tokio::test]
async fn requests_share_a_run_and_get_their_own_rows() {
    let host = TestHost::start().await;
    let batching = deploy(&host, "add_one", &exactly(8)).await;
    assert_eq!(batching, json!({ "max_batch_size": 8, "axes": { "x": 0, "y": 0 } }));
    let rows = |from: i64, rows: i64| tensor("x", "FP32", &[rows, 4], &(from..from + 4 * rows).collect::<Vec<_>>());
    let answers = join_all((0..4).map(async |n| predict(&host, "add_one", &[rows(n * 100, 2)]).await)).await;
    for (n, answer) in answers.iter().enumerate() {
        let n = n as i64;
        let expected: Vec<f64> = (n * 100 + 1..n * 100 + 9).map(|value| value as f64).collect();
        assert_eq!(data(answer, 0), json!(expected));
        assert_eq!(whole(answer)["outputs"][0]["shape"], json!([2, 4]));
    }
    assert_eq!(runs(&host, "add_one").await, (1.0, 8.0));
    assert_eq!(host.metric("bulkhead_predict_stage_seconds_count", &[("model", "add_one"), ("stage", "split")]).await, 4.0);
}

#[tokio::test]
async fn rows_along_another_axis_and_a_rate_that_all_have_in_common() {
    let host = TestHost::start().await;
    let batching = deploy(&host, "recurrent", &exactly(3)).await;
    assert_eq!(batching["axes"], json!({ "x": 0, "state": 1, "rate": null, "y": 0, "next": 1 }));
    let request = |n: i64, rate: i64| {
        let state: Vec<i64> = (0..6).map(|at| n * 10 + at).collect();
        [tensor("x", "FP32", &[1, 2], &[n, n + 1]), tensor("state", "FP32", &[2, 1, 3], &state), tensor("rate", "INT64", &[], &[rate])]
    };
    // Three of each rate: they merge among themselves only.
    let answers = join_all(
        [(1, 5), (2, 7), (3, 5), (4, 7), (5, 5), (6, 7)].map(async |(n, rate)| (n, rate, predict(&host, "recurrent", &request(n, rate)).await)),
    )
    .await;
    for (n, rate, answer) in &answers {
        assert_eq!(data(answer, 0), json!([(n * rate) as f64, ((n + 1) * rate) as f64]));
        let next: Vec<f64> = (0..6).map(|at| (n * 10 + at + 1) as f64).collect();
        assert_eq!(data(answer, 1), json!(next));
        assert_eq!(whole(answer)["outputs"][1]["shape"], json!([2, 1, 3]));
    }
    assert_eq!(runs(&host, "recurrent").await, (2.0, 6.0));
}

#[tokio::test]
async fn texts_of_different_lengths_are_padded_and_cropped() {
    let host = TestHost::start().await;
    let ragged = "ragged = { pad = { ids = 77 }, mask = \"mask\" }\n";
    let batching = deploy(&host, "token_sums", &format!("{}{ragged}", exactly(3))).await;
    assert_eq!(batching["max_batch_size"], 3, "{batching}");
    let answers = join_all((1..=3i64).map(async |length| {
        let ids: Vec<i64> = (1..=length).collect();
        let inputs = [tensor("ids", "INT64", &[1, length], &ids), tensor("mask", "INT64", &[1, length], &vec![1; ids.len()])];
        (ids, predict(&host, "token_sums", &inputs).await)
    }))
    .await;
    for (ids, answer) in &answers {
        assert_eq!(data(answer, 0), json!(ids), "cut to its own length");
        assert_eq!(data(answer, 1), json!([ids.iter().sum::<i64>()]));
    }
    assert_eq!(runs(&host, "token_sums").await, (1.0, 3.0));
}

#[tokio::test]
async fn a_bad_row_fails_alone() {
    let host = TestHost::start().await;
    deploy(&host, "table", &exactly(4)).await;
    let answers = join_all([0, 99, 2, 1].map(async |at| (at, predict(&host, "table", &[tensor("at", "INT64", &[1], &[at])]).await))).await;
    for (at, answer) in &answers {
        if *at == 99 {
            answer.error(400, "inference_failed").says("indices element out of data bounds");
        } else {
            assert_eq!(data(answer, 0), json!([(10 * (at + 1)) as f64]));
        }
    }
    assert_eq!(host.metric("bulkhead_engine_batches_retried_total", &[("model", "table")]).await, 1.0);
}

#[tokio::test]
async fn a_model_that_can_not_batch_is_served_unbatched_and_says_so() {
    let host = TestHost::start().await;
    for (model, why) in [
        ("centred", "rows influence each other: output `y`"),
        ("fixed_batch", "no input has an axis whose extent is open"),
        ("slow", "no input has an axis whose extent is open"),
    ] {
        let batching = deploy(&host, model, "max_batch_size = 8").await;
        assert_eq!(batching["max_batch_size"], 1);
        assert!(batching["why_not"].as_str().is_some_and(|text| text.contains(why)), "{model}: {batching}");
    }
    let row = [tensor("x", "FP32", &[1, 4], &[1, 2, 3, 4])];
    assert_eq!(data(&predict(&host, "fixed_batch", &row).await, 0), json!([2.0, 4.0, 6.0, 8.0]));
    // Who names the axes takes what batching does to the model.
    let manifest = format!("{}\n[batching]\nmax_batch_size = 8\naxes = {{ x = 0 }}", fixtures::PLAIN);
    host.deploy("centred", "2.0.0", &manifest, fixtures::model("centred")).await;
    let document = host.get("/v1/models/centred/versions/2.0.0").await.ok();
    assert_eq!(document["engine"]["batching"]["max_batch_size"], 8);
}

#[tokio::test]
async fn a_manifest_that_names_what_the_model_has_not_is_refused() {
    let host = TestHost::start().await;
    for (model, batching, pointer, says) in [
        ("add_one", "axes = { z = 0 }", "/batching/axes/z", "it has `x` [-1, 4], `y` [-1, 4]"),
        ("add_one", "axes = { x = 2 }", "/batching/axes/x", "not so many axes"),
        ("token_sums", "ragged = { pad = { ids = 0 }, mask = \"m\" }", "/batching/ragged/mask", "no input `m`"),
        ("token_sums", "ragged = { axis = 2, pad = { ids = 0 }, mask = \"mask\" }", "/batching/ragged/pad/ids", "along axis 2"),
        ("add_one", "ragged = { pad = { x = 0 }, mask = \"x\" }", "/batching/ragged/pad/x", "can't be padded along axis 1"),
    ] {
        let manifest = format!("{}\n[batching]\nmax_batch_size = 4\n{batching}", fixtures::PLAIN);
        let answer = host.put_version(&format!("{model}/versions/1.0.0"), &manifest, fixtures::model(model)).await;
        let error = answer.error(422, "invalid_manifest");
        error.says(says);
        assert_eq!(error.details["problems"][0]["pointer"], pointer);
    }
}

#[tokio::test]
async fn a_version_is_warmed_up_before_it_is_ready() {
    let host = TestHost::start().await;
    let warmup = |inputs: &str| format!("{}\n[[warmup]]\ncount = 2\ninputs = {{ {inputs} }}", fixtures::PLAIN);
    for (model, inputs) in [
        ("add_one", "x = { shape = [8, 4], data = \"random\" }"),
        ("two_inputs", "a = { shape = [1, 2], data = \"zero\" }, b = { shape = [1, 2], data = [0.5, 2] }"),
        ("string_identity", "x = { shape = [2], data = [\"one\", \"two\"] }"),
    ] {
        host.deploy(model, "1.0.0", &warmup(inputs), fixtures::model(model)).await;
    }
    for (model, inputs, says) in [
        ("add_one", "x = { shape = [8, 3], data = \"zero\" }", "input `x` takes the shape [-1, 4], got [8, 3]"),
        ("add_one", "z = { shape = [8, 4], data = \"zero\" }", "unknown input `z`: the model takes `x`"),
        ("two_inputs", "a = { shape = [1, 2], data = \"zero\" }", "input `b` is missing"),
        ("add_one", "x = { shape = [1, 4], data = [1, 2] }", "takes 4 elements, got 2"),
        ("add_one", "x = { shape = [4000000000, 4], data = \"zero\" }", "is larger than"),
        ("table", "at = { shape = [1], data = [99] }", "the run failed"),
    ] {
        let answer = host.put_version(&format!("{model}/versions/2.0.0"), &warmup(inputs), fixtures::model(model)).await;
        let error = answer.error(422, "invalid_manifest");
        error.says(says);
        assert_eq!(error.details["problems"][0]["pointer"], "/warmup/0");
    }
}

#[tokio::test]
async fn no_rows_are_refused() {
    let host = TestHost::start().await;
    deploy(&host, "add_one", "max_batch_size = 8").await;
    predict(&host, "add_one", &[tensor("x", "FP32", &[0, 4], &[])])
        .await
        .error(400, "invalid_input")
        .says("input `x` has no rows: its shape is [0, 4]");
}

#[tokio::test]
async fn a_preferred_size_goes_at_once_and_a_lone_request_waits_for_the_delay() {
    let host = TestHost::start().await;
    deploy(&host, "add_one", "max_batch_size = 8\npreferred_batch_size = [2]\nmax_queue_delay_microseconds = 1000000\npreserve_ordering = true")
        .await;
    let row = || [tensor("x", "FP32", &[1, 4], &[1, 2, 3, 4])];
    let began = Instant::now();
    whole(&predict(&host, "add_one", &row()).await);
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    join_all((0..2).map(async |_| whole(&predict(&host, "add_one", &row()).await))).await;
    assert_eq!(runs(&host, "add_one").await, (2.0, 3.0));
}

/// A request for the model `slow` that keeps its only session busy for a while.
fn rounds(n: i64) -> [Value; 1] {
    [tensor("n", "INT64", &[1], &[n])]
}

#[tokio::test]
async fn who_waits_too_long_is_refused_or_delayed() {
    let host = TestHost::start().await;
    deploy(&host, "slow", "default_timeout_microseconds = 200000\npreserve_ordering = true\n[engine]\ninstances = 1").await;
    // How long a round takes depends on the machine.
    let mut n = 1000;
    let took = loop {
        let began = Instant::now();
        whole(&predict(&host, "slow", &rounds(n)).await);
        if began.elapsed() > Duration::from_millis(300) {
            break began.elapsed();
        }
        n *= 2;
    };
    let rounds_of_seconds = rounds(n * 2);
    let long = predict(&host, "slow", &rounds_of_seconds);
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let began = Instant::now();
        (predict(&host, "slow", &rounds(1)).await, began.elapsed())
    };
    let (long, (refused, waited)) = tokio::join!(long, waiting);
    whole(&long);
    refused.error(503, "overloaded").says("waited 200000 µs");
    assert!(!refused.header("retry-after").is_empty());
    assert!(waited < Duration::from_secs(3) && waited < 2 * took, "{waited:?} of runs of twice {took:?}");
    // Or goes on waiting: behind whom, the queue's own tests say.
    let delay = "[batching]\ndefault_timeout_microseconds = 1000\ntimeout_action = \"DELAY\"\n[engine]\ninstances = 1";
    host.deploy("delayed", "1.0.0", &format!("{}\n{delay}", fixtures::PLAIN), fixtures::model("slow")).await;
    let (rounds_of_seconds, one_round) = (rounds(n * 2), rounds(1));
    let (long, late) = tokio::join!(predict(&host, "delayed", &rounds_of_seconds), predict(&host, "delayed", &one_round));
    whole(&long);
    whole(&late);
}

#[tokio::test]
async fn what_has_priority_goes_first() {
    let host = TestHost::start().await;
    deploy(&host, "slow", "priority_levels = 2\n[engine]\ninstances = 1").await;
    // Makes it a model that queues.
    whole(&predict(&host, "slow", &rounds(500)).await);
    let urgent = |priority: i64| json!({ "parameters": { "priority": priority }, "inputs": rounds(500) });
    let order = std::sync::Mutex::new(Vec::new());
    let request = async |after_ms: u64, priority: i64| {
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        whole(&host.predict("slow", &urgent(priority)).await);
        order.lock().expect("the order").push(priority);
    };
    // The first has the session; of those that wait for it, the last is the most urgent.
    tokio::join!(request(0, 1), request(50, 2), request(60, 2), request(90, 1));
    assert_eq!(*order.lock().expect("the order"), [1, 1, 2, 2]);
}

#[tokio::test]
async fn waiting_tensors_have_a_bound() {
    let host = TestHost::setup().env("BULKHEAD_ENGINE_MAX_QUEUED_MB", "1").start().await;
    deploy(&host, "identity_f32", "preserve_ordering = true").await;
    let row = [tensor("x", "FP32", &[1, 1 << 18], &vec![1; 1 << 18])];
    assert_eq!(predict(&host, "identity_f32", &row).await.status, 200, "a mebibyte fits");
    let more = [tensor("x", "FP32", &[1, (1 << 18) + 1], &vec![1; (1 << 18) + 1])];
    predict(&host, "identity_f32", &more).await.error(413, "payload_too_large").says("engine.max_queued_mb");
    // Two that fit, and not together: the first takes a second or so.
    deploy(&host, "big_matmul", "").await;
    let rows = 1000;
    let large = [tensor("x", "FP32", &[rows, 256], &vec![1; rows as usize * 256])];
    let is_over = AtomicBool::new(false);
    // Again and again: one may be over before anybody looks, or come while the other holds what it needs.
    let first = async {
        let mut answered = 0;
        while !is_over.load(Ordering::Relaxed) || answered == 0 {
            let answer = predict(&host, "big_matmul", &large).await;
            if answer.status == 503 {
                answer.error(503, "overloaded").says("engine.max_queued_mb");
            } else {
                whole(&answer);
                answered += 1;
            }
        }
    };
    let second = async {
        eventually("one is refused while another is under way", Duration::from_secs(20), async || {
            let answer = predict(&host, "identity_f32", &[tensor("x", "FP32", &[1, 1 << 16], &vec![1; 1 << 16])]).await;
            answer.status == 503 && answer.text().contains("engine.max_queued_mb")
        })
        .await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(first, second);
}
