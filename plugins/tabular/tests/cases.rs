//! The folders under `cases`, natively, and what takes more than a file to ask.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a failed test")]

use bulkhead_sdk::testing::Exchange;
use bulkhead_sdk::{Blob, Error, Payload, Step, Tensors};
use serde_json::{Value, json};
use tabular::Tabular;

fn before(config: &Value, payload: Payload) -> Result<Tensors, Error> {
    match Exchange::<Tabular>::open(config)?.before(payload)? {
        Step::Proceed(payload) => payload.into_tensors(),
        Step::Answer(_) => panic!("answered"),
    }
}

fn refusal(config: &Value, body: &str) -> (String, String) {
    match before(config, Payload::Json(body.to_owned())).unwrap_err() {
        Error::Invalid { pointer, message } => (pointer, message),
        other => panic!("{other}"),
    }
}

#[test]
fn cases() {
    plugin_cases::run_all::<Tabular>(concat!(env!("CARGO_MANIFEST_DIR"), "/cases"));
}

#[test]
fn refusals_point_to_the_value() {
    let config = json!({ "columns": ["age", { "name": "a/b~", "dtype": "int", "missing": 0 }, { "name": "sex", "categories": { "f": 0, "m": 1 }, "missing": "f" }] });
    for (body, pointer, message) in [
        (r#"{"age": "3"}"#, "/age", "expected a number, got a string"),
        (r#"[{"age": 1}, {"age": true}]"#, "/1/age", "expected a number, got a boolean"),
        (r#"{"records": [{"age": 1}, {"age": [1]}]}"#, "/records/1/age", "expected a number, got a list"),
        (r#"{"age": {}}"#, "/age", "expected a number, got an object"),
        (r#"{"age": null}"#, "/age", "a value is required, got none"),
        (r#"{"sex": "m"}"#, "/age", "the column is missing"),
        ("{}", "/age", "the column is missing"),
        (r#"{"age": 1, "a/b~": 3.5}"#, "/a~1b~0", "expected an integer, got 3.5"),
        (r#"{"age": 1, "sex": "x"}"#, "/sex", "unknown category `x`; the nearest is `f`"),
        (r#"{"age": 1, "sex": 1}"#, "/sex", "expected a string, got a number"),
        (r#"{"age": 1, "agee": 1}"#, "/agee", "unknown column `agee`; the nearest is `age`"),
        (r#"{"age": 1, "age": 2}"#, "/age", "the column is given twice"),
        (r#"{"age": 1e39}"#, "/age", "expected a number that fits 32 bits, got 1e39"),
        (r#"{"age": NaN}"#, "/age", "expected value at line 1 column 9"),
        (r#"{"age": 1e999}"#, "/age", "number out of range at line 1 column 13"),
        ("[]", "", "expected at least one row, got none"),
        (r#"{"records": []}"#, "/records", "expected at least one row, got none"),
        (r#"{"records": [{"age": 1}], "more": 1}"#, "", "nothing goes beside `records`, got `more`"),
        (r#"{"age": 1} x"#, "", "trailing characters at line 1 column 12"),
        ("3", "", "invalid type: integer `3`, expected a record, a list of records, or {\"records\": [...]} at line 1 column 1"),
    ] {
        assert_eq!(refusal(&config, body), (pointer.to_owned(), message.to_owned()), "{body}");
    }
}

#[test]
fn integers_are_exact() {
    let config = json!({ "columns": ["id"], "dtype": "int64" });
    let body = r#"[{"id": 9007199254740993}, {"id": -9223372036854775808}, {"id": 9223372036854775807}]"#;
    let tensors = before(&config, Payload::Json(body.to_owned())).unwrap();
    let tensor = tensors.get("features").unwrap();
    assert_eq!(*tensor.values::<i64>().unwrap(), [9_007_199_254_740_993, i64::MIN, i64::MAX]);
    for body in [r#"{"id": 9223372036854775808}"#, r#"{"id": 3.0}"#, r#"{"id": 1e3}"#, r#"{"id": 99999999999999999999}"#] {
        assert_eq!(refusal(&config, body).0, "/id", "{body}");
    }
}

#[test]
fn keys_in_any_order_and_a_column_of_the_name_records() {
    let config = json!({ "columns": ["records", "b", "c"] });
    let body = r#"[{"c": 3, "records": 1, "b": 2}, {"b": 5, "c": 6, "records": 4}, {"c": 9, "records": 7, "b": 8}]"#;
    let tensors = before(&config, Payload::Json(body.to_owned())).unwrap();
    let tensor = tensors.get("features").unwrap();
    assert_eq!(tensor.shape(), [3, 3]);
    assert_eq!(*tensor.values::<f32>().unwrap(), [1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    let tensors = before(&config, Payload::Json(r#"{"records": 1, "b": 2, "c": 3}"#.to_owned())).unwrap();
    assert_eq!(tensors.get("features").unwrap().shape(), [1, 3]);
}

#[test]
fn rows_are_limited() {
    let csv = |rows: usize| {
        Payload::Blob(Blob { content_type: "text/csv; charset=utf-8".to_owned(), data: format!("a\n{}", "1\n".repeat(rows)).into_bytes() })
    };
    let config = json!({ "columns": ["a"] });
    assert_eq!(before(&config, csv(100_000)).unwrap().get("features").unwrap().shape(), [100_000, 1]);
    assert_eq!(before(&config, csv(100_001)).unwrap_err().to_string(), "more than 100000 rows: send them in several requests");
}

#[test]
fn not_a_number_stands_for_missing_values_where_it_is_asked_for() {
    let config = json!({ "columns": [{ "name": "a", "missing": "nan" }] });
    let tensors = before(&config, Payload::Json(r#"[{"a": null}, {}]"#.to_owned())).unwrap();
    assert!(tensors.get("features").unwrap().values::<f32>().unwrap().iter().all(|value| value.is_nan()));
}

#[test]
fn refuses_configurations_that_make_no_sense() {
    for (config, pointer) in [
        (json!({ "columns": [] }), "/columns"),
        (json!({ "columns": ["a", "a"] }), "/columns/1"),
        (json!({ "columns": [{ "name": "a", "dtype": "string" }] }), "/columns/0/dtype"),
        (json!({ "columns": [{ "name": "a", "dtype": "float" }], "dtype": "int64" }), "/columns/0/dtype"),
        (json!({ "columns": [{ "name": "a", "missing": 0.5 }], "dtype": "int64" }), "/columns/0/missing"),
        (json!({ "columns": [{ "name": "a", "missing": "x" }] }), "/columns/0/missing"),
        (json!({ "columns": [{ "name": "a", "categories": { "x": 0.5 } }], "dtype": "int64" }), "/columns/0/categories"),
        (json!({ "columns": ["a"], "layout": "columns", "input": "x" }), "/input"),
        (json!({ "columns": [{ "name": "a", "dtypo": "int" }] }), "/columns/0/dtypo"),
    ] {
        let error = plugin_cases::describe::<Tabular>(&config).unwrap_err();
        assert!(error.to_string().ends_with(&format!("(at {pointer})")), "{error}, not at {pointer}");
    }
}

#[test]
fn describes_its_tensors_and_its_body() {
    let described = plugin_cases::describe::<Tabular>(&json!({ "columns": ["a", { "name": "b", "missing": 0 }] })).unwrap();
    assert_eq!((described.produces[0].name.as_str(), described.produces[0].shape.as_slice()), ("features", [-1, 2].as_slice()));
    let schema: Value = serde_json::from_str(described.input_schema.as_deref().unwrap()).unwrap();
    assert_eq!(schema["$defs"]["record"]["required"], json!(["a"]));
    assert_eq!(schema["$defs"]["record"]["properties"]["b"]["type"], json!(["number", "null"]));
    let columns = json!({ "layout": "columns", "columns": ["a", { "name": "b", "dtype": "string" }] });
    let described = plugin_cases::describe::<Tabular>(&columns).unwrap();
    let names: Vec<_> = described.produces.iter().map(|signature| signature.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}
