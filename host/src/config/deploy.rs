//! `[[plugins]]` and `[[models]]`: what is deployed at start, the declarative way.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::reader::Reader;

/// A plugin that is deployed at start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployPlugin {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The component; relative to the configuration file.
    pub file: PathBuf,
    /// Files with signatures, one on a line; relative to the configuration file.
    #[serde(default)]
    pub signatures: Vec<PathBuf>,
}

/// A version of a model that is deployed at start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployModel {
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The artifact; relative to the configuration file. None for a predictor.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// The manifest, TOML or JSON; relative to the configuration file.
    pub manifest: PathBuf,
    /// Files with signatures, one on a line; relative to the configuration file.
    #[serde(default)]
    pub signatures: Vec<PathBuf>,
}

pub(super) fn plugins(reader: &mut Reader, folder: &Path) -> Vec<DeployPlugin> {
    let mut plugins: Vec<DeployPlugin> = list(reader, "plugins", &["name", "version", "file"]);
    for plugin in &mut plugins {
        plugin.file = folder.join(&plugin.file);
        plugin.signatures.iter_mut().for_each(|file| *file = folder.join(&file));
    }
    plugins
}

pub(super) fn models(reader: &mut Reader, folder: &Path) -> Vec<DeployModel> {
    let mut models: Vec<DeployModel> = list(reader, "models", &["name", "version", "manifest"]);
    for model in &mut models {
        model.file = model.file.as_ref().map(|file| folder.join(file));
        model.manifest = folder.join(&model.manifest);
        model.signatures.iter_mut().for_each(|file| *file = folder.join(&file));
    }
    models
}

fn list<T: serde::de::DeserializeOwned>(reader: &mut Reader, key: &str, needed: &[&str]) -> Vec<T> {
    let Some(value) = reader.take(key) else { return Vec::new() };
    let toml::Value::Array(entries) = value else {
        reader.mistake(format!("`{key}`: expected a list of tables, `[[{key}]]`"));
        return Vec::new();
    };
    let mut out = Vec::with_capacity(entries.len());
    for (at, entry) in entries.into_iter().enumerate() {
        let lacks: Vec<_> = needed.iter().filter(|field| entry.get(field).is_none()).map(|field| format!("`{field}`")).collect();
        if !lacks.is_empty() {
            reader.mistake(format!("`{key}[{at}]`: lacks {}", lacks.join(", ")));
            continue;
        }
        match entry.try_into() {
            Ok(entry) => out.push(entry),
            Err(error) => reader.mistake(format!("`{key}[{at}]`: {}", error.to_string().trim())),
        }
    }
    out
}
