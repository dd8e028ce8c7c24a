//! `bulkhead tune`: what it recommends, for a model that gains by batches and for one that does not.

use bulkhead_tests::{command, onnx};
use serde_json::Value;

fn tune(model: &[u8], arguments: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model).expect("a file");
    command().arg("tune").arg(path).args(arguments).output().expect("the binary starts")
}

fn recommended(model: &[u8]) -> Value {
    let output = tune(model, &["--json", "--latency-ms", "5000", "--max-batch-size", "16"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn batches_for_wide_layers_and_none_for_convolutions() {
    // Its weights are read from memory for each run, and weigh more than a row's arithmetic.
    let dense = recommended(&onnx::dense(&[1024, 4096, 4096, 1000]));
    assert!(dense["best"]["max_batch_size"].as_u64().is_some_and(|rows| rows > 1), "{dense}");
    let lines = dense["manifest"].as_str().unwrap_or_default();
    assert!(lines.starts_with("[batching]\n#"), "{lines}");
    let manifest = bulkhead_registry::Manifest::from_toml(&format!("runtime = \"onnx\"\n{lines}")).expect("lines of a manifest");
    assert_eq!(u64::from(manifest.batching.max_batch_size), dense["best"]["max_batch_size"].as_u64().unwrap_or(0));
    // A single picture keeps the cores as busy as many do.
    let convolutions = recommended(&onnx::convolutions(96, 32));
    assert_eq!(convolutions["best"]["max_batch_size"], 1, "{convolutions}");
    assert!(convolutions["manifest"].as_str().is_some_and(|lines| lines.contains("no [batching]: it gains nothing here")), "{convolutions}");
}

#[test]
fn what_can_not_be_kept_to_is_said() {
    let output = tune(&onnx::convolutions(96, 32), &["--latency-ms", "1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("no setting keeps to 1 ms") && said.contains("--latency-ms"), "{said}");
    let output = tune(b"no model", &[]);
    assert!(!output.status.success(), "{output:?}");
}
