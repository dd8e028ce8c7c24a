//! The folders under `cases`, natively, and what the plugin tells of itself.

use image::Image;
use serde_json::json;

#[test]
fn cases() {
    plugin_cases::run_all::<Image>(concat!(env!("CARGO_MANIFEST_DIR"), "/cases"));
}

#[test]
fn describes_its_tensor() {
    let described = plugin_cases::describe::<Image>(&json!({ "width": 10, "height": 20 })).unwrap();
    assert_eq!((described.produces[0].name.as_str(), described.produces[0].shape.as_slice()), ("image", [1, 3, 20, 10].as_slice()));
    let described = plugin_cases::describe::<Image>(&json!({ "width": 10, "height": 20, "color": "gray", "layout": "nhwc", "input": "x" })).unwrap();
    assert_eq!((described.produces[0].name.as_str(), described.produces[0].shape.as_slice()), ("x", [1, 20, 10, 1].as_slice()));
}

#[test]
fn refuses_configurations_that_make_no_sense() {
    for (config, pointer) in [
        (json!({ "width": 0, "height": 1 }), "/width"),
        (json!({ "width": 1, "height": 9000 }), "/height"),
        (json!({ "width": 1, "height": 1, "mean": [0, 0] }), "/mean"),
        (json!({ "width": 1, "height": 1, "std": 0 }), "/std"),
        (json!({ "width": 1, "height": 1, "color": "gray", "std": [1, 1, 1] }), "/std"),
        (json!({ "width": 1, "height": 1, "dtype": "uint8", "scale": 1 }), "/scale"),
        (json!({ "width": 1, "height": 1, "color": "bgr" }), "/color"),
    ] {
        let error = plugin_cases::describe::<Image>(&config).unwrap_err();
        assert!(error.to_string().ends_with(&format!("(at {pointer})")), "{error}, not at {pointer}");
    }
}
