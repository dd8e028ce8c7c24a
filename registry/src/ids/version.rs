//! Semantic versions, and the column that makes a database sort them as semver does.

use std::cmp::Ordering;
use std::fmt;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use super::{IdError, serde_as_text};

/// A semantic version, with the text that the upload gave.
///
/// Ordered as semver orders (`1.10.0` after `1.9.0`, `1.0.0-rc.1` before `1.0.0`); build metadata, which semver leaves
/// unordered, breaks ties, so that the order is total and two versions are equal only where their texts are.
#[derive(Clone)]
pub struct Version(Arc<Inner>);

struct Inner {
    text: Box<str>,
    parsed: semver::Version,
}

/// Arbitrary; a git hash as build metadata fits. `sort_key` relies on it: a length has at most three digits.
const VERSION_CHARS: usize = 128;

impl Version {
    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether this is a pre-release such as `1.0.0-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        !self.0.parsed.pre.is_empty()
    }

    /// ASCII text whose byte order is the order of versions, so that an index of the database sorts and pages.
    ///
    /// Numbers are padded (or carry their length in front) so that longer is larger; every identifier ends in a space,
    /// which is less than any character of one, so that `a` stands before `ab`; a list ends in `!`, which is less than
    /// what begins an identifier, so that a shorter list stands first.
    pub(crate) fn sort_key(&self) -> String {
        let semver::Version { major, minor, patch, pre, build } = &self.0.parsed;
        let mut key = format!("{major:020}{minor:020}{patch:020}");
        if pre.is_empty() {
            key.push('1');
        } else {
            key.push('0');
            push_identifiers(&mut key, pre);
            key.push('!');
        }
        push_identifiers(&mut key, build);
        key
    }
}

/// `0` begins a number and `1` a word, since a number stands before every word. Leading zeros (only build metadata may
/// have them) count after the value: `0 < 00 < 1 < 01`.
fn push_identifiers(key: &mut String, identifiers: &str) {
    for identifier in identifiers.split('.').filter(|identifier| !identifier.is_empty()) {
        if identifier.bytes().all(|byte| byte.is_ascii_digit()) {
            let value = identifier.trim_start_matches('0');
            // Writing to a `String` cannot fail.
            let _ = write!(key, "0{:03}{value} {:03} ", value.len(), identifier.len());
        } else {
            let _ = write!(key, "1{identifier} ");
        }
    }
}

impl FromStr for Version {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() > VERSION_CHARS {
            return Err(IdError::new("a semantic version of at most 128 characters", text));
        }
        let parsed = text.parse().map_err(|_| IdError::new("a semantic version such as `1.0.0`", text))?;
        Ok(Self(Arc::new(Inner { text: text.into(), parsed })))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0.text, f)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Version {}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.parsed.cmp(&other.0.parsed)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

serde_as_text!(Version);
