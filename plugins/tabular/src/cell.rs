//! One value: what came, what is stored, and the way between them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::column::Column;
use crate::nearest;

/// How values of a column are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) stored: Stored,
    /// Whether fractions are refused.
    pub(crate) integers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    F32,
    I64,
    Text,
}

/// A value as it came.
#[derive(Clone, Copy)]
pub(crate) enum Raw<'v> {
    Missing,
    Number(Number),
    Text(&'v str),
    /// Text that may stand for a number, as all of CSV.
    Untyped(&'v str),
    /// Something that no column takes, by its name.
    Other(&'static str),
}

/// A number without loss: integers never go through a float.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Int(i64),
    /// Above what fits a signed integer.
    Wide(u64),
    Float(f64),
}

/// A value as it is stored.
#[derive(Debug, PartialEq)]
pub(crate) enum Cell<'v> {
    F32(f32),
    I64(i64),
    Text(&'v str),
}

/// A value that is not missing.
pub(crate) fn convert<'v>(column: &Column, kind: Kind, raw: Raw<'v>) -> Result<Cell<'v>, String> {
    let takes_text = column.categories.is_some() || kind.stored == Stored::Text;
    match raw {
        Raw::Text(value) => text(column, kind, value),
        Raw::Untyped(value) if takes_text => text(column, kind, value),
        Raw::Untyped(value) => parsed(kind, value.trim()),
        Raw::Number(_) if takes_text => Err(is_not(column, kind, "a number")),
        Raw::Number(value) => number(kind, value),
        Raw::Other(name) => Err(is_not(column, kind, name)),
        Raw::Missing => Err(is_not(column, kind, "null")),
    }
}

/// A string, or the number of a category.
pub(crate) fn text<'v>(column: &Column, kind: Kind, value: &'v str) -> Result<Cell<'v>, String> {
    match &column.categories {
        Some(categories) => match categories.get(value) {
            Some(code) => number(kind, code),
            None => Err(nearest::message("unknown category", value, categories.iter().map(|(name, _)| name))),
        },
        None if kind.stored == Stored::Text => Ok(Cell::Text(value)),
        None => Err(is_not(column, kind, "a string")),
    }
}

/// A number under the column's rules.
pub(crate) fn number<'v>(kind: Kind, value: Number) -> Result<Cell<'v>, String> {
    match (kind.stored, value) {
        (Stored::Text, _) => Err("expected a string, got a number".to_owned()),
        (_, Number::Float(value)) if kind.integers => Err(format!("expected an integer, got {value:?}")),
        (Stored::I64, Number::Int(value)) => Ok(Cell::I64(value)),
        (Stored::I64, Number::Wide(value)) => Err(format!("expected a signed integer of 64 bits, got {value}")),
        (Stored::F32, Number::Int(value)) => Ok(Cell::F32(value as f32)),
        (Stored::F32, Number::Wide(value)) => Ok(Cell::F32(value as f32)),
        (_, Number::Float(value)) if !value.is_finite() => Err(format!("expected a finite number, got {value}")),
        (_, Number::Float(value)) => match value as f32 {
            stored if stored.is_finite() => Ok(Cell::F32(stored)),
            _ => Err(format!("expected a number that fits 32 bits, got {value:e}")),
        },
    }
}

/// A number in the notation of CSV.
fn parsed<'v>(kind: Kind, value: &str) -> Result<Cell<'v>, String> {
    if kind.integers {
        return match value.parse() {
            Ok(value) => number(kind, Number::Int(value)),
            Err(_) => Err(format!("expected an integer of 64 bits, got `{value}`")),
        };
    }
    match value.parse() {
        Ok(value) => number(kind, Number::Float(value)),
        Err(_) => Err(format!("expected a number, got `{value}`")),
    }
}

fn is_not(column: &Column, kind: Kind, came: &str) -> String {
    let expected = match (column.categories.is_some() || kind.stored == Stored::Text, kind.integers) {
        (true, _) => "a string",
        (false, true) => "an integer",
        (false, false) => "a number",
    };
    format!("expected {expected}, got {came}")
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Wide(value), Self::Int)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;

        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number::Int(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
                Ok(value.into())
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number::Float(value))
            }
        }

        deserializer.deserialize_any(NumberVisitor)
    }
}
