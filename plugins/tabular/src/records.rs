//! JSON records, written into the table while they are read.
//!
//! The readers below are serde's seeds around a shared state. An error that has a place in the body is kept there,
//! because serde's own errors have no room for a pointer.

use std::fmt;

use bulkhead_sdk::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::cell::{Number, Raw};
use crate::table::{Rows, Table};

/// The key of `{"records": […]}`.
const RECORDS: &str = "records";

struct State<'t, 'c> {
    table: &'t mut Table<'c>,
    failure: Option<Error>,
    /// The column whose value is being read.
    reading: Option<usize>,
}

/// Reads `{…}`, `[{…}, …]` or `{"records": [{…}, …]}`.
pub(crate) fn read(text: &str, table: &mut Table<'_>) -> Result<()> {
    let mut state = State { table, failure: None, reading: None };
    let mut reader = serde_json::Deserializer::from_str(text);
    let outcome = Body(&mut state).deserialize(&mut reader).and_then(|()| reader.end());
    outcome.map_err(|error| match state.failure.take() {
        Some(failure) => failure,
        None => Error::invalid(state.reading.map(|column| state.table.pointer_to(column)).unwrap_or_default(), error.to_string()),
    })
}

impl State<'_, '_> {
    /// Keeps an error with a pointer, and gives serde one to stop with.
    fn keep<T, E: serde::de::Error>(&mut self, outcome: Result<T>) -> Result<T, E> {
        outcome.map_err(|error| {
            self.failure = Some(error);
            E::custom("")
        })
    }

    fn record<'de, A: MapAccess<'de>>(&mut self, first: Option<Key>, mut map: A) -> Result<(), A::Error> {
        let begun = self.table.begin_row();
        self.keep(begun)?;
        let mut key = first;
        let mut position = 0;
        while let Some(Key::Column(column)) = key {
            self.reading = Some(column);
            map.next_value_seed(Value(self, column))?;
            self.reading = None;
            position += 1;
            key = map.next_key_seed(KeyAt { state: self, position, may_wrap: false })?;
        }
        let ended = self.table.end_row();
        self.keep(ended)
    }
}

/// The whole body.
struct Body<'s, 't, 'c>(&'s mut State<'t, 'c>);

impl<'de> DeserializeSeed<'de> for Body<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Body<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record, a list of records, or {\"records\": [...]}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.0.table.place(Rows::At(""));
        List(self.0).visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let first = map.next_key_seed(KeyAt { state: self.0, position: 0, may_wrap: true })?;
        if !matches!(first, Some(Key::Records)) {
            return self.0.record(first, map);
        }
        self.0.table.place(Rows::At("/records"));
        map.next_value_seed(List(self.0))?;
        match map.next_key::<String>()? {
            None => Ok(()),
            Some(key) => self.0.keep(Err(Error::invalid("", format!("nothing goes beside `records`, got `{key}`")))),
        }
    }
}

/// A list of records.
struct List<'s, 't, 'c>(&'s mut State<'t, 'c>);

impl<'de> DeserializeSeed<'de> for List<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Record(self.0))?.is_some() {}
        Ok(())
    }
}

/// A record of a list.
struct Record<'s, 't, 'c>(&'s mut State<'t, 'c>);

impl<'de> DeserializeSeed<'de> for Record<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Record<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let first = map.next_key_seed(KeyAt { state: self.0, position: 0, may_wrap: false })?;
        self.0.record(first, map)
    }
}

/// What a key stands for.
enum Key {
    Column(usize),
    Records,
}

struct KeyAt<'s, 't, 'c> {
    state: &'s mut State<'t, 'c>,
    position: usize,
    /// Whether it may be the key of `{"records": […]}`.
    may_wrap: bool,
}

impl<'de> DeserializeSeed<'de> for KeyAt<'_, '_, '_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyAt<'_, '_, '_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Key, E> {
        match self.state.table.column(self.position, name) {
            Some(column) => Ok(Key::Column(column)),
            // A column of that name takes precedence: it was configured.
            None if self.may_wrap && name == RECORDS => Ok(Key::Records),
            None => {
                let table = &self.state.table;
                let error = Error::invalid(table.pointer(Some(name)), table.unknown(name));
                self.state.keep(Err(error))
            }
        }
    }
}

/// The value of a column.
struct Value<'s, 't, 'c>(&'s mut State<'t, 'c>, usize);

impl Value<'_, '_, '_> {
    fn put<E: serde::de::Error>(self, raw: Raw<'_>) -> Result<(), E> {
        let outcome = self.0.table.put(self.1, raw);
        self.0.keep(outcome)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.put(Raw::Number(Number::Float(value)))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.put(Raw::Number(Number::Int(value)))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.put(Raw::Number(value.into()))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.put(Raw::Text(value))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.put(Raw::Missing)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.put(Raw::Other("a boolean"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.put(Raw::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.put(Raw::Other("an object"))
    }
}
