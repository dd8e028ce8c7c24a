//! The main job without plugins: tensors in, tensors out, and every way of getting it wrong.

use bulkhead_tests::{TestHost, fixtures};
use reqwest::Method;
use serde_json::{Value, json};

fn input(name: &str, datatype: &str, shape: &[i64], data: Value) -> Value {
    json!({ "name": name, "datatype": datatype, "shape": shape, "data": data })
}

fn inputs(inputs: &[Value]) -> Value {
    json!({ "inputs": inputs })
}

/// The output of that name.
fn output(answer: &Value, name: &str) -> Value {
    let output = answer["outputs"].as_array().expect("outputs").iter().find(|output| output["name"] == name);
    assert!(output.is_some(), "no output `{name}` in {answer}");
    output.cloned().unwrap_or_default()
}

#[tokio::test]
async fn small_models_answer_exactly() {
    let host = TestHost::start().await;
    host.plain(&["identity_f32", "add_one", "two_inputs", "fixed_batch"]).await;
    let x = |shape: &[i64], data: Value| input("x", "FP32", shape, data);
    for (model, request, name, expected) in [
        ("identity_f32", inputs(&[x(&[2, 1], json!([0.1, -3.4028235e38]))]), "y", json!([0.1, -3.4028235e38])),
        ("identity_f32", inputs(&[x(&[2, 2], json!([[1, 2], [3, 4]]))]), "y", json!([1.0, 2.0, 3.0, 4.0])),
        ("identity_f32", inputs(&[x(&[0, 4], json!([]))]), "y", json!([])),
        ("add_one", inputs(&[x(&[1, 4], json!([1, 2.5, -1, 0]))]), "y", json!([2.0, 3.5, 0.0, 1.0])),
        ("fixed_batch", inputs(&[x(&[1, 4], json!([1, 2, 3, 4]))]), "y", json!([2.0, 4.0, 6.0, 8.0])),
        (
            "two_inputs",
            inputs(&[input("b", "FP32", &[1, 2], json!([10, 20])), input("a", "FP32", &[1, 2], json!([1, 2]))]),
            "sum",
            json!([11.0, 22.0]),
        ),
    ] {
        let answer = host.predict(model, &request).await.ok();
        assert_eq!(output(&answer, name)["data"], expected, "{model}");
        assert_eq!((&answer["model_name"], &answer["model_version"]), (&json!(model), &json!("1.0.0")));
    }
}

#[tokio::test]
async fn every_datatype_goes_in_and_comes_out_exactly() {
    let host = TestHost::start().await;
    host.plain(&["all_types", "string_identity"]).await;
    let types = [
        ("bool", "BOOL", json!([true, false, true])),
        ("uint8", "UINT8", json!([0, 1, u8::MAX])),
        ("uint16", "UINT16", json!([0, 1, u16::MAX])),
        ("uint32", "UINT32", json!([0, 1, u32::MAX])),
        ("uint64", "UINT64", json!([0, 9_007_199_254_740_993_u64, u64::MAX])),
        ("int8", "INT8", json!([i8::MIN, -1, i8::MAX])),
        ("int16", "INT16", json!([i16::MIN, -1, i16::MAX])),
        ("int32", "INT32", json!([i32::MIN, -1, i32::MAX])),
        ("int64", "INT64", json!([i64::MIN, -9_007_199_254_740_993_i64, i64::MAX])),
        ("fp16", "FP16", json!([0.5, -2.5, 65504.0])),
        ("bf16", "BF16", json!([0.5, -2.5, 1.0])),
        ("fp32", "FP32", json!([0.1, -2.5, 3.4028235e38])),
        ("fp64", "FP64", json!([0.1, -2.5, f64::MAX])),
        ("string", "BYTES", json!(["", "a\"b\\\n", "héllo wörld 🦀"])),
    ];
    let all: Vec<_> = types.iter().map(|(name, datatype, data)| input(&format!("in_{name}"), datatype, &[3], data.clone())).collect();
    let answer = host.predict("all_types", &inputs(&all)).await.ok();
    for (name, datatype, data) in &types {
        let output = output(&answer, &format!("out_{name}"));
        assert_eq!((&output["datatype"], &output["shape"]), (&json!(datatype), &json!([3])), "{name}");
        assert_eq!(&output["data"], data, "{name}");
    }
    let empty: Vec<_> = types.iter().map(|(name, datatype, _)| input(&format!("in_{name}"), datatype, &[0], json!([]))).collect();
    let answer = host.predict("all_types", &inputs(&empty)).await.ok();
    assert!(answer["outputs"].as_array().unwrap().iter().all(|output| output["data"] == json!([])), "{answer}");
    let long = "x".repeat(1 << 20);
    let answer = host.predict("string_identity", &inputs(&[input("x", "BYTES", &[2], json!([long, "short"]))])).await.ok();
    assert_eq!(output(&answer, "y")["data"], json!([long, "short"]));
}

#[tokio::test]
async fn inputs_with_a_default_may_be_left_out_and_ranks_may_be_0() {
    let host = TestHost::start().await;
    host.plain(&["default_rank0", "optional_rank0"]).await;
    let x = input("x", "FP32", &[1, 2], json!([1, 2]));
    let s = input("s", "FP32", &[], json!([3]));
    for (model, given, expected) in [
        ("default_rank0", vec![x.clone()], json!([2.0, 4.0])),
        ("default_rank0", vec![x.clone(), s.clone()], json!([3.0, 6.0])),
        ("optional_rank0", vec![s.clone(), x.clone()], json!([3.0, 6.0])),
    ] {
        assert_eq!(output(&host.predict(model, &inputs(&given)).await.ok(), "y")["data"], expected, "{model}");
    }
    let refusal = host.predict("optional_rank0", &inputs(&[x])).await.error(400, "invalid_input");
    refusal.says("`s` is missing");
    assert_eq!(refusal.details["input"], "s");
}

#[tokio::test]
async fn maps_of_classical_converters_come_out_as_tensors() {
    let host = TestHost::start().await;
    for (name, file) in [("plain", "iris/model.onnx"), ("zipmap", "iris/model-zipmap.onnx")] {
        host.deploy(name, "1.0.0", fixtures::PLAIN, fixtures::demo(file)).await;
    }
    let rows = inputs(&[input("features", "FP32", &[2, 4], json!([5.1, 3.5, 1.4, 0.2, 6.2, 2.8, 4.8, 1.8]))]);
    let (plain, zipmap) = (host.predict("plain", &rows).await.ok(), host.predict("zipmap", &rows).await.ok());
    assert_eq!(output(&zipmap, "label"), output(&plain, "label"));
    assert_eq!(output(&zipmap, "probabilities"), output(&plain, "probabilities"));
    assert_eq!(output(&zipmap, "probabilities")["shape"], json!([2, 3]));
    assert_eq!(output(&zipmap, "probabilities.keys")["data"], json!([0, 1, 2]));
}

#[tokio::test]
async fn outputs_are_chosen_by_name_and_ids_come_back() {
    let host = TestHost::start().await;
    host.deploy("iris", "1.0.0", fixtures::PLAIN, fixtures::demo("iris/model.onnx")).await;
    let mut request = inputs(&[input("features", "FP32", &[1, 4], json!([5.1, 3.5, 1.4, 0.2]))]);
    request["id"] = json!("request \"1\"");
    request["outputs"] = json!([{ "name": "probabilities" }]);
    request["parameters"] = json!({ "ignored": true });
    let answer = host.predict("iris", &request).await.ok();
    assert_eq!(answer["id"], "request \"1\"");
    assert_eq!(answer["outputs"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer["outputs"][0]["name"], "probabilities");
    request["outputs"] = json!([{ "name": "logits" }]);
    host.predict("iris", &request).await.error(400, "invalid_input").says("no output `logits`");
}

#[tokio::test]
async fn wrong_tensors_are_refused_with_what_was_expected_and_what_came() {
    let host = TestHost::start().await;
    host.plain(&["add_one", "all_types", "string_identity"]).await;
    let x = |datatype: &str, shape: &[i64], data: Value| inputs(&[input("x", datatype, shape, data)]);
    let good = input("x", "FP32", &[1, 4], json!([1, 2, 3, 4]));
    for (request, words) in [
        (x("FP32", &[1, 3], json!([1, 2, 3])), "takes the shape [-1, 4], got [1, 3]"),
        (x("FP32", &[4], json!([1, 2, 3, 4])), "takes the shape [-1, 4], got [4]"),
        (x("FP64", &[1, 4], json!([1, 2, 3, 4])), "takes FP32, got FP64"),
        (x("INT64", &[1, 4], json!([1, 2, 3, 4])), "takes FP32, got INT64"),
        (x("FLOAT", &[1, 4], json!([1, 2, 3, 4])), "got `FLOAT`"),
        (x("FP32", &[1, 4], json!([1, 2, 3])), "takes 4 elements, got 3"),
        (x("FP32", &[1, 4], json!([1, 2, 3, 4, 5])), "takes 4 elements, got 5"),
        (x("FP32", &[-1, 4], json!([1, 2, 3, 4])), "zero or more"),
        (x("FP32", &[i64::MAX, 4], json!([1, 2, 3, 4])), "extents"),
        (x("FP32", &[4_000_000_000_000, 4], json!([1, 2, 3, 4])), "got 4"),
        (x("FP32", &[1, 4], json!([1, 2, 3, "4"])), "string"),
        (x("FP32", &[1, 4], json!([1, 2, 3, true])), "true"),
        (x("FP32", &[1, 4], json!([1, 2, 3, {}])), "object"),
        (x("FP32", &[1, 4], json!(7)), "takes 4 elements, got 1"),
        (inputs(&[]), "`x` is missing"),
        (inputs(&[good.clone(), input("z", "FP32", &[1], json!([1]))]), "unknown input `z`"),
        (inputs(&[good.clone(), good.clone()]), "came twice"),
        (json!({}), "inputs"),
        (json!([]), "inputs"),
        (json!("text"), "inputs"),
        (json!({ "inputs": [{ "name": "x" }] }), "datatype"),
    ] {
        host.predict("add_one", &request).await.error(400, "invalid_input").says(words);
    }
    let one = |name: &str, datatype: &str, data: Value| inputs(&[input(name, datatype, &[1], data)]);
    for (request, words) in [
        (one("in_int8", "INT8", json!([null])), "expected INT8, got null"),
        (one("in_int8", "INT8", json!([128])), "out of the range of INT8"),
        (one("in_uint64", "UINT64", json!([-1])), "out of the range of UINT64"),
        (one("in_int64", "INT64", json!([1.5])), "INT64"),
        (one("in_int64", "INT64", json!([9_223_372_036_854_775_808_u64])), "out of the range of INT64"),
        (one("in_bool", "BOOL", json!([1])), "BOOL"),
        (one("in_string", "BYTES", json!([1])), "BYTES"),
    ] {
        host.predict("all_types", &request).await.error(400, "invalid_input").says(words);
    }
    let nul = host.predict("string_identity", &one("x", "BYTES", json!(["a\u{0}b"]))).await;
    assert!(nul.status == 200 || nul.status == 400, "{}", nul.text());
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let host = TestHost::start().await;
    host.plain(&["add_one"]).await;
    let with_data = |data: &str| format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,4],"data":{data}}}]}}"#);
    let deep = with_data(&format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)));
    for body in [
        String::new(),
        "{".to_owned(),
        "inputs".to_owned(),
        with_data("[1,2,3,nan]"),
        with_data("[1,2,3,Infinit]"),
        with_data("[1,2,3,1e999]"),
        with_data("[1,2,3,4"),
        with_data("[1,2,3,4],"),
        with_data("[1,2,3,4]") + "x",
        deep,
    ] {
        let answer = host.post("/v1/models/add_one/predict", "application/json", body.clone()).await;
        assert_eq!(answer.status, 400, "{}: {}", &body[..body.len().min(100)], answer.text());
        answer.error(400, "invalid_input");
    }
    // JSON has no such words, and clients write them.
    let answer = host.post("/v1/models/add_one/predict", "application/json", with_data("[1,NaN,-Infinity,null]")).await.ok();
    assert_eq!(answer["outputs"][0]["data"], json!([2.0, null, null, null]));
    host.post("/v1/models/add_one/predict", "application/json", b"\xff\xfe".to_vec()).await.error(400, "invalid_input").says("UTF-8");
    host.post("/v1/models/add_one/predict", "image/png", b"\x89PNG".to_vec()).await.error(415, "unsupported_media_type").says("image/png");
}

#[tokio::test]
async fn a_body_of_100_megabytes_is_refused() {
    let host = TestHost::start().await;
    host.plain(&["add_one"]).await;
    let path = "/v1/models/add_one/predict";
    let refusal = host.post(path, "application/json", vec![b' '; 100_000_000]).await.error(413, "payload_too_large");
    assert_eq!(refusal.details["limit_bytes"], 64 << 20);
    // One that does not say how long it is.
    let chunks = futures_util::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1_000_000])));
    let request = host.request(Method::POST, path).header("content-type", "application/json").body(reqwest::Body::wrap_stream(chunks));
    host.send(request).await.error(413, "payload_too_large");
    let good = inputs(&[input("x", "FP32", &[1, 4], json!([1, 2, 3, 4]))]);
    assert_eq!(host.predict("add_one", &good).await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let host = TestHost::start().await;
    host.plain(&["add_one"]).await;
    let body = inputs(&[]);
    for (path, words) in [
        ("/v1/models/unknown/predict", "no model `unknown`"),
        ("/v1/models/add_one/versions/9.0.0/predict", "no version `9.0.0`"),
        ("/v1/models/add_one/versions/nine/predict", "no version `nine`"),
        ("/v1/models/add_one/forecast", "/v1/models/add_one/forecast"),
        ("/", "no route"),
        ("/v3", "no route"),
    ] {
        host.post_json(path, &body).await.error(404, "not_found").says(words);
    }
    for (method, path, allowed) in [
        (Method::GET, "/v1/models/add_one/predict", "POST"),
        (Method::PUT, "/v1/models", "GET"),
        (Method::PATCH, "/v1/models/add_one/versions/1.0.0", "DELETE"),
        (Method::POST, "/health/live", "GET"),
    ] {
        let answer = host.send(host.request(method, path)).await;
        answer.error(405, "method_not_allowed").says(path);
        assert!(answer.header("allow").contains(allowed), "{path}: {:?}", answer.headers);
    }
}

#[tokio::test]
async fn answers_say_what_made_them() {
    let host = TestHost::start().await;
    host.plain(&["add_one"]).await;
    let body = inputs(&[input("x", "FP32", &[1, 4], json!([1, 2, 3, 4]))]);
    for (path, variant) in [("/v1/models/add_one/predict", "production"), ("/v1/models/add_one/versions/1.0.0/predict", "pinned")] {
        let answer = host.post_json(path, &body).await.expect(200);
        assert_eq!(answer.header("x-bulkhead-model"), "add_one");
        assert_eq!(answer.header("x-bulkhead-version"), "1.0.0");
        assert_eq!(answer.header("x-bulkhead-variant"), variant);
        assert_eq!(answer.header("content-type"), "application/json");
        let timing = answer.header("server-timing");
        for stage in ["queue", "before", "inference", "after"] {
            let dur = timing.split(", ").find_map(|part| part.strip_prefix(stage)?.strip_prefix(";dur="));
            assert!(dur.is_some_and(|dur| dur.parse::<f64>().is_ok()), "{timing}");
        }
    }
}

#[tokio::test]
async fn request_ids_are_echoed_or_minted() {
    let host = TestHost::start().await;
    host.plain(&["add_one"]).await;
    let sent = async |id: &str, model: &str| {
        let request = host.request(Method::POST, &format!("/v1/models/{model}/predict")).header("x-request-id", id);
        host.send(request.body("{}")).await
    };
    // Also in the body of errors, which `error` compares.
    assert_eq!(sent("abc-1", "add_one").await.header("x-request-id"), "abc-1");
    sent("abc-1", "add_one").await.error(400, "invalid_input");
    sent("trace:7/8.9_0", "unknown").await.error(404, "not_found");
    for odd in ["", "a b", "<script>", &"x".repeat(129)] {
        let answer = sent(odd, "add_one").await;
        let minted = answer.header("x-request-id");
        assert!(minted != odd && minted.len() >= 16, "{odd:?} -> {minted:?}");
    }
    let (one, two) = (host.get("/health/live").await, host.get("/health/live").await);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}
