//! What something that runs is made of, and who vouches for each part of it.

use bulkhead_registry::Digest;

use crate::signing::KeyId;

/// What a version is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance(Vec<Part>);

/// A part: the version's own artifact, a plugin, or a model that it was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// For messages.
    pub what: String,
    /// Its bytes.
    pub digest: Digest,
    /// Those that have signed it, as was checked when it was loaded.
    pub keys: Vec<KeyId>,
}

impl Provenance {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.0
    }
}
