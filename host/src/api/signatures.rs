//! Signatures as an upload brings them: in a header, so that who signs nothing sends nothing, and whatever the body is.

use axum::http::{HeaderMap, HeaderName};

use super::error::{ApiError, INVALID_INPUT};
use crate::signing::Signature;

/// One, or several with commas in between; the header may come several times.
const SIGNATURE: HeaderName = HeaderName::from_static("x-bulkhead-signature");

/// Signatures of one upload: each is checked. Arbitrary.
const SIGNATURES: usize = 16;

/// The signatures that a request brings.
///
/// # Errors
/// Where one is none.
pub(super) fn signatures(headers: &HeaderMap) -> Result<Vec<Signature>, ApiError> {
    let mut signatures = Vec::new();
    for value in headers.get_all(SIGNATURE) {
        let text = value.to_str().unwrap_or("something that is no text");
        for one in text.split(',').map(str::trim) {
            signatures.push(one.parse().map_err(|error| ApiError::new(INVALID_INPUT, format!("`{SIGNATURE}`: {error}")))?);
        }
    }
    if signatures.len() > SIGNATURES {
        return Err(ApiError::new(INVALID_INPUT, format!("`{SIGNATURE}`: expected at most {SIGNATURES} signatures, got {}", signatures.len())));
    }
    Ok(signatures)
}
