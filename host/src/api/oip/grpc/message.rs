//! The messages and the service, generated from `proto/inference.proto` by `build.rs`.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::str_to_string)]

include!(concat!(env!("OUT_DIR"), "/inference.rs"));

/// Their description, for reflection.
pub(super) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/inference.bin"));
