//! Reads that cross from one tenant to others: an operator who asks for all of them leaves a row, not with every scrape.

use bulkhead_registry::{AuditEntry, Outcome, TenantId};

use super::Access;
use crate::api::extract::Caller;
use crate::clock;

impl Access {
    /// Writes down that a caller was shown what is another tenant's, or all tenants' where none is named. Where authentication is
    /// off there are no others.
    pub(in crate::api) async fn looked(&self, caller: &Caller, action: &str, kind: &str, tenant: Option<&TenantId>) {
        if caller.who.is_anybody() || tenant.is_some_and(|tenant| *tenant == caller.who.tenant) {
            return;
        }
        let entry = AuditEntry {
            at: clock::unix_ms(),
            by: caller.origin(),
            action: action.to_owned(),
            target_kind: kind.to_owned(),
            target: tenant.map_or_else(|| "all tenants".to_owned(), TenantId::to_string),
            target_tenant: tenant.cloned(),
            outcome: Outcome::Allowed,
            reason: None,
            detail: None,
        };
        self.audit.looked(entry).await;
    }
}
