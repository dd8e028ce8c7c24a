//! `sign`: keys, and signatures on plugins and models, all on this machine; a host only ever sees signatures and public keys.

mod keys;
mod statements;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bulkhead::signing::{Signature, Statement};
use bulkhead_registry::{ModelRef, PluginRef};
use clap::{Args, Subcommand};
use reqwest::RequestBuilder;

use super::failure::Failure;
use super::names::NameVersion;
use super::out;
pub(super) use statements::Parts;

#[derive(Debug, Subcommand)]
pub(crate) enum SignCommand {
    /// Make a key: the private one for its owner alone, the public one for trust roots
    Keygen {
        /// Where the private key goes; the public one goes beside it, with `.pub` at the end
        #[arg(value_name = "FILE", default_value = "signing.key")]
        file: PathBuf,
    },
    /// Sign a plugin
    Plugin {
        /// The name and version that it will have
        #[arg(value_name = "NAME@VERSION")]
        version: NameVersion,
        /// The component
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Sign a version of a model
    Model {
        /// The name and version that it will have
        #[arg(value_name = "NAME@VERSION")]
        version: NameVersion,
        #[command(flatten)]
        parts: Parts,
        #[command(flatten)]
        how: How,
    },
}

/// With which key, and where to.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// The private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the signature goes; left out, it is printed
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What an upload is signed with.
#[derive(Debug, Default, Args)]
pub(crate) struct SignArgs {
    /// Sign it with this private key; may be given several times
    #[arg(long, value_name = "KEY")]
    pub(super) sign_with: Vec<PathBuf>,
    /// Send the signatures of this file along, as `bulkhead sign` writes them; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(super) signature: Vec<PathBuf>,
}

pub(super) fn run(command: SignCommand) -> anyhow::Result<()> {
    match command {
        SignCommand::Keygen { file } => keygen(&file),
        SignCommand::Plugin { version, file, how } => write(&statements::plugin(&version, &file)?, &how),
        SignCommand::Model { version, parts, how } => write(&parts.statement(&version)?, &how),
    }
}

fn keygen(file: &Path) -> anyhow::Result<()> {
    let (public, key) = keys::generate(file)?;
    out::note(format_args!("the private key is in `{}`: keep it to yourself, and away from any host", file.display()));
    out::note(format_args!("for the host: bulkhead trust-root add NAME --key {}", public.display()));
    out::line(key.id())
}

fn write(statement: &Statement, how: &How) -> anyhow::Result<()> {
    let signature = keys::read(&how.key)?.sign(statement);
    match &how.out {
        None => out::line(signature),
        Some(path) => {
            std::fs::write(path, format!("{signature}\n")).with_context(|| format!("`{}` can't be written", path.display()))?;
            out::note(format_args!("{statement}"));
            Ok(())
        }
    }
}

impl SignArgs {
    fn is_empty(&self) -> bool {
        self.sign_with.is_empty() && self.signature.is_empty()
    }

    /// Adds the signatures to an upload; what is signed is only looked at where a key is to sign.
    pub(super) fn put_on(
        &self,
        mut request: RequestBuilder,
        statement: impl FnOnce() -> anyhow::Result<Statement>,
    ) -> anyhow::Result<RequestBuilder> {
        if self.is_empty() {
            return Ok(request);
        }
        let mut signatures = Vec::new();
        if !self.sign_with.is_empty() {
            let statement = statement()?;
            for path in &self.sign_with {
                signatures.push(keys::read(path)?.sign(&statement));
            }
        }
        for path in &self.signature {
            let text = std::fs::read_to_string(path).with_context(|| format!("`{}` can't be read", path.display()))?;
            signatures.extend(Signature::lines(&text).with_context(|| format!("`{}` has a line that is no signature", path.display()))?);
        }
        for signature in signatures {
            request = request.header("x-bulkhead-signature", signature.to_string());
        }
        Ok(request)
    }
}

/// The statement about a component of a file.
pub(super) fn plugin(version: &NameVersion, file: &Path) -> anyhow::Result<Statement> {
    statements::plugin(version, file)
}

/// A name and version as the host reads them.
fn parsed<T: std::str::FromStr<Err = bulkhead_registry::IdError>>(version: &NameVersion) -> anyhow::Result<T> {
    version.to_string().parse().map_err(|error: bulkhead_registry::IdError| Failure::Usage(error.to_string()).into())
}

fn plugin_ref(version: &NameVersion) -> anyhow::Result<PluginRef> {
    parsed(version)
}

fn model_ref(version: &NameVersion) -> anyhow::Result<ModelRef> {
    parsed(version)
}
