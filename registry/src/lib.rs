#![doc = include_str!("../README.md")]

mod artifacts;
mod audit;
mod garbage;
mod identity;
mod ids;
mod manifest;
mod model;
mod store;
mod trust;

pub use artifacts::{ArtifactError, Artifacts, Stored, Upload};
pub use audit::{ActorKind, AuditEntry, AuditFilter, AuditRecord, ChainCheck, ChainError, Origin, Outcome};
pub use garbage::{GarbageError, garbage};
pub use identity::{Kept, KeyRecord, Quotas, Revoked, TenantRecord};
pub use ids::{Digest, IdError, ModelName, ModelRef, PluginName, PluginRef, TenantId, Version};
pub use manifest::{
    BatchAxis, Batching, CacheOptions, Device, EngineOptions, Grants, Manifest, ManifestError, PredictorUse, Problem, Ragged, Reuse, Runtime,
    SandboxOptions, TimeoutAction, TransformUse, Warmup, WarmupData, WarmupInput,
};
pub use model::{Action, ModelFilter, ModelRecord, Page, Paged, PluginRecord, Promotion, Stage, VersionRecord};
pub use store::sqlite::SqliteStore;
pub use store::{Deleted, Promoted, Put, PutStage, RolledBack, Store, StoreError};
pub use trust::{Revocation, SignatureRecord, TrustRoot};
