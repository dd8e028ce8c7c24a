//! What the registry says of trust, as it is looked up.

use std::collections::HashMap;
use std::sync::Arc;

use bulkhead_registry::{Digest, Revocation, TenantId, TrustRoot};

use crate::signing::{KeyId, PublicKey};

/// All of it; copied for each change, and swapped whole.
#[derive(Clone, Default)]
pub(super) struct Known {
    roots: HashMap<TenantId, HashMap<KeyId, Root>>,
    revoked: HashMap<Digest, Revoked>,
}

#[derive(Clone)]
struct Root {
    key: PublicKey,
    name: Arc<str>,
    revoked: bool,
}

/// Why a digest was revoked, by whom it counts for.
#[derive(Clone, Default)]
struct Revoked {
    everywhere: Option<Arc<str>>,
    tenants: HashMap<TenantId, Arc<str>>,
}

impl Known {
    /// Adds a root, or says anew what one is. A row that is no key is nobody's whose signature could fit.
    pub(super) fn add_root(&mut self, record: &TrustRoot) {
        let Ok(key) = PublicKey::from_pem(&record.public_key) else {
            tracing::error!(tenant = record.tenant.as_str(), key = record.key_id, "a trust root of the registry is no key, and does not count");
            return;
        };
        let root = Root { name: record.name.as_str().into(), revoked: record.revoked_at.is_some(), key };
        self.roots.entry(record.tenant.clone()).or_default().insert(root.key.id(), root);
    }

    /// A root with whether it was revoked.
    pub(super) fn root(&self, tenant: &TenantId, key: &KeyId) -> Option<(&PublicKey, bool)> {
        let root = self.roots.get(tenant)?.get(key)?;
        Some((&root.key, root.revoked))
    }

    /// A root whose signatures count.
    pub(super) fn counting(&self, tenant: &TenantId, key: &KeyId) -> Option<&PublicKey> {
        self.root(tenant, key).filter(|(_, revoked)| !revoked).map(|(key, _)| key)
    }

    pub(super) fn counts(&self, tenant: &TenantId, key: &KeyId) -> bool {
        self.counting(tenant, key).is_some()
    }

    pub(super) fn counting_roots(&self, tenant: &TenantId) -> usize {
        self.roots.get(tenant).map_or(0, |roots| roots.values().filter(|root| !root.revoked).count())
    }

    pub(super) fn name(&self, tenant: &TenantId, key: &KeyId) -> Option<&str> {
        Some(&*self.roots.get(tenant)?.get(key)?.name)
    }

    pub(super) fn revoke(&mut self, record: &Revocation) {
        let reason = record.reason.as_str().into();
        let revoked = self.revoked.entry(record.digest).or_default();
        match &record.tenant {
            None => revoked.everywhere = Some(reason),
            Some(tenant) => {
                revoked.tenants.insert(tenant.clone(), reason);
            }
        }
    }

    pub(super) fn restore(&mut self, tenant: Option<&TenantId>, digest: &Digest) {
        let Some(revoked) = self.revoked.get_mut(digest) else { return };
        match tenant {
            None => revoked.everywhere = None,
            Some(tenant) => {
                revoked.tenants.remove(tenant);
            }
        }
        if revoked.everywhere.is_none() && revoked.tenants.is_empty() {
            self.revoked.remove(digest);
        }
    }

    /// Why a digest was revoked, where it was.
    pub(super) fn revoked(&self, tenant: &TenantId, digest: &Digest) -> Option<&Arc<str>> {
        let revoked = self.revoked.get(digest)?;
        revoked.everywhere.as_ref().or_else(|| revoked.tenants.get(tenant))
    }

    pub(super) fn revoked_by(&self, tenant: &TenantId) -> usize {
        self.revoked.values().filter(|revoked| revoked.tenants.contains_key(tenant)).count()
    }
}
