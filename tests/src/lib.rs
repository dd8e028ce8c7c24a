//! What needs more than one room of the house: black-box tests of the real binary.
//!
//! [`TestHost`] is a host of its own for each test: own folder, own ports, gone when the test ends. The binary and the
//! plugins are built beforehand (`cargo build -p bulkhead`, `make plugins-dev`); only `guests/hostile` is built on
//! demand, by the binary itself.
#![expect(clippy::panic, clippy::print_stderr, clippy::missing_panics_doc, reason = "all of this runs inside tests, where a panic is a failed test")]

mod answer;
mod corpus;
pub mod fixtures;
mod host;
mod metrics;
pub mod onnx;
mod place;
pub mod png;
mod setup;
mod upload;
pub mod wasm;

pub use answer::Answer;
pub use corpus::WatFile;
pub use host::TestHost;
pub use place::{Tmpfs, cannot_run_here};
pub use setup::{Setup, command};

use std::time::Duration;

/// Waits until something holds, and panics where it does not within `limit`: a bound, never a duration to wait.
pub async fn eventually(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(limit, wait).await.is_ok(), "not within {limit:?}: {what}");
}
