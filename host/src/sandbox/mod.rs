//! Runs components of untrusted authors: the only room that names wasmtime.
//!
//! [`Sandboxes::admit`] makes a [`Plugin`] of an uploaded component: checked, compiled in a process of its own, tried
//! once. A [`Transform`] is a plugin around a model, with the configuration and limits that a manifest gives it; each
//! request has an [`Exchange`] with it, in a fresh store and instance, dropped on any error and after the last call. A
//! [`Predictor`] is a plugin in place of a model, which drives the models that it is granted.

mod admission;
mod ahead;
mod bindings;
mod cache;
mod command;
pub mod compile;
mod confine;
mod convert;
mod engine;
mod errand;
mod error;
mod exchange;
mod exports;
mod imports;
mod limits;
mod measure;
mod overtime;
mod places;
mod plugin;
mod pool;
mod predictor;
mod running;
mod snapshot;
mod store;
mod transform;
mod usage;
mod world;

pub use admission::{AdmissionLimits, Refused};
pub use command::{CommandOptions, run_command};
pub use engine::{SandboxOptions, Sandboxes};
pub use error::SandboxError;
pub use exchange::{Exchange, Step};
pub use imports::nn::{Grants, LoadGrant, carries, travels_as};
pub use measure::check as measure;
pub use places::Places;
pub use plugin::{Limits, Plugin, TensorSignature};
pub use predictor::{GraphUse, Ports, Predictor, PredictorDescription};
pub use running::RequestInfo;
pub use transform::{Description, Transform};
pub use usage::{Use, UseOptions};
pub use world::World;
