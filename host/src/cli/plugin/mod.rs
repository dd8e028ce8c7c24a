//! `plugin`: from an empty folder to a component that a host accepts.

mod build;
mod cargo;
mod check;
mod component;
mod new;
mod push;
mod run;
mod sdk;
pub(super) mod toolchain;

use std::process::ExitCode;

use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;

use super::client::Client;
use super::model::Format;
use super::names::NameVersion;
use super::table::Table;
use super::{ClientOptions, fields, out};

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Make the folder of a new plugin, which builds and passes its tests as it stands
    New(new::NewArgs),
    /// Build a crate into a component
    Build(build::BuildArgs),
    /// Say what a component exports and imports, and whether a host would take it
    Check(check::CheckArgs),
    /// Run a program that uses `wasi:nn`, without a host
    Run(run::RunArgs),
    /// Upload a component
    Push(push::PushArgs),
    /// List the host's plugins
    List(Format),
    /// Delete a version that no model refers to
    Delete {
        #[arg(value_name = "NAME@VERSION")]
        version: NameVersion,
    },
}

pub(super) async fn run(command: PluginCommand, options: &ClientOptions) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::New(args) => new::run(&args)?,
        PluginCommand::Build(args) => build::run(args).await?,
        PluginCommand::Check(args) => check::run(&args)?,
        PluginCommand::Run(args) => return run::run(args).await,
        PluginCommand::Push(args) => push::run(args, &Client::new(options)?).await?,
        PluginCommand::List(format) => list(&Client::new(options)?, format).await?,
        PluginCommand::Delete { version } => delete(&Client::new(options)?, &version).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The world of a component.
pub(super) fn world(bytes: &[u8]) -> anyhow::Result<&'static str> {
    let seen = component::inspect(bytes)?;
    seen.world.ok_or_else(|| anyhow::anyhow!("{}", seen.refused.unwrap_or_else(|| "it is of no world that a host takes".to_owned())))
}

async fn list(client: &Client, format: Format) -> anyhow::Result<()> {
    let plugins = client.list(&["v1", "plugins"]).await?;
    if format.json {
        return out::json(&plugins);
    }
    if plugins.is_empty() {
        out::note("no plugins yet: make one with `bulkhead plugin new`");
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "VERSION", "WORLD", "SIZE", "DIGEST", "UPLOADED", "DESCRIPTION"]);
    for plugin in &plugins {
        let text = |field| fields::text(plugin, field);
        let (size, digest, time) = (fields::size(plugin, "size"), fields::digest(plugin, "digest"), fields::time(plugin, "created_at"));
        table.row([text("name"), text("version"), text("world"), size, digest, time, summary(plugin)]);
    }
    out::line(table.render())
}

/// What a plugin says of itself, in one sentence.
fn summary(plugin: &Value) -> String {
    match plugin.get("description") {
        Some(description @ Value::Object(_)) => fields::text(description, "summary"),
        _ => fields::text(plugin, "description"),
    }
}

async fn delete(client: &Client, version: &NameVersion) -> anyhow::Result<()> {
    let url = client.url(&["v1", "plugins", &version.name, "versions", &version.version]);
    client.send(client.request(Method::DELETE, url)).await?;
    out::line(format_args!("deleted {version}"))
}
