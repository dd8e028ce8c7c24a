//! What the plugin tells of itself; only ever run when a model is loaded.

use bulkhead_sdk::prelude::*;

use crate::config::{Dtype, Image, MAX_EXTENT};
use crate::tensor;

pub(crate) fn describe(config: &Image) -> Description {
    let datatype = match config.dtype {
        Dtype::Fp32 => Datatype::Fp32,
        Dtype::Uint8 => Datatype::Uint8,
    };
    Description::new("Turns PNG and JPEG images into the tensor of a vision model")
        .hooks(Hooks::BEFORE)
        .accepts("image/png")
        .accepts("image/jpeg")
        .accepts("application/octet-stream")
        .accepts("application/json")
        .input_schema(&json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "image": { "description": "PNG or JPEG in base64, or a data URL of it.", "type": "string", "contentEncoding": "base64" },
            },
            "required": ["image"],
            "additionalProperties": false,
        }))
        .config_schema(&config_schema())
        .produces(&config.input, datatype, &tensor::shape(config))
}

fn config_schema() -> serde_json::Value {
    let extent = json!({ "type": "integer", "minimum": 1, "maximum": MAX_EXTENT });
    let per_channel = |description: &str, default: f64| {
        json!({
            "description": description,
            "oneOf": [{ "type": "number" }, { "type": "array", "items": { "type": "number" }, "minItems": 1, "maxItems": 3 }],
            "default": default,
        })
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "width": extent,
            "height": extent,
            "color": { "description": "Gray is the luma of ITU-R 601-2.", "enum": ["rgb", "gray"], "default": "rgb" },
            "filter": { "description": "How pixels are resized.", "enum": ["bilinear", "bicubic"], "default": "bilinear" },
            "scale": {
                "description": "A pixel becomes (pixel * scale - mean) / std; 1/255 where it is left out.",
                "type": "number",
            },
            "mean": per_channel("One for all channels, or one for each.", 0.0),
            "std": per_channel("One for all channels, or one for each.", 1.0),
            "input": { "description": "Name of the tensor.", "type": "string", "default": "image" },
            "layout": { "enum": ["nchw", "nhwc"], "default": "nchw" },
            "dtype": { "description": "\"uint8\" are the pixels, not normalised.", "enum": ["fp32", "uint8"], "default": "fp32" },
            "max_pixels": { "description": "An image with more is refused before it is decoded.", "type": "integer", "minimum": 1, "default": 16_777_216 },
        },
        "required": ["width", "height"],
        "additionalProperties": false,
    })
}
