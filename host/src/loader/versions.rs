//! Versions of models: taken in, promoted, rolled back, removed, loaded again.

use std::sync::Arc;

use bulkhead_registry::{
    AuditEntry, Deleted, Digest, Kept, Manifest, ModelName, ModelRef, Origin, Outcome, Promoted, Put, PutStage, RolledBack, Stage, Stored, TenantId,
    Upload, Version, VersionRecord,
};
use tokio::sync::OwnedRwLockReadGuard;

use super::trust::kept;
use super::{Loader, LoaderError};
use crate::clock;
use crate::predict::{Slot, State};
use crate::runner::SignatureDocument;
use crate::signing::{Signature, Statement};

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
    /// Who vouches for it.
    pub signed: Signed,
    /// Keeps it out of production though it is the model's first.
    pub staging: bool,
    /// Whoever brings it may grant plugins what they did not have.
    pub may_grant: bool,
    /// Who brings it.
    pub by: Origin,
}

/// The signatures that come with a version, and what they are on beside what is in its record.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Of the manifest's text, as it came.
    pub manifest: Digest,
    /// The signatures.
    pub signatures: Vec<Signature>,
}

impl Loader {
    /// Takes a version in: loaded and warmed before it is recorded. True where it was not there before.
    ///
    /// # Errors
    /// See [`LoaderError`].
    pub async fn add_version(&self, mut new: NewVersion) -> Result<(VersionRecord, bool), LoaderError> {
        let NewVersion { tenant, model, upload, .. } = &mut new;
        let (tenant, model, upload) = (tenant.clone(), model.clone(), upload.take());
        let _turn = self.turn(&tenant, model.name.as_str()).await;
        let (stored, kept) = self.artifact(&tenant, &new.manifest, upload).await?;
        let outcome = self.try_and_record(new, &stored).await;
        drop(kept);
        if outcome.is_err() {
            self.drop_refused(&stored.digest).await;
            self.forget_metrics(&tenant, &model).await;
        }
        outcome
    }

    /// What a version consists of: the upload, or the component that answers. It is not removed while the guard lives.
    async fn artifact(
        &self,
        tenant: &TenantId,
        manifest: &Manifest,
        upload: Option<Upload>,
    ) -> Result<(Stored, OwnedRwLockReadGuard<()>), LoaderError> {
        match (&manifest.predictor, upload) {
            (None, Some(upload)) => {
                let kept = self.0.blobs.keep(&upload.digest()).await;
                Ok((upload.finish().await?, kept))
            }
            (None, None) => Err(LoaderError::Parts("the upload lacks the model, which the manifest's runtime needs".to_owned())),
            (Some(_), Some(_)) => {
                let why = "the upload brings a model, which a predictor has no use for: upload that as a model of its own, and grant it as a graph";
                Err(LoaderError::Parts(why.to_owned()))
            }
            (Some(used), None) => {
                let plugin = self.store().plugin(tenant, &used.plugin).await?;
                let plugin = plugin.ok_or_else(|| LoaderError::MissingPlugin(used.plugin.clone()))?;
                let kept = self.0.blobs.keep(&plugin.digest).await;
                Ok((Stored { digest: plugin.digest, size: plugin.size, path: self.artifacts().path(&plugin.digest) }, kept))
            }
        }
    }

    /// Bytes that the artifact of a version may have, and what to tell who brings more; none where that is not bounded. Where
    /// the version is there already, that is as many as it has: it can't become another.
    ///
    /// # Errors
    /// Where the registry can't be read.
    pub async fn left(&self, tenant: &TenantId, model: &ModelRef) -> Result<Option<(u64, LoaderError)>, LoaderError> {
        if let Some(there) = self.store().version(tenant, model).await? {
            return Ok(Some((there.size, conflict(model, &there))));
        }
        let left = self.0.tenants.tenant(tenant).left(self.store().kept(tenant).await?);
        Ok(left.map(|(left, exceeded)| (left, exceeded.into())))
    }

    async fn try_and_record(&self, new: NewVersion, stored: &Stored) -> Result<(VersionRecord, bool), LoaderError> {
        let NewVersion { tenant, model, manifest, signed, staging, may_grant, by, .. } = new;
        let (tenant, model, by) = (&tenant, &model, &by);
        self.trust().takes(tenant, &named(model), &stored.digest)?;
        if let Some(there) = self.store().version(tenant, model).await? {
            if there.digest != stored.digest || there.manifest != manifest {
                return Err(conflict(model, &there));
            }
            return self.sign_version(there, &signed, by).await.map(|there| (there, false));
        }
        if !may_grant {
            self.no_new_grants(tenant, model, &manifest).await?;
        }
        let statement = Statement::model(model, stored.digest, signed.manifest, &manifest);
        let (_, counted) = self.trust().check(tenant, &[statement], &signed.signatures)?;
        let signatures = kept(&counted, Some(signed.manifest));
        let bounds = self.0.tenants.tenant(tenant);
        let more = Kept { bytes: stored.size, versions: 1 };
        bounds.room(self.store().kept(tenant).await?, more)?;
        let slot = self.build(tenant, model, &manifest, &stored.digest, &signatures).await?;
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
        let put = self.store().put_version(record, if staging { PutStage::Staging } else { PutStage::Auto }, &signatures, by).await?;
        match put {
            Put::Created(record) => {
                self.place(&record, slot)?;
                tracing::info!(tenant = tenant.as_str(), model.name = model.name.as_str(), version = %model.version, "a version is ready");
                Ok((record, true))
            }
            Put::Same(record) => Ok((record, false)),
            Put::Conflict(there) => Err(conflict(model, &there)),
        }
    }

    /// Adds signatures to a version that is there: where it was not vouched for, it may be now.
    async fn sign_version(&self, there: VersionRecord, signed: &Signed, by: &Origin) -> Result<VersionRecord, LoaderError> {
        if signed.signatures.is_empty() {
            return Ok(there);
        }
        let statement = Statement::model(&there.model, there.digest, signed.manifest, &there.manifest);
        let (_, counted) = self.trust().check(&there.tenant, &[statement], &signed.signatures)?;
        self.store().put_version(there.clone(), PutStage::Staging, &kept(&counted, Some(signed.manifest)), by).await?;
        self.vouched_anew(&there.tenant).await?;
        // Before who signed it is answered, since that may be what it waits for.
        self.unbar_one(&there.tenant, &there.model).await;
        Ok(there)
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
        // What may not run is no place to go back to: what answers now goes on.
        if let Some(version) = self.store().before_production(tenant, name).await? {
            let target = ModelRef { name: name.clone(), version };
            if let Some(record) = self.store().version(tenant, &target).await? {
                self.may_run(&record).await?;
            }
        }
        match self.store().rollback(tenant, name, by).await? {
            RolledBack::Done { from, to } => {
                let target = ModelRef { name: name.clone(), version: to.clone() };
                // It answered before; should it not load now, the version rolled back from is what must not answer.
                if let Err(error) = self.load_if_needed(tenant, &target).await {
                    self.not_loaded(tenant, &target, error).await;
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
                match self.slots().remove(tenant, model) {
                    Some(slot) => self.retire(tenant, model, slot),
                    None => self.forget_metrics(tenant, model).await,
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
            if matches!(state, State::Ready(_) | State::Unloaded | State::Barred(_)) {
                self.take_out(tenant, model, State::Stopped);
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
        let mut barred = None;
        for (model, state) in &versions {
            let record = self.store().version(tenant, model).await?.ok_or_else(|| not_found(model))?;
            match (state, record.stage) {
                (State::Ready(_) | State::Unloaded, _) => {}
                // The others are loaded all the same.
                (State::Barred(why), _) => barred = Some(why.clone()),
                // Those are loaded when they are asked for.
                (State::Stopped, Stage::Archived) => drop(self.slots().set(tenant, model, State::Unloaded)),
                _ => self.load_if_needed(tenant, model).await?,
            }
        }
        self.count_versions();
        match barred {
            Some(why) => Err(why.into()),
            None => Ok(!versions.is_empty()),
        }
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
        let loaded = self.load_recorded(tenant, model).await;
        // Known from now on, so that who asks next need not wait for the registry to hear it.
        if let Err(LoaderError::Barred(why)) = &loaded {
            self.not_loaded(tenant, model, why.clone().into()).await;
        }
        self.count_versions();
        loaded
    }

    /// Loads a version of the registry, and puts it in the place of what there is of it.
    pub(super) async fn load_recorded(&self, tenant: &TenantId, model: &ModelRef) -> Result<(), LoaderError> {
        let record = self.store().version(tenant, model).await?.ok_or_else(|| not_found(model))?;
        let slot = self.build_recorded(&record).await?;
        self.put_in_place(tenant, model, slot)
    }

    /// Loads a version of the registry.
    pub(super) async fn build_recorded(&self, record: &VersionRecord) -> Result<Slot, LoaderError> {
        let VersionRecord { tenant, model, manifest, digest, .. } = record;
        let signatures = self.store().version_signatures(tenant, model).await?;
        self.build(tenant, model, manifest, digest, &signatures).await
    }

    /// Puts a slot where requests find it, in production where its record says so.
    pub(super) fn place(&self, record: &VersionRecord, slot: Slot) -> Result<(), LoaderError> {
        let placed = self.put_in_place(&record.tenant, &record.model, slot);
        if record.stage == Stage::Production {
            self.slots().set_production(&record.tenant, &record.model.name, Some(record.model.version.clone()));
        }
        self.count_versions();
        placed
    }

    /// The same, unless it may not run since it was looked at last.
    fn put_in_place(&self, tenant: &TenantId, model: &ModelRef, slot: Slot) -> Result<(), LoaderError> {
        let slot = Arc::new(slot);
        let placed = self.slots().place(tenant, model, Arc::clone(&slot), |slot| self.trust().stands(tenant, &slot.provenance()));
        match placed {
            Ok(Some(before)) => self.retire(tenant, model, before),
            Ok(None) => {}
            Err(why) => {
                self.retire(tenant, model, slot);
                return Err(why.into());
            }
        }
        Ok(())
    }
}

fn not_found(model: &ModelRef) -> LoaderError {
    LoaderError::NotFound(named(model))
}

pub(super) fn named(model: &ModelRef) -> String {
    format!("version `{}` of model `{}`", model.version, model.name)
}

fn conflict(model: &ModelRef, there: &VersionRecord) -> LoaderError {
    LoaderError::AlreadyExists { what: named(model), there: there.digest.to_string() }
}
