//! What holds for any bytes that a stranger sends, one function for each reader of such bytes: it panics where that does not
//! hold. `targets/` hands them to a fuzzer, and `tests/tests/corpus.rs` the inputs that are kept in `corpus/`.

mod component;
mod image;
mod manifest;
mod tensors;
mod token;
mod upload;

pub use component::component;
pub use image::image;
pub use manifest::manifest;
pub use tensors::tensors;
pub use token::token;
pub use upload::upload;

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use tokio::runtime::{Builder, Runtime};

/// Panics where something does not hold.
pub type Holds = fn(&[u8]);

/// All functions, by the names of their targets.
pub const TARGETS: [(&str, Holds); 6] =
    [("component", component), ("image", image), ("manifest", manifest), ("tensors", tensors), ("token", token), ("upload", upload)];

fn wait<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime"));
    RUNTIME.block_on(future)
}

/// A body that comes in pieces of so many bytes.
fn pieces(bytes: &[u8], length: usize) -> Body {
    let pieces: Vec<Result<Bytes, std::io::Error>> = bytes.chunks(length.max(1)).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Body::from_stream(futures_util::stream::iter(pieces))
}
