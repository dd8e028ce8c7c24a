//! `model`: uploads, lists, and which version is in production.

mod push;
mod show;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::names::{NameVersion, Reference};
use super::table::Table;
use super::{fields, out};

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Upload a version; the first one of a model goes into production
    Push(push::PushArgs),
    /// List the models
    List(Format),
    /// Show a model with its versions, or one version
    Show {
        #[arg(value_name = "NAME[@VERSION]")]
        model: Reference,
        #[command(flatten)]
        format: Format,
    },
    /// Put a version into production
    Promote {
        #[arg(value_name = "NAME@VERSION")]
        version: NameVersion,
        #[command(flatten)]
        format: Format,
    },
    /// Put the version that was in production before back
    Rollback {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        format: Format,
    },
    /// List what was in production, and when
    History {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        format: Format,
    },
    /// Delete a version
    Delete {
        #[arg(value_name = "NAME@VERSION")]
        version: NameVersion,
    },
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// Print JSON, for programs
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn run(command: ModelCommand, client: &Client) -> anyhow::Result<()> {
    match command {
        ModelCommand::Push(args) => push::run(args, client).await,
        ModelCommand::List(format) => list(client, format).await,
        ModelCommand::Show { model: Reference { name, version: None }, format } => show::model(client, &name, format).await,
        ModelCommand::Show { model: Reference { name, version: Some(version) }, format } => {
            show::version(client, &NameVersion { name, version }, format).await
        }
        ModelCommand::Promote { version, format } => {
            let request = client.request(Method::POST, client.url(&["v1", "models", &version.name, "promote"]));
            let answer = client.json(request.json(&json!({ "version": version.version }))).await?;
            moved(&version.name, &answer, Some(&version.version), format)
        }
        ModelCommand::Rollback { name, format } => {
            let request = client.request(Method::POST, client.url(&["v1", "models", &name, "rollback"]));
            moved(&name, &client.json(request).await?, None, format)
        }
        ModelCommand::History { name, format } => history(client, &name, format).await,
        ModelCommand::Delete { version } => {
            let url = client.url(&["v1", "models", &version.name, "versions", &version.version]);
            client.send(client.request(Method::DELETE, url)).await?;
            out::line(format_args!("deleted {version}"))
        }
    }
}

async fn list(client: &Client, format: Format) -> anyhow::Result<()> {
    let models = client.list(&["v1", "models"]).await?;
    if format.json {
        return out::json(&models);
    }
    if models.is_empty() {
        out::note("no models yet: upload one with `bulkhead model push`");
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "PRODUCTION", "LATEST", "VERSIONS", "STATE"]);
    for model in &models {
        let text = |field| fields::text(model, field);
        table.row([text("name"), text("production"), text("latest"), fields::count(model, "versions"), text("state")]);
    }
    out::line(table.render())
}

/// Tells what is in production now: what the answer says, else what was asked for.
fn moved(name: &str, answer: &Value, asked: Option<&str>, format: Format) -> anyhow::Result<()> {
    if format.json {
        return out::json(answer);
    }
    let told = answer.get("production").and_then(Value::as_str).or(asked);
    let version = told.map_or(name.to_owned(), |version| format!("{name}@{version}"));
    if answer.get("changed") == Some(&Value::Bool(false)) {
        return out::line(format_args!("{version} is in production already"));
    }
    match answer.get("from").and_then(Value::as_str) {
        Some(before) => out::line(format_args!("{version} is in production, {before} was before")),
        None => out::line(format_args!("{version} is in production")),
    }
}

async fn history(client: &Client, name: &str, format: Format) -> anyhow::Result<()> {
    let entries = client.list(&["v1", "models", name, "history"]).await?;
    if format.json {
        return out::json(&entries);
    }
    let mut table = Table::new(&["WHEN", "ACTION", "VERSION", "BEFORE"]);
    for entry in &entries {
        let text = |field| fields::text(entry, field);
        table.row([fields::time(entry, "at"), text("action"), text("version"), text("from")]);
    }
    out::line(table.render())
}
