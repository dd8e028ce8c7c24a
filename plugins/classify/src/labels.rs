//! The names of the classes.

use std::fmt;
use std::rc::Rc;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

/// A list of names that a request's clone shares; in a single string, which is read faster than a thousand small ones.
#[derive(Clone, Debug)]
pub(crate) struct Labels(Rc<List>);

#[derive(Debug, Default)]
struct List {
    text: String,
    ends: Vec<u32>,
}

impl Labels {
    pub(crate) fn len(&self) -> usize {
        self.0.ends.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&str> {
        let List { text, ends } = &*self.0;
        let end = *ends.get(index)? as usize;
        let start = index.checked_sub(1).map_or(0, |before| ends[before] as usize);
        text.get(start..end)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Labels, A::Error> {
        let mut labels = List::default();
        while list.next_element_seed(Append(&mut labels))?.is_some() {}
        Ok(Labels(Rc::new(labels)))
    }
}

struct Append<'l>(&'l mut List);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, label: &str) -> Result<(), E> {
        self.0.text.push_str(label);
        self.0.ends.push(u32::try_from(self.0.text.len()).map_err(|_| E::custom("labels of 4 GiB or more"))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;

    #[test]
    fn labels_keep_their_order_and_escapes() {
        let labels: Labels = serde_json::from_str(r#"["cat", "", "d\u00f6g"]"#).unwrap();
        assert_eq!(labels.iter().collect::<Vec<_>>(), ["cat", "", "dög"]);
        assert_eq!(labels.get(3), None);
        assert!(serde_json::from_str::<Labels>("[1]").is_err());
    }
}
