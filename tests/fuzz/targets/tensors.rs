//! See `src/tensors.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bulkhead_fuzz::tensors(data));
