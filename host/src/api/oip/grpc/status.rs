//! Errors as gRPC knows them.

use tonic::{Code, Status};

use crate::api::error::ApiError;

/// The error with its message, under the code that stands for its status, and the request's id.
pub(super) fn status(error: &ApiError, request_id: &str) -> Status {
    let code = match error.status() {
        400 | 415 | 422 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 => Code::FailedPrecondition,
        413 | 429 | 507 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        500 | 502 => Code::Internal,
        _ => Code::Unknown,
    };
    let mut status = Status::new(code, error.told_whole(request_id));
    if let Ok(id) = request_id.parse() {
        status.metadata_mut().insert("x-request-id", id);
    }
    status
}
