//! `audit`: who did what, and whether the record of it is whole.

use std::path::PathBuf;

use anyhow::Context as _;
use bulkhead_registry::{AuditRecord, ChainCheck};
use clap::{Args, Subcommand};
use futures_util::StreamExt as _;
use reqwest::Method;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};
use tokio_util::io::StreamReader;

use super::client::Client;
use super::model::Format;
use super::table::Table;
use super::{fields, out};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List the latest rows
    List(ListArgs),
    /// Print all rows as lines of JSON, the oldest first
    Export {
        /// Those of all tenants, and of nobody
        #[arg(long)]
        all_tenants: bool,
    },
    /// Check the chain of all rows: that none was changed, removed or inserted
    Verify {
        /// An export of all tenants; left out, the host is asked for one
        #[arg(long)]
        file: Option<PathBuf>,
        /// A hash that was printed before: its row must be among them still
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Of one request
    #[arg(long)]
    request_id: Option<String>,
    /// By one caller
    #[arg(long)]
    actor: Option<String>,
    /// Such as `version.create`
    #[arg(long)]
    action: Option<String>,
    /// `allowed`, `denied` or `failed`
    #[arg(long)]
    result: Option<String>,
    /// Of all tenants, and of nobody
    #[arg(long)]
    all_tenants: bool,
    /// How many rows, at most 500
    #[arg(long, default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: AuditCommand, client: &Client) -> anyhow::Result<()> {
    match command {
        AuditCommand::List(args) => list(args, client).await,
        AuditCommand::Export { all_tenants } => {
            let mut answer = exported(client, all_tenants).await?.bytes_stream();
            while let Some(piece) = answer.next().await {
                out::write(&piece.context("the export broke off")?)?;
            }
            Ok(())
        }
        AuditCommand::Verify { file: Some(file), head } => {
            let opened = tokio::fs::File::open(&file).await.with_context(|| format!("`{}` can't be read", file.display()))?;
            verify(BufReader::new(opened), head.as_deref()).await
        }
        AuditCommand::Verify { file: None, head } => {
            let answer = exported(client, true).await?.bytes_stream();
            let pieces = answer.map(|piece| piece.map_err(std::io::Error::other));
            verify(StreamReader::new(Box::pin(pieces)), head.as_deref()).await
        }
    }
}

async fn exported(client: &Client, all_tenants: bool) -> anyhow::Result<reqwest::Response> {
    let mut url = client.url(&["v1", "audit", "export"]);
    url.query_pairs_mut().append_pair("all_tenants", if all_tenants { "true" } else { "false" });
    client.send(client.request(Method::GET, url)).await
}

async fn list(args: ListArgs, client: &Client) -> anyhow::Result<()> {
    let mut url = client.url(&["v1", "audit"]);
    let limit = args.limit.to_string();
    let said = [("request_id", args.request_id), ("actor", args.actor), ("action", args.action), ("result", args.result), ("limit", Some(limit))];
    for (name, value) in said.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        url.query_pairs_mut().append_pair(name, &value);
    }
    if args.all_tenants {
        url.query_pairs_mut().append_pair("all_tenants", "true");
    }
    let page = client.json(client.request(Method::GET, url)).await?;
    let rows = page.get("items").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    if args.format.json {
        return out::json(&rows);
    }
    let mut table = Table::new(&["SEQ", "WHEN", "WHO", "TENANT", "ACTION", "TARGET", "RESULT", "WHY", "FROM", "REQUEST"]);
    for row in &rows {
        let text = |field| fields::text(row, field);
        let cells = [text("seq"), fields::time(row, "at"), text("actor"), text("actor_tenant"), text("action"), text("target"), text("result")];
        table.row(cells.into_iter().chain([text("reason"), text("source"), text("request_id")]));
    }
    out::line(table.render())
}

/// Walks all rows; where one is not as it must be, says which.
async fn verify(rows: impl AsyncBufRead + Unpin, head: Option<&str>) -> anyhow::Result<()> {
    let (mut check, mut lines, mut number, mut met) = (ChainCheck::default(), rows.lines(), 0_u64, head.is_none());
    let mut first = None;
    while let Some(line) = lines.next_line().await.context("the rows broke off")? {
        number += 1;
        let row: AuditRecord = serde_json::from_str(&line).with_context(|| format!("line {number} is no row of an audit"))?;
        check.next(&row).context("the audit is not whole")?;
        first.get_or_insert(row.seq);
        met |= head == Some(row.hash.as_str());
    }
    check.end().context("the audit is not whole")?;
    if !met {
        anyhow::bail!("the audit is not whole: no row has the hash `{}`", head.unwrap_or_default());
    }
    let Some((last, hash)) = check.head() else { return out::line("the audit has no rows") };
    out::line(format_args!("{} rows, {} to {last}, are whole; keep this hash to prove it later:\n{hash}", check.rows(), first.unwrap_or(last)))
}
