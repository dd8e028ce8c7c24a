//! A guest's log lines: with tenant, plugin and request id added, and bounded in number, length and rate.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use prometheus::IntCounter;

use crate::clock;
pub(super) use crate::sandbox::bindings::bulkhead::plugin::log::Level;
use crate::sandbox::bindings::bulkhead::plugin::{log, types};

/// Lines of one request in one plugin. Arbitrary, as are those below: enough to debug with, too little to flood with.
const LINES_PER_REQUEST: u32 = 32;

/// Bytes of a line; what is beyond is cut.
const LINE_BYTES: usize = 2048;

/// Lines that a plugin may write each second, over all its requests.
const LINES_PER_SECOND: f64 = 100.0;

/// Whose lines they are, and what all requests of the plugin share.
pub(in crate::sandbox) struct LogSource {
    pub(in crate::sandbox) tenant: String,
    pub(in crate::sandbox) plugin: String,
    pub(in crate::sandbox) dropped: IntCounter,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl LogSource {
    pub(in crate::sandbox) fn new(tenant: String, plugin: String, dropped: IntCounter) -> Self {
        Self { tenant, plugin, dropped, bucket: Mutex::new(Bucket { tokens: LINES_PER_SECOND, at: clock::now() }) }
    }

    fn may_write(&self) -> bool {
        let mut bucket = self.bucket.lock();
        let now = clock::now();
        let refill = (now - bucket.at).as_secs_f64() * LINES_PER_SECOND;
        bucket.tokens = (bucket.tokens + refill).min(LINES_PER_SECOND);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

/// The log lines of one request in one plugin.
#[derive(Clone)]
pub(in crate::sandbox) struct LogLines {
    source: Arc<LogSource>,
    request: Arc<str>,
    left: u32,
}

impl LogLines {
    pub(in crate::sandbox) fn new(source: Arc<LogSource>, request: Arc<str>) -> Self {
        Self { source, request, left: LINES_PER_REQUEST }
    }

    pub(super) fn line(&mut self, level: Level, message: &str) {
        if self.left == 0 || !self.source.may_write() {
            self.source.dropped.inc();
            return;
        }
        self.left -= 1;
        let message = clean(message);
        let (tenant, plugin, request) = (self.source.tenant.as_str(), self.source.plugin.as_str(), &*self.request);
        match level {
            Level::Debug => tracing::debug!(target: "plugin", tenant, plugin, request.id = request, "{message}"),
            Level::Info => tracing::info!(target: "plugin", tenant, plugin, request.id = request, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", tenant, plugin, request.id = request, "{message}"),
            Level::Error => tracing::error!(target: "plugin", tenant, plugin, request.id = request, "{message}"),
        }
    }
}

/// A line in which a guest can't forge another, nor move a terminal's cursor.
fn clean(message: &str) -> String {
    let mut out = String::with_capacity(message.len().min(LINE_BYTES));
    for c in message.chars() {
        if out.len() >= LINE_BYTES {
            out.push('…');
            break;
        }
        if misleads(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a character would do something else than stand there: begin a line, move the cursor, or turn the order of
/// those around it, so that a line reads otherwise than it is.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

impl log::Host for LogLines {
    fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.line(level, &message);
        Ok(())
    }
}

impl types::Host for LogLines {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_escaped() {
        assert_eq!(clean("a\nERROR forged\u{1b}[2J"), "a\\nERROR forged\\u{1b}[2J");
        assert_eq!(clean("a\u{2028}b\u{202e}c\u{e0041}ü–日本"), "a\\u{2028}b\\u{202e}c\\u{e0041}ü–日本");
        assert!(clean(&"x".repeat(1 << 20)).len() <= LINE_BYTES + 4);
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let source = Arc::new(LogSource::new("t".to_owned(), "p@1.0.0".to_owned(), dropped.clone()));
        let mut lines = LogLines::new(source, "r".into());
        for _ in 0..1000 {
            lines.line(Level::Info, "again");
        }
        assert_eq!(dropped.get(), 1000 - u64::from(LINES_PER_REQUEST));
    }
}
