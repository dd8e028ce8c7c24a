//! `plugin build`: a crate becomes a component in one step.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::cargo::{Plugin, Project};
use super::component;
use super::toolchain::{self, Toolchain, Way};
use crate::cli::{fields, out, table};

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Folder of the crate, or with `--all` of a workspace
    #[arg(default_value = ".")]
    path: PathBuf,

    /// Build every plugin of the workspace
    #[arg(long)]
    all: bool,

    /// The file to write [default: `plugins/NAME.wasm` in cargo's target folder]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "out_dir"])]
    out: Option<PathBuf>,

    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,

    /// What cargo builds for; `wasm32-wasip2` gives components too
    #[arg(long, default_value = toolchain::TARGET, value_name = "TARGET")]
    target: String,

    /// Where the standard library comes from [default: whichever there is]
    #[arg(long, env = "BULKHEAD_WASM_TOOLCHAIN", value_enum)]
    toolchain: Option<Way>,
}

pub(super) async fn run(args: BuildArgs) -> anyhow::Result<()> {
    // cargo tells whole paths without links.
    let folder = args.path.canonicalize().with_context(|| format!("`{}` can't be read", args.path.display()))?;
    let toolchain = Toolchain::find(&args.target, args.toolchain, &folder).await?;
    let project = Project::read(&toolchain, &folder, args.all).await?;
    let into = args.out_dir.unwrap_or_else(|| project.target_directory.join("plugins"));
    for (plugin, module) in project.build(&toolchain, &folder).await? {
        let path = args.out.clone().unwrap_or_else(|| into.join(format!("{}.wasm", plugin.name)));
        finish(plugin, &module, &path)?;
    }
    Ok(())
}

fn finish(plugin: &Plugin, module: &Path, path: &Path) -> anyhow::Result<()> {
    let component =
        component::make(&component::read(module)?, &plugin.version).with_context(|| format!("no component can be made of `{}`", plugin.name))?;
    let seen = component::inspect(&component)?;
    let is_program = component::is_program(&seen);
    if let Some(why) = seen.refused.filter(|_| !is_program) {
        anyhow::bail!("`{}` is no plugin: {}", plugin.name, table::clean(&why));
    }
    replace(path, &component).with_context(|| format!("`{}` can't be written", path.display()))?;
    let (size, world) = (fields::bytes(component.len() as u64), seen.world.unwrap_or("-"));
    let what = if is_program { "a program for `plugin run`".to_owned() } else { format!("world {world}") };
    out::line(format_args!("{}  ({size}, {what}, version {})", path.display(), plugin.version))
}

/// Writes aside first: who reads meanwhile sees the old component or the new one.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    std::fs::write(&aside, bytes)?;
    std::fs::rename(&aside, path)
}
