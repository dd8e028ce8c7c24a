//! How a host is started: its environment, its configuration, its folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{TestHost, fixtures};

/// How a host is to be started.
#[derive(Default)]
pub struct Setup {
    env: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
    data: Option<PathBuf>,
}

/// Name of the configuration file, where there is one.
const CONFIG: &str = "bulkhead.toml";

impl Setup {
    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a file beside the configuration.
    #[must_use]
    pub fn file(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), bytes.into()));
        self
    }

    /// The configuration file's text.
    #[must_use]
    pub fn config(self, text: &str) -> Self {
        self.file(CONFIG, text)
    }

    /// A data folder that outlives the host.
    #[must_use]
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data = Some(path.to_owned());
        self
    }

    /// Starts the host and waits until it is ready.
    pub async fn start(self) -> TestHost {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, bytes) in &self.files {
            std::fs::write(folder.path().join(name), bytes).expect("a file beside the configuration");
        }
        TestHost::start_in(folder, self).await
    }

    pub(crate) fn data(&self, folder: &Path) -> PathBuf {
        self.data.clone().unwrap_or_else(|| folder.join("data"))
    }

    pub(crate) fn spawn(&self, folder: &Path) -> Child {
        let mut command = command();
        // Port 0: the system picks free ones, and the log says which.
        command.args(["serve", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(self.data(folder));
        if folder.join(CONFIG).exists() {
            command.arg("--config").arg(folder.join(CONFIG));
        }
        command.env("BULKHEAD_TELEMETRY_FORMAT", "json").envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }
}

/// The binary, without settings that the tests' own environment may have.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new(fixtures::bulkhead());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BULKHEAD_") && name != "BULKHEAD_CACHE_DIR") {
        command.env_remove(name);
    }
    command
}
