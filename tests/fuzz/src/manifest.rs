//! Manifests, as TOML and as JSON.

use bulkhead_registry::Manifest;

/// A manifest is read, and then reads back as itself; or its mistakes are listed.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for read in [Manifest::from_toml(text), Manifest::from_json(text)] {
        match read {
            Ok(read) => assert_eq!(Manifest::from_json(&read.to_json()).expect("what was written"), read),
            Err(error) => assert!(!error.problems().is_empty(), "{error}"),
        }
    }
}
