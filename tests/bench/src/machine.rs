//! What the numbers were measured on, and with which versions.

use std::fs;

use serde::Serialize;

/// Stands above the table.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) system: String,
    pub(crate) versions: Vec<(String, String)>,
}

/// Dependencies whose versions matter for speed, by their names in the lock file.
const NAMED: [&str; 6] = ["bulkhead", "wasmtime", "ort", "axum", "tokio", "zune-jpeg"];

pub(crate) fn describe() -> Machine {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let kib = field("/proc/meminfo", "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse::<f64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let lock = include_str!("../../../Cargo.lock");
    let mut versions: Vec<_> = NAMED.iter().filter_map(|name| Some(((*name).to_owned(), locked(lock, name)?.to_owned()))).collect();
    versions.extend(onnxruntime().map(|version| ("ONNX Runtime".to_owned(), version)));
    Machine {
        processor,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_gib: kib.unwrap_or_default() / f64::from(1 << 20),
        system: format!("Linux {}", kernel.trim()),
        versions,
    }
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().strip_prefix(':')?.trim().to_owned()))
}

/// The version that a lock file gives a package.
fn locked<'l>(lock: &'l str, name: &str) -> Option<&'l str> {
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("\nname = \"{name}\"\n")))?;
    entry.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
}

/// The library has its version in its name.
fn onnxruntime() -> Option<String> {
    let library = bulkhead::config::find_onnxruntime(None)?;
    Some(library.file_name()?.to_str()?.split(".so.").nth(1)?.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_found_by_whole_names() {
        let lock = "[[package]]\nname = \"tokio-util\"\nversion = \"0.7.0\"\n\n[[package]]\nname = \"tokio\"\nversion = \"1.2.3\"\n";
        assert_eq!(super::locked(lock, "tokio"), Some("1.2.3"));
        assert_eq!(super::locked(lock, "axum"), None);
    }
}
