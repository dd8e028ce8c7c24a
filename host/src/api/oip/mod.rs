//! The Open Inference Protocol: what a version looks like in it, and the two ways to it, REST and gRPC.

mod ask;
mod catalog;
mod config;
mod face;
pub(super) mod grpc;
pub(super) mod nv;
pub(super) mod rest;
mod stats;

use std::borrow::Cow;

/// As clients know the host.
const SERVER: &str = "bulkhead";

/// What is served beyond the protocol's core, by Triton's names for it.
const EXTENSIONS: [&str; 6] = ["binary_tensor_data", "model_configuration", "model_repository", "parameters", "schedule_policy", "statistics"];

/// A version as clients write it: `1` and `1.2` stand for `1.0.0` and `1.2.0`, and a `v` before it is passed over.
fn version(text: &str) -> Cow<'_, str> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let parts = bare.split('.').count();
    if parts < 3 && bare.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())) {
        return Cow::Owned(format!("{bare}{}", ".0".repeat(3 - parts)));
    }
    Cow::Borrowed(bare)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn short_versions_stand_for_whole_ones() {
        for (text, expected) in
            [("1", "1.0.0"), ("1.2", "1.2.0"), ("1.2.3", "1.2.3"), ("v0.1.0", "0.1.0"), ("1.x", "1.x"), ("", ""), ("2.0.0-rc.1", "2.0.0-rc.1")]
        {
            assert_eq!(version(text), expected);
        }
    }
}
