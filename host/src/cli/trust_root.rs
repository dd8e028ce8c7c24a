//! `trust-root`: the keys whose signatures count for a tenant.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::client::Client;
use super::model::Format;
use super::table::Table;
use super::{fields, out};

#[derive(Debug, Subcommand)]
pub(crate) enum TrustRootCommand {
    /// Add a public key: what it signs counts from now on
    Add {
        /// What it is called in lists
        #[arg(value_name = "NAME")]
        name: String,
        /// The public key, as `bulkhead sign keygen` or `openssl pkey -pubout` write it
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        format: Format,
    },
    /// List the tenant's trust roots
    List(Format),
    /// Revoke one, for ever; where signatures are required, what it alone has signed stops at once
    Revoke {
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        format: Format,
    },
}

pub(super) async fn run(command: TrustRootCommand, client: &Client) -> anyhow::Result<()> {
    match command {
        TrustRootCommand::Add { name, key, format } => {
            let pem = std::fs::read_to_string(&key).with_context(|| format!("`{}` can't be read", key.display()))?;
            // Not even to one's own host.
            anyhow::ensure!(!pem.contains("PRIVATE KEY"), "`{0}` is a private key, and was not sent: the public one is `{0}.pub`", key.display());
            let wanted = json!({ "name": name, "public_key": pem });
            let root = client.json(client.request(Method::POST, client.url(&["v1", "trust-roots"])).json(&wanted)).await?;
            if format.json { out::json(&root) } else { out::line(fields::text(&root, "id")) }
        }
        TrustRootCommand::List(format) => list(client, format).await,
        TrustRootCommand::Revoke { id, format } => {
            let root = client.json(client.request(Method::DELETE, client.url(&["v1", "trust-roots", &id]))).await?;
            if format.json {
                return out::json(&root);
            }
            out::line(format_args!("revoked {id} ({})", super::table::clean(&fields::text(&root, "name"))))?;
            out::line(format_args!("stopped: {}", fields::text(&root, "stopped")))
        }
    }
}

async fn list(client: &Client, format: Format) -> anyhow::Result<()> {
    let roots = client.list(&["v1", "trust-roots"]).await?;
    if format.json {
        return out::json(&roots);
    }
    let mut table = Table::new(&["ID", "NAME", "ADDED", "BY", "REVOKED"]);
    for root in &roots {
        let (text, time) = (|field| fields::text(root, field), |field| fields::time(root, field));
        table.row([text("id"), text("name"), time("created_at"), text("created_by"), time("revoked_at")]);
    }
    out::line(table.render())
}
