//! Whose models run in a process of their tenant's own.

use std::sync::Arc;

use bulkhead_registry::TenantId;

use super::LoaderError;
use crate::confined::{Confined, Keeper};
use crate::tenants::Tenants;

/// Whose models run in a process of their tenant's own.
pub struct Isolation {
    /// None where all run in this process.
    confined: Option<Confined>,
    tenants: Arc<Tenants>,
}

impl Isolation {
    /// Confines whoever is not trusted, as of when a model is loaded; nobody where there are no processes for it.
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
        let record = bulkhead_registry::TenantRecord { tenant: tenant.clone(), trusted: true, disabled: false, quotas, created_at: 0, updated_at: 0 };
        tenants.say(&record);
        assert!(isolation.of(&tenant).unwrap().is_none());
    }
}
