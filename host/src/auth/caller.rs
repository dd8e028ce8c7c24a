//! Who asks, and what it may.

use std::sync::{Arc, LazyLock};

use bulkhead_registry::{ActorKind, TenantId};

use super::scope::{Scope, Scopes};

/// A caller: only ever made of a verified credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose models, plugins and jobs it sees.
    pub tenant: TenantId,
    /// Who it is within its tenant: the token's subject, or the key's id.
    pub subject: Arc<str>,
    /// By what it was told.
    pub actor: ActorKind,
    /// What it may.
    pub scopes: Scopes,
    /// What it may in other tenants, with [`Scope::AdminTenants`] only.
    pub across: Scopes,
}

impl Caller {
    /// Whoever asks while authentication is off: all of the default tenant.
    #[must_use]
    pub fn anybody() -> Arc<Self> {
        static ANYBODY: LazyLock<Arc<Caller>> = LazyLock::new(|| {
            Arc::new(Caller {
                tenant: TenantId::default_tenant(),
                subject: "anybody".into(),
                actor: ActorKind::Anybody,
                scopes: Scopes::all(),
                across: Scopes::NONE,
            })
        });
        Arc::clone(&ANYBODY)
    }

    /// Authentication is off.
    #[must_use]
    pub fn is_anybody(&self) -> bool {
        self.actor == ActorKind::Anybody
    }

    /// Whether it may do that in every tenant: by the admin scope and the capability both, and where authentication is off, since
    /// there is one tenant then.
    #[must_use]
    pub fn may_everywhere(&self, scope: Scope) -> bool {
        self.is_anybody() || self.may_across(scope)
    }

    fn may_across(&self, scope: Scope) -> bool {
        self.scopes.permit(Scope::AdminTenants) && self.across.permit(scope)
    }

    /// Whether it may do that in a tenant: in its own by its scopes; in another by the admin scope and the capability both.
    #[must_use]
    pub fn may(&self, scope: Scope, tenant: &TenantId) -> bool {
        let own = *tenant == self.tenant;
        self.scopes.permit(scope) && (own || self.may_across(scope))
    }
}
