//! What holds for any input: manifests, bodies of tensors as bytes, multipart uploads, and components that were tampered
//! with. A host is asked here, over HTTP; what is checked inside the host is beside the code
//! (`host/src/sandbox/measure.rs`, `host/src/auth/properties.rs`).

use std::sync::atomic::{AtomicU32, Ordering};

use bulkhead_registry::Manifest;
use bulkhead_tests::{Answer, TestHost, fixtures, wasm};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

fn config(cases: u32) -> ProptestConfig {
    // What fails is shown, and belongs into a test of its own; shrinking asks the host a few hundred times more.
    ProptestConfig { failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::with_cases(cases) }
}

/// Asks a host for each of many inputs.
fn ask<S: Strategy>(cases: u32, models: &[&str], strategy: S, test: impl AsyncFn(&TestHost, S::Value) -> Result<(), TestCaseError>) {
    let runtime = Runtime::new().expect("a runtime");
    let host = runtime.block_on(async {
        let host = TestHost::start().await;
        host.plain(models).await;
        host
    });
    let outcome = TestRunner::new(config(cases)).run(&strategy, |input| runtime.block_on(test(&host, input)));
    assert!(outcome.is_ok(), "{outcome:?}");
    runtime.block_on(async { assert_eq!(host.get("/health/ready").await.status, 200) });
}

/// A caller's fault, said in the form that all errors have.
fn is_refusal(answer: &Answer) -> bool {
    (400..500).contains(&answer.status) && serde_json::from_slice::<Value>(&answer.body).is_ok_and(|body| !body["error"].is_null())
}

static VERSION: AtomicU32 = AtomicU32::new(0);

fn next_version() -> String {
    format!("1.0.{}", VERSION.fetch_add(1, Ordering::Relaxed))
}

// === Manifests ===

/// Values that keys of manifests may have, and some that they may not.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0i64..2000).prop_map(Value::from),
        "[a-z@0-9. ]{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["onnx", "predictor", "warm", "never", "cpu", "cuda:0", "a@1.0.0"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let keys = prop::sample::select(vec![
            "plugin",
            "config",
            "timeout_ms",
            "memory_mb",
            "reuse",
            "max_batch_size",
            "instances",
            "threads",
            "device",
            "grants",
            "graphs",
            "ttl_seconds",
            "x",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(keys.prop_map(str::to_owned), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn manifest() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(vec![
        "transforms",
        "tags",
        "git_sha",
        "batching",
        "sandbox",
        "engine",
        "headers",
        "predictor",
        "cache",
        "warmup",
        "surplus",
    ]);
    let rest = prop::collection::hash_map(keys.prop_map(str::to_owned), value(), 0..5);
    (prop_oneof![4 => Just(json!("onnx")), 1 => value()], rest).prop_map(|(runtime, rest)| {
        let mut map: serde_json::Map<String, Value> = rest.into_iter().collect();
        map.insert("runtime".to_owned(), runtime);
        Value::Object(map)
    })
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn a_manifest_is_read_or_its_mistakes_are_listed(manifest in manifest()) {
        match Manifest::from_json(&manifest.to_string()) {
            Ok(read) => {
                prop_assert!(manifest.get("surplus").is_none(), "a key that there is not was taken");
                prop_assert_eq!(Manifest::from_json(&read.to_json()).expect("what was written"), read);
            }
            Err(error) => {
                prop_assert!(!error.problems().is_empty());
                let text = error.to_string();
                prop_assert!(text.len() > 10, "{}", text);
            }
        }
    }

    #[test]
    fn no_text_breaks_the_reading_of_manifests(text in any::<String>()) {
        for read in [Manifest::from_json(&text), Manifest::from_toml(&text), Manifest::from_toml(&format!("runtime = \"onnx\"\n{text}"))] {
            if let Err(error) = read {
                prop_assert!(!error.problems().is_empty());
            }
        }
    }
}

// === Tensors as bytes ===

/// A body of JSON and one tensor, and what is said of the lengths of both.
#[derive(Debug, Clone)]
struct Framed {
    shape: (i64, i64),
    values: Vec<u32>,
    /// What the lengths that are said differ by from what they are, and the body from what it should be.
    json_off: i64,
    data_off: i64,
    body_off: i64,
}

fn framed() -> impl Strategy<Value = Framed> {
    let off = || prop_oneof![3 => Just(0i64), 1 => -9i64..10, 1 => prop_oneof![Just(i64::from(i32::MAX)), Just(1 << 40)]];
    let shape = (1i64..4, 1i64..5);
    (shape, off(), off(), prop_oneof![3 => Just(0i64), 1 => -20i64..21]).prop_flat_map(|(shape, json_off, data_off, body_off)| {
        prop::collection::vec(any::<u32>(), usize::try_from(shape.0 * shape.1).expect("a small number")).prop_map(move |values| Framed {
            shape,
            values,
            json_off,
            data_off,
            body_off,
        })
    })
}

#[test]
fn a_body_of_bytes_is_what_its_lengths_say_or_refused() {
    ask(400, &["identity_f32"], framed(), async |host, framed| {
        let data: Vec<u8> = framed.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let said = data.len() as i64 + framed.data_off;
        let input = json!({ "name": "x", "datatype": "FP32", "shape": [framed.shape.0, framed.shape.1], "parameters": { "binary_data_size": said } });
        let head = json!({ "inputs": [input], "outputs": [{ "name": "y", "parameters": { "binary_data": true } }] }).to_string();
        let mut body = [head.as_bytes(), &data].concat();
        body.resize(usize::try_from(body.len() as i64 + framed.body_off).expect("some bytes"), 0);
        let length = head.len() as i64 + framed.json_off;
        let request = host.request(Method::POST, "/v2/models/identity_f32/infer").header("inference-header-content-length", length.to_string());
        let answer = host.send(request.body(body)).await;
        let is_right = framed.json_off == 0 && framed.data_off == 0 && framed.body_off == 0;
        if !is_right {
            prop_assert!(is_refusal(&answer), "{} {}", answer.status, answer.text());
            return Ok(());
        }
        prop_assert_eq!(answer.status, 200, "{}", answer.text());
        let head: usize = answer.header("inference-header-content-length").parse().expect("a length");
        prop_assert_eq!(&answer.body[head..], data.as_slice());
        Ok(())
    });
}

// === Multipart uploads ===

#[derive(Debug, Clone, Copy, PartialEq)]
enum Piece {
    Manifest,
    BadManifest,
    Model,
    Unknown,
    Nameless,
}

#[derive(Debug, Clone)]
struct Uploaded {
    pieces: Vec<Piece>,
    boundary: String,
    /// Where it is cut off, if it is.
    end: Option<Index>,
    junk: Option<(Index, Vec<u8>)>,
}

fn uploaded() -> impl Strategy<Value = Uploaded> {
    let piece = prop::sample::select(vec![Piece::Manifest, Piece::BadManifest, Piece::Model, Piece::Unknown, Piece::Nameless]);
    let pieces = prop_oneof![
        2 => Just(vec![Piece::Manifest, Piece::Model]),
        1 => Just(vec![Piece::Model, Piece::Manifest]),
        3 => prop::collection::vec(piece, 0..5),
    ];
    let junk = prop::option::weighted(0.2, (any::<Index>(), prop::collection::vec(any::<u8>(), 1..40)));
    (pieces, "[A-Za-z0-9]{1,60}", prop::option::weighted(0.3, any::<Index>()), junk).prop_map(|(pieces, boundary, end, junk)| Uploaded {
        pieces,
        boundary,
        end,
        junk,
    })
}

fn form(uploaded: &Uploaded, model: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in &uploaded.pieces {
        let (name, content): (&str, &[u8]) = match piece {
            Piece::Manifest => ("; name=\"manifest\"; filename=\"manifest.toml\"", b"runtime = \"onnx\""),
            Piece::BadManifest => ("; name=\"manifest\"; filename=\"manifest.toml\"", b"runtime = 7"),
            Piece::Model => ("; name=\"model\"; filename=\"model.onnx\"", model),
            Piece::Unknown => ("; name=\"other\"", b"something"),
            Piece::Nameless => ("", b"something"),
        };
        body.extend_from_slice(format!("--{}\r\nContent-Disposition: form-data{name}\r\n\r\n", uploaded.boundary).as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{}--\r\n", uploaded.boundary).as_bytes());
    body
}

#[test]
fn a_form_is_taken_whole_or_refused_and_leaves_nothing() {
    let model = fixtures::model("identity_f32");
    ask(300, &[], uploaded(), async |host, uploaded| {
        let mut body = form(&uploaded, &model);
        let whole = body.len();
        if let Some((at, junk)) = &uploaded.junk {
            // Not within the model: what the runtime makes of models that are tampered with is not what is tested.
            let before_model = body.windows(10).position(|bytes| bytes == b"model.onnx").unwrap_or(whole);
            let at = at.index(before_model + 1);
            body.splice(at..at, junk.iter().copied());
        }
        if let Some(end) = &uploaded.end {
            body.truncate(end.index(body.len()));
        }
        let version = next_version();
        let request = host.request(Method::PUT, &format!("/v1/models/m/versions/{version}"));
        let request = request.header("content-type", format!("multipart/form-data; boundary={}", uploaded.boundary));
        let answer = host.send(request.body(body.clone())).await;
        let is_good = matches!(uploaded.pieces.as_slice(), [Piece::Manifest, Piece::Model] | [Piece::Model, Piece::Manifest]);
        let is_whole = uploaded.junk.is_none() && body.len() == whole;
        if is_good && is_whole {
            prop_assert_eq!(answer.status, 201, "{}", answer.text());
        } else if answer.status != 201 {
            prop_assert!(is_refusal(&answer), "{} {}", answer.status, answer.text());
            prop_assert_eq!(host.get(&format!("/v1/models/m/versions/{version}")).await.status, 404);
            // All that were taken are of the same bytes.
            prop_assert!(host.files("artifacts").len() <= 1, "leftovers");
        } else {
            // Junk before the first part, a manifest's comment, an end that lacks its last line.
            prop_assert!(is_good, "{:?} was taken", uploaded.pieces);
        }
        Ok(())
    });
}

// === Components ===

#[test]
fn a_component_that_was_tampered_with_is_taken_or_refused() {
    let component = wasm::transform("(data (i32.const 600) \"some data\")");
    let changes = (
        prop::collection::vec((any::<Index>(), any::<u8>()), 0..8),
        prop::option::weighted(0.3, any::<Index>()),
        prop::option::weighted(0.2, (any::<Index>(), any::<Index>())),
    );
    ask(250, &[], changes, async |host, (changes, end, doubled)| {
        let mut bytes = component.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some((from, to)) = doubled {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.extend(piece);
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        let answer = host.put_plugin("p", &next_version(), bytes).await;
        prop_assert!(answer.status == 201 || is_refusal(&answer), "{} {}", answer.status, answer.text());
        Ok(())
    });
}
