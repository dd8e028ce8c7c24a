//! Start: what the registry has comes back, and what the configuration lists is deployed. One version that can't be
//! loaded never stops the others.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulkhead_registry::{Digest, Manifest, ModelRef, Origin, PluginRef, Stage, TenantId, VersionRecord};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Loader, LoaderError, NewVersion, Signed};
use crate::config::{DeployModel, DeployPlugin};
use crate::predict::State;
use crate::signing::Signature;

/// Bytes of an artifact that are in memory at one time.
const PIECE_BYTES: usize = 1 << 20;

/// Something that is not as the configuration or the registry says.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Whose it is; none where that can't be said.
    pub tenant: Option<TenantId>,
    /// Which plugin or version.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Loader {
    /// Loads every version that is not archived; several at once.
    ///
    /// # Errors
    /// Where the registry can't be read.
    pub async fn restore(&self, at_once: usize) -> Result<Vec<Problem>, LoaderError> {
        let places = Arc::new(Semaphore::new(at_once));
        let mut loads = JoinSet::new();
        for record in self.store().all_versions().await? {
            let (loader, places) = (self.clone(), Arc::clone(&places));
            loads.spawn(async move {
                let _place = places.acquire().await;
                loader.restore_one(record).await
            });
        }
        let problems = loads.join_all().await.into_iter().flatten().collect();
        self.count_versions();
        Ok(problems)
    }

    async fn restore_one(&self, record: VersionRecord) -> Option<Problem> {
        // The host serves while it starts: what was changed since the list was read is as it is now.
        let _turn = self.turn(&record.tenant, record.model.name.as_str()).await;
        let record = match self.store().version(&record.tenant, &record.model).await {
            Ok(record) => record?,
            Err(error) => return Some(Problem { tenant: Some(record.tenant), what: format!("model {}", record.model), why: error.to_string() }),
        };
        if matches!(self.slots().state(&record.tenant, &record.model), Some(State::Ready(_))) {
            return None;
        }
        if record.stage == Stage::Archived {
            self.slots().set(&record.tenant, &record.model, State::Unloaded);
            return None;
        }
        let built = match self.build_recorded(&record).await {
            Ok(slot) => self.place(&record, slot),
            Err(error) => Err(error),
        };
        match built {
            Ok(()) => None,
            Err(error) => {
                let why = error.to_string();
                tracing::error!(tenant = record.tenant.as_str(), model = %record.model, why, "a version could not be loaded");
                self.not_loaded(&record.tenant, &record.model, error).await;
                if record.stage == Stage::Production {
                    self.slots().set_production(&record.tenant, &record.model.name, Some(record.model.version.clone()));
                }
                Some(Problem { tenant: Some(record.tenant), what: format!("model {}", record.model), why })
            }
        }
    }

    /// Deploys what the configuration lists, in its order.
    pub async fn deploy(&self, tenant: &TenantId, plugins: &[DeployPlugin], models: &[DeployModel]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for plugin in plugins {
            if let Err(why) = self.deploy_plugin(tenant, plugin).await {
                problems.push(Problem { tenant: Some(tenant.clone()), what: format!("plugin {}@{}", plugin.name, plugin.version), why });
            }
        }
        for model in models {
            if let Err(why) = self.deploy_model(tenant, model).await {
                problems.push(Problem { tenant: Some(tenant.clone()), what: format!("model {}@{}", model.name, model.version), why });
            }
        }
        for problem in &problems {
            tracing::error!(what = problem.what, why = problem.why, "what the configuration lists could not be deployed");
        }
        problems
    }

    async fn deploy_plugin(&self, tenant: &TenantId, plugin: &DeployPlugin) -> Result<(), String> {
        let reference: PluginRef = format!("{}@{}", plugin.name, plugin.version).parse().map_err(readable)?;
        let bytes = tokio::fs::read(&plugin.file).await.map_err(|error| unreadable(&plugin.file, &error))?;
        let signatures = signatures(&plugin.signatures).await?;
        self.add_plugin(tenant, reference, bytes, &signatures, &Origin::host()).await.map(drop).map_err(readable)
    }

    async fn deploy_model(&self, tenant: &TenantId, model: &DeployModel) -> Result<(), String> {
        let reference: ModelRef = format!("{}@{}", model.name, model.version).parse().map_err(readable)?;
        let outcome = async {
            let text = tokio::fs::read_to_string(&model.manifest).await.map_err(|error| unreadable(&model.manifest, &error))?;
            let json = model.manifest.extension().is_some_and(|extension| extension == "json");
            let signed = Signed { manifest: Digest::of(text.as_bytes()), signatures: signatures(&model.signatures).await? };
            let manifest = if json { Manifest::from_json(&text) } else { Manifest::from_toml(&text) }.map_err(readable)?;
            let upload = match &model.file {
                None if manifest.predictor.is_none() => {
                    return Err(format!("`file` is missing: a manifest with the runtime `{}` needs a model", manifest.runtime));
                }
                None => None,
                Some(path) => {
                    let mut file = tokio::fs::File::open(path).await.map_err(|error| unreadable(path, &error))?;
                    let mut upload = self.artifacts().begin(u64::MAX).await.map_err(readable)?;
                    let mut piece = Vec::with_capacity(PIECE_BYTES);
                    while file.read_buf(&mut piece).await.map_err(|error| unreadable(path, &error))? > 0 {
                        upload.write(&piece).await.map_err(readable)?;
                        piece.clear();
                    }
                    Some(upload)
                }
            };
            let (tenant, model, by) = (tenant.clone(), reference.clone(), Origin::host());
            // Whoever writes the configuration may grant whatever there is.
            let new = NewVersion { tenant, model, manifest, upload, signed, staging: false, may_grant: true, by };
            self.add_version(new).await.map_err(readable)
        }
        .await;
        match outcome {
            // What was there keeps its stage: a promotion by hand outlasts a restart.
            Ok((record, new)) if !new || record.stage == Stage::Production => Ok(()),
            Ok((record, _)) => self.promote(tenant, &record.model, &Origin::host()).await.map(drop).map_err(readable),
            Err(why) => {
                if self.slots().state(tenant, &reference).is_none() {
                    self.slots().set(tenant, &reference, State::Failed(why.clone()));
                    if let Ok(None) = self.store().model(tenant, &reference.name).await {
                        self.slots().set_production(tenant, &reference.name, Some(reference.version.clone()));
                    }
                    self.count_versions();
                }
                Err(why)
            }
        }
    }
}

/// Of files that hold some each, one on a line.
async fn signatures(files: &[PathBuf]) -> Result<Vec<Signature>, String> {
    let mut all = Vec::new();
    for path in files {
        let text = tokio::fs::read_to_string(path).await.map_err(|error| unreadable(path, &error))?;
        all.extend(Signature::lines(&text).map_err(|error| format!("`{}`: {error}", path.display()))?);
    }
    Ok(all)
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("`{}` can't be read: {error}", path.display())
}

fn readable(error: impl std::fmt::Display) -> String {
    error.to_string()
}
