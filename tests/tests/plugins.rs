//! Plugins: uploaded, listed, described, removed; and what is refused, with what is said of it.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bulkhead_tests::{TestHost, fixtures, wasm};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PATH: &str = "/v1/plugins/p/versions/1.0.0";

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| format!("{}@{}", item["name"].as_str().unwrap_or("?"), item["version"].as_str().unwrap_or("?"))).collect()
}

#[tokio::test]
async fn a_plugin_is_accepted_once_and_never_changes() {
    let host = TestHost::start().await;
    let (classify, tabular) = (fixtures::plugin("classify"), fixtures::plugin("tabular"));
    let document = host.put_plugin("p", "1.0.0", classify.clone()).await.expect(201).json();
    assert_eq!(document["name"], "p");
    assert_eq!(document["version"], "1.0.0");
    assert_eq!(document["world"], "transform");
    assert_eq!(document["size"], classify.len());
    assert!(document["digest"].as_str().unwrap().len() >= 64, "{document}");
    assert_eq!(host.get(PATH).await.ok(), document);
    assert_eq!(host.put_plugin("p", "1.0.0", classify).await.ok(), document);
    host.put_plugin("p", "1.0.0", tabular).await.error(409, "already_exists").says("p@1.0.0").says("versions never change");
    assert_eq!(host.get(PATH).await.ok(), document);
}

#[tokio::test]
async fn plugins_are_listed_in_pages_described_and_missed() {
    let host = TestHost::start().await;
    let classify = fixtures::plugin("classify");
    // In semver's order, not in that of text.
    let all = ["a@0.9.0", "a@0.10.0", "b@1.0.0", "c@1.0.0"];
    for plugin in all.iter().rev() {
        let (name, version) = plugin.split_once('@').unwrap();
        assert_eq!(host.put_plugin(name, version, classify.clone()).await.status, 201);
    }
    assert_eq!(names(&host.get("/v1/plugins").await.ok()), all);
    assert_eq!(names(&host.get("/v1/plugins/a").await.ok()), all[..2]);
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..all.len() {
        let page = host.get(&format!("/v1/plugins?limit=3{after}")).await.ok();
        seen.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, all);
    for path in ["/v1/plugins/unknown", "/v1/plugins/a/versions/7.0.0", "/v1/plugins/a/versions/seven"] {
        host.get(path).await.error(404, "not_found");
    }
    for query in ["after=%20", "limit=many"] {
        host.get(&format!("/v1/plugins?{query}")).await.error(400, "invalid_input");
    }
    host.put("/v1/plugins/p/versions/latest", classify).await.error(400, "invalid_input").says("latest");
}

#[tokio::test]
async fn a_plugin_in_use_is_not_deleted() {
    let host = TestHost::start().await;
    host.demo("iris").await;
    let path = "/v1/plugins/classify/versions/0.1.0";
    let refusal = host.delete(path).await.error(409, "in_use");
    refusal.says("classify@0.1.0");
    assert_eq!(refusal.details["by"], serde_json::json!(["iris@1.0.0"]));
    assert_eq!(host.put_plugin("classify", "0.2.0", fixtures::plugin("classify")).await.status, 201);
    assert_eq!(host.delete("/v1/plugins/classify/versions/0.2.0").await.status, 204);
    host.delete("/v1/plugins/classify/versions/0.2.0").await.error(404, "not_found");
    host.get("/v1/plugins/classify/versions/0.2.0").await.error(404, "not_found");
    // Both had the same bytes: those that are in use are still there after the next start.
    let mut host = host;
    host.restart().await;
    let record = serde_json::from_slice(&fixtures::demo("iris/sample.json")).unwrap();
    let _ = host.predict("iris", &record).await.ok();
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_with_what_was_expected_and_what_came() {
    let host = TestHost::start().await;
    let classify = fixtures::plugin("classify");
    let long_function = format!("(component (core module (func {})))", "nop ".repeat(600_000));
    let secrets = r#"(component (import "acme:secrets/store@1.0.0" (instance (export "get" (func)))))"#;
    let other_world = r#"(component
        (core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run")))
        (instance $api (export "run" (func $run)))
        (export "acme:other/api@1.0.0" (instance $api)))"#;
    let half_world = other_world.replace("acme:other/api@1.0.0", "bulkhead:plugin/transformer@0.1.0");
    let cases: [(&str, Vec<u8>, &str, &[&str]); 13] = [
        ("nothing", Vec::new(), "not_a_component", &["expected a WebAssembly component"]),
        ("text", b"hello".to_vec(), "not_a_component", &["expected a WebAssembly component, got bytes that are no WebAssembly"]),
        ("a program", std::fs::read(fixtures::bulkhead()).unwrap()[..4096].to_vec(), "not_a_component", &["no WebAssembly"]),
        ("native code", precompiled(&classify), "not_a_component", &["precompiled native code"]),
        ("a core module", wasm::component("(module)"), "not_a_component", &["a core module", "bulkhead plugin build"]),
        ("half a component", classify[..classify.len() / 2].to_vec(), "invalid_component", &["not valid"]),
        ("a proposal that is off", wasm::component("(component (core module (memory i64 1)))"), "invalid_component", &["not valid"]),
        ("another world", wasm::component(other_world), "wrong_world", &["bulkhead:plugin/transform", "acme:other/api@1.0.0"]),
        ("an empty component", wasm::component("(component)"), "wrong_world", &["bulkhead:plugin/transform", "nothing"]),
        ("the right name with other functions", wasm::component(&half_world), "wrong_world", &["another type"]),
        ("an import that nobody gets", wasm::component(secrets), "import_not_granted", &["acme:secrets/store@1.0.0", "bulkhead:plugin/log"]),
        (
            "too many functions",
            wasm::component(&format!("(component (core module {}))", "(func)".repeat(30_001))),
            "over_limits",
            &["30001 functions", "at most 30000"],
        ),
        ("a function that is too long", wasm::component(&long_function), "over_limits", &["bytes in one function", "at most 524288"]),
    ];
    for (what, bytes, code, words) in cases {
        let answer = host.put(PATH, bytes).await;
        assert_eq!(answer.status, 422, "{what}: {}", answer.text());
        let refusal = answer.error(422, code);
        for words in words {
            refusal.says(words);
        }
        host.get(PATH).await.error(404, "not_found");
    }
    assert!(host.files("artifacts").is_empty(), "leftovers: {:?}", host.files("artifacts"));
    // The host is none the worse.
    assert_eq!(host.put(PATH, classify).await.status, 201);
}

/// Native code as the host's own compiler makes it.
fn precompiled(component: &[u8]) -> Vec<u8> {
    let mut compiler = bulkhead_tests::command();
    let mut compiler = compiler.arg("compile-component").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    compiler.stdin.take().expect("standard input").write_all(component).expect("a component that is taken");
    let done = compiler.wait_with_output().expect("native code");
    assert!(done.status.success() && done.stdout.starts_with(b"\x7fELF"));
    done.stdout
}

#[tokio::test]
async fn a_plugin_that_fails_at_its_start_is_refused() {
    let host = TestHost::start().await;
    let behaves = wasm::transform("");
    assert_eq!(host.put_plugin("behaves", "1.0.0", behaves).await.status, 201);
    let cases = [
        ("loops", "(func $start (loop br 0)) (start $start)"),
        ("traps", "(func $start unreachable) (start $start)"),
        ("recurses", "(func $start call $start) (start $start)"),
        ("hoards", "(func $start (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable) (start $start)"),
    ];
    for (what, items) in cases {
        let began = Instant::now();
        let answer = host.put(PATH, wasm::transform(items)).await;
        assert_eq!(answer.status, 422, "{what}: {}", answer.text());
        answer.error(422, "start_failed");
        assert!(began.elapsed() < Duration::from_secs(20), "{what} took {:?}", began.elapsed());
        host.get(PATH).await.error(404, "not_found");
    }
}

#[tokio::test]
async fn a_plugin_that_asks_for_more_than_any_gets_is_refused() {
    let host = TestHost::start().await;
    for (what, items) in [("memory", "(memory 8192)"), ("a table", "(table 1000000 funcref)")] {
        // A second memory, and a table, are what the core module of a component may well have.
        let answer = host.put(PATH, wasm::transform(items)).await;
        assert_eq!(answer.status, 422, "{what}: {}", answer.text());
        let code = answer.json()["error"]["code"].clone();
        assert!(code == "over_limits" || code == "start_failed" || code == "compile_failed", "{what}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_plugin_over_the_bound_of_bytes_is_refused() {
    let host = TestHost::setup().env("BULKHEAD_HTTP_MAX_PLUGIN_MB", "1").start().await;
    let refusal = host.put(PATH, vec![0; (1 << 20) + 1]).await.error(413, "payload_too_large");
    assert_eq!(refusal.details["limit_bytes"], 1 << 20);
}

#[tokio::test]
async fn uploads_are_compiled_off_the_request_path() {
    let host = TestHost::start().await;
    host.plain(&["identity_f32"]).await;
    let body = serde_json::json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0] }] });
    // Some seconds of a compiler's work, of distinct functions.
    let functions: String = (0..2000)
        .map(|at| format!("(func (param i32) (result i32) {} local.get 0)", format!("(drop (i32.mul (local.get 0) (i32.const {at})))").repeat(50)))
        .collect();
    let upload = host.put(PATH, wasm::transform(&functions));
    let mut upload = std::pin::pin!(upload);
    let mut answered = 0;
    let answer = loop {
        tokio::select! {
            answer = &mut upload => break answer,
            prediction = host.predict("identity_f32", &body) => {
                assert_eq!(prediction.status, 200);
                answered += 1;
            }
        }
    };
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(answered >= 3, "{answered} predictions while the plugin was compiled");
}

#[test]
fn components_of_the_sdk_are_one_core_module() {
    for name in ["tabular", "classify", "image"] {
        let modules = core_modules(&fixtures::plugin(name));
        assert_eq!(modules, 1, "`{name}`: each further module is instantiated for each request");
    }
    // This one writes log lines, which takes the module that breaks the circle between it and its import.
    assert!(core_modules(&fixtures::hostile()) > 1);
}

/// Sections 1 of a component, after its magic and version: a byte of kind, a size in LEB128, and the content.
fn core_modules(component: &[u8]) -> usize {
    let (mut at, mut count) = (8, 0);
    while at < component.len() {
        count += usize::from(component[at] == 1);
        at += 1;
        let (mut size, mut shift) = (0, 0);
        loop {
            let byte = component[at];
            at += 1;
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        at += size;
    }
    count
}

#[tokio::test]
async fn an_upload_that_stops_coming_is_given_up() {
    let host = TestHost::setup().env("BULKHEAD_HTTP_REQUEST_TIMEOUT_MS", "500").start().await;
    let mut stream = tokio::net::TcpStream::connect(host.address()).await.expect("a connection");
    let head = "PUT /v1/plugins/p/versions/1.0.0 HTTP/1.1\r\nhost: h\r\ncontent-type: application/wasm\r\ncontent-length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    stream.write_all(&[0; 100]).await.expect("it is sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 400");
}
