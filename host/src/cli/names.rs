//! `name@version` on the command line. The host decides what a good name is; here is only syntax.

use std::fmt;
use std::str::FromStr;

/// `name@version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameVersion {
    pub(super) name: String,
    pub(super) version: String,
}

/// `name`, or `name@version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(super) name: String,
    pub(super) version: Option<String>,
}

/// What was expected and what came.
#[derive(Debug, thiserror::Error)]
#[error("expected {expected}, got `{got}`")]
pub(crate) struct NameError {
    expected: &'static str,
    got: String,
}

impl FromStr for NameVersion {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('@') {
            Some((name, version)) if is_part(name) && is_part(version) => Ok(Self { name: name.to_owned(), version: version.to_owned() }),
            _ => Err(NameError { expected: "a name and a version such as `digits@1.0.0`", got: text.to_owned() }),
        }
    }
}

impl fmt::Display for NameVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_part(text) {
            return Ok(Self { name: text.to_owned(), version: None });
        }
        match text.parse() {
            Ok(NameVersion { name, version }) => Ok(Self { name, version: Some(version) }),
            Err(_) => Err(NameError { expected: "a name such as `digits` or `digits@1.0.0`", got: text.to_owned() }),
        }
    }
}

/// Letters as both names and versions have them: nothing that a URL would read as another path.
fn is_part(text: &str) -> bool {
    text.bytes().any(|byte| byte != b'.') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_stands_behind_an_at_sign() {
        let parsed: NameVersion = "digits@1.0.0-rc.1+abc".parse().unwrap();
        assert_eq!((parsed.name.as_str(), parsed.version.as_str()), ("digits", "1.0.0-rc.1+abc"));
        for wrong in ["", "digits", "digits@", "@1", "a@1@2", "../x@1", "a b@1", "a@..", "..@1"] {
            assert!(wrong.parse::<NameVersion>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reference_may_leave_the_version_out() {
        let parsed: Reference = "digits".parse().unwrap();
        assert_eq!(parsed, Reference { name: "digits".to_owned(), version: None });
        let parsed: Reference = "digits@2.0.0".parse().unwrap();
        assert_eq!(parsed.version.as_deref(), Some("2.0.0"));
        for wrong in ["", "a/b", "digits@", ".."] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong}");
        }
    }
}
