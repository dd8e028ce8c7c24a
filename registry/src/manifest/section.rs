//! Reading a table key by key, noting every mistake instead of stopping at the first.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::{ManifestError, Problem};
use crate::ids::IdError;

/// The mistakes so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, pointer: &str, message: impl Into<String>) {
        self.0.push(Problem { pointer: pointer.into(), message: message.into() });
    }

    pub(super) fn expected(&mut self, pointer: &str, expected: impl fmt::Display, got: &Value) {
        self.add(pointer, format!("expected {expected}, got {}", shown(got)));
    }

    /// `value`, unless there are mistakes.
    pub(super) fn none_or<T>(self, value: T) -> Result<T, ManifestError> {
        if self.0.is_empty() { Ok(value) } else { Err(self.into()) }
    }

    /// The pointer to `key` under `parent`, escaped as RFC 6901 says.
    pub(super) fn pointer(parent: &str, key: &str) -> String {
        format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
    }
}

impl From<Problems> for ManifestError {
    fn from(problems: Problems) -> Self {
        Self { problems: problems.0 }
    }
}

/// A table whose keys are taken one by one; what is left at the end are unknown keys.
pub(super) struct Section<'a> {
    pointer: String,
    map: Map<String, Value>,
    /// Every key that was asked for, so that an unknown one can be answered with them.
    asked: Vec<&'static str>,
    pub(super) problems: &'a mut Problems,
}

impl<'a> Section<'a> {
    /// `None`, with a mistake noted, where `value` is no table.
    pub(super) fn new(pointer: impl Into<String>, value: Value, problems: &'a mut Problems) -> Option<Self> {
        let pointer = pointer.into();
        match value {
            Value::Object(map) => Some(Self { pointer, map, asked: Vec::new(), problems }),
            other => {
                problems.expected(&pointer, "a table", &other);
                None
            }
        }
    }

    pub(super) fn at(&self, key: &str) -> String {
        Problems::pointer(&self.pointer, key)
    }

    /// Whether there is a value of `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// The value of `key`. JSON's `null` is the same as an absent key.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.asked.push(key);
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// A table under this one.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'_>> {
        let value = self.take(key)?;
        Section::new(self.at(key), value, self.problems)
    }

    /// A list of at most `most` items; of a longer one, none.
    pub(super) fn list(&mut self, key: &'static str, most: usize) -> Vec<Value> {
        let pointer = self.at(key);
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) if items.len() <= most => items,
            Some(Value::Array(items)) => {
                self.problems.add(&pointer, format!("expected at most {most} items, got {}", items.len()));
                Vec::new()
            }
            Some(other) => {
                self.problems.expected(&pointer, "a list", &other);
                Vec::new()
            }
        }
    }

    pub(super) fn integer<N: TryFrom<u64> + Into<u64> + Copy>(&mut self, key: &'static str, range: RangeInclusive<N>) -> Option<N> {
        let value = self.take(key)?;
        let (least, most) = ((*range.start()).into(), (*range.end()).into());
        let number = value.as_u64().filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number| N::try_from(number).ok());
        if number.is_none() {
            self.problems.expected(&self.at(key), format_args!("a whole number from {least} to {most}"), &value);
        }
        number
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        match self.take(key)? {
            Value::Bool(value) => Some(value),
            other => {
                self.problems.expected(&self.at(key), "`true` or `false`", &other);
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => {
                self.problems.expected(&self.at(key), "text", &other);
                None
            }
        }
    }

    /// Text that is one of our own kinds.
    pub(super) fn parsed<T: FromStr<Err = IdError>>(&mut self, key: &'static str) -> Option<T> {
        let parsed = self.text(key)?.parse::<T>();
        parsed.map_err(|error| self.problems.add(&self.at(key), error.to_string())).ok()
    }

    pub(super) fn missing(&mut self, key: &'static str, expected: &str) {
        // A key that is there but wrong has been noted already.
        let pointer = self.at(key);
        if !self.problems.0.iter().any(|problem| problem.pointer == pointer) {
            self.problems.add(&pointer, format!("missing; expected {expected}"));
        }
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.asked.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        for key in self.map.keys() {
            let message = format!("unknown key; known here are {known}");
            self.problems.add(&Problems::pointer(&self.pointer, key), message);
        }
    }
}

/// Scalars as they are, cut short; of lists and tables only that they are.
pub(super) fn shown(value: &Value) -> String {
    /// Arbitrary: enough to see which value it is.
    const SHOWN_CHARS: usize = 60;
    match value {
        Value::Null => "nothing".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a table".into(),
        scalar => {
            let text = scalar.to_string();
            let cut: String = text.chars().take(SHOWN_CHARS).collect();
            format!("`{cut}{}`", if cut.len() < text.len() { "…" } else { "" })
        }
    }
}
