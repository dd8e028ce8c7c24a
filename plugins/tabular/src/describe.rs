//! What the plugin tells of itself; only ever run when a model is loaded.

use bulkhead_sdk::prelude::*;
use serde_json::Value;

use crate::cell::Stored;
use crate::column::{Column, Missing};
use crate::table::datatype;
use crate::{Layout, Tabular};

pub(crate) fn describe(config: &Tabular) -> Description {
    let description = Description::new("Turns JSON records and CSV tables into the tensors of a model of tabular data")
        .hooks(Hooks::BEFORE)
        .accepts("application/json")
        .accepts("text/csv")
        .input_schema(&input_schema(config))
        .config_schema(&config_schema());
    match config.layout {
        Layout::Matrix => {
            let kind = datatype(config.kind(&config.columns[0]));
            description.produces(config.input(), kind, &[-1, config.columns.len() as i64])
        }
        Layout::Columns => {
            config.columns.iter().fold(description, |description, column| description.produces(&column.name, datatype(config.kind(column)), &[-1, 1]))
        }
    }
}

fn input_schema(config: &Tabular) -> Value {
    let properties: serde_json::Map<_, _> = config.columns.iter().map(|column| (column.name.clone(), property(config, column))).collect();
    let is_required = |column: &&Column| matches!(column.missing, Missing::Refuse);
    let required: Vec<_> = config.columns.iter().filter(is_required).map(|column| column.name.as_str()).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "oneOf": [
            { "$ref": "#/$defs/record" },
            { "$ref": "#/$defs/records" },
            {
                "type": "object",
                "properties": { "records": { "$ref": "#/$defs/records" } },
                "required": ["records"],
                "additionalProperties": false,
            },
        ],
        "$defs": {
            "record": { "type": "object", "properties": properties, "required": required, "additionalProperties": false },
            "records": { "type": "array", "items": { "$ref": "#/$defs/record" }, "minItems": 1 },
        },
    })
}

fn property(config: &Tabular, column: &Column) -> Value {
    let kind = config.kind(column);
    let is_optional = !matches!(column.missing, Missing::Refuse);
    if let Some(categories) = &column.categories {
        let names = categories.iter().map(|(name, _)| Value::from(name)).chain(is_optional.then_some(Value::Null));
        return json!({ "enum": names.collect::<Vec<_>>() });
    }
    let name = match (kind.stored, kind.integers) {
        (Stored::Text, _) => "string",
        (_, true) => "integer",
        (_, false) => "number",
    };
    if is_optional { json!({ "type": [name, "null"] }) } else { json!({ "type": name }) }
}

fn config_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "columns": {
                "description": "In the order in which the model takes them: a name, or an object.",
                "type": "array",
                "minItems": 1,
                "items": { "oneOf": [{ "type": "string" }, { "$ref": "#/$defs/column" }] },
            },
            "layout": {
                "description": "One tensor of all columns, or one for each of them.",
                "enum": ["matrix", "columns"],
                "default": "matrix",
            },
            "input": { "description": "Name of the tensor of the layout \"matrix\".", "type": "string", "default": "features" },
            "dtype": {
                "description": "Element type of the tensor of the layout \"matrix\".",
                "enum": ["fp32", "int64"],
                "default": "fp32",
            },
        },
        "required": ["columns"],
        "additionalProperties": false,
        "$defs": {
            "column": {
                "type": "object",
                "properties": {
                    "name": { "type": "string" },
                    "dtype": {
                        "description": "\"int\" refuses fractions; \"string\" is for the layout \"columns\".",
                        "enum": ["float", "int", "string"],
                    },
                    "missing": {
                        "description": "What stands for a value that is missing or null: a number, a string, \"nan\" for not a number; \"refuse\" refuses the request.",
                        "type": ["number", "string"],
                        "default": "refuse",
                    },
                    "categories": {
                        "description": "Numbers that stand for strings.",
                        "type": "object",
                        "additionalProperties": { "type": "number" },
                    },
                },
                "required": ["name"],
                "additionalProperties": false,
            },
        },
    })
}
