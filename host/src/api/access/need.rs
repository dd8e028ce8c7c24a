//! What a route needs of whoever asks.

use serde_json::{Value, json};

use crate::auth::Scope;

/// What a route needs of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Need {
    /// Nothing: probes.
    Nothing,
    /// Nothing where the documentation is open to everybody; else some credential.
    Docs,
    /// Some credential.
    Credential,
    /// A credential with one of these scopes.
    Any(&'static [Scope]),
}

impl Need {
    pub(in crate::api) const MODELS_READ: Self = Self::Any(&[Scope::ModelsRead]);
    pub(in crate::api) const MODELS_WRITE: Self = Self::Any(&[Scope::ModelsWrite]);
    pub(in crate::api) const PREDICT: Self = Self::Any(&[Scope::ModelsPredict]);
    /// What a model takes and gives, and whether it is there: whoever asks it needs to know.
    pub(in crate::api) const MODELS_SEE: Self = Self::Any(&[Scope::ModelsRead, Scope::ModelsPredict]);
    pub(in crate::api) const PLUGINS_READ: Self = Self::Any(&[Scope::PluginsRead]);
    pub(in crate::api) const PLUGINS_WRITE: Self = Self::Any(&[Scope::PluginsWrite]);
    pub(in crate::api) const AUDIT_READ: Self = Self::Any(&[Scope::AuditRead]);
    pub(in crate::api) const KEYS: Self = Self::Any(&[Scope::AdminKeys]);
    pub(in crate::api) const TRUST: Self = Self::Any(&[Scope::AdminTrust]);
    pub(in crate::api) const TENANTS: Self = Self::Any(&[Scope::AdminTenants]);

    pub(in crate::api) fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Any(scopes) => scopes,
            Self::Nothing | Self::Docs | Self::Credential => &[],
        }
    }

    /// As the OpenAPI document has it: any one of a list, each with its scheme and scopes.
    pub(in crate::api) fn document(self) -> Value {
        let with = |scopes: &[&str]| [json!({ "bearer": scopes }), json!({ "api_key": scopes })];
        match self {
            Self::Nothing => json!([]),
            Self::Docs | Self::Credential => json!(with(&[])),
            Self::Any(scopes) => scopes.iter().flat_map(|scope| with(&[scope.name()])).collect(),
        }
    }
}
