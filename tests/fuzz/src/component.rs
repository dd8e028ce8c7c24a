//! Components, before they are handed to the compiler's process.

use bulkhead::sandbox::{AdmissionLimits, Refused, measure};

/// Bounds that small inputs reach.
const FEW: AdmissionLimits = AdmissionLimits {
    component_bytes: 4096,
    functions: 12,
    function_bytes: 200,
    locals: 20,
    branch_targets: 5,
    modules: 3,
    imports: 4,
    module_imports: 4,
    memories: 2,
    memory_bytes: 10 << 16,
    table_elements: 10,
    data_bytes: 64,
    custom_bytes: 64,
};

/// Bytes are measured or refused as the uploader's fault; what fits tight bounds fits wide ones.
pub fn component(data: &[u8]) {
    let (tight, wide) = (measure(data, FEW), measure(data, AdmissionLimits::default()));
    for outcome in [&tight, &wide] {
        match outcome {
            Ok(()) => assert!(data.starts_with(b"\0asm") && data.get(6) == Some(&1), "no component"),
            Err(Refused::NotAComponent(_) | Refused::Malformed(_) | Refused::OverLimits(_)) => {}
            Err(other) => unreachable!("{other}"),
        }
    }
    assert!(tight.is_err() || wide.is_ok(), "{wide:?}");
}
