//! Natively, with functions in place of the models.
#![expect(clippy::unwrap_used, reason = "what helpers of a test cannot do is a failed test")]

use bulkhead_sdk::prelude::*;
use bulkhead_sdk::testing;
use detect_and_read::DetectAndRead;

fn config() -> serde_json::Value {
    json!({ "detector": { "least_score": 0.1 }, "reader": { "width": 2, "height": 2, "output": "logits", "labels": ["dark", "bright"] } })
}

fn picture() -> Payload {
    let pixels: Vec<f32> = (0..64).map(|at| if at % 8 < 4 { 0.0 } else { 1.0 }).collect();
    Tensor::new("image", &[1, 1, 8, 8], &pixels).unwrap().into()
}

fn find(boxes: &'static [f32], scores: &'static [f32]) {
    testing::grant("detector", move |_| {
        let count = scores.len() as i64;
        Ok([Tensor::new("boxes", &[count, 4], boxes)?, Tensor::new("scores", &[count], scores)?].into_iter().collect())
    });
}

#[test]
fn what_is_found_is_read_in_one_run() {
    find(&[4.0, 4.0, 6.0, 6.0, 0.0, 0.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0], &[0.5, 0.9, 0.05]);
    testing::grant("reader", |inputs| {
        let image = inputs.get("image")?;
        assert_eq!(image.shape(), [2, 1, 2, 2]);
        let rows: Vec<f32> = image.values::<f32>()?.chunks_exact(4).flat_map(|pixels| [0.0, (pixels[0] - 0.5) * 20.0]).collect();
        Ok(Tensor::new("logits", &[2, 2], &rows)?.into())
    });
    let answer: serde_json::Value = testing::predictor::<DetectAndRead>(&config()).unwrap().predict(picture()).unwrap().json().unwrap();
    let found = answer["found"].as_array().unwrap();
    assert_eq!(found.iter().map(|found| found["label"].as_str().unwrap()).collect::<Vec<_>>(), ["dark", "bright"]);
    assert_eq!(found[1]["box"], json!([0.5, 0.5, 0.75, 0.75]));
    assert!(found[0]["probability"].as_f64().unwrap() > 0.99);
}

#[test]
fn nothing_found_is_nothing_read() {
    find(&[], &[]);
    testing::grant("reader", |_| Err(Error::internal("nobody asked")));
    let answer: serde_json::Value = testing::predictor::<DetectAndRead>(&config()).unwrap().predict(picture()).unwrap().json().unwrap();
    assert_eq!(answer, json!({ "found": [] }));
}

#[test]
fn a_class_without_a_label_is_said() {
    find(&[0.0, 0.0, 2.0, 2.0], &[1.0]);
    testing::grant("reader", |_| Ok(Tensor::new("logits", &[1, 3], &[0.0_f32, 0.0, 9.0])?.into()));
    let error = testing::predictor::<DetectAndRead>(&config()).unwrap().predict(picture()).unwrap_err();
    assert!(error.to_string().starts_with("the reader says class 2, and `labels` names 2"), "{error}");
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let with = |pointer: &str, value: serde_json::Value| {
        let mut config = config();
        *config.pointer_mut(pointer).unwrap() = value;
        config
    };
    for (config, at) in [
        (with("/reader/width", json!(0)), "/reader"),
        (with("/detector", json!({ "most": 0 })), "/detector/most"),
        (with("/detector", json!({ "overlap": 2 })), "/detector/overlap"),
        (with("/detector", json!({ "most": -1 })), "/detector/most"),
    ] {
        let error = testing::predictor::<DetectAndRead>(&config).unwrap_err();
        assert!(matches!(&error, Error::Invalid { pointer, .. } if pointer == at), "{error}");
    }
}
