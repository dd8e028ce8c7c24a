//! WASI 0.2 with an empty context, so that components of other toolchains load: no files, no environment, no
//! arguments, no sockets; what is printed becomes log lines.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime::component::Linker;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use super::log::{Level, LogLines};
use crate::sandbox::store::Ctx;

/// Bytes of randomness that one call gives.
const RANDOM_BYTES: u64 = 64 << 10;

pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

pub(super) fn is_granted(import: &str) -> bool {
    ["wasi:io/", "wasi:cli/", "wasi:clocks/", "wasi:random/", "wasi:filesystem/", "wasi:sockets/"].iter().any(|package| import.starts_with(package))
        && import.contains("@0.2")
}

/// A context that grants nothing.
pub(in crate::sandbox) fn empty(log: &LogLines) -> WasiCtx {
    let mut builder = WasiCtx::builder();
    builder.max_random_size(RANDOM_BYTES);
    builder.stdout(Printed(log.clone(), Level::Info));
    builder.stderr(Printed(log.clone(), Level::Warn));
    builder.build()
}

/// Turns what a guest prints into log lines.
#[derive(Clone)]
struct Printed(LogLines, Level);

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Printed {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let level = self.1;
        for line in String::from_utf8_lossy(bytes).lines().filter(|line| !line.trim().is_empty()) {
            self.0.line(level, line);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
