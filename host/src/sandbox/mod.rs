//! Runs components of untrusted authors: the only room that names wasmtime.
//!
//! [`Sandboxes::admit`] makes a [`Plugin`] of an uploaded component: checked, compiled in a process of its own, tried
//! once. A [`Transform`] is a plugin with the configuration and limits that a model's manifest gives it; each request
//! has an [`Exchange`] with it, in a fresh store and instance, dropped on any error and after the last call.

mod admission;
mod ahead;
mod bindings;
mod cache;
pub mod compile;
mod convert;
mod engine;
mod error;
mod exchange;
mod exports;
mod imports;
mod limits;
mod places;
mod plugin;
mod pool;
mod snapshot;
mod store;
mod transform;

pub use admission::{AdmissionLimits, Refused};
pub use engine::{SandboxOptions, Sandboxes};
pub use error::SandboxError;
pub use exchange::{Exchange, RequestInfo, Step};
pub use places::Places;
pub use plugin::{Description, Limits, Plugin, TensorSignature};
pub use transform::{Transform, TransformOptions};
