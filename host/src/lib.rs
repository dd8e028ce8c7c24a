//! Bulkhead: a model-serving host. See ARCHITECTURE.md for the rooms and their order.

pub mod api;
pub mod app;
pub mod aside;
pub mod audit;
pub mod auth;
pub mod clock;
pub mod config;
pub mod confined;
pub mod engine;
pub mod identity;
pub mod loader;
pub mod payload;
pub mod predict;
pub mod runner;
pub mod sandbox;
pub mod signing;
pub mod telemetry;
pub mod tenants;
pub mod tensor;
pub mod tensor_json;
pub mod tls;
pub mod trust;
