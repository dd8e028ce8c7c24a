//! What is signed, of files: the very bytes that will be uploaded.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bulkhead::signing::Statement;
use bulkhead_registry::{Digest, Manifest};
use clap::Args;
use sha2::{Digest as _, Sha256};

use super::{model_ref, plugin_ref};
use crate::cli::failure::Failure;
use crate::cli::names::NameVersion;
use crate::cli::{content_type, plugin};

/// The files of a version.
#[derive(Debug, Args)]
pub(crate) struct Parts {
    /// The manifest: TOML, or JSON where the file ends in `.json`
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) manifest: PathBuf,

    /// The model, such as an ONNX file; a predictor has none
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) model: Option<PathBuf>,

    /// The component of a predictor, which has no model: what is signed in its place
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub(in crate::cli) component: Option<PathBuf>,
}

impl Parts {
    /// The statement about a version of these files.
    pub(in crate::cli) fn statement(&self, version: &NameVersion) -> anyhow::Result<Statement> {
        let shown = self.manifest.display();
        let text = std::fs::read_to_string(&self.manifest).with_context(|| format!("`{shown}` can't be read"))?;
        let is_json = content_type::of_manifest(&self.manifest) == "application/json" || text.trim_start().starts_with('{');
        let manifest = if is_json { Manifest::from_json(&text) } else { Manifest::from_toml(&text) }.with_context(|| format!("`{shown}`"))?;
        let artifact = match (&manifest.predictor, &self.model, &self.component) {
            (Some(_), _, Some(component)) => component,
            (Some(used), ..) => {
                let message = format!("a predictor is signed with its component: name the file of `{}` by `--component FILE`", used.plugin);
                return Err(Failure::Usage(message).into());
            }
            (None, Some(model), _) => model,
            (None, None, _) => return Err(Failure::Usage("its manifest's runtime needs a model: add `--model FILE`".to_owned()).into()),
        };
        Ok(Statement::model(&model_ref(version)?, digest(artifact)?, Digest::of(text.as_bytes()), &manifest))
    }
}

/// The statement about a component.
pub(super) fn plugin(version: &NameVersion, file: &Path) -> anyhow::Result<Statement> {
    let shown = file.display();
    let bytes = std::fs::read(file).with_context(|| format!("`{shown}` can't be read"))?;
    let world = plugin::world(&bytes).with_context(|| format!("`{shown}` is no plugin"))?;
    Ok(Statement::plugin(&plugin_ref(version)?, Digest::of(&bytes), world))
}

/// Of a file that may be larger than memory.
fn digest(path: &Path) -> anyhow::Result<Digest> {
    let read = || -> std::io::Result<[u8; 32]> {
        let mut hasher = Sha256::new();
        std::io::copy(&mut File::open(path)?, &mut hasher)?;
        Ok(hasher.finalize().into())
    };
    let bytes = read().with_context(|| format!("`{}` can't be read", path.display()))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Digest::from_hex(&hex).context("a digest of other than 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_digest_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        assert_eq!(digest(&path).unwrap(), Digest::of(&vec![7; 100_000]));
        assert!(digest(&folder.path().join("y")).is_err());
    }
}
