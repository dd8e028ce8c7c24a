//! Where the standard library for WebAssembly comes from: rustup's target, or Debian's compiler with its sources for
//! machines on which rustup can't download.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::process::Command;

use crate::cli::out;

/// What plugins are built for, unless told otherwise.
pub(in crate::cli) const TARGET: &str = "wasm32-unknown-unknown";

/// What installs Debian's way.
pub(in crate::cli) const DEBIAN_INSTALL: &str = "apt-get install --no-install-recommends rustc-web cargo-web rust-web-src";

/// Debian's packages put these where no other package does.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_STD_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/Cargo.lock";

/// The oldest Debian compiler whose standard library was built for plugins with success, as (1, minor).
const DEBIAN_OLDEST_MINOR: u32 = 95;

/// The linker of the LLVM that Debian's compiler is made with.
const DEBIAN_LINKER: &str = "wasm-ld-22";

/// A network that is shut may hang rather than refuse.
const RUSTUP_TIMEOUT: Duration = Duration::from_secs(300);

/// One of the two ways to a standard library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// The target is installed with rustup
    Rustup,
    /// The standard library is built from Debian's sources by Debian's compiler
    Debian,
}

/// A cargo that builds for WebAssembly.
pub(super) struct Toolchain {
    target: String,
    way: Way,
    linker: Option<PathBuf>,
}

impl Toolchain {
    /// Finds a way, and takes the step that rustup's way may lack. `folder` is the crate's: it may choose a compiler.
    pub(super) async fn find(target: &str, forced: Option<Way>, folder: &Path) -> anyhow::Result<Self> {
        let rustup = Self { target: target.to_owned(), way: Way::Rustup, linker: None };
        if forced != Some(Way::Debian) {
            if has_target(target, folder).await || add_target(target, folder).await {
                return Ok(rustup);
            }
            anyhow::ensure!(forced.is_none(), "the Rust target `{target}` is missing: run `rustup target add {target}`");
        }
        // The others need a C library of their own, which Debian's packages don't bring.
        anyhow::ensure!(target == TARGET, "the Rust target `{target}` is missing: run `rustup target add {target}`");
        debian_packages(folder)
            .await
            .with_context(|| format!("no standard library for WebAssembly: run `rustup target add {target}`, or on Debian `{DEBIAN_INSTALL}`"))?;
        let linker = debian_linker(folder).await.with_context(
            || "Debian's compiler brings no linker for WebAssembly: run `apt-get install lld-22`, or install Rust with rustup, which has one",
        )?;
        out::note("building with Debian's compiler");
        Ok(Self { target: target.to_owned(), way: Way::Debian, linker: Some(linker) })
    }

    /// `cargo`, to be run in `folder`.
    pub(super) fn cargo(&self, folder: &Path) -> Command {
        let mut command = Command::new(if self.way == Way::Debian { DEBIAN_CARGO } else { "cargo" });
        command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
        if self.way == Way::Debian {
            // Else Debian's cargo would find rustup's compiler in the path.
            command.env("RUSTC", DEBIAN_RUSTC).env_remove("RUSTUP_TOOLCHAIN");
        }
        command
    }

    /// `cargo build` of the release profile for the target.
    pub(super) fn cargo_build(&self, folder: &Path) -> Command {
        let mut command = self.cargo(folder);
        command.args(["build", "--release", "--target", &self.target]);
        // Joined with what a project's `.cargo/config.toml` says.
        command.args(["--config", &format!("target.{}.rustflags = {:?}", self.target, rustflags())]);
        if let Some(linker) = &self.linker {
            command.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
            // By the environment: `RUSTFLAGS` would put aside what a project's `.cargo/config.toml` says.
            let name = self.target.replace('-', "_").to_uppercase();
            command.env(format!("CARGO_TARGET_{name}_LINKER"), linker);
        }
        command
    }
}

/// What every plugin is built with.
fn rustflags() -> Vec<String> {
    let mut flags: Vec<String> = [
        // Vectors: every host has them, and images take three quarters of the time with them.
        "-Ctarget-feature=+simd128",
        // The stack comes first in a guest's memory. The host keeps the first pages of each memory warm: with a small
        // stack those hold data and heap, in place of a mebibyte that is never touched. Overflow traps.
        "-Clink-arg=-zstack-size=131072",
        // The SDK's allocator begins with this; a guest that needs no more never asks the host to map any.
        "-Clink-arg=--initial-heap=262144",
    ]
    .map(str::to_owned)
    .into();
    // Where a dependency's sources lie on the author's machine stands in its panic messages, and is nobody's business.
    if let Some(home) = bulkhead::config::cargo_home() {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    flags
}

/// The way that would work as things are, for `doctor`.
pub(in crate::cli) async fn available(folder: &Path) -> Option<Way> {
    if has_target(TARGET, folder).await {
        return Some(Way::Rustup);
    }
    let debian = debian_packages(folder).await.is_ok() && debian_linker(folder).await.is_some();
    debian.then_some(Way::Debian)
}

async fn has_target(target: &str, folder: &Path) -> bool {
    let Some(library) = output("rustc", &["--print", "target-libdir", "--target", target], folder).await else { return false };
    let Ok(entries) = std::fs::read_dir(library) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

async fn add_target(target: &str, folder: &Path) -> bool {
    let mut command = Command::new("rustup");
    command.args(["target", "add", target]).current_dir(folder);
    // Its own output is no answer of ours.
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let Ok(mut child) = command.spawn() else { return false };
    out::note(format_args!("adding the Rust target `{target}` with rustup"));
    let added = tokio::time::timeout(RUSTUP_TIMEOUT, child.wait()).await;
    matches!(added, Ok(Ok(status)) if status.success()) && has_target(target, folder).await
}

/// Whether Debian's packages are there.
async fn debian_packages(folder: &Path) -> anyhow::Result<()> {
    for path in [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_STD_SOURCE] {
        anyhow::ensure!(Path::new(path).exists(), "there is no `{path}`");
    }
    let version = output(DEBIAN_RUSTC, &["--version"], folder).await.unwrap_or_default();
    anyhow::ensure!(minor(&version) >= Some(DEBIAN_OLDEST_MINOR), "`{DEBIAN_RUSTC}` is older than 1.{DEBIAN_OLDEST_MINOR}: {version}");
    Ok(())
}

/// A linker for WebAssembly, which Debian's compiler does not bring.
async fn debian_linker(folder: &Path) -> Option<PathBuf> {
    if let Some(linker) = rust_lld(folder).await {
        return Some(linker);
    }
    output(DEBIAN_LINKER, &["--version"], folder).await.map(|_| DEBIAN_LINKER.into())
}

/// The linker that rustup's toolchains bring.
async fn rust_lld(folder: &Path) -> Option<PathBuf> {
    let sysroot = output("rustc", &["--print", "sysroot"], folder).await?;
    let hosts = std::fs::read_dir(Path::new(&sysroot).join("lib/rustlib")).ok()?;
    hosts.flatten().map(|host| host.path().join("bin/rust-lld")).find(|linker| linker.exists())
}

/// The first line that a program prints, where it succeeds.
pub(in crate::cli) async fn output(program: &str, args: &[&str], folder: &Path) -> Option<String> {
    let done = Command::new(program).args(args).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true).output().await.ok()?;
    let text = String::from_utf8(done.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (done.status.success() && !line.is_empty()).then(|| line.to_owned())
}

/// The minor version in `rustc 1.96.0 (…)`.
fn minor(version: &str) -> Option<u32> {
    version.split_whitespace().nth(1)?.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_says_its_version() {
        for (text, expected) in [
            ("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)", Some(96)),
            ("rustc 1.95.0-nightly (x 2026-01-01)", Some(95)),
            ("", None),
            ("rustc two", None),
        ] {
            assert_eq!(minor(text), expected, "{text}");
        }
    }
}
