//! Keys and tenants, as plain data.

use serde::{Deserialize, Serialize};

use crate::ids::TenantId;

/// A key that the host issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Names it; a part of the key itself.
    pub id: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of its secret, as hexadecimal.
    pub hash: String,
    /// What it may: names of scopes with spaces between them.
    pub scopes: String,
    /// What it may in other tenants, likewise.
    pub across: String,
    /// Who had it issued.
    pub created_by: String,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
    /// From when on it is good no longer.
    pub expires_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// What came of revoking a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// It is revoked now, or was before.
    Done(KeyRecord),
    /// There is none.
    NotFound,
}

/// What an operator said about a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRecord {
    /// Which.
    pub tenant: TenantId,
    /// Its models may run in the host's own process.
    pub trusted: bool,
    /// Nobody of it is let in.
    pub disabled: bool,
    /// Only what is signed by one of its trust roots is taken in and run.
    pub require_signatures: bool,
    /// What it may take.
    pub quotas: Quotas,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
    /// Likewise.
    pub updated_at: i64,
}

/// What a tenant may take; what is `None` is as the host's defaults say, and zero is without a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Predict requests in a second, in the long run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// Predict requests at once after a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Predict requests under way at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<u32>,
    /// MiB of bodies and tensors that its requests hold at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_mb: Option<u32>,
    /// MiB of artifacts and plugins that it keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_mb: Option<u32>,
    /// Versions of models that it keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<u32>,
    /// Seconds in each hour that its plugins may be compiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compile_seconds_per_hour: Option<u32>,
    /// Its share where several want more than there is: twice the weight, twice the share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// What a tenant keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Bytes of its artifacts and plugins; those that several of its versions share count once for each.
    pub bytes: u64,
    /// Versions of models.
    pub versions: u64,
}
