//! What cargo tells: which plugins a folder holds, and which files a build made of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::toolchain::Toolchain;

/// The plugins of a folder.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) plugins: Vec<Plugin>,
    pub(super) target_directory: PathBuf,
}

/// A crate that becomes a plugin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plugin {
    /// cargo's name of the package, with version and source.
    pub(super) id: String,
    /// The crate as cargo's `-p` wants it.
    pub(super) package: String,
    /// The plugin's own name.
    pub(super) name: String,
    pub(super) version: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

/// The lines of `--message-format=json` that matter here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

impl Project {
    /// The plugin whose crate is in `folder`, or with `all` those of the whole workspace.
    pub(super) async fn read(toolchain: &Toolchain, folder: &Path, all: bool) -> anyhow::Result<Self> {
        let mut command = toolchain.cargo(folder);
        command.args(["metadata", "--no-deps", "--format-version", "1"]).stderr(Stdio::inherit());
        let done = command.output().await.context("`cargo` can't be started: install Rust with rustup")?;
        anyhow::ensure!(
            done.status.success(),
            "`cargo metadata` failed in `{}`: expected the folder of a plugin, with its `Cargo.toml`",
            folder.display()
        );
        let metadata: Metadata = serde_json::from_slice(&done.stdout).context("`cargo metadata` said something else than expected")?;
        Self::of(metadata, folder, all)
    }

    fn of(metadata: Metadata, folder: &Path, all: bool) -> anyhow::Result<Self> {
        let mut packages = metadata.packages;
        if !all {
            let manifest = folder.join("Cargo.toml");
            packages.retain(|package| package.manifest_path == manifest);
            anyhow::ensure!(!packages.is_empty(), "`{}` is a workspace: name one of its crates, or add `--all`", folder.display());
        }
        let plugins: Vec<_> = packages.iter().filter_map(Package::plugin).collect();
        anyhow::ensure!(
            !plugins.is_empty(),
            "no plugin in `{}`: its crate needs `crate-type = [\"cdylib\", \"rlib\"]` under `[lib]`",
            folder.display()
        );
        Ok(Self { plugins, target_directory: metadata.target_directory })
    }

    /// Builds all plugins; answers with each one's core module.
    pub(super) async fn build(&self, toolchain: &Toolchain, folder: &Path) -> anyhow::Result<Vec<(&Plugin, PathBuf)>> {
        let mut command = toolchain.cargo_build(folder);
        command.arg("--message-format=json-render-diagnostics");
        for plugin in &self.plugins {
            command.args(["-p", &plugin.package]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().context("`cargo` can't be started: install Rust with rustup")?;
        let mut modules = HashMap::new();
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout).lines();
            while let Some(line) = lines.next_line().await? {
                modules.extend(module(&line));
            }
        }
        anyhow::ensure!(child.wait().await?.success(), "`cargo build` failed");
        let built = self.plugins.iter().map(|plugin| {
            let module = modules.remove(&plugin.id);
            Ok((plugin, module.with_context(|| format!("cargo built no WebAssembly of `{}`", plugin.name))?))
        });
        built.collect()
    }
}

impl Package {
    fn plugin(&self) -> Option<Plugin> {
        let target = self.targets.iter().find(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))?;
        // A library that was given a name of its own is called so, with the hyphens that no library's name can have; else
        // the crate's name is as it was meant.
        let own = target.name.replace('-', "_") != self.name.replace('-', "_");
        let name = if own { target.name.replace('_', "-") } else { self.name.clone() };
        Some(Plugin { id: self.id.clone(), package: self.name.clone(), name, version: self.version.clone() })
    }
}

/// The core module that a message of cargo's tells of, by package.
fn module(line: &str) -> Option<(String, PathBuf)> {
    let message: Message = serde_json::from_str(line).ok()?;
    if message.reason != "compiler-artifact" {
        return None;
    }
    let file = message.filenames.into_iter().find(|file| file.extension().is_some_and(|ending| ending == "wasm"))?;
    Some((message.package_id, file))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata() -> Metadata {
        let package = |name: &str, library: &str, kind: &str| {
            json!({
                "id": format!("path+file:///w/{name}#0.2.0"), "name": name, "version": "0.2.0",
                "manifest_path": format!("/w/{name}/Cargo.toml"),
                "targets": [{ "name": library, "crate_types": [kind] }, { "name": "tests", "crate_types": ["bin"] }],
            })
        };
        let packages = [package("round-up", "round_up", "cdylib"), package("acme-image", "image_of", "cdylib"), package("help", "help", "lib")];
        serde_json::from_value(json!({ "packages": packages, "target_directory": "/w/target" })).unwrap()
    }

    #[test]
    fn plugins_are_the_crates_that_make_a_cdylib() {
        let project = Project::of(metadata(), Path::new("/w"), true).unwrap();
        let names: Vec<_> = project.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
        assert_eq!(names, ["round-up", "image-of"]);
        let project = Project::of(metadata(), Path::new("/w/acme-image"), false).unwrap();
        assert_eq!(project.plugins.len(), 1);
        assert_eq!((project.plugins[0].package.as_str(), project.plugins[0].version.as_str()), ("acme-image", "0.2.0"));
    }

    #[test]
    fn what_is_no_plugin_is_said() {
        let error = Project::of(metadata(), Path::new("/w"), false).unwrap_err().to_string();
        assert_eq!(error, "`/w` is a workspace: name one of its crates, or add `--all`");
        let error = Project::of(metadata(), Path::new("/w/help"), false).unwrap_err().to_string();
        assert!(error.starts_with("no plugin in `/w/help`"), "{error}");
    }

    #[test]
    fn messages_tell_the_module() {
        let line = r#"{"reason":"compiler-artifact","package_id":"p#1","filenames":["/t/liba.rlib","/t/a.wasm"],"fresh":true}"#;
        assert_eq!(module(line), Some(("p#1".to_owned(), "/t/a.wasm".into())));
        for line in ["", "plain text", r#"{"reason":"build-finished","success":true}"#] {
            assert_eq!(module(line), None);
        }
    }
}
