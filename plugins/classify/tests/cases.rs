//! The folders under `cases`, natively, and what the plugin tells of itself.

use classify::Classify;
use serde_json::{Value, json};

#[test]
fn cases() {
    plugin_cases::run_all::<Classify>(concat!(env!("CARGO_MANIFEST_DIR"), "/cases"));
}

#[test]
fn describes_what_it_reads_and_answers() {
    let described = plugin_cases::describe::<Classify>(&json!({ "output": "scores", "labels": ["cat", "dog"], "top_k": 1 })).unwrap();
    assert_eq!(described.consumes[0].name, "scores");
    assert_eq!(described.consumes[0].shape, [-1, 2]);
    let schema: Value = serde_json::from_str(described.output_schema.as_deref().unwrap()).unwrap();
    assert_eq!(schema["$defs"]["label"]["enum"], json!(["cat", "dog"]));
    let described = plugin_cases::describe::<Classify>(&json!({})).unwrap();
    assert!(described.consumes.is_empty());
}

#[test]
fn refuses_configurations_that_make_no_sense() {
    for (config, pointer) in [(json!({ "top_k": 0 }), "/top_k"), (json!({ "labels": [] }), "/labels"), (json!({ "labels": ["a", 1] }), "/labels/1")] {
        let error = plugin_cases::describe::<Classify>(&config).unwrap_err();
        assert!(error.to_string().ends_with(&format!("(at {pointer})")), "{error}");
    }
}
