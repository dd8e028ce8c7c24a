//! Models: uploaded, listed, promoted, rolled back, removed; and what is refused, with what is said of it.

use bulkhead_tests::{TestHost, fixtures, onnx};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

const PLAIN: &str = fixtures::PLAIN;

fn texts(list: &Value, key: &str) -> Vec<String> {
    list["items"].as_array().expect("items").iter().map(|item| item[key].as_str().unwrap_or("-").to_owned()).collect()
}

#[tokio::test]
async fn a_version_is_accepted_once_and_never_changes() {
    let host = TestHost::start().await;
    let (add_one, at) = (fixtures::model("add_one"), "m/versions/1.0.0");
    let document = host.put_version(at, PLAIN, add_one.clone()).await.expect(201).json();
    for (key, value) in [("name", "m"), ("version", "1.0.0"), ("stage", "production"), ("state", "ready"), ("runtime", "onnx")] {
        assert_eq!(document[key], value, "{document}");
    }
    assert_eq!(document["size"], add_one.len());
    assert_eq!(document["signature"]["inputs"], json!([{ "name": "x", "datatype": "FP32", "shape": [-1, 4] }]));
    assert_eq!(host.put_version(at, PLAIN, add_one.clone()).await.ok()["digest"], document["digest"]);
    let other = host.put_version(at, PLAIN, fixtures::model("identity_f32")).await;
    other.error(409, "already_exists").says("1.0.0").says("versions never change");
    let manifest = format!("{PLAIN}\ntags = {{ a = \"b\" }}");
    host.put_version(at, &manifest, add_one).await.error(409, "already_exists");
    assert_eq!(host.get("/v1/models/m/versions/1.0.0").await.ok()["digest"], document["digest"]);
}

#[tokio::test]
async fn a_manifest_may_be_json_and_come_last() {
    let host = TestHost::start().await;
    let model = || Part::bytes(fixtures::model("add_one")).file_name("model.onnx");
    let json = r#"{"runtime": "onnx", "tags": {"a": "b"}, "engine": {"instances": 2, "threads": 1}}"#;
    let by_name = Part::text(json).file_name("manifest.json");
    let by_type = Part::text(json).mime_str("application/json").unwrap();
    for (version, manifest) in [("1.0.0", by_name), ("2.0.0", by_type)] {
        let form = Form::new().part("model", model()).part("manifest", manifest);
        let document = host.put_form(&format!("m/versions/{version}"), form).await.expect(201).json();
        assert_eq!(document["manifest"]["tags"], json!({ "a": "b" }));
        assert_eq!(document["engine"]["instances"], 2);
    }
}

#[tokio::test]
async fn every_problem_of_a_manifest_is_listed() {
    let host = TestHost::start().await;
    let manifest = "
        runtime = \"tensorflow\"
        colour = \"red\"
        transforms = [{ plugin = \"image\" }]
        [engine]
        instances = 0
        [sandbox]
        memory_mb = 100000
        reuse = \"always\"
    ";
    let refusal = host.put_version("m/versions/1.0.0", manifest, fixtures::model("add_one")).await.error(422, "invalid_manifest");
    let problems = refusal.details["problems"].as_array().unwrap();
    for pointer in ["/runtime", "/colour", "/transforms/0/plugin", "/engine/instances", "/sandbox/memory_mb", "/sandbox/reuse"] {
        let problem = problems.iter().find(|problem| problem["pointer"] == pointer);
        assert!(problem.is_some_and(|problem| !problem["message"].as_str().unwrap_or_default().is_empty()), "{pointer}: {problems:?}");
    }
    for text in ["runtime = ", "{\"runtime\"", "", "\u{0}"] {
        let refusal = host.put_version("m/versions/1.0.0", text, fixtures::model("add_one")).await.error(422, "invalid_manifest");
        assert!(!refusal.details["problems"].as_array().unwrap().is_empty(), "{text:?}");
    }
    host.get("/v1/models/m").await.error(404, "not_found");
}

/// What it is, its manifest, its model, the code, and words of the message.
type Refused = (&'static str, String, Vec<u8>, &'static str, &'static [&'static str]);

#[tokio::test]
async fn what_can_not_be_served_is_refused_and_leaves_nothing() {
    let host = TestHost::start().await;
    host.plugins(&["image", "classify"]).await;
    let blobs = host.files("artifacts");
    let image = |config: &str| format!("{PLAIN}\ntransforms = [{{ plugin = \"image@0.1.0\", config = {{ {config} }} }}]");
    let classify = |config: &str| format!("{PLAIN}\ntransforms = [{{ plugin = \"classify@0.1.0\", config = {{ {config} }} }}]");
    let iris = || fixtures::demo("iris/model.onnx");
    let digits = || fixtures::demo("digits/model.onnx");
    let cases: [Refused; 15] = [
        ("not ONNX", PLAIN.into(), b"hello, I am no model".to_vec(), "invalid_model", &["can't be loaded"]),
        ("nothing", PLAIN.into(), Vec::new(), "invalid_model", &["can't be loaded"]),
        ("truncated", PLAIN.into(), fixtures::model("truncated"), "invalid_model", &["can't be loaded"]),
        ("elsewhere", PLAIN.into(), fixtures::model("elsewhere"), "invalid_model", &["its tensor `w` lies in another file"]),
        ("unknown operator", PLAIN.into(), fixtures::model("unknown_op"), "invalid_model", &["example.unknown"]),
        ("a plugin that is not there", format!("{PLAIN}\ntransforms = [{{ plugin = \"image@9.0.0\" }}]"), iris(), "missing_plugin", &["image@9.0.0"]),
        (
            "another input",
            image("width = 28, height = 28, color = \"gray\", input = \"image\""),
            iris(),
            "transforms_do_not_fit",
            &["`image`", "features"],
        ),
        ("another shape", image("width = 32, height = 32, color = \"gray\", input = \"image\""), digits(), "transforms_do_not_fit", &["32", "28"]),
        (
            "another type",
            image("width = 28, height = 28, color = \"gray\", input = \"image\", dtype = \"uint8\""),
            digits(),
            "transforms_do_not_fit",
            &["UINT8", "FP32"],
        ),
        ("another output", classify("output = \"scores\""), digits(), "transforms_do_not_fit", &["scores", "logits"]),
        ("configuration of another type", image("width = \"wide\", height = 28"), digits(), "invalid_plugin_config", &["image@0.1.0"]),
        ("configuration that makes no sense", image("width = 0, height = 28"), digits(), "invalid_plugin_config", &["expected 1 to 8192, got 0"]),
        ("unknown configuration", classify("colour = \"red\""), digits(), "invalid_plugin_config", &["colour"]),
        (
            "a runtime that is not there yet",
            "runtime = \"container\"\n[container]\nkind = \"joblib\"".into(),
            iris(),
            "unsupported_runtime",
            &["container"],
        ),
        (
            // More than any machine has.
            "a device that is not there",
            format!("{PLAIN}\n[engine]\ndevice = \"cuda:255\""),
            iris(),
            "device_unavailable",
            &["`cuda:255` can't be had on this host", "onnxruntime.sh --gpu"],
        ),
    ];
    for (what, manifest, model, code, words) in cases {
        let answer = host.put_version("m/versions/1.0.0", &manifest, model).await;
        assert_eq!(answer.status, 422, "{what}: {}", answer.text());
        let refusal = answer.error(422, code);
        for words in words {
            refusal.says(words);
        }
        host.get("/v1/models/m/versions/1.0.0").await.error(404, "not_found");
    }
    assert_eq!(host.files("artifacts/tmp"), [""; 0]);
    let mut host = host;
    host.restart().await;
    assert_eq!(host.files("artifacts"), blobs);
}

#[tokio::test]
async fn a_refused_configuration_is_pointed_at() {
    let host = TestHost::start().await;
    host.plugins(&["image"]).await;
    let manifest = format!("{PLAIN}\ntransforms = [{{ plugin = \"image@0.1.0\", config = {{ width = 28, height = 28, std = 0 }} }}]");
    let refusal = host.put_version("m/versions/1.0.0", &manifest, fixtures::demo("digits/model.onnx")).await.error(422, "invalid_plugin_config");
    assert_eq!(refusal.details["pointer"], "/transforms/0/config/std");
}

#[tokio::test]
async fn a_form_that_is_not_as_it_should_be_is_refused() {
    let host = TestHost::start().await;
    let at = "m/versions/1.0.0";
    let part = |name: &'static str| (name, Part::text(PLAIN));
    for (parts, words) in [
        (vec![], "form"),
        (vec![part("manifest")], "lacks the part `model`"),
        (vec![part("model")], "lacks the part `manifest`"),
        (vec![part("manifest"), part("model"), part("extra")], "`extra`"),
        (vec![part("manifest"), part("manifest")], "each once"),
        (vec![part("model"), part("model")], "each once"),
    ] {
        let form = parts.into_iter().fold(Form::new(), |form, (name, part)| form.part(name, part));
        host.put_form(at, form).await.error(400, "invalid_input").says(words);
    }
    host.put(&format!("/v1/models/{at}"), "bytes").await.error(415, "unsupported_media_type").says("multipart");
    let cut = "--x\r\ncontent-disposition: form-data; name=\"manifest\"\r\n\r\nruntime";
    let request = host.request(reqwest::Method::PUT, &format!("/v1/models/{at}")).header("content-type", "multipart/form-data; boundary=x");
    host.send(request.body(cut)).await.error(400, "invalid_input").says("form");
    // What stands before a part's content is bounded: before the first part, and in its headers.
    for endless in [String::new(), "--x\r\ncontent-disposition: form-data; name=\"".to_owned()] {
        let body = endless + &"a".repeat(3 << 19);
        let request = host.request(reqwest::Method::PUT, &format!("/v1/models/{at}")).header("content-type", "multipart/form-data; boundary=x");
        host.send(request.body(body)).await.error(400, "invalid_input").says("within 1048576 bytes");
    }
    let long = Form::new().part("manifest", Part::text("#".repeat((1 << 20) + 1)));
    host.put_form(at, long).await.error(413, "payload_too_large").says("manifest");
    assert_eq!(host.files("artifacts"), [""; 0]);
}

#[tokio::test]
async fn a_name_or_version_that_can_not_be_is_refused() {
    let host = TestHost::start().await;
    for (at, words) in [
        ("-m/versions/1.0.0", "model name"),
        ("m%20m/versions/1.0.0", "model name"),
        ("m/versions/1.0", "version"),
        ("m/versions/latest", "version"),
        ("m/versions/1.0.0?stage=production", "`staging`"),
        ("%FF/versions/1.0.0", "UTF-8"),
    ] {
        host.put_version(at, PLAIN, fixtures::model("add_one")).await.error(400, "invalid_input").says(words);
    }
}

#[tokio::test]
async fn a_model_over_the_bound_of_bytes_is_refused() {
    let host = TestHost::setup().env("BULKHEAD_HTTP_MAX_MODEL_MB", "1").start().await;
    let refusal = host.put_version("m/versions/1.0.0", PLAIN, vec![0; (1 << 20) + 1]).await.error(413, "payload_too_large");
    assert_eq!(refusal.details["limit_bytes"], 1 << 20);
    assert_eq!(host.files("artifacts"), [""; 0]);
    assert_eq!(host.put_version("m/versions/1.0.0", PLAIN, fixtures::model("add_one")).await.status, 201);
}

#[tokio::test]
async fn the_first_version_goes_to_production_unless_it_is_staged() {
    let host = TestHost::start().await;
    let add_one = fixtures::model("add_one");
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
    assert_eq!(host.put_version("staged/versions/1.0.0?stage=staging", PLAIN, add_one.clone()).await.expect(201).json()["stage"], "staging");
    host.predict("staged", &body).await.error(409, "no_production_version");
    let pinned = host.post_json("/v1/models/staged/versions/1.0.0/predict", &body).await.expect(200);
    assert_eq!(pinned.header("x-bulkhead-variant"), "pinned");
    assert_eq!(host.get("/v1/models/staged").await.ok()["production"], Value::Null);
    host.post_json("/v1/models/staged/rollback", &json!({})).await.error(409, "no_production_version");
    let promoted = host.promote("staged", "1.0.0").await.ok();
    assert_eq!(promoted, json!({ "model": "staged", "production": "1.0.0", "from": null, "changed": true }));
    assert_eq!(host.predict("staged", &body).await.status, 200);

    host.deploy("first", "1.0.0", PLAIN, add_one.clone()).await;
    host.deploy("first", "2.0.0", PLAIN, onnx::with_note(&add_one, "two")).await;
    let list = host.get("/v1/models/first/versions").await.ok();
    assert_eq!(texts(&list, "stage"), ["production", "staging"]);
    assert_eq!(host.predict("first", &body).await.header("x-bulkhead-version"), "1.0.0");
}

#[tokio::test]
async fn rollbacks_return_to_what_really_was_in_production() {
    let host = TestHost::start().await;
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        host.deploy("m", version, PLAIN, onnx::with_note(&fixtures::model("add_one"), version)).await;
        assert_eq!(host.promote("m", version).await.ok()["changed"], version != "1.0.0");
    }
    let again = host.promote("m", "3.0.0").await.ok();
    assert_eq!((&again["changed"], &again["production"]), (&json!(false), &json!("3.0.0")));
    let back = async || host.post_json("/v1/models/m/rollback", &json!({})).await;
    for (from, to) in [("3.0.0", "2.0.0"), ("2.0.0", "1.0.0")] {
        let change = back().await.ok();
        assert_eq!((change["from"].as_str(), change["production"].as_str()), (Some(from), Some(to)));
        let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
        assert_eq!(host.predict("m", &body).await.header("x-bulkhead-version"), to);
    }
    back().await.error(409, "no_production_version");
    let history = host.get("/v1/models/m/history").await.ok();
    assert_eq!(texts(&history, "action"), ["rollback", "rollback", "promote", "promote", "promote"]);
    assert_eq!(texts(&history, "version"), ["1.0.0", "2.0.0", "3.0.0", "2.0.0", "1.0.0"]);
    assert_eq!(texts(&history, "from"), ["2.0.0", "3.0.0", "2.0.0", "1.0.0", "-"]);
    let first = host.get("/v1/models/m/history?limit=2").await.ok();
    let rest = host.get(&format!("/v1/models/m/history?after={}", first["next"].as_str().unwrap())).await.ok();
    assert_eq!([texts(&first, "seq"), texts(&rest, "seq")].concat().len(), 5);
    assert_eq!(texts(&host.get("/v1/models/m/versions").await.ok(), "stage"), ["production", "archived", "archived"]);
}

#[tokio::test]
async fn promotions_of_what_is_not_there_are_refused() {
    let host = TestHost::start().await;
    host.deploy("m", "1.0.0", PLAIN, fixtures::model("add_one")).await;
    host.promote("m", "2.0.0").await.error(404, "not_found");
    host.promote("unknown", "1.0.0").await.error(404, "not_found");
    host.promote("m", "two").await.error(400, "invalid_input");
    host.post_json("/v1/models/unknown/rollback", &json!({})).await.error(404, "not_found");
    host.get("/v1/models/unknown/history").await.error(404, "not_found");
    host.get("/v1/models/m/history?after=x").await.error(400, "invalid_input");
    for body in ["", "{", "{}", r#"{"version": 1}"#, r#"{"version": "1.0.0", "force": true}"#] {
        host.post("/v1/models/m/promote", "application/json", body).await.error(400, "invalid_input").says("expected");
    }
}

#[tokio::test]
async fn only_what_is_not_in_production_is_deleted() {
    let host = TestHost::start().await;
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        host.deploy("m", version, PLAIN, onnx::with_note(&fixtures::model("add_one"), version)).await;
    }
    let _ = host.promote("m", "2.0.0").await.ok();
    let path = |version: &str| format!("/v1/models/m/versions/{version}");
    let refusal = host.delete(&path("2.0.0")).await.error(409, "in_use");
    assert!(refusal.details["by"].as_array().is_some_and(|by| !by.is_empty()), "{refusal:?}");
    // One archived, one never used.
    for version in ["1.0.0", "3.0.0"] {
        assert_eq!(host.delete(&path(version)).await.status, 204);
        host.get(&path(version)).await.error(404, "not_found");
        host.delete(&path(version)).await.error(404, "not_found");
        let body = json!({ "inputs": [] });
        host.post_json(&format!("{}/predict", path(version)), &body).await.error(404, "not_found");
    }
    // Nothing is left to go back to, and the number is free for other bytes.
    host.post_json("/v1/models/m/rollback", &json!({})).await.error(409, "no_production_version");
    host.deploy("m", "1.0.0", PLAIN, fixtures::model("identity_f32")).await;
}

#[tokio::test]
async fn models_are_listed_in_pages_and_by_filters() {
    let host = TestHost::start().await;
    let add_one = fixtures::model("add_one");
    for (name, tags) in [("a", "team = \"vision\""), ("b", "team = \"text\""), ("c", "team = \"vision\"")] {
        host.deploy(name, "1.0.0", &format!("{PLAIN}\ntags = {{ {tags} }}"), add_one.clone()).await;
    }
    assert_eq!(host.put_version("d/versions/1.0.0?stage=staging", PLAIN, add_one.clone()).await.status, 201);
    host.deploy("a", "0.9.0", PLAIN, add_one.clone()).await;
    for (query, expected) in [
        ("", vec!["a", "b", "c", "d"]),
        ("?tag=team:vision", vec!["a", "c"]),
        ("?tag=team:audio", vec![]),
        ("?stage=staging", vec!["a", "d"]),
        ("?stage=production&tag=team:text", vec!["b"]),
        ("?stage=archived", vec![]),
        ("?runtime=onnx", vec!["a", "b", "c", "d"]),
        ("?runtime=container", vec![]),
        ("?limit=2", vec!["a", "b"]),
        ("?limit=2&after=b", vec!["c", "d"]),
    ] {
        let list = host.get(&format!("/v1/models{query}")).await.ok();
        assert_eq!(texts(&list, "name"), expected, "{query}");
        assert_eq!(list["next"], if query == "?limit=2" { json!("b") } else { Value::Null }, "{query}");
    }
    assert_eq!(texts(&host.get("/v1/models/a/versions").await.ok(), "version"), ["0.9.0", "1.0.0"]);
    assert_eq!(texts(&host.get("/v1/models/a/versions?stage=production").await.ok(), "version"), ["1.0.0"]);
    let model = host.get("/v1/models/a").await.ok();
    assert_eq!((&model["production"], &model["latest"], &model["versions"]), (&json!("1.0.0"), &json!("1.0.0"), &json!(2)));
    for query in ["runtime=python", "stage=prod", "tag=vision", "limit=-1", "after=%20"] {
        host.get(&format!("/v1/models?{query}")).await.error(400, "invalid_input");
    }
    host.get("/v1/models/unknown").await.error(404, "not_found");
    host.get("/v1/models/unknown/versions").await.error(404, "not_found");
    host.get("/v1/models/a/versions?after=x").await.error(400, "invalid_input");
}
