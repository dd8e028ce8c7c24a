//! Components that drive models themselves, through `wasi:nn`: what they may ask for, and what becomes of those that ask
//! for more.

use std::time::{Duration, Instant};

use bulkhead_tests::{Answer, TestHost, eventually, fixtures};
use futures_util::future::join_all;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

/// Rounds of the model `slow` that take longer than any test.
const FOREVER: i64 = 1_000_000_000;

/// Far more than the bounds below and far less than forever.
const BOUNDED: Duration = Duration::from_secs(20);

/// A manifest of the plugin `prober`, with the rest of its section and what follows.
fn prober(predictor: &str) -> String {
    format!("runtime = \"predictor\"\n[predictor]\nplugin = \"prober@0.1.0\"\n{predictor}")
}

async fn put(host: &TestHost, at: &str, manifest: &str) -> Answer {
    host.put_form(at, Form::new().part("manifest", Part::text(manifest.to_owned()).file_name("manifest.toml"))).await
}

/// The same, which must succeed.
async fn deploy(host: &TestHost, at: &str, manifest: &str) {
    let answer = put(host, at, manifest).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// A host with these test models, and the prober as `p` under this manifest.
async fn probed(models: &[&str], predictor: &str) -> TestHost {
    let component = fixtures::guest("prober");
    let host = TestHost::start().await;
    host.plain(models).await;
    assert_eq!(host.put_plugin("prober", "0.1.0", component).await.status, 201);
    deploy(&host, "p/versions/1.0.0", &prober(predictor)).await;
    host.configured_ahead("p", "1.0.0").await;
    host
}

fn graphs(list: &[(&str, &str)]) -> String {
    let list: Vec<_> = list.iter().map(|(name, model)| format!("{name} = \"{model}@1.0.0\"")).collect();
    format!("[predictor.grants]\ngraphs = {{ {} }}", list.join(", "))
}

fn compute(graph: &str, inputs: Value) -> Value {
    json!({ "compute": { "graph": graph, "inputs": inputs } })
}

fn x(data: &[f64]) -> Value {
    json!([{ "name": "x", "type": "FP32", "shape": [1, data.len()], "data": data }])
}

fn rounds(n: i64) -> Value {
    json!([{ "name": "n", "type": "I64", "shape": [1], "data": [n] }])
}

#[tokio::test]
async fn a_predictor_runs_the_graphs_that_it_is_granted_and_no_other() {
    let host = probed(&["identity_f32", "add_one", "two_inputs"], &graphs(&[("id", "identity_f32"), ("plus", "add_one")])).await;
    let answer = host.predict("p", &compute("id", x(&[1.5, -2.0]))).await.ok();
    assert_eq!(answer, json!({ "y": { "shape": [1, 2], "type": "TensorType::Fp32", "bytes": 8, "data": [1.5, -2.0] } }));
    let answer = host.predict("p", &compute("plus", x(&[1.0, 2.0, 3.0, 4.0]))).await.ok();
    assert_eq!(answer["y"]["data"], json!([2.0, 3.0, 4.0, 5.0]));
    // By the names of the grant: not by a model's own, be it there or not.
    for name in ["add_one", "add_one@1.0.0", "two_inputs", "other/two_inputs", "", "nothing", &"n".repeat(5000)] {
        let error = host.predict("p", &compute(name, json!([]))).await.ok()["error"].clone();
        assert_eq!(error["code"], "ErrorCode::NotFound", "{name}");
        assert!(error["message"].as_str().unwrap().len() < 300, "{error}");
    }
    assert!(host.get("/v2/models/p/stats").await.ok()["model_stats"][0]["last_inference"].as_u64().is_some_and(|at| at > 0));
    // What it ran is counted with whose it is.
    assert_eq!(host.metric("bulkhead_predict_requests_total", &[("model", "p"), ("outcome", "ok")]).await, 9.0);
    assert_eq!(host.metric("bulkhead_predict_stage_seconds_count", &[("model", "p"), ("stage", "predict")]).await, 9.0);
    let timing = host.predict("p", &compute("id", x(&[0.0, 0.0]))).await;
    assert!(timing.header("server-timing").contains("predict;dur="), "{}", timing.header("server-timing"));
}

#[tokio::test]
async fn whatever_is_wrong_with_tensors_is_an_error_of_wasi_nn() {
    let host = probed(&["add_one", "identity_f32"], &graphs(&[("plus", "add_one"), ("any", "identity_f32")])).await;
    let input = |name: &str, ty: &str, shape: Value, bytes: usize| json!([{ "name": name, "type": ty, "shape": shape, "bytes": bytes }]);
    let most = u32::MAX;
    for (inputs, code, words) in [
        (json!([]), "InvalidArgument", "input `x` is missing: the model takes `x`"),
        (input("z", "FP32", json!([1, 4]), 16), "InvalidArgument", "unknown input `z`"),
        (input("x", "FP64", json!([1, 4]), 32), "InvalidArgument", "input `x` takes FP32 (the model's FP32), got FP64"),
        (input("x", "FP32", json!([1, 3]), 12), "InvalidArgument", "takes the shape [-1, 4], got [1, 3]"),
        (input("x", "FP32", json!([4]), 16), "InvalidArgument", "takes the shape [-1, 4], got [4]"),
        (input("x", "FP32", json!([]), 4), "InvalidArgument", "takes the shape [-1, 4], got []"),
        (input("x", "FP32", json!([1, 4]), 15), "InvalidArgument", "takes 16 bytes, got 15"),
        (input("x", "FP32", json!([2, 4]), 16), "InvalidArgument", "takes 32 bytes, got 16"),
        // What a negative extent becomes on its way.
        (input("x", "FP32", json!([most, 4]), 16), "InvalidArgument", "takes 68719476720 bytes, got 16"),
        (input("x", "FP32", json!([most, most, most, most]), 16), "InvalidArgument", "takes the shape [-1, 4]"),
        (json!([x(&[1.0; 4])[0], x(&[1.0; 4])[0]]), "InvalidArgument", "input `x` came twice"),
    ] {
        let answer = host.predict("p", &compute("plus", inputs)).await.ok();
        let error = &answer["error"];
        assert_eq!(error["code"], format!("ErrorCode::{code}"), "{answer}");
        assert!(error["message"].as_str().unwrap_or_default().contains(words), "{answer}");
    }
    // Names and shapes go into messages, which are kept: neither may be long.
    for (name, rank) in [("n".repeat(4 << 20), 1), ("x".to_owned(), 65)] {
        let answer = host.predict("p", &compute("any", json!([{ "name": name, "type": "FP32", "shape": vec![1; rank], "bytes": 4 }]))).await.ok();
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("at most 64 dimensions") && message.len() < 1000, "{message}");
    }
    // Products that overflow, and that would not fit anywhere, where the model takes any shape.
    for shape in [json!([most, most]), json!([most, 1])] {
        let answer = host.predict("p", &compute("any", json!([{ "name": "x", "type": "FP32", "shape": shape, "bytes": 4 }]))).await.ok();
        assert_eq!(answer["error"]["code"], "ErrorCode::InvalidArgument", "{answer}");
    }
    assert_eq!(host.predict("p", &compute("plus", x(&[1.0; 4]))).await.ok()["y"]["data"], json!([2.0, 2.0, 2.0, 2.0]));
}

#[tokio::test]
async fn every_type_that_can_be_carried_comes_back_as_what_it_was() {
    let host = probed(&["carried_types"], &format!("config = {{ like = \"types\" }}\n{}", graphs(&[("types", "carried_types")]))).await;
    let types = ["BOOL", "UINT8", "UINT32", "UINT64", "INT8", "INT32", "INT64", "FP32", "FP64"];
    let data = |datatype: &str| match datatype {
        "BOOL" => json!([true, false]),
        "UINT64" => json!([u64::MAX, 1]),
        "INT64" => json!([i64::MIN, 1]),
        "UINT32" => json!([u32::MAX, 1]),
        "INT8" => json!([-128, 1]),
        "FP32" | "FP64" => json!([0.5, -2.0]),
        _ => json!([200, 1]),
    };
    let mut inputs: Vec<Value> = types
        .iter()
        .map(|datatype| json!({ "name": format!("in_{}", datatype.to_lowercase()), "datatype": datatype, "shape": [2], "data": data(datatype) }))
        .collect();
    for half in ["FP16", "BF16"] {
        inputs.push(json!({ "name": format!("in_{}", half.to_lowercase()), "datatype": half, "shape": [2], "data": [0.5, -2.0] }));
    }
    let answer = host.post_json("/v2/models/p/infer", &json!({ "inputs": inputs })).await.ok();
    let metadata = host.get("/v2/models/p").await.ok();
    let outputs = answer["outputs"].as_array().expect("outputs");
    assert_eq!(outputs.len(), 11);
    for (output, declared) in outputs.iter().zip(metadata["outputs"].as_array().expect("metadata")) {
        let datatype = output["datatype"].as_str().expect("a type");
        assert_eq!(output["name"], format!("out_{}", datatype.to_lowercase()));
        assert_eq!((&output["name"], &output["datatype"]), (&declared["name"], &declared["datatype"]));
        let expected = if ["FP16", "BF16"].contains(&datatype) { json!([0.5, -2.0]) } else { data(datatype) };
        assert_eq!(output["data"], expected, "{datatype}");
    }
    // What has no type there can't be granted.
    host.plain(&["all_types"]).await;
    let answer = put(&host, "p/versions/2.0.0", &prober(&graphs(&[("types", "all_types")]))).await;
    answer.error(422, "missing_graph").says("for which `wasi:nn` has none");
}

#[tokio::test]
async fn each_way_to_fail_is_another_answer_and_harms_nobody() {
    let sandbox = "[sandbox]\ntimeout_ms = 1000\nmemory_mb = 16";
    let host = probed(&["identity_f32"], &format!("{}\n{sandbox}", graphs(&[("id", "identity_f32")]))).await;
    let good = compute("id", x(&[1.0, 2.0]));
    let then = |then: &str| json!({ "compute": { "graph": "id", "inputs": x(&[1.0, 2.0]), "then": then } });
    for (wish, status, code, words) in [
        (then("loop"), 504, "plugin_deadline", "1000 ms"),
        (then("trap"), 502, "plugin_trapped", "trapped"),
        (json!("loop"), 504, "plugin_deadline", "1000 ms"),
        (json!({ "hoard": { "tensors": 40, "bytes": 1 << 20 } }), 502, "plugin_out_of_memory", "16 MiB"),
        (json!({ "hoard": { "tensors": 5000, "bytes": 1 } }), 502, "plugin_trapped", "trapped"),
        (json!({ "graphs": { "graph": "id", "count": 5000 } }), 502, "plugin_trapped", "trapped"),
        (json!({ "errors": { "count": 5000 } }), 502, "plugin_trapped", "trapped"),
        (json!({ "reuse": { "graph": "id", "input": x(&[1.0, 2.0])[0] } }), 502, "plugin_trapped", "trapped"),
        (json!("malformed"), 502, "plugin_error", "malformed tensor"),
        (json!({ "compute": 1 }), 400, "invalid_input", ""),
    ] {
        let began = Instant::now();
        let answer = host.predict("p", &wish).await;
        assert!(began.elapsed() < BOUNDED, "{wish} took {:?}", began.elapsed());
        assert_eq!(answer.status, status, "{wish}: {}", answer.text());
        answer.error(status, code).says(words);
        assert_eq!(host.predict("p", &good).await.status, 200, "after {wish}");
    }
    // A thousand runs in one request leave nothing behind.
    let many = json!({ "compute": { "graph": "id", "inputs": x(&[1.0, 2.0]), "times": 1000 } });
    assert_eq!(host.predict("p", &many).await.ok()["y"]["data"], json!([1.0, 2.0]));
}

#[tokio::test]
async fn outputs_that_do_not_fit_into_the_components_memory_are_refused() {
    let host = probed(&["add_one"], &format!("{}\n[sandbox]\nmemory_mb = 8", graphs(&[("plus", "add_one")]))).await;
    // Five MiB go in and, while they are the engine's, five come out; with the guest's own copies that is too much.
    let rows = (5 << 20) / 16;
    let answer = host.predict("p", &compute("plus", json!([{ "name": "x", "type": "FP32", "shape": [rows, 4], "bytes": rows * 16 }]))).await;
    let too_large = answer.status == 200 && answer.json()["error"]["code"] == "ErrorCode::TooLarge";
    assert!(too_large || answer.status == 502 && answer.text().contains("8 MiB"), "{}", answer.text());
}

#[tokio::test]
async fn waiting_for_a_model_is_not_the_components_time() {
    let host = probed(&["slow"], &format!("{}\n[sandbox]\ntimeout_ms = 150", graphs(&[("slow", "slow")]))).await;
    // How long a round takes depends on the machine.
    let mut n = 1000;
    let took = loop {
        let began = Instant::now();
        let answer = host.predict("p", &compute("slow", rounds(n))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        if began.elapsed() > Duration::from_millis(400) {
            break began.elapsed();
        }
        n *= 2;
    };
    assert!(took > Duration::from_millis(400));
    // And its own time goes on where it left off.
    let body = json!({ "compute": { "graph": "slow", "inputs": rounds(n), "then": "loop" } });
    host.predict("p", &body).await.error(504, "plugin_deadline").says("150 ms");
}

#[tokio::test]
async fn the_requests_time_ends_the_models_run_and_the_component() {
    let component = fixtures::guest("prober");
    let host = TestHost::setup().env("BULKHEAD_HTTP_REQUEST_TIMEOUT_MS", "500").start().await;
    host.plain(&["slow"]).await;
    assert_eq!(host.put_plugin("prober", "0.1.0", component).await.status, 201);
    deploy(&host, "p/versions/1.0.0", &prober(&format!("{}\n[sandbox]\ntimeout_ms = 60000", graphs(&[("slow", "slow")])))).await;
    host.configured_ahead("p", "1.0.0").await;
    for _ in 0..3 {
        let began = Instant::now();
        host.predict("p", &compute("slow", rounds(FOREVER))).await.error(504, "deadline_exceeded");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(host.predict("p", &compute("slow", rounds(1))).await.ok()["y"]["data"], json!([1.0]));
    }
    // The component's own loop too: its grant is longer than the request.
    host.predict("p", &json!("loop")).await.error(504, "deadline_exceeded");
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_model_and_the_sandbox() {
    let host = probed(&["slow"], &graphs(&[("slow", "slow")])).await;
    for _ in 0..3 {
        let body = compute("slow", rounds(FOREVER));
        let gone = tokio::time::timeout(Duration::from_millis(300), join_all((0..3).map(|_| host.predict("p", &body)))).await;
        assert!(gone.is_err());
        let began = Instant::now();
        assert_eq!(host.predict("p", &compute("slow", rounds(1))).await.status, 200);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    let outcome = [("model", "p"), ("outcome", "cancelled")];
    eventually("they are counted", BOUNDED, async || host.metric("bulkhead_predict_requests_total", &outcome).await == 9.0).await;
}

#[tokio::test]
async fn sandboxes_share_runs_with_each_other_and_with_other_clients() {
    let component = fixtures::guest("prober");
    let host = TestHost::start().await;
    let batching = "[engine]\ninstances = 1\n[batching]\nmax_batch_size = 8\nmax_queue_delay_microseconds = 60000000\npreserve_ordering = true";
    host.deploy("add_one", "1.0.0", &format!("{}\n{batching}", fixtures::PLAIN), fixtures::model("add_one")).await;
    assert_eq!(host.put_plugin("prober", "0.1.0", component).await.status, 201);
    deploy(&host, "p/versions/1.0.0", &prober(&format!("config = {{ like = \"plus\" }}\n{}", graphs(&[("plus", "add_one")])))).await;
    host.configured_ahead("p", "1.0.0").await;
    let row = |n: usize| json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [n, n, n, n] }] });
    // Of eight rows, four come from sandboxes by the native interface, two by the protocol's, and two straight.
    let answers = join_all((0..8).map(async |n| match n {
        0..4 => host.predict("p", &row(n)).await,
        4..6 => host.post_json("/v2/models/p/infer", &row(n)).await,
        _ => host.predict("add_one", &row(n)).await,
    }))
    .await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["outputs"][0]["data"], json!(vec![n as f64 + 1.0; 4]), "{n}");
    }
    let runs = [("model", "add_one")];
    assert_eq!(host.metric("bulkhead_engine_batch_rows_count", &runs).await, 1.0);
    assert_eq!(host.metric("bulkhead_engine_batch_rows_sum", &runs).await, 8.0);
}

#[tokio::test]
async fn tensors_that_a_predictor_takes_are_checked_before_it_is_asked() {
    let config = format!("config = {{ like = \"id\" }}\n{}", graphs(&[("id", "add_one")]));
    let host = probed(&["add_one"], &config).await;
    let good = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
    assert_eq!(host.predict("p", &good).await.ok()["outputs"][0]["data"], json!([2.0, 3.0, 4.0, 5.0]));
    let bad = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3] }] });
    for path in ["/v1/models/p/predict", "/v2/models/p/infer"] {
        let answer = host.post_json(path, &bad).await;
        assert!(answer.status == 400 && answer.text().contains("takes the shape [-1, 4], got [1, 3]"), "{}", answer.text());
    }
    host.post("/v1/models/p/predict", "image/png", vec![1, 2, 3]).await.error(415, "unsupported_media_type");
    let metadata = host.get("/v2/models/p").await.ok();
    assert_eq!(
        (&metadata["platform"], &metadata["inputs"][0]["name"], &metadata["inputs"][0]["shape"]),
        (&json!("bulkhead_predictor"), &json!("x"), &json!([-1, 4]))
    );
    let stats = host.get("/v2/models/p/stats").await.ok();
    let stats = &stats["model_stats"][0];
    assert_eq!((&stats["inference_stats"]["success"]["count"], &stats["inference_count"]), (&json!(1), &json!(1)));
    let config = host.get("/v2/models/p/config").await.ok();
    assert_eq!((&config["backend"], &config["max_batch_size"], &config["input"][0]["dims"]), (&json!("bulkhead"), &json!(0), &json!([-1, 4])));
    let openapi = host.get("/openapi.json").await.ok();
    let takes = &openapi["paths"]["/v1/models/p/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(takes["properties"]["inputs"]["items"]["anyOf"][0]["properties"]["name"]["const"], "x", "{takes}");
}

#[tokio::test]
async fn models_from_bytes_are_refused_unless_granted_and_bounded_where_they_are() {
    let host = probed(&["identity_f32"], &graphs(&[("id", "identity_f32")])).await;
    let model = fixtures::model("identity_f32");
    let bring = async |bytes: Vec<u8>| host.post("/v1/models/p/predict", "application/octet-stream", bytes).await.ok();
    let answer = bring(model.clone()).await;
    assert_eq!(answer["error"]["code"], "ErrorCode::Security", "{answer}");
    deploy(&host, "p/versions/2.0.0", &prober("[predictor.grants]\nload_mb = 1")).await;
    assert_eq!(host.promote("p", "2.0.0").await.status, 200);
    assert_eq!(bring(model.clone()).await["y"]["data"], json!([1.5, 2.5]));
    let load = |pieces: usize, bytes: usize, encoding: &str, target: &str| json!({ "load": { "pieces": pieces, "bytes": bytes, "encoding": encoding, "target": target } });
    for (wish, code) in [
        (load(1, (1 << 20) + 1, "onnx", "cpu"), "TooLarge"),
        (load(2, 10, "onnx", "cpu"), "InvalidArgument"),
        (load(0, 0, "onnx", "cpu"), "InvalidArgument"),
        (load(1, 10, "pytorch", "cpu"), "InvalidEncoding"),
        (load(1, 10, "onnx", "gpu"), "UnsupportedOperation"),
        (load(1, 1000, "onnx", "cpu"), "InvalidEncoding"),
        (load(1, 0, "onnx", "cpu"), "InvalidEncoding"),
        (json!({ "bring": { "times": 5 } }), "TooLarge"),
    ] {
        let answer = host.predict("p", &wish).await.ok();
        assert_eq!(answer["error"]["code"], format!("ErrorCode::{code}"), "{wish}: {answer}");
    }
    // What a model says of other files is not looked at.
    let answer = bring(fixtures::model("elsewhere")).await;
    assert!(answer["error"]["message"].as_str().unwrap_or_default().contains("lies in another file"), "{answer}");
    // Each goes with its request.
    let before = host.resident_kb();
    for _ in 0..200 {
        assert!(bring(model.clone()).await["y"].is_object());
    }
    let grown = host.resident_kb().saturating_sub(before);
    assert!(grown < 40_000, "{grown} KiB more");
}

#[tokio::test]
async fn a_version_is_refused_where_its_grants_do_not_fit() {
    let component = fixtures::guest("prober");
    let host = TestHost::start().await;
    host.plain(&["identity_f32"]).await;
    host.plugins(&["image", "cascade"]).await;
    assert_eq!(host.put_plugin("prober", "0.1.0", component).await.status, 201);
    let refused = async |manifest: &str, code: &str, words: &str| {
        let answer = put(&host, "p/versions/1.0.0", manifest).await;
        answer.error(422, code).says(words);
    };
    refused(&prober("config = { graphs = [\"a\"] }"), "transforms_do_not_fit", "runs a graph `a`, and the manifest grants none: add `a = ").await;
    let other = format!("config = {{ graphs = [\"a\"] }}\n{}", graphs(&[("b", "identity_f32")]));
    refused(&prober(&other), "transforms_do_not_fit", "the manifest grants `b`").await;
    refused(&prober(&graphs(&[("a", "nothing")])), "missing_graph", "`nothing@1.0.0`, which is no version").await;
    let config = prober("config = { like = 1 }");
    let answer = put(&host, "p/versions/1.0.0", &config).await;
    assert_eq!(answer.error(422, "invalid_plugin_config").details["pointer"], "/predictor/config/like");
    let transform = "runtime = \"predictor\"\npredictor = { plugin = \"image@0.1.0\", config = { width = 1, height = 1 } }";
    refused(transform, "wrong_world", "`/predictor` takes a plugin of the world `predictor`, and `image@0.1.0` is a transform").await;
    let around = format!("{}\ntransforms = [{{ plugin = \"prober@0.1.0\" }}]", fixtures::PLAIN);
    let answer = host.put_version("m/versions/1.0.0", &around, fixtures::model("identity_f32")).await;
    answer.error(422, "wrong_world").says("`/transforms/0` takes a plugin of the world `transform`, and `prober@0.1.0` is a predictor");
    refused("runtime = \"predictor\"\npredictor = { plugin = \"gone@0.1.0\" }", "missing_plugin", "`gone@0.1.0`").await;
    // What the cascade reads of its models, they must give.
    let cascade = format!(
        "runtime = \"predictor\"\n[predictor]\nplugin = \"cascade@0.1.0\"\nconfig = {{ output = \"logits\", sure_from = 0.5 }}\n{}",
        graphs(&[("small", "identity_f32"), ("big", "identity_f32")])
    );
    refused(&cascade, "transforms_do_not_fit", "looks for `logits` FP32 [-1, -1], and the model gives `y` FP32 [-1, -1]").await;
    // Where one model is asked in the place of another, they must take and give the same.
    host.plain(&["add_one", "big_matmul"]).await;
    let cascade = |small: &str, big: &str| {
        let config = "runtime = \"predictor\"\n[predictor]\nplugin = \"cascade@0.1.0\"\nconfig = { output = \"y\", sure_from = 0.5 }";
        format!("{config}\n{}", graphs(&[("small", small), ("big", big)]))
    };
    let words =
        "asks the graph `big` in the place of `small`, and they differ in `x`: `big` takes `x` FP32 [-1, 256], `small` takes `x` FP32 [-1, 4]";
    refused(&cascade("add_one", "big_matmul"), "transforms_do_not_fit", words).await;
    // Nor may one be narrower than the other; wider it may.
    refused(&cascade("identity_f32", "add_one"), "transforms_do_not_fit", "differ in `x`").await;
    deploy(&host, "c/versions/1.0.0", &cascade("add_one", "identity_f32")).await;
    // A predictor has no model of its own, and anything else has one.
    let answer = host.put_version("p/versions/1.0.0", &prober(""), fixtures::model("identity_f32")).await;
    answer.error(400, "invalid_input").says("a predictor has no use for");
    put(&host, "m/versions/1.0.0", fixtures::PLAIN).await.error(400, "invalid_input").says("lacks the part `model`");
    // A predictor is no graph.
    deploy(&host, "q/versions/1.0.0", &prober("")).await;
    refused(&prober(&graphs(&[("a", "q")])), "missing_graph", "only models of the runtime `onnx`").await;
}

#[tokio::test]
async fn a_graph_stays_as_long_as_a_predictor_has_it() {
    let mut host = probed(&["add_one"], &graphs(&[("plus", "add_one")])).await;
    let body = compute("plus", x(&[1.0, 2.0, 3.0, 4.0]));
    let works = async |host: &TestHost| assert_eq!(host.predict("p", &body).await.ok()["y"]["data"], json!([2.0, 3.0, 4.0, 5.0]));
    // Another version takes its place in production: for the predictor nothing changes.
    host.deploy("add_one", "2.0.0", fixtures::PLAIN, fixtures::model("identity_f32")).await;
    assert_eq!(host.promote("add_one", "2.0.0").await.status, 200);
    eventually("it is out of memory", BOUNDED, async || host.state("add_one", "1.0.0").await == "unloaded").await;
    works(&host).await;
    assert_eq!(host.delete("/v1/models/add_one/versions/1.0.0").await.error(409, "in_use").details["by"], json!(["p@1.0.0"]));
    assert_eq!(host.delete("/v1/plugins/prober/versions/0.1.0").await.error(409, "in_use").details["by"], json!(["p@1.0.0"]));
    assert_eq!(host.post_json("/v2/repository/models/add_one/unload", &json!({})).await.status, 200);
    works(&host).await;
    // It comes back with its graphs, though one of them is archived.
    host.restart().await;
    works(&host).await;
    assert_eq!(host.get("/v1/models?runtime=predictor").await.ok()["items"][0]["name"], "p");
    // Once nobody has it, it can go.
    deploy(&host, "p/versions/2.0.0", &prober("")).await;
    assert_eq!(host.promote("p", "2.0.0").await.status, 200);
    assert_eq!(host.delete("/v1/models/p/versions/1.0.0").await.status, 204);
    assert_eq!(host.delete("/v1/models/add_one/versions/1.0.0").await.status, 204);
}

#[tokio::test]
async fn what_a_predictor_is_told_and_kept_answers() {
    let config = format!("{}\n[cache]\nttl_seconds = 60", graphs(&[("id", "identity_f32")]));
    let component = fixtures::guest("prober");
    let host = TestHost::start().await;
    host.plain(&["identity_f32"]).await;
    assert_eq!(host.put_plugin("prober", "0.1.0", component).await.status, 201);
    deploy(&host, "p/versions/1.0.0", &format!("headers = [\"x-shown\"]\n{}", prober(&config))).await;
    let ask = async |shown: &str| {
        let request =
            host.request(reqwest::Method::POST, "/v1/models/p/predict").header("x-shown", shown).header("x-hidden", "no").json(&json!("tell"));
        let answer = host.send(request).await;
        let event = answer.header("x-bulkhead-cache").to_owned();
        (answer.ok(), event)
    };
    let told = json!({ "model": "p", "headers": [["x-shown", "a"]] });
    assert_eq!(ask("a").await, (told.clone(), "miss".to_owned()));
    assert_eq!(ask("a").await, (told, "hit".to_owned()));
    assert_eq!(ask("b").await.1, "miss", "it sees the header");
    // One that takes tensors is asked by their text, too, and still sees the header.
    deploy(&host, "q/versions/1.0.0", &format!("headers = [\"x-shown\"]\n{}", prober(&format!("config = {{ like = \"id\" }}\n{config}")))).await;
    let row = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2] }] });
    for (shown, expected) in [("a", "miss"), ("a", "hit"), ("a", "hit"), ("b", "miss"), ("b", "hit"), ("a", "hit")] {
        let answer = host.send(host.request(reqwest::Method::POST, "/v1/models/q/predict").header("x-shown", shown).json(&row)).await;
        assert_eq!(answer.header("x-bulkhead-cache"), expected, "{shown}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_warm_sandbox_forgets_what_belongs_to_a_request() {
    let config = format!("{}\n[sandbox]\nreuse = \"warm\"\nmemory_mb = 8", graphs(&[("id", "identity_f32")]));
    let host = probed(&["identity_f32"], &config).await;
    for _ in 0..50 {
        assert_eq!(host.predict("p", &compute("id", x(&[1.0, 2.0]))).await.ok()["y"]["data"], json!([1.0, 2.0]));
        // Half of its memory, given back each time.
        assert_eq!(host.predict("p", &json!({ "hoard": { "tensors": 4, "bytes": 1 << 18 } })).await.ok()["kept"], 4);
    }
}

#[tokio::test]
async fn a_graph_asked_for_too_early_is_not_there() {
    let component = fixtures::guest("prober");
    let host = TestHost::start().await;
    host.plain(&["identity_f32"]).await;
    assert_eq!(host.put_plugin("prober", "0.1.0", component).await.status, 201);
    let manifest = prober(&format!("config = {{ early = \"id\" }}\n{}", graphs(&[("id", "identity_f32")])));
    put(&host, "p/versions/1.0.0", &manifest).await.error(422, "invalid_plugin_config").says("no graph `id` is granted");
}

#[tokio::test]
async fn the_demo_cascades_and_reads_pages() {
    let host = TestHost::start().await;
    host.demo("digits").await;
    host.plugins(&["cascade", "detect-and-read"]).await;
    let text = |path: &str| String::from_utf8(fixtures::demo(path)).expect("a manifest");
    host.deploy("digits-small", "1.0.0", &text("cascade/small.toml"), fixtures::demo("cascade/model.onnx")).await;
    host.deploy("pages-detector", "1.0.0", &text("pages/detector.toml"), fixtures::demo("pages/model.onnx")).await;
    deploy(&host, "cascade/versions/1.0.0", &text("cascade/manifest.toml")).await;
    deploy(&host, "pages/versions/1.0.0", &text("pages/manifest.toml")).await;
    for digit in 0..10 {
        let answer = host.post("/v1/models/cascade/predict", "image/png", fixtures::demo(&format!("digits/samples/{digit}.png"))).await.ok();
        assert_eq!(answer["label"], digit.to_string(), "{answer}");
    }
    // All were asked of the small one, and some of the big one; what each was asked stands in its own metrics.
    let rows = async |model: &str| host.metric("bulkhead_engine_batch_rows_sum", &[("model", model)]).await;
    let asked = rows("digits").await;
    assert_eq!(rows("digits-small").await, 10.0);
    assert!((1.0..10.0).contains(&asked), "{asked}");

    let expected: Value = serde_json::from_slice(&fixtures::demo("pages/expected.json")).expect("JSON");
    let runs = async || host.metric("bulkhead_engine_batch_rows_count", &[("model", "digits")]).await;
    for (page, digits) in expected.as_object().expect("pages") {
        let before = runs().await;
        let answer = host.post("/v1/models/pages/predict", "image/png", fixtures::demo(&format!("pages/samples/{page}.png"))).await.ok();
        let found = answer["found"].as_array().expect("a list");
        let labels = |list: &[Value]| list.iter().map(|digit| digit["label"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
        assert_eq!(labels(found), labels(digits.as_array().expect("a list")), "page {page}");
        for (found, digit) in found.iter().zip(digits.as_array().expect("a list")) {
            let corner = |at: usize| (found["box"][at].as_f64().unwrap_or_default() * 200.0 - digit["box"][at].as_f64().unwrap_or_default()).abs();
            assert!((0..4).all(|at| corner(at) < 6.0), "{found} {digit}");
        }
        assert_eq!(runs().await - before, 1.0, "all boxes in one run");
    }
    // The same by the protocol's interface.
    let metadata = host.get("/v2/models/pages").await.ok();
    assert_eq!((&metadata["inputs"][0]["name"], &metadata["outputs"][0]["name"]), (&json!("body"), &json!("answer")));
    assert_eq!(host.get("/v1/plugins/cascade/versions/0.1.0").await.ok()["world"], "predictor");
}
