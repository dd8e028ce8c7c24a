//! What an operator sees: probes, metrics, the OpenAPI document, and models that a file deploys.

use bulkhead_tests::{TestHost, fixtures};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn probes_answer_on_both_listeners() {
    let host = TestHost::start().await;
    for (path, status) in [("/health/live", "live"), ("/health/startup", "started"), ("/health/ready", "ready")] {
        assert_eq!(host.get(path).await.ok()["status"], status);
        assert_eq!(host.admin_get(path).await.ok()["status"], status);
    }
    assert!(host.admin_get("/metrics").await.expect(200).text().contains("bulkhead_versions"));
    // Nothing else is there.
    host.admin_get("/v1/models").await.error(404, "not_found");
}

#[tokio::test]
async fn metrics_go_by_tritons_names_where_that_is_wanted() {
    let host = TestHost::setup().env("BULKHEAD_TELEMETRY_NV_METRICS", "true").start().await;
    let batching = format!("{}\n[batching]\nmax_batch_size = 8", fixtures::PLAIN);
    host.deploy("add_one", "1.0.0", &batching, fixtures::model("add_one")).await;
    let rows = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [3, 4], "data": vec![0; 12] }] });
    assert_eq!(host.predict("add_one", &rows).await.status, 200);
    host.predict("add_one", &json!({ "inputs": [] })).await.error(400, "invalid_input");
    let text = host.get("/metrics").await.expect(200).text();
    let labels = r#"model="add_one",version="1.0.0",namespace="default""#;
    for line in [
        format!("nv_inference_request_success{{{labels}}} 1"),
        format!("nv_inference_request_failure{{{labels},reason=\"OTHER\"}} 1"),
        format!("nv_inference_request_failure{{{labels},reason=\"REJECTED\"}} 0"),
        format!("nv_inference_count{{{labels}}} 3"),
        format!("nv_inference_exec_count{{{labels}}} 1"),
        format!("nv_inference_pending_request_count{{{labels}}} 0"),
    ] {
        assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
    }
    let without = TestHost::start().await;
    assert!(!without.get("/metrics").await.expect(200).text().contains("nv_inference"));
}

const FILE: &str = r#"
[[plugins]]
name = "classify"
version = "0.1.0"
file = "CLASSIFY"

[[models]]
name = "good"
version = "1.0.0"
file = "add_one.onnx"
manifest = "plain.toml"

[[models]]
name = "broken"
version = "1.0.0"
file = "truncated.onnx"
manifest = "plain.toml"

[[models]]
name = "absent"
version = "2.0.0"
file = "absent.onnx"
manifest = "plain.toml"

[[models]]
name = "digits"
version = "1.0.0"
file = "digits.onnx"
manifest = "digits.json"
"#;

#[tokio::test]
async fn a_file_deploys_models_and_one_that_fails_stops_no_other() {
    let plugin = fixtures::workspace().join("target/plugins/classify.wasm");
    let digits = json!({ "runtime": "onnx", "transforms": [{ "plugin": "classify@0.1.0", "config": { "output": "logits" } }] });
    let mut host = TestHost::setup()
        .config(&FILE.replace("CLASSIFY", &plugin.to_string_lossy()))
        .file("plain.toml", fixtures::PLAIN)
        .file("digits.json", digits.to_string())
        .file("add_one.onnx", fixtures::model("add_one"))
        .file("truncated.onnx", fixtures::model("truncated"))
        .file("digits.onnx", fixtures::demo("digits/model.onnx"))
        .start()
        .await;
    for _ in 0..2 {
        let ready = host.get("/health/ready").await.ok();
        assert_eq!(ready["versions_ready"], 2, "{ready}");
        let failed: Vec<_> = ready["failed"].as_array().unwrap().iter().map(|failed| (failed["model"].clone(), failed["version"].clone())).collect();
        assert!(failed.contains(&(json!("broken"), json!("1.0.0"))) && failed.contains(&(json!("absent"), json!("2.0.0"))), "{ready}");
        let problems = ready["problems"].to_string();
        assert!(problems.contains("broken") && problems.contains("absent.onnx"), "{problems}");
        let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
        assert_eq!(host.predict("good", &body).await.status, 200);
        host.predict("broken", &body).await.error(503, "not_ready").says("can't be loaded");
        assert!(host.metric("bulkhead_versions", &[("state", "failed")]).await >= 1.0);
        host.restart().await;
    }
}

#[tokio::test]
async fn a_model_of_the_file_that_fails_says_why() {
    let host = TestHost::setup()
        .config("[[models]]\nname = \"broken\"\nversion = \"1.0.0\"\nfile = \"broken.onnx\"\nmanifest = \"plain.toml\"")
        .file("plain.toml", fixtures::PLAIN)
        .file("broken.onnx", fixtures::model("truncated"))
        .start()
        .await;
    let document = host.get("/v1/models/broken/versions/1.0.0").await.ok();
    assert_eq!(document["state"], "failed");
    assert!(document["why"].as_str().is_some_and(|why| why.contains("can't be loaded")), "{document}");
    // What was broken is mended by hand.
    host.deploy("broken", "1.0.0", fixtures::PLAIN, fixtures::model("add_one")).await;
    assert_eq!(host.get("/health/ready").await.ok()["failed"], json!([]));
}

#[tokio::test]
async fn metrics_tell_stages_and_outcomes() {
    let host = TestHost::start().await;
    host.demo("iris").await;
    let record = serde_json::from_slice(&fixtures::demo("iris/sample.json")).unwrap();
    for _ in 0..3 {
        let _ = host.predict("iris", &record).await.ok();
    }
    host.predict("iris", &json!({})).await.error(400, "invalid_input");
    let of = [("tenant", "default"), ("model", "iris"), ("version", "1.0.0")];
    for (outcome, count) in [("ok", 3.0), ("invalid_input", 1.0)] {
        assert_eq!(host.metric("bulkhead_predict_requests_total", &[of[0], of[1], of[2], ("outcome", outcome)]).await, count);
    }
    for stage in ["queue", "before", "inference", "after"] {
        let labels = [of[0], of[1], of[2], ("stage", stage)];
        assert_eq!(host.metric("bulkhead_predict_stage_seconds_count", &labels).await, 3.0, "{stage}");
        assert!(host.metric("bulkhead_predict_stage_seconds_bucket", &labels).await > 0.0, "{stage}");
    }
    assert_eq!(host.metric("bulkhead_versions", &[("state", "ready")]).await, 1.0);
    let answer = host.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain"), "{:?}", answer.headers);
}

#[tokio::test]
async fn what_is_deleted_is_counted_no_more() {
    let host = TestHost::start().await;
    let deploy = async |version: &str| host.deploy("m", version, fixtures::PLAIN, fixtures::model("add_one")).await;
    let series = async || {
        let text = host.get("/metrics").await.expect(200).text();
        let mut versions: Vec<_> = text.lines().filter_map(|line| Some(line.split_once("version=\"")?.1.split_once('"')?.0.to_owned())).collect();
        versions.sort();
        versions.dedup();
        versions
    };
    deploy("1.0.0").await;
    for version in ["2.0.0", "3.0.0"] {
        deploy(version).await;
        let predict = async |body: Value| host.post_json(&format!("/v1/models/m/versions/{version}/predict"), &body).await;
        predict(json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0] }] })).await.ok();
        predict(json!({ "inputs": [] })).await.error(400, "invalid_input");
        host.put_version("m/versions/9.0.0", fixtures::PLAIN, b"no model".to_vec()).await.error(422, "invalid_model");
    }
    assert_eq!(series().await, ["1.0.0", "2.0.0", "3.0.0"]);
    host.post_json("/v1/models/m/promote", &json!({ "version": "1.0.0" })).await.ok();
    for version in ["2.0.0", "3.0.0"] {
        let deleted = host.delete(&format!("/v1/models/m/versions/{version}")).await;
        assert_eq!(deleted.status, 204, "{}", deleted.text());
    }
    bulkhead_tests::eventually("their series are gone", std::time::Duration::from_secs(20), async || series().await == ["1.0.0"]).await;
}

#[tokio::test]
async fn the_openapi_document_grows_with_the_models() {
    let host = TestHost::start().await;
    let fixed = host.get("/openapi.json").await.ok();
    assert!(fixed["openapi"].as_str().unwrap().starts_with("3.1"), "{}", fixed["openapi"]);
    for path in [
        "/v1/models",
        "/v1/models/{name}/predict",
        "/v1/models/{name}/promote",
        "/v1/plugins/{name}/versions/{version}",
        "/v2",
        "/v2/models/{name}/versions/{version}/infer",
    ] {
        assert!(fixed["paths"].get(path).is_some(), "{path}");
    }
    // What stands there is there: a model that is not answers so, a path that is not otherwise.
    for (path, operations) in fixed["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/v2")) {
        for method in operations.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = host.send(host.request(method, &path.replace(['{', '}'], "")).body("{}")).await;
            assert!(answer.status != 405 && !answer.text().contains("no route"), "{path}: {}", answer.text());
        }
    }
    let path = "/v1/models/digits/predict";
    assert_eq!(fixed["paths"].get(path), None);
    host.demo("digits").await;
    host.plain(&["add_one"]).await;
    let document = host.get("/openapi.json").await.ok();
    let digits = &document["paths"][path]["post"];
    let content = digits["requestBody"]["content"].as_object().unwrap();
    assert!(content.contains_key("image/png") && content.contains_key("image/jpeg"), "{digits}");
    assert_eq!(content["application/json"]["schema"]["required"], json!(["image"]));
    let answer = digits["responses"]["200"]["content"]["application/json"]["schema"].to_string();
    assert!(["label", "score", "top"].iter().all(|key| answer.contains(&format!("\"{key}\""))), "{answer}");
    let add_one = document["paths"]["/v1/models/add_one/predict"]["post"].to_string();
    assert!(add_one.contains("\"FP32\"") && add_one.contains("\"x\"") && add_one.contains("\"y\""), "{add_one}");
    assert_eq!(references(&document), Vec::<String>::new());
    assert_eq!(host.delete("/v1/models/digits/versions/1.0.0").await.status, 409);
}

/// `$ref`s that lead nowhere. They count from the document's root, or from the nearest schema around them with an `$id`.
fn references(document: &Value) -> Vec<String> {
    fn walk(value: &Value, root: &Value, lost: &mut Vec<String>) {
        let root = if value.get("$id").is_some() { value } else { root };
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| match value.as_str() {
                Some(text) if key == "$ref" && root.pointer(text.trim_start_matches('#')).is_none() => lost.push(text.to_owned()),
                _ => walk(value, root, lost),
            }),
            Value::Array(list) => list.iter().for_each(|value| walk(value, root, lost)),
            _ => {}
        }
    }
    let mut lost = Vec::new();
    walk(document, document, &mut lost);
    lost
}

#[tokio::test]
async fn the_documents_reader_works_offline() {
    let host = TestHost::start().await;
    let page = host.get("/docs").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"), "{:?}", page.headers);
    let html = page.text();
    let links: Vec<_> = ["src=\"", "href=\""].iter().flat_map(|start| html.split(start).skip(1)).filter_map(|rest| rest.split('"').next()).collect();
    assert!(links.len() >= 2, "{html}");
    for link in links {
        assert!(!link.contains("//"), "{link} is not here");
        let path = format!("/docs/{}", link.trim_start_matches("./"));
        let file = host.get(&path).await.expect(200);
        assert!(!file.body.is_empty(), "{path}");
    }
    let start = host.get("/docs/swagger-initializer.js").await.expect(200).text();
    assert!(start.contains("/openapi.json") && !start.contains("petstore"), "{start}");
}
