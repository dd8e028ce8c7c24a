//! `plugin check`: what a host would see of a component, without a host.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::component;
use crate::cli::model::Format;
use crate::cli::table::{self, Table};
use crate::cli::{fields, out};

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The component
    file: PathBuf,

    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let shown = args.file.display();
    let bytes = component::read(&args.file)?;
    let seen = component::inspect(&bytes).with_context(|| format!("`{shown}` is no plugin"))?;
    if args.format.json {
        out::json(&seen)?;
    } else {
        let mut table = Table::bare();
        let mut line = |name: &str, value: String| table.row([name.to_owned(), value]);
        line("world", seen.world.unwrap_or("-").to_owned());
        line("version", seen.version.clone().unwrap_or_else(|| "-".to_owned()));
        line("size", fields::bytes(bytes.len() as u64));
        for export in &seen.exports {
            line("exports", export.clone());
        }
        for import in &seen.imports {
            line("imports", import.clone());
        }
        out::line(table.render())?;
    }
    match &seen.refused {
        Some(why) => anyhow::bail!("a host would refuse `{shown}`: {}", table::clean(why)),
        None if args.format.json => Ok(()),
        None => out::line("a host would take it"),
    }
}
