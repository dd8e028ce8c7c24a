//! Text to one JSON value, whichever of the two languages it is in, without losing or changing anything on the way.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::section::Problems;
use super::{Manifest, ManifestError};

pub(super) fn json(text: &str) -> Result<Value, ManifestError> {
    bounded(text)?;
    let Strict(value) = serde_json::from_str(text).map_err(|error| whole(format!("not valid JSON: {error}")))?;
    Ok(value)
}

pub(super) fn toml(text: &str) -> Result<Value, ManifestError> {
    bounded(text)?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map(|span| format!(" in line {}", line_of(text, span.start))).unwrap_or_default();
        whole(format!("not valid TOML: {}{at}", error.message()))
    })?;
    let mut problems = Problems::default();
    let value = from_toml(toml::Value::Table(table), "", &mut problems);
    problems.none_or(value)
}

fn bounded(text: &str) -> Result<(), ManifestError> {
    match text.len() {
        0..=Manifest::MAX_BYTES => Ok(()),
        length => Err(whole(format!("expected at most {} bytes, got {length}", Manifest::MAX_BYTES))),
    }
}

fn whole(message: String) -> ManifestError {
    let mut problems = Problems::default();
    problems.add("", message);
    problems.into()
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

/// Whole numbers stay whole and fractions stay fractions. What JSON has no form for is a mistake rather than a guess.
fn from_toml(value: toml::Value, pointer: &str, problems: &mut Problems) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Float(number) => Number::from_f64(number).map(Value::Number).unwrap_or_else(|| {
            problems.add(pointer, format!("expected a finite number, got `{number}`"));
            Value::Null
        }),
        toml::Value::Datetime(time) => {
            problems.add(pointer, format!("expected a date as text, `\"{time}\"`, got `{time}` without quotes"));
            Value::Null
        }
        toml::Value::Array(items) => {
            let item = |(index, item)| from_toml(item, &format!("{pointer}/{index}"), problems);
            items.into_iter().enumerate().map(item).collect()
        }
        toml::Value::Table(table) => {
            let entry = |(key, value): (String, _)| {
                let value = from_toml(value, &Problems::pointer(pointer, &key), problems);
                (key, value)
            };
            Value::Object(table.into_iter().map(entry).collect())
        }
    }
}

/// A JSON value in which no key stands twice. `serde_json` alone keeps the last of them in silence, and another reader
/// of the same manifest may keep the first.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, _>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` stands twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
