//! Whether versions may run, held to at once when that is said anew: what may not is taken out of memory, and comes back once it
//! may again.

use bulkhead_registry::{Digest, Manifest, ModelRef, SignatureRecord, Stage, TenantId, VersionRecord};
use futures_util::{StreamExt as _, stream};

use super::versions::named;
use super::{Loader, LoaderError};
use crate::clock;
use crate::predict::State;
use crate::signing::{Signature, Statement};
use crate::trust::{Part, Provenance};

/// Versions that are put back at one time: those that run have the processor too.
const UNBARRED: usize = 2;

/// Signatures as they are kept.
pub(super) fn kept(signatures: &[Signature], manifest: Option<Digest>) -> Vec<SignatureRecord> {
    let created_at = clock::unix_ms();
    let one = |signature: &Signature| SignatureRecord { key_id: signature.key().to_string(), signature: signature.encoded(), manifest, created_at };
    signatures.iter().map(one).collect()
}

impl Loader {
    /// What a version is made of, and who vouches for each part: by the signatures that are kept, checked now.
    pub(super) async fn provenance(
        &self,
        tenant: &TenantId,
        model: &ModelRef,
        manifest: &Manifest,
        artifact: &Digest,
        signatures: &[SignatureRecord],
    ) -> Result<Provenance, LoaderError> {
        let mut parts = vec![self.version_part(tenant, named(model), (model, artifact, manifest), signatures)];
        for plugin in manifest.plugins() {
            // What is not there is told of by who loads it.
            let Some(record) = self.store().plugin(tenant, plugin).await? else { continue };
            let kept = self.store().plugin_signatures(tenant, plugin).await?;
            let keys = self.trust().vouching(tenant, &kept, |_| Statement::plugin(plugin, record.digest, &record.world));
            parts.push(Part { what: format!("plugin `{plugin}`"), digest: record.digest, keys });
        }
        for graph in manifest.graphs() {
            let Some(record) = self.store().version(tenant, graph).await? else { continue };
            let kept = self.store().version_signatures(tenant, graph).await?;
            let what = format!("the granted model `{graph}`");
            parts.push(self.version_part(tenant, what, (graph, &record.digest, &record.manifest), &kept));
        }
        Ok(Provenance::new(parts))
    }

    fn version_part(
        &self,
        tenant: &TenantId,
        what: String,
        (model, digest, manifest): (&ModelRef, &Digest, &Manifest),
        kept: &[SignatureRecord],
    ) -> Part {
        // Each was made over the text that came with it.
        let statement = |record: &SignatureRecord| Statement::model(model, *digest, record.manifest.unwrap_or(*digest), manifest);
        Part { what, digest: *digest, keys: self.trust().vouching(tenant, kept, statement) }
    }

    /// Whether a version of the registry may run.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) async fn may_run(&self, record: &VersionRecord) -> Result<(), LoaderError> {
        let VersionRecord { tenant, model, manifest, digest, .. } = record;
        let signatures = self.store().version_signatures(tenant, model).await?;
        let provenance = self.provenance(tenant, model, manifest, digest, &signatures).await?;
        Ok(self.trust().stands(tenant, &provenance)?)
    }

    /// Takes out of place what may not run any more; nothing of it is answered from then on. Gives what that was. Nothing here
    /// waits, for the registry or for whoever changes a model.
    #[must_use]
    pub fn bar(&self) -> Vec<(TenantId, ModelRef)> {
        let barred = self.slots().bar(|tenant, slot| self.trust().stands(tenant, &slot.provenance()));
        self.0.plugins.lock().retain(|(tenant, plugin), compiled| self.trust().takes(tenant, plugin.name.as_str(), compiled.digest()).is_ok());
        self.count_versions();
        let mut names = Vec::with_capacity(barred.len());
        for (tenant, model, slot) in barred {
            tracing::warn!(tenant = tenant.as_str(), model = %model, "a version may not run any more, and does not answer");
            self.retire(&tenant, &model, slot);
            names.push((tenant, model));
        }
        names.sort();
        names
    }

    /// Puts back what may run again, after this returns: that may take as long as a start does.
    pub fn unbar(&self) {
        let loader = self.clone();
        tokio::spawn(stream::iter(self.slots().barred()).for_each_concurrent(UNBARRED, move |(tenant, model)| {
            let loader = loader.clone();
            async move {
                let _turn = loader.turn(&tenant, model.name.as_str()).await;
                loader.unbar_one(&tenant, &model).await;
            }
        }));
    }

    /// Puts one version back, if it may run again. What it is that it can't be loaded then is its state.
    pub(super) async fn unbar_one(&self, tenant: &TenantId, model: &ModelRef) {
        if let Err(error) = self.try_unbar(tenant, model).await {
            tracing::error!(tenant = tenant.as_str(), model = %model, %error, "a version that may run again could not be loaded");
            self.not_loaded(tenant, model, error).await;
        }
        self.count_versions();
    }

    /// Says that a version could not be loaded.
    pub(super) async fn not_loaded(&self, tenant: &TenantId, model: &ModelRef, error: LoaderError) {
        let LoaderError::Barred(why) = error else {
            self.take_out(tenant, model, State::Failed(error.to_string()));
            return;
        };
        self.take_out(tenant, model, State::Barred(why));
        // What bars it may have been taken back since it was looked at, by who did not find it barred yet.
        if let Ok(Some(record)) = self.store().version(tenant, model).await
            && self.may_run(&record).await.is_ok()
        {
            self.unbar();
        }
    }

    async fn try_unbar(&self, tenant: &TenantId, model: &ModelRef) -> Result<(), LoaderError> {
        let (Some(State::Barred(_)), Some(record)) = (self.slots().state(tenant, model), self.store().version(tenant, model).await?) else {
            return Ok(());
        };
        match self.may_run(&record).await {
            // For another reason, or still for the same.
            Err(LoaderError::Barred(why)) => {
                self.slots().set(tenant, model, State::Barred(why));
                return Ok(());
            }
            other => other?,
        }
        if record.stage == Stage::Archived {
            self.slots().set(tenant, model, State::Unloaded);
            return Ok(());
        }
        let slot = self.build_recorded(&record).await?;
        self.place(&record, slot)?;
        tracing::info!(tenant = tenant.as_str(), model = %model, "a version may run again, and answers");
        Ok(())
    }

    /// Something of a tenant's was signed that was there: looks again at who vouches for what is loaded, and at what was not
    /// vouched for, once this has returned.
    pub(super) async fn vouched_anew(&self, tenant: &TenantId) -> Result<(), LoaderError> {
        for (owner, model, state) in self.slots().all() {
            let State::Ready(slot) = state else { continue };
            if owner != *tenant {
                continue;
            }
            let Some(VersionRecord { manifest, digest, .. }) = self.store().version(tenant, &model).await? else { continue };
            let signatures = self.store().version_signatures(tenant, &model).await?;
            slot.set_provenance(self.provenance(tenant, &model, &manifest, &digest, &signatures).await?);
        }
        self.unbar();
        Ok(())
    }
}
