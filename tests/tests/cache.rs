//! Answers that are kept for requests that ask the same.

use std::time::Duration;

use bulkhead_tests::{Answer, TestHost, eventually, fixtures};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

async fn deploy(host: &TestHost, model: &str, more: &str) {
    host.deploy(model, "1.0.0", &format!("{}\n[cache]\nttl_seconds = 600\n{more}", fixtures::PLAIN), fixtures::model(model)).await;
}

fn row(from: i64) -> Value {
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [from, 2, 3, 4] }] })
}

/// What came of the look into the cache.
#[track_caller]
fn event(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-bulkhead-cache")
}

async fn runs(host: &TestHost, model: &str) -> f64 {
    host.metric("bulkhead_engine_batch_rows_count", &[("model", model)]).await
}

#[tokio::test]
async fn the_same_question_is_answered_once_by_whatever_protocol() {
    let host = TestHost::start().await;
    deploy(&host, "add_one", "").await;
    let first = host.predict("add_one", &row(1)).await;
    assert_eq!(event(&first), "miss");
    let mut named = row(1);
    named["id"] = json!("mine");
    let second = host.predict("add_one", &named).await;
    assert_eq!(event(&second), "hit");
    assert_eq!(second.json()["id"], "mine", "the id is the request's own");
    assert_eq!(second.json()["outputs"], first.json()["outputs"]);
    // Another way to write the same numbers, over another protocol.
    let v2 = host
        .send(
            host.request(Method::POST, "/v2/models/add_one/infer")
                .body(r#"{"inputs":[{"data":[[1.0,2,3e0,4]],"shape":[1,4],"datatype":"FP32","name":"x"}]}"#),
        )
        .await;
    assert_eq!(event(&v2), "hit");
    assert_eq!(v2.json()["outputs"], first.json()["outputs"]);
    assert_eq!(event(&host.predict("add_one", &row(5)).await), "miss");
    assert_eq!(runs(&host, "add_one").await, 2.0);
    for (name, count) in [("hit", 2.0), ("miss", 2.0)] {
        assert_eq!(host.metric("bulkhead_cache_events_total", &[("model", "add_one"), ("event", name)]).await, count);
    }
    let stats = host.get("/v2/models/add_one/stats").await.ok()["model_stats"][0]["inference_stats"].clone();
    assert_eq!((&stats["cache_hit"]["count"], &stats["cache_miss"]["count"], &stats["success"]["count"]), (&json!(2), &json!(2), &json!(4)));
}

#[tokio::test]
async fn who_wants_a_new_answer_gets_one() {
    let host = TestHost::start().await;
    deploy(&host, "add_one", "").await;
    let ask = async |control: &str| {
        let request = host.request(Method::POST, "/v1/models/add_one/predict").json(&row(1)).header("cache-control", control);
        host.send(request).await
    };
    assert_eq!(event(&ask("no-store").await), "bypass");
    assert_eq!(event(&host.predict("add_one", &row(1)).await), "miss", "it was not kept");
    assert_eq!(event(&ask("max-age=0, no-cache").await), "bypass");
    assert_eq!(event(&host.predict("add_one", &row(1)).await), "hit");
    assert_eq!(runs(&host, "add_one").await, 3.0);
}

#[tokio::test]
async fn a_renewed_answer_is_everybodys() {
    let host = TestHost::start().await;
    host.deploy("dice", "1.0.0", &format!("{}\n[cache]\nttl_seconds = 600\n", fixtures::PLAIN), bulkhead_tests::onnx::dice()).await;
    let first = host.predict("dice", &row(1)).await;
    let mut spaced = row(1);
    spaced["inputs"][0]["data"][0] = json!(1.0);
    let ask = async || {
        let (same, other) = (host.predict("dice", &row(1)).await, host.predict("dice", &spaced).await);
        assert_eq!((event(&same), event(&other)), ("hit", "hit"));
        assert_eq!(same.json(), other.json());
        same.json()
    };
    // Twice: by what it says, and by its text.
    assert_eq!((ask().await, ask().await), (first.json(), first.json()));
    let request = host.request(Method::POST, "/v2/models/dice/infer").header("cache-control", "no-cache");
    let renewed = host.send(request.body(row(1).to_string())).await;
    assert_eq!(event(&renewed), "bypass");
    assert_ne!(renewed.json()["outputs"], first.json()["outputs"]);
    assert_eq!((&ask().await["outputs"], &ask().await["outputs"]), (&renewed.json()["outputs"], &renewed.json()["outputs"]));
    assert_eq!(runs(&host, "dice").await, 2.0);
}

#[tokio::test]
async fn many_that_ask_at_once_share_one_run() {
    let host = TestHost::start().await;
    deploy(&host, "slow", "").await;
    let rounds = json!({ "inputs": [{ "name": "n", "datatype": "INT64", "shape": [1], "data": [500] }] });
    let answers = join_all((0..16).map(|_| host.predict("slow", &rounds))).await;
    let events: Vec<&str> = answers.iter().map(event).collect();
    assert_eq!(events.iter().filter(|event| **event == "miss").count(), 1, "{events:?}");
    assert!(answers.iter().all(|answer| answer.json()["outputs"][0]["data"] == json!([500.0])));
    // The run on the caller's thread was ended when it lasted, and done again on the model's own.
    assert_eq!(runs(&host, "slow").await, 1.0);
}

#[tokio::test]
async fn an_answer_is_good_for_its_time_and_errors_never_are() {
    let host = TestHost::start().await;
    host.deploy("add_one", "1.0.0", &format!("{}\n[cache]\nttl_seconds = 1", fixtures::PLAIN), fixtures::model("add_one")).await;
    assert_eq!(event(&host.predict("add_one", &row(1)).await), "miss");
    eventually("the answer is out of date", PATIENCE, async || event(&host.predict("add_one", &row(1)).await) == "miss").await;
    deploy(&host, "table", "").await;
    let at = |at: i64| json!({ "inputs": [{ "name": "at", "datatype": "INT64", "shape": [1], "data": [at] }] });
    for _ in 0..2 {
        host.predict("table", &at(99)).await.error(400, "inference_failed");
    }
    assert_eq!(runs(&host, "table").await, 2.0, "both were tried");
    assert_eq!(event(&host.predict("table", &at(1)).await), "miss");
}

#[tokio::test]
async fn answers_take_no_more_than_their_share_of_memory() {
    let host = TestHost::start().await;
    deploy(&host, "identity_f32", "max_mb = 1").await;
    let wide = |elements: i64| json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, elements], "data": vec![1; elements as usize] }] });
    for _ in 0..2 {
        assert_eq!(event(&host.predict("identity_f32", &wide(1 << 19)).await), "miss", "two mebibytes do not fit");
    }
    assert_eq!(event(&host.predict("identity_f32", &wide(8)).await), "miss");
    assert_eq!(event(&host.predict("identity_f32", &wide(8)).await), "hit");
}

#[tokio::test]
async fn texts_of_answers_count_as_memory_too() {
    const KIB: usize = 64;
    let host = TestHost::start().await;
    deploy(&host, "identity_f32", "max_mb = 1").await;
    let elements = KIB * 1024 / 4;
    let wide = |of: usize| json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, elements], "data": vec![of; elements] }] });
    for of in 0..40 {
        // By what it says, then as text beside it, then by its text.
        for _ in 0..3 {
            assert_eq!(host.predict("identity_f32", &wide(of)).await.status, 200);
        }
    }
    let mut hits = 0;
    for of in 0..40 {
        hits += usize::from(event(&host.predict("identity_f32", &wide(of)).await) == "hit");
    }
    assert!(hits * KIB <= 1024, "{hits} answers of {KIB} KiB are kept in 1 MiB");
}

#[tokio::test]
async fn what_transforms_answer_is_kept_too() {
    let host = TestHost::start().await;
    host.plugins(&["tabular", "classify"]).await;
    let manifest = String::from_utf8(fixtures::demo("iris/manifest.toml")).expect("a manifest");
    host.deploy("iris", "1.0.0", &format!("{manifest}\n[cache]\nttl_seconds = 600\n"), fixtures::demo("iris/model.onnx")).await;
    let record = r#"{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}"#;
    let moved = r#"{ "petal_width": 0.2, "petal_length": 1.4, "sepal_width": 3.5, "sepal_length": 5.1 }"#;
    let ask = async |body: &str| host.post("/v1/models/iris/predict", "application/json", body).await;
    let first = ask(record).await;
    assert_eq!(event(&first), "miss");
    let second = ask(moved).await;
    assert_eq!(event(&second), "hit", "the order of keys says nothing");
    assert_eq!(second.body, first.body);
    // As text/csv it is another question, though a number of bytes be the same.
    assert_eq!(
        event(&host.post("/v1/models/iris/predict", "text/csv", "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n").await),
        "miss"
    );
    // A key that stands twice is the plugin's to refuse, whatever is kept.
    let twice = record.replace('}', r#","petal_width":0.2}"#);
    assert_ne!(ask(&twice).await.header("x-bulkhead-cache"), "hit");
}

#[tokio::test]
async fn who_does_not_ask_for_it_has_no_cache() {
    let host = TestHost::start().await;
    host.plain(&["add_one"]).await;
    for _ in 0..2 {
        assert_eq!(event(&host.predict("add_one", &row(1)).await), "");
    }
    assert_eq!(runs(&host, "add_one").await, 2.0);
}
