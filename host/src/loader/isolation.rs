//! Whose models run in a process of their tenant's own.

use std::sync::Arc;

use bulkhead_registry::{ModelRef, TenantId};

use super::{Loader, LoaderError};
use crate::confined::{Confined, Keeper};
use crate::predict::State;
use crate::tenants::Tenants;

/// Whose models run in a process of their tenant's own.
pub struct Isolation {
    /// None where all run in this process.
    confined: Option<Confined>,
    tenants: Arc<Tenants>,
}

impl Isolation {
    /// Confines whoever is not trusted; nobody where there are no processes for it.
    #[must_use]
    pub fn new(confined: Option<Confined>, tenants: Arc<Tenants>) -> Self {
        Self { confined, tenants }
    }

    /// What runs a tenant's models in a process of their own; none where they run in this one.
    ///
    /// # Errors
    /// Where the system gives no thread to look after such a process.
    pub(super) fn of(&self, tenant: &TenantId) -> Result<Option<Arc<Keeper>>, LoaderError> {
        let Some(confined) = self.confined.as_ref().filter(|_| !self.tenants.said(tenant).trusted) else { return Ok(None) };
        confined.of(&self.tenants.tenant(tenant)).map(Some).map_err(|error| LoaderError::Host(format!("no thread for a process of models: {error}")))
    }
}

impl Loader {
    /// Loads what runs of a tenant once more, after this returns: in a process of its own or in this one, as it is trusted now.
    /// Until then it answers from where it was; what can't be loaded again does not answer at all.
    pub fn relocate(&self, tenant: &TenantId) {
        if self.isolation().confined.is_none() {
            return;
        }
        let (loader, tenant) = (self.clone(), tenant.clone());
        tokio::spawn(async move {
            let models = loader.slots().all().into_iter().filter(|(owner, ..)| *owner == tenant);
            for (_, model, _) in models {
                let _turn = loader.turn(&tenant, model.name.as_str()).await;
                if matches!(loader.slots().state(&tenant, &model), Some(State::Ready(_))) {
                    loader.relocate_one(&tenant, &model).await;
                }
            }
        });
    }

    async fn relocate_one(&self, tenant: &TenantId, model: &ModelRef) {
        match self.load_recorded(tenant, model).await {
            Ok(()) => tracing::info!(tenant = tenant.as_str(), model = %model, "a version moved to where it belongs now"),
            Err(error) => {
                tracing::error!(tenant = tenant.as_str(), model = %model, %error, "a version could not be loaded where it belongs now");
                self.not_loaded(tenant, model, error).await;
                self.count_versions();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants() -> Arc<Tenants> {
        Arc::new(Tenants::new(bulkhead_registry::Quotas::default(), 1))
    }

    #[test]
    fn nobody_is_confined_where_there_are_no_processes() {
        let isolation = Isolation::new(None, tenants());
        assert!(isolation.of(&TenantId::default_tenant()).unwrap().is_none());
    }

    #[test]
    fn who_is_trusted_is_not_confined() {
        let library = crate::config::find_onnxruntime(None).expect("ONNX Runtime's library: `make setup` fetches it");
        let engine = crate::engine::Engine::start(&library, 1, 1).unwrap();
        let options = crate::confined::Options { program: "/proc/self/exe".into(), library, cores: 1, memory_bytes: 1, max_queued_bytes: 1 };
        let tenants = tenants();
        let isolation = Isolation::new(Some(Confined::new(options, &engine)), Arc::clone(&tenants));
        let tenant = TenantId::default_tenant();
        assert!(isolation.of(&tenant).unwrap().is_some());
        let quotas = bulkhead_registry::Quotas::default();
        let record = bulkhead_registry::TenantRecord {
            tenant: tenant.clone(),
            trusted: true,
            disabled: false,
            require_signatures: false,
            quotas,
            created_at: 0,
            updated_at: 0,
        };
        tenants.say(&record);
        assert!(isolation.of(&tenant).unwrap().is_none());
    }
}
