//! Programs of this machine, and the host that commands would talk to.

use std::path::Path;
use std::time::Duration;

use super::Finding;
use crate::cli::ClientOptions;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::plugin::toolchain::{self, DEBIAN_INSTALL, TARGET, Way};

/// A daemon or a host that hangs is as good as none.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn cargo() -> Finding {
    let found = says("cargo", &["--version"]).await;
    Finding::required("cargo", "building plugins", found, "install Rust with rustup: https://rustup.rs")
}

pub(super) async fn linker() -> Finding {
    let found = says("cc", &["--version"]).await;
    Finding::required("C linker", "testing plugins", found, "on Debian: `apt-get install gcc libc6-dev`")
}

pub(super) async fn wasm() -> Finding {
    let found = toolchain::available(Path::new(".")).await.map(|way| match way {
        Way::Rustup => format!("Rust target {TARGET}"),
        Way::Debian => "Debian's rustc-web, cargo-web, rust-web-src".to_owned(),
    });
    let mend = format!("`rustup target add {TARGET}`; where that can't download, on Debian: `{DEBIAN_INSTALL}`");
    Finding::required("wasm std", "building plugins", found, &mend)
}

pub(super) async fn docker() -> Finding {
    let found = says("docker", &["version", "--format", "server {{.Server.Version}}"]).await;
    Finding::optional("docker", "models in containers", found, "install Docker and start its daemon")
}

pub(super) async fn host(options: &ClientOptions) -> Finding {
    let (found, mend) = match answers(options).await {
        Ok(()) => (Some(options.url.clone()), String::new()),
        Err(error) => (None, error.to_string()),
    };
    Finding::optional("host", "push and predict", found, &mend)
}

async fn answers(options: &ClientOptions) -> anyhow::Result<()> {
    let client = Client::new(options)?;
    match tokio::time::timeout(PATIENCE, client.get(&["health", "live"])).await {
        Ok(Ok(_)) => Ok(()),
        // It answers; that it is not well is for its own logs to say.
        Ok(Err(error)) if matches!(error.downcast_ref(), Some(Failure::Refused { .. })) => Ok(()),
        Ok(Err(error)) => Err(error),
        Err(_) => anyhow::bail!("no answer from {} within {} s", options.url, PATIENCE.as_secs()),
    }
}

async fn says(program: &str, args: &[&str]) -> Option<String> {
    tokio::time::timeout(PATIENCE, toolchain::output(program, args, Path::new("."))).await.ok()?
}
