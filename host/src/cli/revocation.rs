//! `revocation`: digests that nothing is run of any more.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::model::Format;
use super::names::NameVersion;
use super::table::Table;
use super::{fields, out};

#[derive(Debug, Subcommand)]
pub(crate) enum RevocationCommand {
    /// Revoke a digest: whatever is made of it stops at once, and is taken in no more
    Add(AddArgs),
    /// List what was revoked of the tenant's and of all tenants'
    List(Format),
    /// Take a revocation back: what it stopped is loaded again
    Remove {
        #[arg(value_name = "DIGEST")]
        digest: String,
        /// The one of all tenants, for who may in all
        #[arg(long)]
        all_tenants: bool,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    what: What,
    /// Why; whoever asks for what it stops is told
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Of all tenants, for who may in all
    #[arg(long)]
    all_tenants: bool,
    #[command(flatten)]
    format: Format,
}

/// One of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// Of a component or an artifact: `sha256:…`
    #[arg(value_name = "DIGEST")]
    digest: Option<String>,
    /// The component of this plugin
    #[arg(long, value_name = "NAME@VERSION")]
    plugin: Option<NameVersion>,
    /// The artifact of this version of a model
    #[arg(long, value_name = "NAME@VERSION")]
    model: Option<NameVersion>,
}

pub(super) async fn run(command: RevocationCommand, client: &Client) -> anyhow::Result<()> {
    match command {
        RevocationCommand::Add(args) => add(args, client).await,
        RevocationCommand::List(format) => list(client, format).await,
        RevocationCommand::Remove { digest, all_tenants, format } => {
            let mut url = client.url(&["v1", "revocations", &digest]);
            if all_tenants {
                url.query_pairs_mut().append_pair("all_tenants", "true");
            }
            let revocation = client.json(client.request(Method::DELETE, url)).await?;
            if format.json { out::json(&revocation) } else { out::line(format_args!("{digest} is revoked no more; what it stopped is loaded again")) }
        }
    }
}

async fn add(args: AddArgs, client: &Client) -> anyhow::Result<()> {
    let digest = match &args.what {
        What { digest: Some(digest), .. } => digest.clone(),
        What { plugin: Some(plugin), .. } => digest_of(client, "plugins", plugin).await?,
        What { model: Some(model), .. } => digest_of(client, "models", model).await?,
        // One of them is there, as clap saw to.
        What { .. } => anyhow::bail!("expected a digest, `--plugin` or `--model`"),
    };
    let wanted = json!({ "digest": digest, "reason": args.reason, "all_tenants": args.all_tenants });
    let revocation = client.json(client.request(Method::POST, client.url(&["v1", "revocations"])).json(&wanted)).await?;
    if args.format.json {
        return out::json(&revocation);
    }
    out::line(format_args!("revoked {digest}"))?;
    out::line(format_args!("stopped: {}", fields::text(&revocation, "stopped")))
}

async fn digest_of(client: &Client, kind: &str, version: &NameVersion) -> anyhow::Result<String> {
    let document = client.get(&["v1", kind, &version.name, "versions", &version.version]).await?;
    document.get("digest").and_then(Value::as_str).map(str::to_owned).with_context(|| format!("the host says no digest of {version}"))
}

async fn list(client: &Client, format: Format) -> anyhow::Result<()> {
    let revocations = client.list(&["v1", "revocations"]).await?;
    if format.json {
        return out::json(&revocations);
    }
    let mut table = Table::new(&["DIGEST", "OF", "SINCE", "BY", "REASON"]);
    for revocation in &revocations {
        let text = |field| fields::text(revocation, field);
        let of = if revocation.get("all_tenants") == Some(&Value::Bool(true)) { "all tenants" } else { "the tenant" };
        table.row([text("digest"), of.to_owned(), fields::time(revocation, "created_at"), text("created_by"), text("reason")]);
    }
    out::line(table.render())
}
