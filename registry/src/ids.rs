//! Names as parsed values: a `ModelName` that exists is a valid one, so nothing further in checks again.
//!
//! Every kind is text at the edges (URL, TOML, JSON, database column) and reads back from what it writes. Names become
//! parts of URLs and metric labels, so their alphabet is small; they start with a letter or digit, so that none is
//! `..` or looks like a flag.

mod digest;
mod version;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use self::digest::Digest;
pub(crate) use self::digest::Hasher;
pub use self::version::Version;

/// What was expected and what came instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got `{got}`")]
pub struct IdError {
    /// What would have been right, as a phrase: "a semantic version such as `1.0.0`".
    pub expected: &'static str,
    /// The text that came, cut to 100 characters so that a hostile one cannot flood a log line.
    pub got: String,
}

impl IdError {
    pub(crate) fn new(expected: &'static str, got: &str) -> Self {
        // Arbitrary, but longer than any valid name with room for the mistake to be seen.
        const SHOWN_CHARS: usize = 100;
        let mut shown: String = got.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
        if got.chars().nth(SHOWN_CHARS).is_some() {
            shown.push('…');
        }
        Self { expected, got: shown }
    }
}

/// `Serialize` and `Deserialize` as the text of `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($name:ty) => {
        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <::std::borrow::Cow<'de, str> as ::serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

/// 1 to 64 characters: room for people, and short enough for a metric label.
const NAME_CHARS: usize = 64;

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= NAME_CHARS
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(IdError::new($expected, text)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        serde_as_text!($name);
    };
}

name!(
    /// Who owns models and plugins. Nothing is visible across tenants.
    TenantId,
    "a tenant of 1 to 64 letters, digits, `.`, `_` or `-` that starts with a letter or digit"
);
name!(
    /// The name of a model: a series of versions.
    ModelName,
    "a model name of 1 to 64 letters, digits, `.`, `_` or `-` that starts with a letter or digit"
);
name!(
    /// The name of a plugin: a series of versions.
    PluginName,
    "a plugin name of 1 to 64 letters, digits, `.`, `_` or `-` that starts with a letter or digit"
);

impl TenantId {
    /// The tenant of an installation where authentication is off.
    pub fn default_tenant() -> Self {
        Self("default".into())
    }
}

macro_rules! reference {
    ($(#[$doc:meta])* $name:ident, $part:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// Which series.
            pub name: $part,
            /// Which of the series.
            pub version: Version,
        }

        impl FromStr for $name {
            type Err = IdError;

            /// The error names the half that is wrong.
            fn from_str(text: &str) -> Result<Self, IdError> {
                let (name, version) = text.split_once('@').ok_or_else(|| IdError::new($expected, text))?;
                Ok(Self { name: name.parse()?, version: version.parse()? })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}@{}", self.name, self.version)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        serde_as_text!($name);
    };
}

reference!(
    /// One version of a plugin, as text `name@version`.
    PluginRef,
    PluginName,
    "a plugin and its version such as `image@0.1.0`"
);
reference!(
    /// One version of a model, as text `name@version`.
    ModelRef,
    ModelName,
    "a model and its version such as `digits@1.0.0`"
);

#[cfg(test)]
mod tests;
