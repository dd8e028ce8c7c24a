//! Blobs that no row refers to: what a kill between "bytes are durable" and "row is written", or a deletion, left.

use crate::artifacts::{ArtifactError, Artifacts};
use crate::store::{Store, StoreError};

/// Why the collection stopped.
#[derive(Debug, thiserror::Error)]
pub enum GarbageError {
    /// The database could not say what is in use.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A blob could not be listed or removed.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// Deletes every blob that no plugin or version refers to, and says how many those were.
///
/// Only for start, before the first upload is taken: an upload's bytes are stored before its row, so while one runs
/// its blob looks like garbage.
///
/// # Errors
/// [`GarbageError`]; what was deleted before stays deleted, and the next start goes on.
pub async fn garbage(store: &dyn Store, artifacts: &Artifacts) -> Result<u64, GarbageError> {
    let mut removed = 0;
    for digest in artifacts.list().await? {
        if !store.digest_in_use(&digest).await? && artifacts.delete(&digest).await? {
            removed += 1;
        }
    }
    Ok(removed)
}
