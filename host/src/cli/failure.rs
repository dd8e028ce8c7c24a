//! Failures that scripts can tell apart by the exit code.

use std::process::ExitCode;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

/// Why a command stopped, where the exit code or the form of the message is a special one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The host answered, with an error.
    #[error("{message}")]
    Refused { status: StatusCode, code: String, message: String, request_id: Option<String>, details: Option<Value> },
    /// Nobody answered.
    #[error("no host answers at {url} ({why}): start one with `bulkhead serve`, or name another with `--url`")]
    NoHost { url: String, why: String },
    /// The arguments make no sense together, which clap could not know.
    #[error("{0}")]
    Usage(String),
}

/// An error as every route answers it.
#[derive(Deserialize)]
struct Envelope {
    error: Body,
}

#[derive(Deserialize)]
struct Body {
    code: String,
    message: String,
    request_id: Option<String>,
    details: Option<Value>,
}

/// Of a body that is no error of ours (a proxy's page, say), as much as a terminal bears.
const SHOWN_CHARS: usize = 300;

impl Failure {
    /// What a response with an error status says.
    pub(super) fn refused(status: StatusCode, request_id: Option<String>, body: &str) -> Self {
        match serde_json::from_str::<Envelope>(body) {
            Ok(Envelope { error }) => Self::Refused {
                status,
                code: error.code,
                message: error.message,
                request_id: error.request_id.or(request_id),
                details: error.details.filter(|details| !details.is_null()),
            },
            Err(_) => {
                let shown: String = body.trim().chars().take(SHOWN_CHARS).collect();
                let message = if shown.is_empty() { format!("the host answered {status}") } else { shown };
                Self::Refused { status, code: status.as_u16().to_string(), message, request_id, details: None }
            }
        }
    }

    /// Whether the host knows no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused { .. } => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::NoHost { .. } => ExitCode::from(3),
        }
    }

    /// The text for people.
    pub(super) fn report(&self) -> String {
        let mut text = format!("error: {self}");
        if let Self::Refused { code, request_id, details, .. } = self {
            match request_id {
                Some(id) => text.push_str(&format!("\n  (code `{code}`, request {id})")),
                None => text.push_str(&format!("\n  (code `{code}`)")),
            }
            if let Some(details) = details {
                text.push_str(&format!("\n  details: {details}"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_host_is_told_with_code_and_request() {
        let body = r#"{"error":{"code":"already_exists","message":"`a@1.0.0` holds other bytes","request_id":"r1","details":{"digest":"x"}}}"#;
        let report = Failure::refused(StatusCode::CONFLICT, None, body).report();
        assert_eq!(report, "error: `a@1.0.0` holds other bytes\n  (code `already_exists`, request r1)\n  details: {\"digest\":\"x\"}");
    }

    #[test]
    fn a_body_that_is_no_error_of_ours_is_shown() {
        let report = Failure::refused(StatusCode::BAD_GATEWAY, Some("r2".to_owned()), "<h1>Bad</h1>\n").report();
        assert_eq!(report, "error: <h1>Bad</h1>\n  (code `502`, request r2)");
        let report = Failure::refused(StatusCode::BAD_GATEWAY, None, "").report();
        assert_eq!(report, "error: the host answered 502 Bad Gateway\n  (code `502`)");
    }
}
