//! Log lines: the host adds tenant, plugin and request id, and bounds their rate and length.

use crate::bindings::bulkhead::plugin::log::Level;

fn write(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::bindings::bulkhead::plugin::log::write(level, message);
    // In native tests there is no host: the test runner shows it.
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?}: {message}");
}

/// For who wrote the plugin.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref());
}

/// For who runs it.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref());
}

/// Something is odd, the request goes on.
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref());
}

/// Something went wrong.
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message.as_ref());
}
