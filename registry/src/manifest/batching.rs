//! `[batching]`: how requests share a run of the model.

use std::collections::BTreeMap;

use serde_json::Value;

use super::section::{Problems, Section};
use super::{BatchAxis, Batching, Ragged, TimeoutAction};

/// Rows of one run. Arbitrary; beyond it no model gains.
const MAX_BATCH_SIZE: u32 = 4096;
/// A minute: no request waits longer than that for company.
const MAX_QUEUE_DELAY_MICROSECONDS: u64 = 60_000_000;
/// An hour; a request has less time as a whole.
const MAX_TIMEOUT_MICROSECONDS: u64 = 3_600_000_000;
/// Arbitrary, as are the next two: each level is a queue of its own.
const MAX_PRIORITY_LEVELS: u32 = 16;
const MAX_PREFERRED: usize = 16;
const MAX_NAMED_TENSORS: usize = 256;
/// Tensors of a higher rank are not found in the field.
const MAX_AXIS: u32 = 15;

pub(super) fn read(mut section: Section<'_>) -> Batching {
    let default = Batching::default();
    // Where that is refused itself, nothing is measured by it.
    let refused = if section.has("max_batch_size") { MAX_BATCH_SIZE } else { default.max_batch_size };
    let max_batch_size = section.integer("max_batch_size", 0..=MAX_BATCH_SIZE).unwrap_or(refused);
    let preferred_batch_size = preferred(&mut section, max_batch_size);
    let priority_levels = section.integer("priority_levels", 0..=MAX_PRIORITY_LEVELS).unwrap_or(default.priority_levels);
    let default_priority_level = section.integer("default_priority_level", 0..=MAX_PRIORITY_LEVELS).filter(|level| *level > 0);
    if let Some(level) = default_priority_level.filter(|level| *level > priority_levels) {
        let message = format!("expected a level of the {priority_levels} that `priority_levels` says there are, got {level}");
        section.problems.add(&section.at("default_priority_level"), message);
    }
    let preserve_ordering = section.boolean("preserve_ordering").unwrap_or(default.preserve_ordering);
    if preserve_ordering && priority_levels > 1 {
        section.problems.add(&section.at("preserve_ordering"), "requests of several priorities can't be answered in the order in which they came");
    }
    let timeout_action = section.parsed("timeout_action").unwrap_or(default.timeout_action);
    if preserve_ordering && timeout_action == TimeoutAction::Delay {
        section.problems.add(&section.at("preserve_ordering"), "requests that are delayed can't be answered in the order in which they came");
    }
    let axes = axes(&mut section);
    let ragged = section.section("ragged").and_then(ragged);
    if ragged.is_some() && max_batch_size < 2 {
        section.problems.add(&section.at("ragged"), "only with a `max_batch_size` of 2 or more: nothing is padded otherwise");
    }
    let read = Batching {
        max_batch_size,
        preferred_batch_size,
        max_queue_delay_microseconds: section
            .integer("max_queue_delay_microseconds", 0..=MAX_QUEUE_DELAY_MICROSECONDS)
            .unwrap_or(default.max_queue_delay_microseconds),
        max_queue_size: section.integer("max_queue_size", 1..=65_536).unwrap_or(default.max_queue_size),
        priority_levels,
        default_priority_level: default_priority_level.unwrap_or(priority_levels.div_ceil(2)),
        default_timeout_microseconds: section
            .integer("default_timeout_microseconds", 0..=MAX_TIMEOUT_MICROSECONDS)
            .unwrap_or(default.default_timeout_microseconds),
        timeout_action,
        allow_timeout_override: section.boolean("allow_timeout_override").unwrap_or(default.allow_timeout_override),
        preserve_ordering,
        axes,
        ragged,
    };
    section.finish();
    read
}

/// In rising order, each once.
fn preferred(section: &mut Section<'_>, max_batch_size: u32) -> Vec<u32> {
    let pointer = section.at("preferred_batch_size");
    let mut sizes = Vec::new();
    for (index, item) in section.list("preferred_batch_size", MAX_PREFERRED).into_iter().enumerate() {
        match item.as_u64().and_then(|size| u32::try_from(size).ok()).filter(|size| (1..=max_batch_size).contains(size)) {
            Some(size) => sizes.push(size),
            None => {
                let expected = format!("a whole number from 1 to `max_batch_size`, which is {max_batch_size}");
                section.problems.expected(&format!("{pointer}/{index}"), expected, &item);
            }
        }
    }
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn axes(section: &mut Section<'_>) -> BTreeMap<String, BatchAxis> {
    let axes = named(section, "axes", "the number of an axis, from 0 to 15, or `none`", |value| match value {
        Value::String(text) if text == "none" => Some(BatchAxis::Shared),
        other => Some(BatchAxis::At(u32::try_from(other.as_u64()?).ok().filter(|axis| *axis <= MAX_AXIS)?)),
    });
    axes.unwrap_or_default()
}

fn ragged(mut section: Section<'_>) -> Option<Ragged> {
    let axis = section.integer("axis", 1..=MAX_AXIS).unwrap_or(1);
    let pad = named(&mut section, "pad", "a whole number", Value::as_i64);
    if pad.is_none() {
        section.missing("pad", "the value to pad with, for each input whose length varies, such as `{ input_ids = 0 }`");
    }
    let mask = section.text("mask");
    if mask.is_none() {
        section.missing("mask", "the name of the input that tells the model what is padding, such as `attention_mask`");
    }
    let read = Ragged { axis, pad: pad.unwrap_or_default(), mask: mask.unwrap_or_default() };
    section.finish();
    Some(read)
}

/// A table of tensors' names; none where there is no such key.
fn named<T>(section: &mut Section<'_>, key: &'static str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Option<BTreeMap<String, T>> {
    let pointer = section.at(key);
    let map = match section.take(key)? {
        Value::Object(map) if map.len() <= MAX_NAMED_TENSORS => map,
        other => {
            section.problems.expected(&pointer, format!("a table of at most {MAX_NAMED_TENSORS} tensors"), &other);
            return Some(BTreeMap::new());
        }
    };
    let mut out = BTreeMap::new();
    for (name, value) in map {
        match read(&value) {
            Some(read) => {
                out.insert(name, read);
            }
            None => section.problems.expected(&Problems::pointer(&pointer, &name), expected, &value),
        }
    }
    Some(out)
}
