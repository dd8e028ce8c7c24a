//! The Open Inference Protocol over HTTP, byte by byte: what no client would send, and what some do.

use bulkhead_tests::{Answer, TestHost, fixtures};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write as _;

const LENGTH: &str = "inference-header-content-length";

async fn host() -> TestHost {
    let host = TestHost::setup().env("BULKHEAD_HTTP_MAX_BODY_MB", "2").start().await;
    host.plain(&["add_one", "two_inputs", "string_identity", "identity_f32", "all_types"]).await;
    host.deploy("batched", "1.0.0", &format!("{}\n[batching]\nmax_batch_size = 8", fixtures::PLAIN), fixtures::model("add_one")).await;
    host
}

/// Posts a body without any header but those given: clients send no content type.
async fn post(host: &TestHost, model: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
    let mut request = host.request(Method::POST, &format!("/v2/models/{model}/infer")).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    host.send(request).await
}

/// Posts JSON followed by bytes.
async fn binary(host: &TestHost, model: &str, json: &Value, bytes: &[u8]) -> Answer {
    let json = json.to_string();
    let length = json.len().to_string();
    post(host, model, &[(LENGTH, &length)], [json.as_bytes(), bytes].concat()).await
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn following(name: &str, datatype: &str, shape: &[i64], bytes: usize) -> Value {
    json!({ "name": name, "datatype": datatype, "shape": shape, "parameters": { "binary_data_size": bytes } })
}

/// An error as the protocol has it: its text alone, exactly typed.
#[track_caller]
fn refused(answer: &Answer, status: u16, says: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    let text = body["error"].as_str().expect("a text");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
    assert!(text.contains(says), "`{text}` does not say `{says}`");
}

#[tokio::test]
async fn binary_tensors_go_both_ways_and_mix_with_json() {
    let host = host().await;
    let request = json!({ "id": "7", "parameters": { "binary_data_output": true }, "inputs": [
        following("a", "FP32", &[1, 2], 8), { "name": "b", "datatype": "FP32", "shape": [1, 2], "data": [[10, 20]] }
    ] });
    let answer = binary(&host, "two_inputs", &request, &floats(&[1.0, 2.0])).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    let length: usize = answer.header(LENGTH).parse().expect("a length");
    let head: Value = serde_json::from_slice(&answer.body[..length]).expect("JSON");
    let output = json!({ "name": "sum", "datatype": "FP32", "shape": [1, 2], "parameters": { "binary_data_size": 8 } });
    assert_eq!(head, json!({ "model_name": "two_inputs", "model_version": "1.0.0", "id": "7", "outputs": [output] }));
    assert_eq!(answer.body[length..], floats(&[11.0, 22.0]));
    assert_eq!(answer.header("x-bulkhead-version"), "1.0.0");
    // An output's own word counts for more than the request's.
    let mut request = request;
    request["outputs"] = json!([{ "name": "sum", "parameters": { "binary_data": false } }]);
    let answer = binary(&host, "two_inputs", &request, &floats(&[1.0, 2.0])).await.expect(200);
    assert_eq!((answer.header("content-type"), answer.header(LENGTH)), ("application/json", ""));
    assert_eq!(answer.json()["outputs"][0]["data"], json!([11.0, 22.0]));
}

#[tokio::test]
async fn a_body_of_nothing_but_the_tensor() {
    let host = host().await;
    let answer = post(&host, "add_one", &[(LENGTH, "0")], floats(&[1.0; 8])).await.expect(200);
    let length: usize = answer.header(LENGTH).parse().expect("a length");
    let head: Value = serde_json::from_slice(&answer.body[..length]).expect("JSON");
    assert_eq!(head["outputs"][0]["shape"], json!([2, 4]));
    assert_eq!(answer.body[length..], floats(&[2.0; 8]));
    let answer = post(&host, "string_identity", &[(LENGTH, "0")], "one string").await.expect(200);
    assert!(answer.body.ends_with(b"\x0a\x00\x00\x00one string"), "{}", answer.text());
    refused(&post(&host, "add_one", &[(LENGTH, "0")], floats(&[1.0; 3])).await, 400, "a body of 12 bytes does not make one");
    refused(&post(&host, "two_inputs", &[(LENGTH, "0")], floats(&[1.0; 3])).await, 400, "for models of one input; this one takes `a`, `b`");
}

#[tokio::test]
async fn lengths_that_do_not_add_up() {
    let host = host().await;
    let one = json!({ "inputs": [following("x", "FP32", &[1, 4], 16)] });
    let row = floats(&[1.0; 4]);
    refused(&binary(&host, "add_one", &one, &row[..15]).await, 400, "the body ends within input `x`: `binary_data_size` says 16 bytes, and 15 came");
    refused(&binary(&host, "add_one", &one, &floats(&[1.0; 5])).await, 400, "4 bytes are left over");
    let short = json!({ "inputs": [following("x", "FP32", &[1, 4], 12)] });
    refused(
        &binary(&host, "add_one", &short, &row).await,
        400,
        "input `x` of shape [1, 4] and type FP32 takes 16 bytes, and its `binary_data_size` is 12",
    );
    let strings = json!({ "inputs": [following("x", "BYTES", &[2], 5)] });
    refused(&binary(&host, "string_identity", &strings, &[1, 0, 0, 0, b'a']).await, 400, "tensor `x` of shape [2] takes 2 elements, got 1");
    let both =
        json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4], "parameters": { "binary_data_size": 16 } }] });
    refused(&binary(&host, "add_one", &both, &row).await, 400, "both `data` and `binary_data_size`");
    for (length, says) in [
        ("-1", "number of bytes of the JSON, got `-1`"),
        ("many", "got `many`"),
        ("1e3", "got `1e3`"),
        ("99999", "the body ends within the JSON"),
        ("99999999999999999999", "got `9999"),
    ] {
        refused(&post(&host, "add_one", &[(LENGTH, length)], one.to_string()).await, 400, says);
    }
    let says = "says 999999999 bytes, and the whole body may have at most 2097152";
    refused(&post(&host, "add_one", &[(LENGTH, "999999999")], one.to_string()).await, 400, says);
    // Too short for the JSON; and forgotten, with bytes behind the JSON.
    let says = "it is the first 10 bytes of the body, as `Inference-Header-Content-Length` says";
    refused(&post(&host, "add_one", &[(LENGTH, "10")], one.to_string()).await, 400, says);
    let says = "the JSON of the body is no UTF-8; it is the whole body, since there is no `Inference-Header-Content-Length`";
    refused(&post(&host, "add_one", &[], [one.to_string().as_bytes(), &[0xff; 16]].concat()).await, 400, says);
    // As much as no body may have, and no more of it than is there.
    let huge = json!({ "inputs": [following("x", "FP32", &[1 << 40, 4], 1 << 44)] });
    refused(
        &binary(&host, "add_one", &huge, &row).await,
        413,
        "of which input `x` takes 17592186044416 by `binary_data_size`, may have at most 2097152 bytes",
    );
}

#[tokio::test]
async fn who_is_refused_while_it_still_sends_is_told_why() {
    let host = TestHost::setup().env("BULKHEAD_HTTP_MAX_BODY_MB", "64").start().await;
    host.plain(&["add_one"]).await;
    let large = || vec![b' '; 30 << 20];
    refused(&post(&host, "none", &[], large()).await, 404, "there is no model `none`");
    refused(&post(&host, "add_one", &[("content-encoding", "br")], large()).await, 415, "expected the content encoding");
    refused(&post(&host, "add_one", &[("x-bulkhead-timeout-ms", "soon")], large()).await, 400, "expected whole milliseconds");
    let answer = host.post("/v1/models/none/predict", "application/json", large()).await;
    answer.error(404, "not_found").says("there is no model `none`");
    host.post("/v1/nothing", "application/json", large()).await.error(404, "not_found");
}

#[tokio::test]
async fn compressed_bodies_and_bombs() {
    let host = host().await;
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    };
    let request = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] }).to_string();
    let answer = post(&host, "add_one", &[("content-encoding", "gzip")], gzip(request.as_bytes())).await.ok();
    assert_eq!(answer["outputs"][0]["data"], json!([2.0, 3.0, 4.0, 5.0]));
    // The length is that of the JSON before it was compressed.
    let one = json!({ "inputs": [following("x", "FP32", &[1, 4], 16)] }).to_string();
    let whole = gzip(&[one.as_bytes(), &floats(&[1.0; 4])].concat());
    let length = one.len().to_string();
    assert_eq!(post(&host, "add_one", &[("content-encoding", "gzip"), (LENGTH, &length)], whole).await.status, 200);
    let bomb = gzip(&vec![b' '; 512 << 20]);
    assert!(bomb.len() < 1 << 20);
    let before = host.resident_kb();
    refused(&post(&host, "add_one", &[("content-encoding", "gzip")], bomb).await, 413, "inflated, may have at most 2097152 bytes");
    assert!(host.resident_kb() < before + (64 << 10), "{} kB, and {before} kB before", host.resident_kb());
    refused(&post(&host, "add_one", &[("content-encoding", "gzip")], request.clone()).await, 400, "the body is no Gzip data");
    refused(
        &post(&host, "add_one", &[("content-encoding", "br")], request).await,
        415,
        "expected the content encoding `gzip`, `deflate` or `identity`, got `br`",
    );
}

#[tokio::test]
async fn a_body_may_come_in_pieces_without_a_length() {
    let host = host().await;
    let json = json!({ "inputs": [following("x", "FP32", &[1, 4], 16)] }).to_string();
    let length = json.len().to_string();
    let pieces = |bytes: Vec<u8>| {
        reqwest::Body::wrap_stream(futures_util::stream::iter(
            bytes.chunks(7).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>(),
        ))
    };
    let whole = [json.as_bytes(), &floats(&[1.0; 4])].concat();
    assert_eq!(post(&host, "add_one", &[(LENGTH, &length)], pieces(whole.clone())).await.status, 200);
    refused(&post(&host, "add_one", &[(LENGTH, &length)], pieces(whole[..whole.len() - 1].to_vec())).await, 400, "and 15 came");
    let endless = pieces(vec![b' '; 3 << 20]);
    refused(&post(&host, "add_one", &[], endless).await, 413, "at most 2097152 bytes");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let host = host().await;
    let x = |shape: Value, data: Value| json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": shape, "data": data }] });
    for (model, body, status, says) in [
        ("add_one", "".to_owned(), 400, "expected the JSON body of an inference request"),
        ("add_one", "nonsense".to_owned(), 400, "got nonsense at line 1 column 1"),
        ("add_one", json!({ "inputs": [] }).to_string(), 400, "input `x` is missing"),
        ("add_one", x(json!([1, 3]), json!([1, 2, 3])).to_string(), 400, "input `x` takes the shape [-1, 4], got [1, 3]"),
        ("add_one", x(json!([1, -4]), json!([])).to_string(), 400, "extents of zero or more, got [1, -4]"),
        ("add_one", x(json!([1i64 << 62, 4]), json!([1])).to_string(), 400, "extents of zero or more"),
        ("add_one", x(json!([1, 4]), json!([1, 2, 3])).to_string(), 400, "takes 4 elements, got 3"),
        ("batched", x(json!([0, 4]), json!([])).to_string(), 400, "input `x` has no rows"),
        ("none", x(json!([1, 4]), json!([1, 2, 3, 4])).to_string(), 404, "there is no model `none`"),
        ("add_one/versions/7", x(json!([1, 4]), json!([1, 2, 3, 4])).to_string(), 404, "model `add_one` has no version `7.0.0`"),
        ("add_one", format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), 400, "expected an object"),
        ("add_one", format!(r#"{{"x": {}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000)), 400, "nested more than 100 deep"),
        ("add_one", r#"{"inputs": [{"name": "x", "datatype": "FLOAT", "shape": [1], "data": [1]}]}"#.to_owned(), 400, "expected one of BOOL"),
    ] {
        refused(&post(&host, model, &[], body).await, status, says);
    }
    let answer = post(&host, "add_one", &[], vec![b'{', 0xff, b'}']).await;
    refused(&answer, 400, "no UTF-8");
}

#[tokio::test]
async fn every_route_answers_errors_as_the_protocol_has_them() {
    let host = host().await;
    for (method, path, status) in [
        (Method::GET, "/v2/nothing", 404),
        (Method::GET, "/v2/models/none", 404),
        (Method::GET, "/v2/models/none/ready", 404),
        (Method::GET, "/v2/models/none/config", 404),
        (Method::GET, "/v2/models/add_one/versions/x/stats", 404),
        (Method::GET, "/v2/models/add_one/infer", 405),
        (Method::POST, "/v2", 405),
        (Method::GET, "/v2/models/%ff", 400),
        (Method::POST, "/v2/repository/models/none/load", 404),
        (Method::POST, "/v2/trace/setting", 404),
    ] {
        refused(&host.send(host.request(method, path)).await, status, "");
    }
    refused(&host.send(host.request(Method::POST, "/v2/repository/index").body("[")).await, 400, "JSON object");
    // The native API keeps its own.
    host.get("/v1/models/none").await.error(404, "not_found");
}

#[tokio::test]
async fn what_there_is_is_listed() {
    let host = host().await;
    for path in ["/v2", "/v2/"] {
        assert_eq!(host.get(path).await.ok()["name"], "bulkhead");
    }
    assert_eq!(host.get("/v2/health/live").await.ok(), json!({ "live": true }));
    assert_eq!(host.get("/v2/health/ready").await.ok(), json!({ "ready": true }));
    assert_eq!(host.get("/v2/models/add_one/ready").await.ok(), json!({ "name": "add_one", "ready": true }));
    assert_eq!(host.get("/v2/models").await.ok()["models"].as_array().map(Vec::len), Some(6));
    let index = host.send(host.request(Method::POST, "/v2/repository/index")).await.ok();
    assert_eq!(index[0], json!({ "name": "add_one", "version": "1.0.0", "state": "READY", "reason": "" }));
    // In the path, versions may be short.
    for version in ["1", "1.0", "1.0.0", "v1.0.0"] {
        assert_eq!(host.get(&format!("/v2/models/add_one/versions/{version}")).await.ok()["versions"], json!(["1.0.0"]));
    }
}
