//! What the configuration says of a column.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::cell::{self, Cell, Kind, Number, Stored};

/// A column: its name alone, or an object.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) dtype: Option<Dtype>,
    pub(crate) missing: Missing,
    pub(crate) categories: Option<Categories>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dtype {
    Float,
    Int,
    String,
}

/// What stands for a value that is missing.
#[derive(Debug, Default)]
pub(crate) enum Missing {
    #[default]
    Refuse,
    Number(Number),
    Text(String),
}

/// Numbers of strings, in the order of the strings.
#[derive(Debug)]
pub(crate) struct Categories(Vec<(Box<str>, Number)>);

impl Categories {
    pub(crate) fn get(&self, text: &str) -> Option<Number> {
        let at = self.0.binary_search_by(|(name, _)| (**name).cmp(text)).ok()?;
        Some(self.0[at].1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Number)> {
        self.0.iter().map(|(name, code)| (&**name, *code))
    }
}

impl Column {
    /// What stands for a missing value; none where one is refused.
    pub(crate) fn imputed(&self, kind: Kind) -> Option<Result<Cell<'_>, String>> {
        match &self.missing {
            Missing::Refuse => None,
            Missing::Number(number) => Some(cell::number(kind, *number)),
            // For models that take missing values themselves, such as gradient-boosted trees.
            Missing::Text(text) if text == "nan" && kind.stored == Stored::F32 && self.categories.is_none() => Some(Ok(Cell::F32(f32::NAN))),
            Missing::Text(text) => Some(cell::text(self, kind, text)),
        }
    }
}

/// The object's form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Detailed {
    name: String,
    dtype: Option<Dtype>,
    #[serde(default)]
    missing: Missing,
    categories: Option<Categories>,
}

// Written by hand because `untagged` would keep every value in a buffer first.
impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ColumnVisitor;

        impl<'de> Visitor<'de> for ColumnVisitor {
            type Value = Column;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name or an object with `name`")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Column, E> {
                Ok(Column { name: name.to_owned(), dtype: None, missing: Missing::Refuse, categories: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Column, A::Error> {
                let Detailed { name, dtype, missing, categories } = Detailed::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Column { name, dtype, missing, categories })
            }
        }

        deserializer.deserialize_any(ColumnVisitor)
    }
}

impl<'de> Deserialize<'de> for Missing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MissingVisitor;

        impl Visitor<'_> for MissingVisitor {
            type Value = Missing;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"refuse\", a number or a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Missing, E> {
                Ok(if text == "refuse" { Missing::Refuse } else { Missing::Text(text.to_owned()) })
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Missing, E> {
                Ok(Missing::Number(Number::Int(value)))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Missing, E> {
                Ok(Missing::Number(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Missing, E> {
                Ok(Missing::Number(Number::Float(value)))
            }
        }

        deserializer.deserialize_any(MissingVisitor)
    }
}

impl<'de> Deserialize<'de> for Categories {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CategoriesVisitor;

        impl<'de> Visitor<'de> for CategoriesVisitor {
            type Value = Categories;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Categories, A::Error> {
                let mut codes = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    codes.push(entry);
                }
                codes.sort_unstable_by(|(left, _): &(Box<str>, Number), (right, _)| left.cmp(right));
                Ok(Categories(codes))
            }
        }

        deserializer.deserialize_map(CategoriesVisitor)
    }
}
