//! Whose signatures count, what they signed, and what was revoked, as plain data.

use crate::ids::{Digest, TenantId};

/// A key whose signatures count for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRoot {
    /// For whom they count.
    pub tenant: TenantId,
    /// Names the key, here and in signatures.
    pub key_id: String,
    /// What the tenant calls it.
    pub name: String,
    /// The public key, as PEM.
    pub public_key: String,
    /// Who added it.
    pub created_by: String,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
    /// Since when its signatures don't count any more.
    pub revoked_at: Option<i64>,
}

/// A signature on a plugin or a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureRecord {
    /// By which key.
    pub key_id: String,
    /// The signature itself, as base64.
    pub signature: String,
    /// Of the manifest's text as it was signed; none for a plugin, which has no manifest.
    pub manifest: Option<Digest>,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
}

/// A digest that nothing is run of any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Counts them; on the way in this is not read.
    pub seq: i64,
    /// Of a component or an artifact.
    pub digest: Digest,
    /// Of whose things it holds; none for all tenants'.
    pub tenant: Option<TenantId>,
    /// Why.
    pub reason: String,
    /// Who revoked it.
    pub created_by: String,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
}
