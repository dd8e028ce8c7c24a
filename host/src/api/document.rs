//! What the registry keeps, as JSON documents.

use std::collections::BTreeMap;

use bulkhead_registry::{Action, ModelRecord, ModelRef, PluginRecord, Promotion, Stage, VersionRecord};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::engine::Merging;
use crate::predict::State;
use crate::trust::{Barred, Signer};

/// A list, or a part of one.
#[derive(Serialize, ToSchema)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    /// Where there is more: pass it as `after`.
    pub(super) next: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct PluginDocument {
    name: String,
    version: String,
    /// `transform` or `predictor`.
    world: String,
    /// SHA-256 of the component.
    digest: String,
    /// Bytes of the component.
    size: u64,
    /// Interfaces that it imports.
    imports: Vec<String>,
    /// What it says of itself.
    description: Value,
    /// Who vouches for it; told where it is asked for by its version.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signed_by: Vec<SignerDocument>,
    /// Why nothing is run of it any more, where its digest was revoked; told likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    /// Milliseconds since the epoch.
    created_at: i64,
}

/// A trust root that has signed something.
#[derive(Serialize, ToSchema)]
pub(super) struct SignerDocument {
    /// The key's id.
    id: String,
    /// What the tenant calls it.
    name: String,
    /// Its signatures don't count any more.
    revoked: bool,
}

impl From<Signer> for SignerDocument {
    fn from(signer: Signer) -> Self {
        Self { id: signer.key.to_string(), name: signer.name, revoked: signer.revoked }
    }
}

impl PluginDocument {
    pub(super) fn with_trust(mut self, signers: Vec<Signer>, barred: Option<Barred>) -> Self {
        self.signed_by = signers.into_iter().map(Into::into).collect();
        self.revoked = barred.map(|why| why.to_string());
        self
    }
}

impl From<PluginRecord> for PluginDocument {
    fn from(record: PluginRecord) -> Self {
        Self {
            name: record.plugin.name.to_string(),
            version: record.plugin.version.to_string(),
            world: record.world,
            digest: record.digest.to_string(),
            size: record.size,
            imports: record.imports,
            description: record.description,
            signed_by: Vec::new(),
            revoked: None,
            created_at: record.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct ModelDocument {
    name: String,
    /// The version that answers.
    production: Option<String>,
    /// The highest version there is.
    latest: String,
    /// How many there are.
    versions: u64,
    /// Of the version that answers: `ready`, `failed`, `revoked` or `unloaded`.
    state: Option<&'static str>,
    /// Milliseconds since the epoch.
    created_at: i64,
}

impl ModelDocument {
    pub(super) fn new(record: ModelRecord, state: Option<&State>) -> Self {
        Self {
            name: record.name.to_string(),
            production: record.production.map(|version| version.to_string()),
            latest: record.latest.to_string(),
            versions: record.versions,
            state: state.map(state_name),
            created_at: record.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct VersionDocument {
    name: String,
    version: String,
    /// `staging`, `production` or `archived`; none where it never got as far as a stage.
    stage: Option<&'static str>,
    /// `ready`, `failed`, `revoked`, or `unloaded` (archived, and loaded when it is asked for by its number).
    state: &'static str,
    /// Why it failed, or was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// `onnx`, `predictor` or `container`.
    runtime: Value,
    /// SHA-256 of the artifact.
    digest: Option<String>,
    /// Bytes of the artifact.
    size: Option<u64>,
    /// What the model takes and gives.
    signature: Value,
    manifest: Value,
    /// Where and with how many sessions and threads it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<EngineDocument>,
    /// How its plugins run, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sandboxes: Vec<SandboxDocument>,
    /// Who vouches for it; told where it is asked for by its number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signed_by: Vec<SignerDocument>,
    /// Milliseconds since the epoch.
    created_at: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct EngineDocument {
    instances: usize,
    threads: usize,
    /// Runs take microseconds, so they run on the thread that asks.
    inline: bool,
    batching: BatchingDocument,
}

/// Whether requests share runs.
#[derive(Serialize, ToSchema)]
struct BatchingDocument {
    /// Rows of one run; 1 where requests don't share any.
    max_batch_size: usize,
    /// The axis of the rows of each input and output; null for one that all rows have in common.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    axes: BTreeMap<String, Option<usize>>,
    /// Why requests don't share runs though the manifest asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

impl From<&Merging> for BatchingDocument {
    fn from(merging: &Merging) -> Self {
        match merging {
            Merging::Off => Self { max_batch_size: 1, axes: BTreeMap::new(), why_not: None },
            Merging::On { max_rows, axes } => Self { max_batch_size: *max_rows, axes: axes.iter().cloned().collect(), why_not: None },
            Merging::Unfit { why } => Self { max_batch_size: 1, axes: BTreeMap::new(), why_not: Some(why.clone()) },
        }
    }
}

#[derive(Serialize, ToSchema)]
struct SandboxDocument {
    /// As `name@version`.
    plugin: String,
    /// Each request begins with a configured instance; else it configures its own, as it does for the moment that making
    /// a configured one takes after an upload, or always where the plugin can't be copied (one with WASI, for example).
    configured_ahead: bool,
}

impl VersionDocument {
    pub(super) fn new(record: VersionRecord, state: Option<&State>) -> Self {
        let slot = match state {
            Some(State::Ready(slot)) => Some(slot),
            _ => None,
        };
        let engine = slot.and_then(|slot| slot.engine()).map(|engine| EngineDocument {
            instances: engine.instances(),
            threads: engine.threads(),
            inline: engine.runs_inline(),
            batching: engine.merging().into(),
        });
        let transforms = slot.map(|slot| slot.transforms()).unwrap_or_default().iter().map(|transform| &**transform);
        let predictor = slot.and_then(|slot| slot.predictor()).map(|predictor| &**predictor);
        let sandboxes = transforms
            .chain(predictor)
            .map(|used| SandboxDocument { plugin: used.plugin().to_owned(), configured_ahead: used.is_configured_ahead() });
        Self {
            name: record.model.name.to_string(),
            version: record.model.version.to_string(),
            stage: Some(stage_name(record.stage)),
            state: state.map_or("unloaded", state_name),
            why: match state {
                Some(State::Failed(why)) => Some(why.clone()),
                Some(State::Barred(why)) => Some(why.to_string()),
                _ => None,
            },
            runtime: serde_json::to_value(record.manifest.runtime).unwrap_or_default(),
            digest: Some(record.digest.to_string()),
            size: Some(record.size),
            signature: record.signature,
            manifest: serde_json::to_value(&record.manifest).unwrap_or_default(),
            engine,
            sandboxes: sandboxes.collect(),
            signed_by: Vec::new(),
            created_at: Some(record.created_at),
        }
    }

    pub(super) fn signed_by(mut self, signers: Vec<Signer>) -> Self {
        self.signed_by = signers.into_iter().map(Into::into).collect();
        self
    }

    /// One that is listed in the configuration, and could not be taken in.
    pub(super) fn failed(model: &ModelRef, why: String) -> Self {
        Self {
            name: model.name.to_string(),
            version: model.version.to_string(),
            stage: None,
            state: "failed",
            why: Some(why),
            runtime: Value::Null,
            digest: None,
            size: None,
            signature: Value::Null,
            manifest: Value::Null,
            engine: None,
            sandboxes: Vec::new(),
            signed_by: Vec::new(),
            created_at: None,
        }
    }
}

fn state_name(state: &State) -> &'static str {
    match state {
        State::Ready(_) => "ready",
        State::Unloaded | State::Stopped => "unloaded",
        State::Failed(_) | State::Barred(Barred::Unsigned { .. }) => "failed",
        State::Barred(Barred::Revoked { .. }) => "revoked",
    }
}

pub(super) fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Staging => "staging",
        Stage::Production => "production",
        Stage::Archived => "archived",
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct PromotionDocument {
    seq: i64,
    /// `promote` or `rollback`.
    action: &'static str,
    /// In production since.
    version: String,
    /// In production before.
    from: Option<String>,
    /// Milliseconds since the epoch.
    at: i64,
}

impl From<Promotion> for PromotionDocument {
    fn from(promotion: Promotion) -> Self {
        Self {
            seq: promotion.seq,
            action: match promotion.action {
                Action::Promote => "promote",
                Action::Rollback => "rollback",
            },
            version: promotion.version.to_string(),
            from: promotion.from.map(|version| version.to_string()),
            at: promotion.at,
        }
    }
}

/// What changed.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangeDocument {
    pub(super) model: String,
    /// In production now.
    pub(super) production: String,
    /// In production before.
    pub(super) from: Option<String>,
    /// False where it was in production already.
    pub(super) changed: bool,
}
