//! Bytes addressed by their SHA-256, behind `object_store`: `sha256/<2 hex>/<hex>` under one root.
//!
//! A blob is immutable: it appears whole under its name by a rename, and the name is its digest. What is read is
//! checked against the name again, since disks rot and people edit files.
//!
//! Reading, listing, deleting and the rename go through `object_store`, so that an S3-compatible store can follow
//! behind the same struct. An upload's bytes do not: the name (the digest) is known only after the last byte, a model
//! is tried from a local file before it gets its name, and `object_store`'s staged writes want the name first and hide
//! the file. So an upload is a plain file in `<root>/tmp` until it is finished.

mod upload;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use crate::ids::{Digest, Hasher};

pub use self::upload::{Stored, Upload};

/// Where unfinished uploads lie, under the root.
const TMP: &str = "tmp";
/// Where blobs lie, under the root: the name of the hash.
const BLOBS: &str = "sha256";
/// Read at once while verifying: about a millisecond of hashing, so that an async thread is not held for long.
const VERIFY_BYTES: u64 = 1 << 20;

/// Why bytes could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The upload is larger than its bound.
    #[error("larger than the limit of {limit} bytes")]
    TooLarge {
        /// The bound that `begin` was given.
        limit: u64,
    },
    /// No room is left on the disk, or in the quota, of the artifact directory.
    #[error("no space is left where artifacts are stored")]
    DiskFull(#[source] io::Error),
    /// No blob of this digest.
    #[error("no artifact `{0}` is stored")]
    Missing(Digest),
    /// The bytes on disk are not those that were stored; uploading the same bytes again mends the blob.
    #[error("artifact `{expected}` is damaged: its bytes have the digest `{found}`")]
    Corrupt {
        /// The name of the blob.
        expected: Digest,
        /// What its bytes hash to now.
        found: Digest,
    },
    /// The disk or its permissions.
    #[error("artifact storage failed: {0}")]
    Io(#[source] io::Error),
    /// `object_store` said no for a reason that is none of the above.
    #[error("artifact storage failed: {0}")]
    Storage(#[source] object_store::Error),
}

impl From<io::Error> for ArtifactError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(error),
            _ => Self::Io(error),
        }
    }
}

/// The store of bytes. Clones share one store.
#[derive(Debug, Clone)]
pub struct Artifacts {
    root: Arc<Path>,
    objects: LocalFileSystem,
}

impl Artifacts {
    /// Opens, and makes if need be, the store under the directory `root`. One process at a time may use it: see
    /// [`sweep`](Self::sweep). Blocks for a few system calls; meant for start-up.
    ///
    /// # Errors
    /// [`ArtifactError::Io`] or [`ArtifactError::DiskFull`] if the directories cannot be made.
    pub fn local(root: &Path) -> Result<Self, ArtifactError> {
        std::fs::create_dir_all(root.join(TMP))?;
        std::fs::create_dir_all(root.join(BLOBS))?;
        let root = root.canonicalize()?;
        // A blob is only as durable as the entries of the directories above it.
        sync_directory(&root)?;
        if let Some(parent) = root.parent() {
            sync_directory(parent)?;
        }
        let objects = LocalFileSystem::new_with_prefix(&root).map_err(ArtifactError::Storage)?.with_fsync(true);
        Ok(Self { root: root.into(), objects })
    }

    /// Starts an upload of at most `max_bytes` bytes.
    ///
    /// # Errors
    /// [`ArtifactError::Io`] or [`ArtifactError::DiskFull`] if the temporary file cannot be made.
    pub async fn begin(&self, max_bytes: u64) -> Result<Upload, ArtifactError> {
        Upload::begin(self.clone(), max_bytes).await
    }

    /// Where the blob of `digest` lies, or would lie: a local file for what maps or mounts it.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        [&*self.root, Path::new(BLOBS), Path::new(&hex[..2]), Path::new(&hex)].iter().collect()
    }

    /// The whole blob, in memory, checked against its digest.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`], [`ArtifactError::Corrupt`], or the storage's own.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, ArtifactError> {
        let expected = *digest;
        let read = self.objects.get(&key(digest)).await.map_err(|error| failed(digest, error))?;
        let bytes = read.bytes().await.map_err(|error| failed(digest, error))?;
        blocking(move || match Digest::of(&bytes) {
            found if found == expected => Ok(bytes),
            found => Err(ArtifactError::Corrupt { expected, found }),
        })
        .await
    }

    /// Reads the blob through, in constant memory, and checks it against its digest.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`], [`ArtifactError::Corrupt`], or the storage's own.
    pub async fn verify(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let key = key(digest);
        let size = self.objects.head(&key).await.map_err(|error| failed(digest, error))?.size;
        let mut hasher = Hasher::new();
        let mut at = 0;
        while at < size {
            let end = size.min(at + VERIFY_BYTES);
            let piece = self.objects.get_range(&key, at..end).await.map_err(|error| failed(digest, error))?;
            hasher.update(&piece);
            at = end;
        }
        match hasher.finish() {
            found if found == *digest => Ok(()),
            found => Err(ArtifactError::Corrupt { expected: *digest, found }),
        }
    }

    /// Whether a blob of this digest is stored, whatever its bytes are now.
    ///
    /// # Errors
    /// The storage's own.
    pub async fn exists(&self, digest: &Digest) -> Result<bool, ArtifactError> {
        match self.objects.head(&key(digest)).await.map_err(|error| failed(digest, error)) {
            Ok(_) => Ok(true),
            Err(ArtifactError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the blob; `false` if there was none. Whoever still has the file open keeps its bytes.
    ///
    /// While uploads may run, another one of the same bytes can finish between "no row refers to this digest" and the
    /// deletion, and then be left without its bytes: whoever deletes keeps such uploads out meanwhile, or does so before the
    /// first of them, as [`crate::garbage`] does.
    ///
    /// # Errors
    /// The storage's own.
    pub async fn delete(&self, digest: &Digest) -> Result<bool, ArtifactError> {
        match self.objects.delete(&key(digest)).await.map_err(|error| failed(digest, error)) {
            Ok(()) => Ok(true),
            Err(ArtifactError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The digests of all blobs. Files that are not named as blobs are, are passed over: they are not ours.
    ///
    /// # Errors
    /// The storage's own.
    pub async fn list(&self) -> Result<Vec<Digest>, ArtifactError> {
        let named = |key: &Key| key.filename().and_then(Digest::from_hex).filter(|digest| self::key(digest) == *key);
        self.objects
            .list(Some(&Key::from(BLOBS)))
            .try_filter_map(|object| std::future::ready(Ok(named(&object.location))))
            .try_collect()
            .await
            .map_err(storage)
    }

    /// Makes sure that a blob which is there already is there after a power cut too: who renamed it into place may have
    /// been killed before its directories were synced.
    async fn sync_entry(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let path = self.path(digest);
        blocking(move || Ok(path.ancestors().skip(1).take(2).try_for_each(sync_directory)?)).await
    }

    /// Removes what uploads left behind when the process was killed, and says how many files that were. To be called
    /// on start, before the first upload: it cannot tell a stale file from one that is being written.
    ///
    /// # Errors
    /// [`ArtifactError::Io`] if the directory cannot be read or a file not removed.
    pub async fn sweep(&self) -> Result<u64, ArtifactError> {
        let tmp = self.root.join(TMP);
        blocking(move || {
            let mut removed = 0;
            for entry in std::fs::read_dir(tmp)? {
                let entry = entry?;
                if !entry.file_type()?.is_dir() {
                    std::fs::remove_file(entry.path())?;
                    removed += 1;
                }
            }
            Ok(removed)
        })
        .await
    }
}

fn key(digest: &Digest) -> Key {
    let hex = digest.hex();
    Key::from_iter([BLOBS, &hex[..2], &hex])
}

/// What `object_store` said about one blob, in our words.
fn failed(digest: &Digest, error: object_store::Error) -> ArtifactError {
    match error {
        object_store::Error::NotFound { .. } => ArtifactError::Missing(*digest),
        other => storage(other),
    }
}

/// `object_store` wraps the system's error, sometimes twice; a full disk is looked for at any depth.
fn storage(error: object_store::Error) -> ArtifactError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            // `io::Error` is not `Clone`; kind and text are what a reader of the log needs.
            if let full @ ArtifactError::DiskFull(_) = io::Error::new(io.kind(), io.to_string()).into() {
                return full;
            }
        }
        cause = current.source();
    }
    ArtifactError::Storage(error)
}

/// Runs system calls that may take long where they hold up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static) -> Result<T, ArtifactError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // Only while the runtime shuts down.
        Err(stopped) => Err(ArtifactError::Io(io::Error::other(stopped))),
    }
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// Elsewhere a directory cannot be opened as a file; `object_store` leaves it out there too.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert!(matches!(io::Error::from(kind).into(), ArtifactError::DiskFull(_)));
            let wrapped = object_store::Error::Generic { store: "s", source: Box::new(io::Error::from(kind)) };
            assert!(matches!(storage(wrapped), ArtifactError::DiskFull(_)));
        }
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(matches!(denied.into(), ArtifactError::Io(_)));
    }

    #[tokio::test]
    async fn strangers_are_not_listed() {
        let root = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::local(root.path()).unwrap();
        let hex = Digest::of(b"x").hex();
        for stranger in ["sha256/README", &format!("sha256/00/{hex}"), &format!("sha256/{hex}")] {
            let path = root.path().join(stranger);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        assert_eq!(artifacts.list().await.unwrap(), []);
    }
}
