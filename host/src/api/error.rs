//! Errors as callers see them: one table of codes, and where each room's errors go in it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bulkhead_registry::{ArtifactError, StoreError};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::identity::IdentityError;
use crate::loader::LoaderError;
use crate::predict::{Missing, PredictError};
use crate::runner::RunError;
use crate::sandbox::{Refused, SandboxError};
use crate::tensor_json::Malformed;
use crate::trust::{Barred, TrustError};

/// Of a message, so much is said. Over gRPC it travels in a header, which clients bound. Arbitrary.
const MESSAGE_BYTES: usize = 4 << 10;

/// A stable name of an error, with its status and meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// As it stands in answers.
    pub name: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What it means, for the documentation.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($constant:ident $name:literal $status:literal $meaning:literal;)+) => {
        $(pub(super) const $constant: Code = Code { name: $name, status: $status, meaning: $meaning };)+
        /// Every code there is.
        pub const CODES: &[Code] = &[$($constant),+];
    };
}

codes! {
    INVALID_INPUT "invalid_input" 400 "The request's body, path or parameters are not what is expected; `details.pointer` is a JSON pointer to what is wrong, where there is one.";
    INFERENCE_FAILED "inference_failed" 400 "The inputs have the right names, types and shapes, and the model can't be run on them; the message is the runtime's.";
    UNAUTHENTICATED "unauthenticated" 401 "The request brings no credential that is accepted here; the log and the audit say why under the request id.";
    FORBIDDEN "forbidden" 403 "The credential is good, and does not permit this: the message names the scope that it lacks.";
    NOT_FOUND "not_found" 404 "There is no such model, version, plugin or path.";
    METHOD_NOT_ALLOWED "method_not_allowed" 405 "The path takes other methods; the `Allow` header names them.";
    ALREADY_EXISTS "already_exists" 409 "Other content is there under this name and version; versions never change.";
    IN_USE "in_use" 409 "Something still refers to it; `details.by` says what.";
    REVOKED "revoked" 409 "The version, or a plugin or model that it is made of, was revoked; the message says which and why. Nothing of it runs or is taken in until that is taken back.";
    NO_PRODUCTION "no_production_version" 409 "The model has no version in production, or none to go back to.";
    TOO_LARGE "payload_too_large" 413 "The body is larger than is taken, or its tensors than may wait; `details.limit_bytes` is the limit.";
    UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" 415 "The body is of a type that this route or model does not take.";
    INVALID_MANIFEST "invalid_manifest" 422 "The manifest breaks a rule; `details.problems` lists each.";
    NOT_A_COMPONENT "not_a_component" 422 "The upload is no WebAssembly component: a core module, precompiled code, or something else.";
    INVALID_COMPONENT "invalid_component" 422 "The upload is a malformed component, or uses a proposal that is switched off.";
    WRONG_WORLD "wrong_world" 422 "The component does not export what a plugin must, or what the manifest's place for it takes.";
    IMPORT_NOT_GRANTED "import_not_granted" 422 "The component imports something that can't be granted.";
    OVER_LIMITS "over_limits" 422 "The component is larger, inside or outside, than is taken.";
    COMPILE_FAILED "compile_failed" 422 "The component can't be compiled, or not within the bounds on time and memory.";
    START_FAILED "start_failed" 422 "The component was compiled, and failed when it was first started.";
    INVALID_MODEL "invalid_model" 422 "The runtime refuses the model; the message is the runtime's.";
    MISSING_PLUGIN "missing_plugin" 422 "The manifest names a plugin that was not uploaded.";
    MISSING_GRAPH "missing_graph" 422 "The manifest grants a version of a model that was not uploaded, or can't be granted.";
    INVALID_CONFIG "invalid_plugin_config" 422 "A plugin refuses its configuration; `details.pointer` points into it.";
    MISMATCH "transforms_do_not_fit" 422 "What the plugins make or read is not what the models take or give.";
    SIGNATURE_REQUIRED "signature_required" 422 "The host or the tenant takes in and runs only what is signed by one of the tenant's trust roots, and this is not.";
    SIGNATURE_INVALID "signature_invalid" 422 "The upload brings signatures, and none by a trust root that counts, or one that is not of what is uploaded.";
    UNSUPPORTED_RUNTIME "unsupported_runtime" 422 "The manifest asks for a runtime that this host has not.";
    DEVICE_UNAVAILABLE "device_unavailable" 422 "The manifest asks for a device that this host has not; nothing runs on another instead.";
    TOO_MANY_REQUESTS "too_many_requests" 429 "More than the tenant or the address may; `Retry-After` says when to try again, and `details.quota` which bound it was, where it was one.";
    INTERNAL "internal" 500 "The host's own fault; the log has more under the request id.";
    PLUGIN_ERROR "plugin_error" 502 "A plugin says that something went wrong in it.";
    PLUGIN_TRAPPED "plugin_trapped" 502 "A plugin broke off.";
    PLUGIN_OUT_OF_MEMORY "plugin_out_of_memory" 502 "A plugin needs more memory than the manifest grants it.";
    NOT_READY "not_ready" 503 "The version is being loaded or taken down, or could not be loaded.";
    KEYS_UNAVAILABLE "keys_unavailable" 503 "Credentials can't be checked just now: the issuer's keys can't be had, and those from before are too old.";
    ENGINE_UNAVAILABLE "engine_unavailable" 503 "The process that runs this tenant's models has ended, and is started again; `Retry-After` says when to try again.";
    OVERLOADED "overloaded" 503 "Too much waits already; `Retry-After` says when to try again.";
    PLUGIN_UNAVAILABLE "plugin_unavailable" 503 "A plugin says: not now.";
    DEADLINE_EXCEEDED "deadline_exceeded" 504 "The model did not answer in time.";
    PLUGIN_DEADLINE "plugin_deadline" 504 "A plugin used up the time that the manifest grants it.";
    DISK_FULL "disk_full" 507 "The host has no space left for an upload.";
}

/// The quota that a refused request has met.
pub(super) const QUOTA: &str = "x-bulkhead-quota";

/// An error on its way out. The request id is added where all answers pass, in `router.rs`.
#[derive(Debug, Clone)]
pub struct ApiError {
    code: Code,
    message: String,
    details: Option<Value>,
    /// Seconds after which another try may succeed; none for as many as the code has.
    retry_after: Option<u64>,
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody<'a> {
    error: ErrorDetail<'a>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail<'a> {
    /// Stable; the table of codes lists them all.
    code: &'a str,
    /// For people: what was expected, what came, what to do.
    message: &'a str,
    /// Also in the header `X-Request-ID`, and in the log.
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
}

impl ApiError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: shortened(message.into()), details: None, retry_after: None }
    }

    pub(super) fn with(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Another try may succeed after so long.
    pub(super) fn after(mut self, wait: std::time::Duration) -> Self {
        self.retry_after = Some(wait.as_secs_f64().ceil().max(1.0) as u64);
        self
    }

    /// An artifact is over that limit, and nothing else is.
    pub(super) fn is_of_artifact(&self, limit: u64) -> bool {
        let message = Self::from(ArtifactError::TooLarge { limit }).message;
        self.code == TOO_LARGE && self.message == message
    }

    /// The caller may not, whatever it asks, or may not upload that.
    pub(super) fn is_denial(&self) -> bool {
        matches!(self.code, UNAUTHENTICATED | FORBIDDEN | KEYS_UNAVAILABLE | SIGNATURE_REQUIRED | SIGNATURE_INVALID)
    }

    pub(super) fn too_large(what: &str, limit: u64) -> Self {
        Self::new(TOO_LARGE, format!("{what} may have at most {limit} bytes")).with(json!({ "limit_bytes": limit }))
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(INTERNAL, message)
    }

    /// The body as clients of the Open Inference Protocol read it: the message alone.
    pub(super) fn plain_body(&self, request_id: &str) -> Vec<u8> {
        serde_json::to_vec(&json!({ "error": self.told_whole(request_id) })).unwrap_or_default()
    }

    /// The message, with the place that it is about: for those who are told nothing else.
    pub(super) fn told_whole(&self, request_id: &str) -> String {
        let message = self.told(request_id);
        match self.details.as_ref().and_then(|details| details.get("pointer")?.as_str()) {
            Some(pointer) if !pointer.is_empty() && !message.contains(pointer) => format!("{message} (at {pointer})"),
            _ => message.to_owned(),
        }
    }

    /// Seconds after which another try may succeed, where it may at all.
    pub(super) fn wait_s(&self) -> Option<u64> {
        let waits = matches!(self.code, OVERLOADED | NOT_READY | PLUGIN_UNAVAILABLE | ENGINE_UNAVAILABLE | TOO_MANY_REQUESTS | KEYS_UNAVAILABLE);
        self.retry_after.or(waits.then_some(1))
    }

    /// The quota that was met, where it is one.
    pub(super) fn quota(&self) -> Option<&str> {
        self.details.as_ref()?.get("quota")?.as_str()
    }

    /// Its name in the table.
    pub(super) fn code(&self) -> &'static str {
        self.code.name
    }

    pub(super) fn status(&self) -> u16 {
        self.code.status
    }

    /// What a caller is told; the host's own fault goes to the log.
    pub(super) fn told(&self, request_id: &str) -> &str {
        if self.code == INTERNAL {
            tracing::error!(request.id = request_id, error = self.message, "a request failed by the host's own fault");
            "something went wrong in the host; its log has more under this request id"
        } else {
            &self.message
        }
    }

    /// The body, with the request id; what is the host's own fault is told to the log, and not to the caller.
    pub(super) fn body(&self, request_id: &str) -> Vec<u8> {
        let message = self.told(request_id);
        let body = ErrorBody { error: ErrorDetail { code: self.code.name, message, request_id, details: self.details.as_ref() } };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// What a caller sent may be in it, as long as a body may be.
fn shortened(mut message: String) -> String {
    let bytes = message.len();
    if bytes > MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
        message.push_str(&format!("… ({bytes} bytes in all)"));
    }
    message
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = StatusCode::from_u16(self.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        if let Some(seconds) = self.wait_s() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // Where the body is a message alone, as in the Open Inference Protocol, too.
        if let Some(quota) = self.quota().and_then(|quota| HeaderValue::from_str(quota).ok()) {
            response.headers_mut().insert(QUOTA, quota);
        }
        if self.code == UNAUTHENTICATED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"bulkhead\""));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Missing> for ApiError {
    fn from(missing: Missing) -> Self {
        let code = match missing {
            Missing::Barred(_, _, Barred::Revoked { .. }) => REVOKED,
            Missing::Barred(_, _, Barred::Unsigned { .. }) => NOT_READY,
            Missing::Model(_) | Missing::Version(..) => NOT_FOUND,
            Missing::NoProduction(_) => NO_PRODUCTION,
            Missing::Failed(..) | Missing::Unloaded(..) | Missing::Stopped(_) => NOT_READY,
        };
        Self::new(code, missing.to_string())
    }
}

impl From<PredictError> for ApiError {
    fn from(error: PredictError) -> Self {
        // The codes of `PredictError` are names of the table above; a test sees to it.
        let code = CODES.iter().copied().find(|code| code.name == error.code()).unwrap_or(INTERNAL);
        let details = match &error {
            PredictError::Plugin { plugin, source: SandboxError::Invalid { pointer, .. } } => json!({ "plugin": plugin, "pointer": pointer }),
            PredictError::Plugin { plugin, .. } => json!({ "plugin": plugin }),
            PredictError::Malformed(malformed) => json!({ "pointer": malformed.pointer }),
            PredictError::Run(RunError::Invalid { input: Some(input), .. }) => json!({ "input": input }),
            PredictError::Run(RunError::EngineGone { retry_after }) => return Self::new(code, error.to_string()).after(*retry_after),
            PredictError::Run(RunError::TooLarge { limit_bytes, .. }) => json!({ "limit_bytes": limit_bytes }),
            _ => return Self::new(code, error.to_string()),
        };
        Self::new(code, error.to_string()).with(details)
    }
}

impl From<Malformed> for ApiError {
    fn from(malformed: Malformed) -> Self {
        PredictError::from(malformed).into()
    }
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        let message = error.to_string();
        match error {
            IdentityError::Invalid(_) => Self::new(INVALID_INPUT, message),
            IdentityError::TooMany { wait, .. } => Self::new(TOO_MANY_REQUESTS, message).after(wait),
            IdentityError::Enough { .. } => Self::new(TOO_MANY_REQUESTS, message).after(std::time::Duration::from_secs(60)),
            IdentityError::Store(error) => error.into(),
        }
    }
}

impl From<TrustError> for ApiError {
    fn from(error: TrustError) -> Self {
        let message = error.to_string();
        match error {
            TrustError::Invalid(_) => Self::new(INVALID_INPUT, message),
            TrustError::WasRevoked { .. } => Self::new(ALREADY_EXISTS, message),
            TrustError::Store(error) => error.into(),
        }
    }
}

impl From<LoaderError> for ApiError {
    fn from(error: LoaderError) -> Self {
        let message = error.to_string();
        match error {
            LoaderError::Component(refused) => Self::new(
                match refused {
                    Refused::NotAComponent(_) => NOT_A_COMPONENT,
                    Refused::Malformed(_) => INVALID_COMPONENT,
                    Refused::OverLimits(_) => OVER_LIMITS,
                    Refused::WrongWorld(_) => WRONG_WORLD,
                    Refused::Import(_) => IMPORT_NOT_GRANTED,
                    Refused::Compile(_) | Refused::Slow(_) => COMPILE_FAILED,
                    Refused::Smoke(_) => START_FAILED,
                    Refused::Busy => OVERLOADED,
                    Refused::Host(_) => INTERNAL,
                },
                message,
            ),
            LoaderError::Manifest(error) => Self::new(INVALID_MANIFEST, message).with(json!({ "problems": error.problems() })),
            LoaderError::Model(_) => Self::new(INVALID_MODEL, message),
            LoaderError::Unfit { pointer, message: problem } => {
                Self::new(INVALID_MANIFEST, message).with(json!({ "problems": [{ "pointer": pointer, "message": problem }] }))
            }
            LoaderError::Unavailable { retry_after } => Self::new(ENGINE_UNAVAILABLE, message).after(retry_after),
            LoaderError::Device(_) => Self::new(DEVICE_UNAVAILABLE, message).with(json!({ "pointer": "/engine/device" })),
            LoaderError::Runtime(_) => Self::new(UNSUPPORTED_RUNTIME, message),
            LoaderError::MissingPlugin(_) => Self::new(MISSING_PLUGIN, message),
            LoaderError::MissingGraph(_) | LoaderError::Graph { .. } => Self::new(MISSING_GRAPH, message),
            LoaderError::Quota(exceeded) => exceeded.into(),
            LoaderError::Parts(_) => Self::new(INVALID_INPUT, message),
            LoaderError::World { ref at, .. } => Self::new(WRONG_WORLD, message).with(json!({ "pointer": format!("{at}/plugin") })),
            LoaderError::Config { source: SandboxError::Busy, .. } => Self::new(OVERLOADED, message),
            LoaderError::Config { at, source, .. } => {
                let pointer = match source {
                    SandboxError::Invalid { pointer, .. } => pointer,
                    _ => String::new(),
                };
                Self::new(INVALID_CONFIG, message).with(json!({ "pointer": format!("{at}/config{pointer}") }))
            }
            LoaderError::Mismatch(_) => Self::new(MISMATCH, message),
            LoaderError::AlreadyExists { there, .. } => Self::new(ALREADY_EXISTS, message).with(json!({ "digest": there })),
            LoaderError::InUse { by, .. } => Self::new(IN_USE, message).with(json!({ "by": by })),
            LoaderError::NotFound(_) => Self::new(NOT_FOUND, message),
            LoaderError::Barred(Barred::Revoked { digest, .. }) => Self::new(REVOKED, message).with(json!({ "digest": digest.to_string() })),
            LoaderError::Barred(Barred::Unsigned { .. }) => Self::new(SIGNATURE_REQUIRED, message),
            LoaderError::Signature(error) => Self::new(if error.is_missing() { SIGNATURE_REQUIRED } else { SIGNATURE_INVALID }, message),
            LoaderError::Grant(_) => Self::new(FORBIDDEN, message),
            LoaderError::NothingToRollBack(_) => Self::new(NO_PRODUCTION, message),
            LoaderError::Artifact(error) => error.into(),
            LoaderError::Store(error) => error.into(),
            LoaderError::Host(_) => Self::internal(message),
        }
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::TooLarge { limit } => Self::too_large("the artifact", limit),
            ArtifactError::DiskFull(_) => no_space(),
            other => Self::internal(other.to_string()),
        }
    }
}

fn no_space() -> ApiError {
    ApiError::new(DISK_FULL, "the host has no space left for this upload; nothing of it was kept")
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::MissingPlugin(plugin) => LoaderError::MissingPlugin(plugin).into(),
            StoreError::MissingGraph(graph) => LoaderError::MissingGraph(graph).into(),
            StoreError::Full(_) => no_space(),
            StoreError::Cursor(_) => Self::new(INVALID_INPUT, error.to_string()),
            other => Self::internal(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_no_longer_than_it_may_be_whatever_a_caller_sent() {
        let long = "é".repeat(1 << 20);
        let message = ApiError::new(INVALID_INPUT, format!("input `{long}`")).message;
        assert!(message.len() < MESSAGE_BYTES + 40 && message.ends_with("é… (2097160 bytes in all)"), "{}", message.len());
        assert_eq!(ApiError::new(INVALID_INPUT, "x".repeat(MESSAGE_BYTES)).message.len(), MESSAGE_BYTES);
    }

    #[test]
    fn codes_are_unique_and_documented() {
        let page = include_str!("../../docs/errors.md");
        for (at, code) in CODES.iter().enumerate() {
            assert!(CODES[..at].iter().all(|earlier| earlier.name != code.name), "{} twice", code.name);
            let row = format!("| `{}` | {} | {} |", code.name, code.status, code.meaning);
            assert!(page.contains(&row), "docs/errors.md lacks:\n{row}");
        }
        assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), CODES.len());
    }

    #[test]
    fn every_code_of_a_predict_error_is_in_the_table() {
        let sandbox = [
            SandboxError::Invalid { pointer: String::new(), message: String::new() },
            SandboxError::Unavailable(String::new()),
            SandboxError::Internal(String::new()),
            SandboxError::Trapped(String::new()),
            SandboxError::Deadline(std::time::Duration::ZERO),
            SandboxError::OutOfMemory(1),
            SandboxError::Busy,
        ];
        let run = [
            RunError::Invalid { input: None, message: String::new() },
            RunError::Overloaded { waiting: 1 },
            RunError::OutOfMemory { limit_bytes: 1 },
            RunError::TooLarge { bytes: 2, limit_bytes: 1 },
            RunError::Waited { waited: std::time::Duration::ZERO },
            RunError::Deadline,
            RunError::Failed(String::new()),
            RunError::EngineGone { retry_after: std::time::Duration::ZERO },
            RunError::Stopped,
        ];
        let errors =
            sandbox.into_iter().map(|source| PredictError::Plugin { plugin: String::new(), source }).chain(run.into_iter().map(PredictError::Run));
        let barred = [
            Barred::Unsigned { what: String::new() },
            Barred::Revoked { what: String::new(), digest: bulkhead_registry::Digest::of(b""), reason: "".into() },
        ];
        for error in errors.chain(barred.into_iter().map(PredictError::Barred)) {
            assert!(CODES.iter().any(|code| code.name == error.code()), "{}", error.code());
        }
    }
}
