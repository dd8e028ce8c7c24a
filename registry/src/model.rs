//! What the store holds, as plain data. No serde here: how a record looks on the wire is for who puts it there.

use crate::ids::{Digest, ModelName, ModelRef, PluginRef, TenantId, Version};
use crate::manifest::{Manifest, Runtime, text_enum};

/// A plugin: one immutable version of a named component.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginRecord {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name and version.
    pub plugin: PluginRef,
    /// The world that it implements, such as `transform`.
    pub world: String,
    /// The component's bytes.
    pub digest: Digest,
    /// How many bytes those are.
    pub size: u64,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// What it says about itself.
    pub description: serde_json::Value,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
}

/// A version: one immutable artifact and its manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRecord {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its model's name and its version.
    pub model: ModelRef,
    /// The artifact's bytes.
    pub digest: Digest,
    /// How many bytes those are.
    pub size: u64,
    /// What the upload said.
    pub manifest: Manifest,
    /// What the runtime found in the artifact: inputs and outputs.
    pub signature: serde_json::Value,
    /// Where it stands. On the way in this is not read: [`crate::PutStage`] decides.
    pub stage: Stage,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
}

/// A model: what its versions have in common. It exists as long as it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRecord {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name.
    pub name: ModelName,
    /// The version in production, if any is.
    pub production: Option<Version>,
    /// The highest version in semver's order, whatever its stage and whenever it came.
    pub latest: Version,
    /// How many versions there are.
    pub versions: u64,
    /// When its first version came, in milliseconds since the Unix epoch.
    pub created_at: i64,
}

/// Where a version stands. At most one version of a model is in production.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Never in production so far.
    Staging,
    /// Answers whoever names no version.
    Production,
    /// Was in production before.
    Archived,
}

text_enum!(Stage, "`staging`, `production` or `archived`", Staging = "staging", Production = "production", Archived = "archived");

/// What changed which version is in production.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A version was chosen.
    Promote,
    /// The one before was taken back.
    Rollback,
}

text_enum!(Action, "`promote` or `rollback`", Promote = "promote", Rollback = "rollback");

/// One line of a model's history. Its versions may have been deleted since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// Grows with every line, over all models.
    pub seq: i64,
    /// What was done.
    pub action: Action,
    /// The version in production since.
    pub version: Version,
    /// The version in production before.
    pub from: Option<Version>,
    /// When, by the database's clock, in milliseconds since the Unix epoch.
    pub at: i64,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many items at most. Taken as 1 to 500, whatever it says.
    pub limit: u32,
    /// [`Paged::next`] of the page before; none for the first.
    pub after: Option<String>,
}

impl Page {
    /// The most items of one page.
    pub const MAX_LIMIT: u32 = 500;

    /// The limit within its bounds.
    pub fn clamped(&self) -> u32 {
        self.limit.clamp(1, Self::MAX_LIMIT)
    }
}

impl Default for Page {
    /// The first 50; arbitrary, about what a screen shows.
    fn default() -> Self {
        Self { limit: 50, after: None }
    }
}

/// One part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paged<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// The last item's key, for [`Page::after`]; none where the list ends. What comes in between is seen or not by its
    /// place in the order; nothing is shown twice or passed over.
    pub next: Option<String>,
}

/// Which models or versions are wanted; what is `None` does not matter. A model is wanted where one of its versions is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelFilter {
    /// Run by this.
    pub runtime: Option<Runtime>,
    /// Standing there.
    pub stage: Option<Stage>,
    /// Labelled so: key and value.
    pub tag: Option<(String, String)>,
}
