//! What the caller gets.

use bulkhead_sdk::prelude::*;
use bulkhead_sdk::softmax;

/// Everything that was found, from the top down.
#[derive(Serialize)]
pub(crate) struct Answer {
    pub(crate) found: Vec<Found>,
}

#[derive(Serialize)]
pub(crate) struct Found {
    /// Left, top, right and bottom as shares of the picture, whatever size it was brought to.
    pub(crate) r#box: [f32; 4],
    /// The detector's.
    pub(crate) score: f32,
    pub(crate) label: String,
    /// The reader's.
    pub(crate) probability: f32,
}

/// The class that the reader holds for the most probable, of each row.
pub(crate) fn most_probable(scores: &Tensor, rows: usize) -> Result<Vec<(usize, f32)>> {
    let values = scores.values::<f32>()?;
    if rows == 0 || values.is_empty() || values.len() % rows != 0 {
        return Err(Error::internal(format!(
            "the reader gives `{}` {:?} for {rows} pictures, expected [{rows}, classes]",
            scores.name(),
            scores.shape()
        )));
    }
    let classes = values.len() / rows;
    #[expect(clippy::cast_possible_truncation, reason = "as precise as the scores")]
    let of_row = |row: &[f32]| {
        let (class, greatest) =
            row.iter().copied().enumerate().fold((0, f32::NEG_INFINITY), |best, (at, score)| if score > best.1 { (at, score) } else { best });
        if !greatest.is_finite() {
            return Err(Error::internal(format!("the reader's `{}` holds scores that are no finite numbers", scores.name())));
        }
        Ok((class, (1.0 / softmax::exp_sum(row, greatest)) as f32))
    };
    values.chunks_exact(classes).map(of_row).collect()
}

pub(crate) fn schema() -> serde_json::Value {
    json!({
        "type": "object",
        "required": ["found"],
        "properties": { "found": { "type": "array", "items": {
            "type": "object",
            "required": ["box", "score", "label", "probability"],
            "properties": {
                "box": { "type": "array", "items": { "type": "number" }, "minItems": 4, "maxItems": 4, "description": "left, top, right and bottom as shares of the picture" },
                "score": { "type": "number" },
                "label": { "type": "string" },
                "probability": { "type": "number" },
            },
        } } },
    })
}

pub(crate) fn config_schema() -> serde_json::Value {
    json!({
        "type": "object",
        "required": ["reader"],
        "additionalProperties": false,
        "properties": {
            "detector": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "image": { "type": "string", "default": "image" },
                    "boxes": { "type": "string", "default": "boxes" },
                    "scores": { "type": "string", "default": "scores" },
                    "least_score": { "type": "number", "default": 0 },
                    "overlap": { "type": "number", "minimum": 0, "maximum": 1, "default": 0.5 },
                    "most": { "type": "integer", "minimum": 1, "maximum": 256, "default": 64 },
                },
            },
            "reader": {
                "type": "object",
                "required": ["width", "height", "output"],
                "additionalProperties": false,
                "properties": {
                    "image": { "type": "string", "default": "image" },
                    "width": { "type": "integer", "minimum": 1, "maximum": 1024 },
                    "height": { "type": "integer", "minimum": 1, "maximum": 1024 },
                    "output": { "type": "string" },
                    "labels": { "type": "array", "items": { "type": "string" } },
                },
            },
        },
    })
}
