//! WASI 0.2 with an empty context, so that components of other toolchains load: no files, no environment, no
//! arguments, no sockets; what is printed becomes log lines, and clocks are coarse.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx};

use super::log::{Level, LogLines};
use crate::clock::{self, nanos};
use crate::sandbox::store::{Ctx, HANDLES};

/// What clocks are rounded down to. With finer ones a guest could tell what others do with the processor's caches.
const GRAIN: Duration = Duration::from_millis(1);

/// Bytes of randomness that one call gives.
const RANDOM_BYTES: u64 = 64 << 10;

pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

pub(super) fn is_granted(import: &str) -> bool {
    ["wasi:io/", "wasi:cli/", "wasi:clocks/", "wasi:random/", "wasi:filesystem/", "wasi:sockets/"].iter().any(|package| import.starts_with(package))
        && import.contains("@0.2")
}

/// What a guest has of WASI.
pub(in crate::sandbox) struct Wasi {
    pub(in crate::sandbox) ctx: WasiCtx,
    pub(in crate::sandbox) table: ResourceTable,
    /// Where what it prints goes.
    printed: Arc<Mutex<LogLines>>,
}

impl Wasi {
    /// A context that grants nothing.
    pub(in crate::sandbox) fn empty(log: &LogLines) -> Self {
        let printed = Arc::new(Mutex::new(log.clone()));
        let mut builder = WasiCtx::builder();
        builder.max_random_size(RANDOM_BYTES);
        builder.monotonic_clock(Coarse(clock::now())).wall_clock(Coarse(clock::now()));
        builder.stdout(Printed(Arc::clone(&printed), Level::Info));
        builder.stderr(Printed(Arc::clone(&printed), Level::Warn));
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Self { ctx: builder.build(), table, printed }
    }

    /// One that grants what its maker wants.
    pub(in crate::sandbox) fn granting(ctx: WasiCtx, log: &LogLines) -> Self {
        Self { ctx, table: ResourceTable::new(), printed: Arc::new(Mutex::new(log.clone())) }
    }

    /// What is printed from now on belongs to another request.
    pub(in crate::sandbox) fn print_to(&self, log: &LogLines) {
        *self.printed.lock() = log.clone();
    }
}

/// A clock that hides what happens within a grain.
struct Coarse(Instant);

impl HostMonotonicClock for Coarse {
    fn resolution(&self) -> u64 {
        nanos(GRAIN)
    }

    fn now(&self) -> u64 {
        let since = nanos(clock::now() - self.0);
        since - since % nanos(GRAIN)
    }
}

impl HostWallClock for Coarse {
    fn resolution(&self) -> Duration {
        GRAIN
    }

    fn now(&self) -> Duration {
        // These are whole milliseconds.
        Duration::from_millis(u64::try_from(clock::unix_ms()).unwrap_or_default())
    }
}

/// Turns what a guest prints into log lines. However many streams it opens, they share the bounds of one request.
#[derive(Clone)]
struct Printed(Arc<Mutex<LogLines>>, Level);

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
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let mut log = self.0.lock();
        for line in String::from_utf8_lossy(bytes).lines().filter(|line| !line.trim().is_empty()) {
            log.line(self.1, line);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_tell_whole_milliseconds() {
        let clock = Coarse(clock::now());
        let end = clock::now() + Duration::from_millis(30);
        let mut seen = std::collections::BTreeSet::new();
        while clock::now() < end {
            let now = HostMonotonicClock::now(&clock);
            assert_eq!(now % 1_000_000, 0);
            seen.insert(now);
            assert_eq!(HostWallClock::now(&clock).subsec_nanos() % 1_000_000, 0);
        }
        assert!(seen.len() <= 40, "{}", seen.len());
        assert_eq!((HostMonotonicClock::resolution(&clock), HostWallClock::resolution(&clock)), (1_000_000, GRAIN));
    }
}
