//! The SDK that this binary carries: no registry has it, and it always fits the host.

use std::path::Path;

use anyhow::Context as _;
use include_dir::{Dir, include_dir};

const MANIFEST: &str = include_str!("../../../../sdk-guest/Cargo.toml");
static SOURCE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../sdk-guest/src");
static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../wit");

/// Writes the SDK and the contract that it is generated from, next to each other as in a checkout.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    let source = folder.join("sdk-guest").join("src");
    let wit = folder.join("wit");
    let written = (|| {
        std::fs::create_dir_all(&source)?;
        std::fs::create_dir_all(&wit)?;
        std::fs::write(folder.join("sdk-guest").join("Cargo.toml"), MANIFEST)?;
        SOURCE.extract(&source)?;
        WIT.extract(&wit)
    })();
    written.with_context(|| format!("the SDK can't be written to `{}`", folder.display()))
}
