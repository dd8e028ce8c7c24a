//! `key`: keys that the host issues.

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::client::Client;
use super::model::Format;
use super::table::Table;
use super::{fields, lifetime, out};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Have a key issued; it is shown once
    Create(CreateArgs),
    /// List the tenant's keys
    List(Format),
    /// Revoke a key: from the next request on it is good for nothing
    Revoke {
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What it is called in lists
    #[arg(value_name = "NAME")]
    name: String,
    /// What it may, such as `models:read,models:predict`: at most what the credential may that asks for it
    #[arg(long, value_delimiter = ',', required = true)]
    scope: Vec<String>,
    /// What it may in other tenants too; needs `admin:tenants` among the scopes
    #[arg(long, value_delimiter = ',')]
    across: Vec<String>,
    /// How long it is good for, such as `8h` or `90d`; left out, until it is revoked
    #[arg(long, value_parser = lifetime::parse)]
    lifetime: Option<Duration>,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: KeyCommand, client: &Client) -> anyhow::Result<()> {
    match command {
        KeyCommand::Create(args) => create(args, client).await,
        KeyCommand::List(format) => list(client, format).await,
        KeyCommand::Revoke { id, format } => {
            let key = client.json(client.request(Method::DELETE, client.url(&["v1", "keys", &id]))).await?;
            if format.json { out::json(&key) } else { out::line(format_args!("revoked {id} ({})", fields::text(&key, "name"))) }
        }
    }
}

async fn create(args: CreateArgs, client: &Client) -> anyhow::Result<()> {
    let wanted = json!({ "name": args.name, "scopes": args.scope, "across": args.across, "expires_in": args.lifetime.map(|time| time.as_secs()) });
    let key = client.json(client.request(Method::POST, client.url(&["v1", "keys"])).json(&wanted)).await?;
    if args.format.json {
        return out::json(&key);
    }
    out::note(format_args!("key {}: keep it, it is shown this once", fields::text(&key, "id")));
    out::line(fields::text(&key, "key"))
}

async fn list(client: &Client, format: Format) -> anyhow::Result<()> {
    let keys = client.list(&["v1", "keys"]).await?;
    if format.json {
        return out::json(&keys);
    }
    let mut table = Table::new(&["ID", "NAME", "SCOPES", "ACROSS", "CREATED", "BY", "EXPIRES", "REVOKED"]);
    for key in &keys {
        let (text, time) = (|field| fields::text(key, field), |field| fields::time(key, field));
        table.row([
            text("id"),
            text("name"),
            text("scopes"),
            text("across"),
            time("created_at"),
            text("created_by"),
            time("expires_at"),
            time("revoked_at"),
        ]);
    }
    out::line(table.render())
}
