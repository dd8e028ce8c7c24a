//! Plugins: taken in, compiled, kept at hand, removed.

use bulkhead_registry::{Deleted, Digest, Kept, Origin, PluginRecord, PluginRef, Put, TenantId};

use super::trust::kept;
use super::{Loader, LoaderError};
use crate::aside::aside;
use crate::clock;
use crate::sandbox::{Plugin, World};
use crate::signing::{Signature, Statement};
use crate::trust::SignatureError;

impl Loader {
    /// Takes a component in: checked, compiled and tried before it is recorded. True where it was not there before.
    ///
    /// # Errors
    /// See [`LoaderError`].
    pub async fn add_plugin(
        &self,
        tenant: &TenantId,
        plugin: PluginRef,
        bytes: Vec<u8>,
        signatures: &[Signature],
        by: &Origin,
    ) -> Result<(PluginRecord, bool), LoaderError> {
        let digest = aside(bytes.len(), || Digest::of(&bytes));
        self.trust().takes(tenant, &format!("plugin `{plugin}`"), &digest)?;
        if let Some(there) = self.store().plugin(tenant, &plugin).await? {
            if there.digest != digest {
                return Err(conflict(&plugin, &there));
            }
            return self.sign_plugin(there, signatures, by).await.map(|there| (there, false));
        }
        // Before anything is compiled: nobody who does not sign has the compiler at hand.
        let worlds = World::ALL.map(|world| Statement::plugin(&plugin, digest, world.name()));
        let (at, counted) = self.trust().check(tenant, &worlds, signatures)?;
        let size = bytes.len() as u64;
        let bounds = self.0.tenants.tenant(tenant);
        let more = Kept { bytes: size, versions: 0 };
        bounds.room(self.store().kept(tenant).await?, more)?;
        // Of each tenant one waits for the compiler, so that they take turns; and what the others of it may is known after that.
        let compiling = bounds.compiling().await;
        bounds.may_compile()?;
        let compiled = self.0.sandboxes.admit(&bounds, &plugin.to_string(), &digest, bytes.clone()).await;
        drop(compiling);
        let compiled = compiled?;
        if !counted.is_empty() && World::ALL[at] != compiled.world() {
            let key = counted.first().map(|signature| signature.key().to_string()).unwrap_or_default();
            let what = format!("plugin `{plugin}`, which is a {} and not a {}", compiled.world().name(), World::ALL[at].name());
            return Err(SignatureError::Unfit { key, what }.into());
        }
        let summary = compiled.summary("{}").await.unwrap_or_default();
        let kept_bytes = self.0.blobs.keep(&digest).await;
        let recorded = self.record_plugin((tenant, &plugin), &bytes, &compiled, summary, &counted, by).await;
        drop(kept_bytes);
        if recorded.is_err() {
            self.drop_refused(&digest).await;
        }
        recorded
    }

    async fn record_plugin(
        &self,
        (tenant, plugin): (&TenantId, &PluginRef),
        bytes: &[u8],
        compiled: &Plugin,
        summary: String,
        counted: &[Signature],
        by: &Origin,
    ) -> Result<(PluginRecord, bool), LoaderError> {
        let (digest, size) = (*compiled.digest(), bytes.len() as u64);
        let bounds = self.0.tenants.tenant(tenant);
        let _storing = bounds.storing().await;
        bounds.room(self.store().kept(tenant).await?, Kept { bytes: size, versions: 0 })?;
        // It may have been revoked while it was compiled.
        self.trust().takes(tenant, &format!("plugin `{plugin}`"), &digest)?;
        let mut upload = self.artifacts().begin(u64::MAX).await?;
        upload.write(bytes).await?;
        upload.finish().await?;
        let record = PluginRecord {
            tenant: tenant.clone(),
            plugin: plugin.clone(),
            world: compiled.world().name().to_owned(),
            digest,
            size,
            imports: compiled.imports().to_vec(),
            description: serde_json::json!({ "summary": summary }),
            created_at: clock::unix_ms(),
        };
        match self.store().put_plugin(record, &kept(counted, None), by).await? {
            Put::Created(record) => {
                self.0.plugins.lock().insert((tenant.clone(), plugin.clone()), compiled.clone());
                Ok((record, true))
            }
            Put::Same(record) => Ok((record, false)),
            Put::Conflict(there) => Err(conflict(plugin, &there)),
        }
    }

    /// Adds signatures to a plugin that is there: what was not vouched for may be now.
    async fn sign_plugin(&self, there: PluginRecord, signatures: &[Signature], by: &Origin) -> Result<PluginRecord, LoaderError> {
        if signatures.is_empty() {
            return Ok(there);
        }
        let (_, counted) = self.trust().check(&there.tenant, &[Statement::plugin(&there.plugin, there.digest, &there.world)], signatures)?;
        self.store().put_plugin(there.clone(), &kept(&counted, None), by).await?;
        self.vouched_anew(&there.tenant).await?;
        Ok(there)
    }

    /// Removes a plugin that no version refers to.
    ///
    /// # Errors
    /// See [`LoaderError`].
    pub async fn delete_plugin(&self, tenant: &TenantId, plugin: &PluginRef, by: &Origin) -> Result<(), LoaderError> {
        let record = self.store().plugin(tenant, plugin).await?;
        match self.store().delete_plugin(tenant, plugin, by).await? {
            Deleted::Done => {
                self.0.plugins.lock().remove(&(tenant.clone(), plugin.clone()));
                self.0.metrics.forget_plugin(tenant.as_str(), &plugin.to_string());
                if let Some(record) = record {
                    self.drop_unused(&record.digest).await?;
                }
                Ok(())
            }
            Deleted::NotFound => Err(LoaderError::NotFound(format!("plugin `{plugin}`"))),
            Deleted::InUse(by) => Err(LoaderError::InUse { what: format!("plugin `{plugin}`"), by }),
        }
    }

    /// A plugin at hand, or from the registry.
    pub(super) async fn plugin(&self, tenant: &TenantId, plugin: &PluginRef) -> Result<Plugin, LoaderError> {
        let key = (tenant.clone(), plugin.clone());
        if let Some(plugin) = self.0.plugins.lock().get(&key) {
            return Ok(plugin.clone());
        }
        let record = self.store().plugin(tenant, plugin).await?.ok_or_else(|| LoaderError::MissingPlugin(plugin.clone()))?;
        let bytes = self.artifacts().get(&record.digest).await?;
        let loaded = self.0.sandboxes.load(&self.0.tenants.tenant(tenant), &plugin.to_string(), &record.digest, bytes.to_vec()).await?;
        self.0.plugins.lock().insert(key, loaded.clone());
        Ok(loaded)
    }

    /// Removes bytes that no row names, unless somebody takes them in just now.
    pub(super) async fn drop_unused(&self, digest: &Digest) -> Result<(), LoaderError> {
        let Some(_removing) = self.0.blobs.remove(digest) else { return Ok(()) };
        if !self.store().digest_in_use(digest).await? {
            self.artifacts().delete(digest).await?;
        }
        Ok(())
    }

    /// The same after an upload that was refused.
    pub(super) async fn drop_refused(&self, digest: &Digest) {
        if let Err(error) = self.drop_unused(digest).await {
            tracing::warn!(%error, "the bytes of a refused upload stay until the next start");
        }
    }
}

fn conflict(plugin: &PluginRef, there: &PluginRecord) -> LoaderError {
    LoaderError::AlreadyExists { what: format!("plugin `{plugin}`"), there: there.digest.to_string() }
}
