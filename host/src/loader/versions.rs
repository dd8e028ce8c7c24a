//! Versions of models: taken in, promoted, rolled back, removed, loaded again.

use std::sync::Arc;

use bulkhead_registry::{
    AuditEntry, Deleted, Digest, Kept, Manifest, ModelName, ModelRef, Origin, Outcome, Promoted, Put, PutStage, RolledBack, Stage, Stored, TenantId,
    Upload, Version, VersionRecord,
};

use super::{Loader, LoaderError};
use crate::clock;
use crate::predict::{Slot, State};
use crate::runner::SignatureDocument;
use crate::tenants::Exceeded;

/// A version that is to be taken in.
pub struct NewVersion {
    /// Whose.
    pub tenant: TenantId,
    /// Under which name and version.
    pub model: ModelRef,
    /// How it is to be run.
    pub manifest: Manifest,
    /// Its artifact, all of it written; none for a predictor, which has none but its component.
    pub upload: Option<Upload>,
    /// Keeps it out of production though it is the model's first.
    pub staging: bool,
    /// Who brings it.
    pub by: Origin,
}

impl Loader {
    /// Takes a version in: loaded and warmed before it is recorded. True where it was not there before.
    ///
    /// # Errors
    /// See [`LoaderError`].
    pub async fn add_version(&self, new: NewVersion) -> Result<(VersionRecord, bool), LoaderError> {
        let NewVersion { tenant, model, manifest, upload, staging, by } = new;
        let _turn = self.turn(&tenant, model.name.as_str()).await;
        let recording = self.0.blobs.read().await;
        let stored = self.artifact(&tenant, &manifest, upload).await?;
        let outcome = self.try_and_record((&tenant, &model), manifest, &stored, staging, &by).await;
        drop(recording);
        if outcome.is_err()
            && let Err(error) = self.drop_unused(&stored.digest).await
        {
            tracing::warn!(%error, "the artifact of a refused upload stays until the next start");
        }
        outcome
    }

    /// What a version consists of: the upload, or the component that answers.
    async fn artifact(&self, tenant: &TenantId, manifest: &Manifest, upload: Option<Upload>) -> Result<Stored, LoaderError> {
        match (&manifest.predictor, upload) {
            (None, Some(upload)) => Ok(upload.finish().await?),
            (None, None) => Err(LoaderError::Parts("the upload lacks the model, which the manifest's runtime needs".to_owned())),
            (Some(_), Some(_)) => {
                let why = "the upload brings a model, which a predictor has no use for: upload that as a model of its own, and grant it as a graph";
                Err(LoaderError::Parts(why.to_owned()))
            }
            (Some(used), None) => {
                let plugin = self.store().plugin(tenant, &used.plugin).await?;
                let plugin = plugin.ok_or_else(|| LoaderError::MissingPlugin(used.plugin.clone()))?;
                Ok(Stored { digest: plugin.digest, size: plugin.size, path: self.artifacts().path(&plugin.digest) })
            }
        }
    }

    /// Bytes that a version which is yet to come may have, and what to tell who brings more; none where that is not bounded, or
    /// the version is there already and nothing is added.
    ///
    /// # Errors
    /// Where the registry can't be read.
    pub async fn left(&self, tenant: &TenantId, model: &ModelRef) -> Result<Option<(u64, Exceeded)>, LoaderError> {
        if self.store().version(tenant, model).await?.is_some() {
            return Ok(None);
        }
        Ok(self.0.tenants.tenant(tenant).left(self.store().kept(tenant).await?))
    }

    async fn try_and_record(
        &self,
        (tenant, model): (&TenantId, &ModelRef),
        manifest: Manifest,
        stored: &Stored,
        staging: bool,
        by: &Origin,
    ) -> Result<(VersionRecord, bool), LoaderError> {
        if let Some(there) = self.store().version(tenant, model).await? {
            return if there.digest == stored.digest && there.manifest == manifest { Ok((there, false)) } else { Err(conflict(model, &there)) };
        }
        let bounds = self.0.tenants.tenant(tenant);
        let more = Kept { bytes: stored.size, versions: 1 };
        bounds.room(self.store().kept(tenant).await?, more)?;
        let slot = self.build(tenant, model, &manifest, &stored.digest).await?;
        let _storing = bounds.storing().await;
        bounds.room(self.store().kept(tenant).await?, more)?;
        let signature = serde_json::to_value(SignatureDocument::from(slot.signature())).unwrap_or_default();
        let record = VersionRecord {
            tenant: tenant.clone(),
            model: model.clone(),
            digest: stored.digest,
            size: stored.size,
            manifest,
            signature,
            stage: Stage::Staging,
            created_at: clock::unix_ms(),
        };
        let put = self.store().put_version(record, if staging { PutStage::Staging } else { PutStage::Auto }, by).await?;
        match put {
            Put::Created(record) => {
                self.place(&record, slot);
                tracing::info!(tenant = tenant.as_str(), model.name = model.name.as_str(), version = %model.version, "a version is ready");
                Ok((record, true))
            }
            Put::Same(record) => Ok((record, false)),
            Put::Conflict(there) => Err(conflict(model, &there)),
        }
    }

    /// Makes a version the one that answers. It is loaded first, so that no request meets a gap.
    ///
    /// # Errors
    /// See [`LoaderError`].
    pub async fn promote(&self, tenant: &TenantId, model: &ModelRef, by: &Origin) -> Result<Promoted, LoaderError> {
        let _turn = self.turn(tenant, model.name.as_str()).await;
        self.load_if_needed(tenant, model).await?;
        let promoted = self.store().promote(tenant, model, by).await?.ok_or_else(|| not_found(model))?;
        self.slots().set_production(tenant, &model.name, Some(model.version.clone()));
        if let Some(from) = promoted.from.clone().filter(|_| promoted.changed) {
            self.archive(tenant, ModelRef { name: model.name.clone(), version: from });
        }
        Ok(promoted)
    }

    /// Goes back to the version that was in production before.
    ///
    /// # Errors
    /// See [`LoaderError`].
    pub async fn roll_back(&self, tenant: &TenantId, name: &ModelName, by: &Origin) -> Result<(Version, Version), LoaderError> {
        let _turn = self.turn(tenant, name.as_str()).await;
        match self.store().rollback(tenant, name, by).await? {
            RolledBack::Done { from, to } => {
                let target = ModelRef { name: name.clone(), version: to.clone() };
                // It answered before; should it not load now, the version rolled back from is what must not answer.
                if let Err(error) = self.load_if_needed(tenant, &target).await {
                    self.slots().set(tenant, &target, State::Failed(error.to_string()));
                }
                self.slots().set_production(tenant, name, Some(to.clone()));
                self.archive(tenant, ModelRef { name: name.clone(), version: from.clone() });
                Ok((from, to))
            }
            RolledBack::NotFound => Err(LoaderError::NotFound(format!("model `{name}`"))),
            RolledBack::Nothing => Err(LoaderError::NothingToRollBack(name.to_string())),
        }
    }

    /// Removes a version that is not in production.
    ///
    /// # Errors
    /// See [`LoaderError`].
    pub async fn delete_version(&self, tenant: &TenantId, model: &ModelRef, by: &Origin) -> Result<(), LoaderError> {
        let _turn = self.turn(tenant, model.name.as_str()).await;
        let digest: Option<Digest> = self.store().version(tenant, model).await?.map(|record| record.digest);
        match self.store().delete_version(tenant, model, by).await? {
            Deleted::Done => {
                if let Some(slot) = self.slots().remove(tenant, model) {
                    self.retire(slot);
                }
                self.count_versions();
                if let Some(digest) = digest {
                    self.drop_unused(&digest).await?;
                }
                Ok(())
            }
            Deleted::NotFound => Err(not_found(model)),
            Deleted::InUse(by) => Err(LoaderError::InUse { what: format!("version `{model}`"), by }),
        }
    }

    /// Loads an archived version because somebody asks for it by its number. Once that has begun it goes on though nobody may
    /// wait for it any more: the next who asks would have to begin anew.
    ///
    /// # Errors
    /// See [`LoaderError`].
    pub async fn wake(&self, tenant: &TenantId, model: &ModelRef) -> Result<(), LoaderError> {
        let turn = self.turn(tenant, model.name.as_str()).await;
        let (loader, tenant, model) = (self.clone(), tenant.clone(), model.clone());
        let load = async move {
            let loaded = loader.load_if_needed(&tenant, &model).await;
            drop(turn);
            loaded
        };
        tokio::spawn(load).await.map_err(|error| LoaderError::Host(error.to_string()))?
    }

    /// Takes all versions of a model out of memory, once their requests are answered; true where there are any. They stay
    /// out until [`Loader::load_again`], or the next start.
    ///
    /// # Errors
    /// Where that can't be written down; nothing is unloaded then.
    pub async fn unload(&self, tenant: &TenantId, name: &ModelName, by: &Origin) -> Result<bool, LoaderError> {
        let _turn = self.turn(tenant, name.as_str()).await;
        let versions = self.versions_of(tenant, name);
        if !versions.is_empty() {
            self.note(tenant, name, "model.unload", by).await?;
        }
        for (model, state) in &versions {
            if matches!(state, State::Ready(_) | State::Unloaded)
                && let Some(slot) = self.slots().set(tenant, model, State::Stopped)
            {
                self.retire(slot);
            }
        }
        self.count_versions();
        Ok(!versions.is_empty())
    }

    /// Puts a model that was unloaded, or could not be loaded, back; true where there is one.
    ///
    /// # Errors
    /// See [`LoaderError`].
    pub async fn load_again(&self, tenant: &TenantId, name: &ModelName, by: &Origin) -> Result<bool, LoaderError> {
        let _turn = self.turn(tenant, name.as_str()).await;
        let versions = self.versions_of(tenant, name);
        if !versions.is_empty() {
            self.note(tenant, name, "model.load", by).await?;
        }
        for (model, state) in &versions {
            let record = self.store().version(tenant, model).await?.ok_or_else(|| not_found(model))?;
            match (state, record.stage) {
                (State::Ready(_) | State::Unloaded, _) => {}
                // Those are loaded when they are asked for.
                (State::Stopped, Stage::Archived) => drop(self.slots().set(tenant, model, State::Unloaded)),
                _ => self.load_if_needed(tenant, model).await?,
            }
        }
        self.count_versions();
        Ok(!versions.is_empty())
    }

    /// Writes down what changes nothing in the registry.
    async fn note(&self, tenant: &TenantId, name: &ModelName, action: &str, by: &Origin) -> Result<(), LoaderError> {
        let entry = AuditEntry {
            at: clock::unix_ms(),
            by: by.clone(),
            action: action.to_owned(),
            target_kind: "model".to_owned(),
            target: name.to_string(),
            target_tenant: Some(tenant.clone()),
            outcome: Outcome::Allowed,
            reason: None,
            detail: None,
        };
        Ok(self.store().append_audit(vec![entry]).await?)
    }

    fn versions_of(&self, tenant: &TenantId, name: &ModelName) -> Vec<(ModelRef, State)> {
        let all = self.slots().all().into_iter();
        all.filter(|(owner, model, _)| owner == tenant && model.name == *name).map(|(_, model, state)| (model, state)).collect()
    }

    async fn load_if_needed(&self, tenant: &TenantId, model: &ModelRef) -> Result<(), LoaderError> {
        if matches!(self.slots().state(tenant, model), Some(State::Ready(_))) {
            return Ok(());
        }
        let record = self.store().version(tenant, model).await?.ok_or_else(|| not_found(model))?;
        let slot = self.build(tenant, model, &record.manifest, &record.digest).await?;
        self.slots().set(tenant, model, State::Ready(Arc::new(slot)));
        self.count_versions();
        Ok(())
    }

    /// Puts a slot where requests find it.
    pub(super) fn place(&self, record: &VersionRecord, slot: Slot) {
        self.slots().set(&record.tenant, &record.model, State::Ready(Arc::new(slot)));
        if record.stage == Stage::Production {
            self.slots().set_production(&record.tenant, &record.model.name, Some(record.model.version.clone()));
        }
        self.count_versions();
    }
}

fn not_found(model: &ModelRef) -> LoaderError {
    LoaderError::NotFound(format!("version `{}` of model `{}`", model.version, model.name))
}

fn conflict(model: &ModelRef, there: &VersionRecord) -> LoaderError {
    LoaderError::AlreadyExists { what: format!("version `{}` of model `{}`", model.version, model.name), there: there.digest.to_string() }
}
