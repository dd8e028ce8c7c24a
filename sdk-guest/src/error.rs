//! Why a plugin can't go on.

use crate::bindings::bulkhead::plugin::types::{InvalidInput, PluginError};

/// The result of everything that may refuse a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a plugin can't go on; each kind is another answer to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The caller's fault: status 400, with a JSON pointer (RFC 6901) to what is wrong.
    Invalid {
        /// Empty for the body as a whole.
        pointer: String,
        /// What was expected, what came, what to do.
        message: String,
    },
    /// Not now: status 503.
    Unavailable(String),
    /// The plugin's own fault: status 502.
    Internal(String),
}

impl Error {
    /// The caller sent something that can't be served; `pointer` is a JSON pointer such as `/rows/3/age`.
    pub fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { pointer: pointer.into(), message: message.into() }
    }

    /// Not now; the caller may try again.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable(message.into())
    }

    /// Something that should not have happened.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal(message.into())
    }

    /// Reads `text` as JSON; an error points to the value that did not fit.
    pub(crate) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
        // The plain reader first: following the path costs time that only a failure is worth.
        serde_json::from_str(text).map_err(|_| Self::locate::<T>(text))
    }

    fn locate<T: serde::de::DeserializeOwned>(text: &str) -> Self {
        let mut reader = serde_json::Deserializer::from_str(text);
        match serde_path_to_error::deserialize::<_, T>(&mut reader) {
            Ok(_) => match reader.end() {
                Ok(()) => Self::internal("JSON that could not be read could be read again"),
                Err(error) => Self::invalid("", error.to_string()),
            },
            Err(error) if error.inner().is_data() => Self::invalid(pointer(error.path()), error.inner().to_string()),
            Err(error) => Self::invalid("", format!("expected JSON, got something else: {}", error.inner())),
        }
    }
}

/// A path of serde's in JSON pointer syntax.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut out = String::new();
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        out.push('/');
        out.push_str(&name);
    }
    out
}

impl From<Error> for PluginError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid { pointer, message } => Self::InvalidInput(InvalidInput { pointer, message }),
            Error::Unavailable(message) => Self::Unavailable(message),
            Error::Internal(message) => Self::Internal(message),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid { pointer, message } if pointer.is_empty() => f.write_str(message),
            Self::Invalid { pointer, message } => write!(f, "{message} (at {pointer})"),
            Self::Unavailable(message) | Self::Internal(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}
