//! `token`: credentials for development, and who a credential is.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead::auth::development::{self, Mint};
use bulkhead::auth::{Expected, Scopes};
use bulkhead_registry::TenantId;
use clap::{Args, Subcommand};

use super::{fields, lifetime, out};
use crate::cli::client::Client;
use crate::cli::model::Format;
use crate::cli::table::Table;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for development, signed with the secret of a host's data folder
    Mint(MintArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MintArgs {
    /// The host's data folder
    #[arg(long, default_value = "data", env = "BULKHEAD_DATA_DIR")]
    data_dir: PathBuf,
    /// Whose models and plugins it is to see
    #[arg(long, default_value = "default")]
    tenant: TenantId,
    /// Who it is for: stands in log lines and in the audit
    #[arg(long, default_value = "developer")]
    user: String,
    /// What it may, such as `models:read,models:predict`; `all` is every scope
    #[arg(long, value_parser = scopes)]
    scope: Scopes,
    /// What it may in other tenants too, by `--as-tenant`; needs `admin:tenants` among the scopes
    #[arg(long, value_parser = scopes, default_value = "")]
    across: Scopes,
    /// How long it is good for, such as `90s`, `30m`, `8h` or `7d`
    #[arg(long, value_parser = lifetime::parse, default_value = "1h")]
    lifetime: Duration,
    /// As the host's `auth.issuer` says
    #[arg(long, default_value = "bulkhead", env = "BULKHEAD_AUTH_ISSUER")]
    issuer: String,
    /// As the host's `auth.audience` says
    #[arg(long, default_value = "bulkhead", env = "BULKHEAD_AUTH_AUDIENCE")]
    audience: String,
}

fn scopes(text: &str) -> Result<Scopes, String> {
    if text == "all" { Ok(Scopes::all()) } else { Scopes::parse(text).map_err(|error| error.to_string()) }
}

pub(super) fn run(command: TokenCommand) -> anyhow::Result<()> {
    let TokenCommand::Mint(args) = command;
    std::fs::create_dir_all(&args.data_dir).with_context(|| format!("the data folder `{}` can't be made", args.data_dir.display()))?;
    let secret = development::secret(&args.data_dir).context("the secret for development can be neither read nor made")?;
    let mint = Mint {
        tenant: args.tenant.to_string(),
        subject: args.user,
        scopes: args.scope,
        across: args.across,
        lifetime: args.lifetime,
        expected: Expected { issuer: args.issuer, audience: args.audience },
    };
    out::line(development::mint(&secret, &mint)?)
}

/// `whoami`.
pub(super) async fn whoami(client: &Client, format: Format) -> anyhow::Result<()> {
    let who = client.get(&["v1", "whoami"]).await?;
    if format.json {
        return out::json(&who);
    }
    let mut table = Table::bare();
    for field in ["tenant", "subject", "credential", "scopes", "across"] {
        table.row([field.to_owned(), fields::text(&who, field)]);
    }
    out::line(table.render())
}
