//! Takes settings out of a TOML table one by one, and remembers every mistake.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use toml::{Table, Value};

use super::Mistakes;

/// Variables that belong to other parts of Bulkhead: the client and the set-up scripts.
const OTHER_VARIABLES: [&str; 7] =
    ["BULKHEAD_CA_FILE", "BULKHEAD_CONFIG", "BULKHEAD_URL", "BULKHEAD_TOKEN", "BULKHEAD_AS_TENANT", "BULKHEAD_CACHE_DIR", "BULKHEAD_WASM_TOOLCHAIN"];

/// Sections of the file; a variable's name is split after one of these.
const SECTIONS: [&str; 8] = ["tls", "http", "sandbox", "engine", "telemetry", "auth", "audit", "quotas"];

pub(super) struct Reader {
    table: Table,
    /// Set by a variable: named so in messages.
    variables: Vec<(String, String)>,
    mistakes: Vec<String>,
}

impl Reader {
    pub(super) fn new(text: &str) -> Result<Self, Mistakes> {
        let table = text.parse().map_err(|error| Mistakes(vec![format!("the file is no TOML: {error}")]))?;
        Ok(Self { table, variables: Vec::new(), mistakes: Vec::new() })
    }

    /// Lays variables over the file.
    pub(super) fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, value) in variables {
            let Some(key) = name.strip_prefix("BULKHEAD_").filter(|_| !OTHER_VARIABLES.contains(&name.as_str())) else { continue };
            let key = key.to_lowercase();
            let section = SECTIONS.iter().find_map(|section| key.strip_prefix(section)?.strip_prefix('_').map(|key| format!("{section}.{key}")));
            let key = section.unwrap_or(key);
            self.variables.push((key.clone(), name));
            self.set(&key, value);
        }
    }

    /// Sets a key to a text, over what was there.
    pub(super) fn set(&mut self, key: &str, value: String) {
        match key.split_once('.') {
            None => {
                self.table.insert(key.to_owned(), Value::String(value));
            }
            Some((section, key)) => {
                let section = self.table.entry(section).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(section) = section {
                    section.insert(key.to_owned(), Value::String(value));
                }
            }
        }
    }

    pub(super) fn mistake(&mut self, mistake: String) {
        self.mistakes.push(mistake);
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        match key.split_once('.') {
            None => self.table.remove(key),
            Some((section, key)) => self.table.get_mut(section)?.as_table_mut()?.remove(key),
        }
    }

    fn wrong(&mut self, key: &str, expected: &str, got: &Value) {
        let named = match self.variables.iter().find(|(set, _)| set == key) {
            Some((_, variable)) => format!("`{key}` (from {variable})"),
            None => format!("`{key}`"),
        };
        self.mistake(format!("{named}: expected {expected}, got `{}`", got.as_str().map_or_else(|| got.to_string(), str::to_owned)));
    }

    pub(super) fn optional_text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong(key, "a string", &other);
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &str, default: &str) -> String {
        self.optional_text(key).unwrap_or_else(|| default.to_owned())
    }

    /// A list; of a variable, with commas in between.
    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.take(key)?;
        let texts = match &value {
            Value::String(text) => Some(text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        if texts.is_none() {
            self.wrong(key, "a list of strings", &value);
        }
        texts.filter(|texts: &Vec<String>| !texts.is_empty())
    }

    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.take(key) else { return default };
        let number = match &value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => number,
            None => {
                self.wrong(key, &format!("a whole number from {} to {}", range.start(), range.end()), &value);
                default
            }
        }
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        let Some(value) = self.take(key) else { return default };
        let read = value.as_bool().or_else(|| value.as_str()?.parse().ok());
        if read.is_none() {
            self.wrong(key, "`true` or `false`", &value);
        }
        read.unwrap_or(default)
    }

    pub(super) fn address(&mut self, key: &str, default: SocketAddr) -> SocketAddr {
        let Some(value) = self.take(key) else { return default };
        match value.as_str().and_then(|text| text.parse().ok()) {
            Some(address) => address,
            None => {
                self.wrong(key, "an address and port such as `127.0.0.1:8000`", &value);
                default
            }
        }
    }

    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(value) = self.take(key) else { return default };
        match choices.iter().find(|(name, _)| value.as_str() == Some(name)) {
            Some((_, choice)) => *choice,
            None => {
                let names: Vec<_> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
                self.wrong(key, &names.join(" or "), &value);
                default
            }
        }
    }

    /// Whatever was not taken is unknown.
    pub(super) fn finish(mut self) -> Result<(), Mistakes> {
        let mut unknown = Vec::new();
        for (key, value) in &self.table {
            match value {
                Value::Table(section) if SECTIONS.contains(&key.as_str()) => unknown.extend(section.keys().map(|inner| format!("{key}.{inner}"))),
                _ => unknown.push(key.clone()),
            }
        }
        for key in unknown {
            let from = self.variables.iter().find(|(set, _)| *set == key).map(|(_, variable)| format!(" (from {variable})")).unwrap_or_default();
            self.mistakes.push(format!("`{key}`{from}: there is no such setting"));
        }
        if self.mistakes.is_empty() { Ok(()) } else { Err(Mistakes(self.mistakes)) }
    }
}
