//! Errors as gRPC knows them.

use tonic::{Code, Status};

use crate::api::error::{ApiError, QUOTA};

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
    if let Some(seconds) = error.wait_s() {
        status.metadata_mut().insert("retry-after", seconds.into());
        // By gRPC's own name: clients that retry by themselves wait for so long.
        status.metadata_mut().insert("grpc-retry-pushback-ms", seconds.saturating_mul(1000).into());
    }
    if let Some(quota) = error.quota().and_then(|quota| quota.parse().ok()) {
        status.metadata_mut().insert(QUOTA, quota);
    }
    status
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tenants::Exceeded;

    #[test]
    fn who_met_a_quota_learns_which_and_when_to_come_again() {
        let exceeded = Exceeded { quota: "concurrent_requests", limit: 2, advice: "wait", wait: Duration::from_millis(1500) };
        let status = status(&exceeded.into(), "r-1");
        let said = |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("`concurrent_requests` of 2"), "{}", status.message());
        let told = ["retry-after", "grpc-retry-pushback-ms", "x-bulkhead-quota", "x-request-id"].map(said);
        assert_eq!(told, ["2", "2000", "concurrent_requests", "r-1"]);
    }
}
