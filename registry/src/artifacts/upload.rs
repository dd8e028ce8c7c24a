//! Bytes on their way in: a temporary file that becomes a blob, or goes away.

use std::io;
use std::path::{Path, PathBuf};

use object_store::path::Path as Key;
use object_store::{ObjectStore as _, RenameOptions};
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::{ArtifactError, Artifacts, TMP, blocking, key, storage};
use crate::ids::{Digest, Hasher};

/// An upload that has not been finished. Dropping it removes what was written.
#[derive(Debug)]
pub struct Upload {
    artifacts: Artifacts,
    file: File,
    temporary: TempPath,
    hasher: Hasher,
    size: u64,
    limit: u64,
}

/// Bytes that survive a power cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Their address.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
    /// The local file that holds them.
    pub path: PathBuf,
}

impl Upload {
    pub(super) async fn begin(artifacts: Artifacts, limit: u64) -> Result<Self, ArtifactError> {
        let tmp = artifacts.root.join(TMP);
        let named = blocking(move || Ok(tempfile::Builder::new().prefix("upload-").tempfile_in(tmp)?)).await?;
        let (file, temporary) = named.into_parts();
        Ok(Self { artifacts, file: File::from_std(file), temporary, hasher: Hasher::new(), size: 0, limit })
    }

    /// Adds bytes. After an error the upload is of no more use: drop it.
    ///
    /// # Errors
    /// [`ArtifactError::TooLarge`] as soon as the bound is passed (what is over is not written);
    /// [`ArtifactError::DiskFull`] or [`ArtifactError::Io`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ArtifactError> {
        let size = self.size.saturating_add(bytes.len() as u64);
        if size > self.limit {
            return Err(ArtifactError::TooLarge { limit: self.limit });
        }
        self.file.write_all(bytes).await?;
        // Tokio's file writes behind; without this, who opens `path` may miss the tail.
        self.file.flush().await?;
        self.hasher.update(bytes);
        self.size = size;
        Ok(())
    }

    /// Of the bytes that came so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// How many bytes came so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The temporary file, so that a model can be tried before it is accepted. It holds all that was written, and is
    /// gone once the upload is dropped or finished.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Makes the bytes a blob. When this returns they are on the disk under their digest, name and all, so a database
    /// row may refer to them.
    ///
    /// A sound blob of the same digest is kept, a damaged one replaced.
    ///
    /// # Errors
    /// [`ArtifactError::DiskFull`], [`ArtifactError::Io`] or [`ArtifactError::Storage`]; nothing is left behind then.
    pub async fn finish(self) -> Result<Stored, ArtifactError> {
        self.file.sync_all().await?;
        let digest = self.hasher.finish();
        let stored = Stored { digest, size: self.size, path: self.artifacts.path(&digest) };
        match self.artifacts.verify(&digest).await {
            Ok(()) => {
                self.artifacts.sync_entry(&digest).await?;
                return Ok(stored);
            }
            Err(ArtifactError::Missing(_) | ArtifactError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        let name = self.temporary.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| io::Error::other("the name of a temporary file is not text"))?;
        // The store syncs both directories after the rename (`with_fsync`), but leaves the file to who wrote it.
        let from = Key::from_iter([TMP, name]);
        self.artifacts.objects.rename_opts(&from, &key(&digest), RenameOptions::new()).await.map_err(storage)?;
        Ok(stored)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_disk_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::local(root.path()).unwrap();
        let mut upload = artifacts.begin(1 << 20).await.unwrap();
        // The one device that is always full.
        upload.file = File::options().write(true).open("/dev/full").await.unwrap();
        let result = upload.write(b"bytes").await;
        assert!(matches!(result, Err(ArtifactError::DiskFull(_))), "{result:?}");
        drop(upload);
        assert_eq!(std::fs::read_dir(root.path().join(TMP)).unwrap().count(), 0);
        assert_eq!(artifacts.list().await.unwrap(), []);
    }
}
