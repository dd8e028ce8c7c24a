//! Bytes that are being taken in, which are not to be removed meanwhile because no row names them yet.

use std::collections::HashMap;
use std::sync::Arc;

use bulkhead_registry::Digest;
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Who takes in bytes and who removes them, by digest: nobody waits for what others do with other bytes.
#[derive(Default)]
pub struct Blobs(Mutex<HashMap<Digest, Arc<RwLock<()>>>>);

impl Blobs {
    /// Keeps bytes of that digest from being removed, for as long as the guard lives. Waits for a removal that is under way.
    pub(super) async fn keep(&self, digest: &Digest) -> OwnedRwLockReadGuard<()> {
        self.lock(digest).read_owned().await
    }

    /// To remove them: none where somebody takes them in, who removes them in turn where that fails.
    pub(super) fn remove(&self, digest: &Digest) -> Option<OwnedRwLockWriteGuard<()>> {
        self.lock(digest).try_write_owned().ok()
    }

    fn lock(&self, digest: &Digest) -> Arc<RwLock<()>> {
        let mut locks = self.0.lock();
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(*digest).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_taken_in_is_not_removed_and_others_are() {
        let (blobs, [one, other]) = (Blobs::default(), [b"one".as_slice(), b"other"].map(Digest::of));
        let (kept, again) = (blobs.keep(&one).await, blobs.keep(&one).await);
        assert!(blobs.remove(&one).is_none() && blobs.remove(&other).is_some());
        drop(kept);
        assert!(blobs.remove(&one).is_none());
        drop(again);
        let removing = blobs.remove(&one).unwrap();
        let mut keep = Box::pin(blobs.keep(&one));
        assert!(futures_util::poll!(&mut keep).is_pending());
        drop(removing);
        let _kept = keep.await;
        assert!(blobs.remove(&one).is_none());
    }
}
