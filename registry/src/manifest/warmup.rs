//! `[[warmup]]`: runs before a version is ready.

use std::collections::BTreeMap;

use serde_json::Value;

use super::section::{Problems, Section};
use super::{Warmup, WarmupData, WarmupInput};

/// Arbitrary, as are those below: whoever uploads waits for all of it.
const MAX_WARMUPS: usize = 16;
const MAX_COUNT: u32 = 1000;
const MAX_RANK: usize = 16;
const MAX_ELEMENTS: usize = 1 << 20;

pub(super) fn read(top: &mut Section<'_>) -> Vec<Warmup> {
    let pointer = top.at("warmup");
    let items = top.list("warmup", MAX_WARMUPS).into_iter().enumerate();
    items.filter_map(|(at, item)| warmup(format!("{pointer}/{at}"), item, top.problems)).collect()
}

fn warmup(pointer: String, item: Value, problems: &mut Problems) -> Option<Warmup> {
    let mut section = Section::new(pointer, item, problems)?;
    let count = section.integer("count", 1..=MAX_COUNT).unwrap_or(1);
    let at = section.at("inputs");
    let mut inputs = BTreeMap::new();
    match section.take("inputs") {
        Some(Value::Object(map)) if !map.is_empty() => {
            for (name, value) in map {
                if let Some(read) = input(Problems::pointer(&at, &name), value, section.problems) {
                    inputs.insert(name, read);
                }
            }
        }
        Some(other) => section.problems.expected(&at, "a table with each input's shape and data", &other),
        None => section.missing("inputs", "a table with each input's shape and data, such as `{ x = { shape = [1, 4], data = \"zero\" } }`"),
    }
    section.finish();
    Some(Warmup { count, inputs })
}

fn input(pointer: String, value: Value, problems: &mut Problems) -> Option<WarmupInput> {
    let mut section = Section::new(pointer, value, problems)?;
    let at = section.at("shape");
    let extents = section.list("shape", MAX_RANK);
    let shape: Vec<u32> = extents.iter().filter_map(|extent| extent.as_u64().and_then(|extent| u32::try_from(extent).ok())).collect();
    if shape.len() != extents.len() {
        section.problems.add(&at, "expected whole numbers of zero or more");
    }
    let at = section.at("data");
    let data = match section.take("data") {
        Some(Value::String(text)) if text == "zero" => Some(WarmupData::Zero),
        Some(Value::String(text)) if text == "random" => Some(WarmupData::Random),
        Some(Value::Array(values)) if values.len() <= MAX_ELEMENTS => Some(WarmupData::Recorded(values)),
        Some(other) => {
            section.problems.expected(&at, format!("`zero`, `random`, or a list of at most {MAX_ELEMENTS} elements"), &other);
            None
        }
        None => {
            section.missing("data", "`zero`, `random`, or a list of elements");
            None
        }
    };
    section.finish();
    Some(WarmupInput { shape, data: data? })
}
