//! What the plugin tells of itself; only ever run when a model is loaded.

use bulkhead_sdk::prelude::*;

use crate::Classify;

pub(crate) fn describe(config: &Classify) -> Description {
    let description = Description::new("Turns the scores of a classifier into its most probable labels")
        .hooks(Hooks::AFTER)
        .output_schema(&output_schema(config))
        .config_schema(&config_schema());
    // Without a name there is nothing to compare with the model.
    let Some(output) = &config.output else { return description };
    let classes = config.labels.as_ref().and_then(|labels| i64::try_from(labels.len()).ok()).unwrap_or(-1);
    description.consumes(output, Datatype::Fp32, &[-1, classes])
}

fn output_schema(config: &Classify) -> serde_json::Value {
    let mut label = json!({ "type": "string" });
    if let Some(labels) = &config.labels {
        label["enum"] = labels.iter().collect();
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "One prediction, or a list of them where the model was given a batch of several rows.",
        "oneOf": [
            { "$ref": "#/$defs/prediction" },
            {
                "type": "object",
                "properties": { "predictions": { "type": "array", "items": { "$ref": "#/$defs/prediction" } } },
                "required": ["predictions"],
            },
        ],
        "$defs": {
            "label": label,
            "prediction": {
                "type": "object",
                "properties": {
                    "label": { "$ref": "#/$defs/label" },
                    "score": { "type": "number" },
                    "top": {
                        "description": "The best classes, the best one first.",
                        "type": "array",
                        "maxItems": config.top_k,
                        "items": {
                            "type": "object",
                            "properties": { "label": { "$ref": "#/$defs/label" }, "score": { "type": "number" } },
                            "required": ["label", "score"],
                        },
                    },
                },
                "required": ["label", "score", "top"],
            },
        },
    })
}

fn config_schema() -> serde_json::Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "output": {
                "description": "Name of the tensor of scores; without it the first of 32-bit floats is taken.",
                "type": "string",
            },
            "kind": {
                "description": "Logits become probabilities by softmax, probabilities are passed on.",
                "enum": ["logits", "probabilities"],
                "default": "logits",
            },
            "labels": {
                "description": "Names of the classes in the order of the scores; without it a class is named by its index.",
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
            },
            "top_k": { "description": "How many of the best classes are listed.", "type": "integer", "minimum": 1, "default": 3 },
        },
        "additionalProperties": false,
    })
}
