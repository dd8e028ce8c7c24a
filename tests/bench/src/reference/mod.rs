//! The reference: what a careful engineer writes when a model needs a server and nothing else. axum, ort, serde's
//! derive; no plugins, no versions, no limits, no metrics. It runs the session where the request is.

mod answer;
mod binary;
mod digits;
mod iris;
pub(crate) mod onnx;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

#[derive(clap::Args)]
pub(crate) struct Flags {
    /// The folder of demo models.
    #[arg(long)]
    demo: PathBuf,
    /// The folder of models that were made for the bench.
    #[arg(long)]
    models: PathBuf,
    /// Where HTTP is served.
    #[arg(long)]
    listen: SocketAddr,
}

/// Why a request was refused: status 400 and a sentence.
type Refusal = (StatusCode, String);

fn refused(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::BAD_REQUEST, error.to_string())
}

/// Serves until the process is ended. A process has one mode, so this makes the runtime itself, as the host's is made.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(flags))
}

async fn serve(flags: &Flags) -> Result<()> {
    let environment = onnx::load()?;
    let iris = Arc::new(iris::Iris::load(&environment, &flags.demo)?);
    let digits = Arc::new(digits::Digits::load(&environment, &flags.demo)?);
    let mean_color = Arc::new(binary::MeanColor::load(&environment, &flags.models)?);
    let app = Router::new()
        .merge(Router::new().route("/mean-color", post(binary::infer)).layer(DefaultBodyLimit::disable()).with_state(mean_color))
        .merge(Router::new().route("/iris", post(iris::tensors)).route("/iris-record", post(iris::record)).with_state(iris))
        .merge(Router::new().route("/jpeg", post(digits::jpeg)).with_state(digits))
        .route("/health/ready", get(async || "ready"));
    let listener = TcpListener::bind(flags.listen).await?.tap_io(|stream| {
        // A connection that closed at once needs no answer.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, app).await?)
}
