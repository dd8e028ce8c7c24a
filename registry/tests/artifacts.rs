//! Bytes by digest, on a real directory.

#![expect(clippy::unwrap_used, reason = "what helpers of a test cannot do is a failed test")]

use std::fs;
use std::path::Path;

use bulkhead_registry::{ArtifactError, Artifacts, Digest, Stored};
use tempfile::TempDir;

fn store() -> (TempDir, Artifacts) {
    let root = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::local(root.path()).unwrap();
    (root, artifacts)
}

async fn put(artifacts: &Artifacts, bytes: &[u8]) -> Stored {
    let mut upload = artifacts.begin(u64::MAX).await.unwrap();
    for piece in bytes.chunks(100_000) {
        upload.write(piece).await.unwrap();
    }
    upload.finish().await.unwrap()
}

fn temporary_files(root: &Path) -> usize {
    fs::read_dir(root.join("tmp")).unwrap().count()
}

#[tokio::test]
async fn bytes_come_back() {
    let (root, artifacts) = store();
    // More than one piece of a verification, and not a whole number of them.
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let stored = put(&artifacts, &bytes).await;
    assert_eq!(stored.digest, Digest::of(&bytes));
    assert_eq!(stored.size, 3_000_000);
    assert_eq!(stored.path, artifacts.path(&stored.digest));
    let hex = stored.digest.hex();
    assert!(stored.path.ends_with(format!("sha256/{}/{hex}", &hex[..2])));
    assert_eq!(fs::read(&stored.path).unwrap(), bytes);
    assert_eq!(artifacts.get(&stored.digest).await.unwrap(), bytes);
    artifacts.verify(&stored.digest).await.unwrap();
    assert!(artifacts.exists(&stored.digest).await.unwrap());
    assert_eq!(artifacts.list().await.unwrap(), [stored.digest]);
    assert_eq!(temporary_files(root.path()), 0);
}

#[tokio::test]
async fn nothing_is_bytes_too() {
    let (_root, artifacts) = store();
    let stored = put(&artifacts, b"").await;
    assert_eq!((stored.size, stored.digest), (0, Digest::of(b"")));
    assert!(artifacts.get(&stored.digest).await.unwrap().is_empty());
    artifacts.verify(&stored.digest).await.unwrap();
}

#[tokio::test]
async fn an_unfinished_upload_can_be_read_and_goes_away() {
    let (root, artifacts) = store();
    let mut upload = artifacts.begin(100).await.unwrap();
    upload.write(b"one ").await.unwrap();
    upload.write(b"two").await.unwrap();
    assert_eq!(fs::read(upload.path()).unwrap(), b"one two");
    assert_eq!(upload.size(), 7);
    assert_eq!(artifacts.list().await.unwrap(), []);
    drop(upload);
    assert_eq!(temporary_files(root.path()), 0);
}

#[tokio::test]
async fn an_upload_is_bounded() {
    let (root, artifacts) = store();
    let mut upload = artifacts.begin(5).await.unwrap();
    upload.write(b"12345").await.unwrap();
    upload.write(b"").await.unwrap();
    let error = upload.write(b"6").await.unwrap_err();
    assert!(matches!(error, ArtifactError::TooLarge { limit: 5 }), "{error:?}");
    assert_eq!(error.to_string(), "larger than the limit of 5 bytes");
    drop(upload);
    assert_eq!(temporary_files(root.path()), 0);
}

#[tokio::test]
async fn the_same_bytes_are_one_blob() {
    let (root, artifacts) = store();
    let first = put(&artifacts, b"same").await;
    let modified = fs::metadata(&first.path).unwrap().modified().unwrap();
    assert_eq!(put(&artifacts, b"same").await, first);
    assert_eq!(fs::metadata(&first.path).unwrap().modified().unwrap(), modified, "a sound blob is kept");
    assert_eq!(artifacts.list().await.unwrap().len(), 1);
    assert_eq!(temporary_files(root.path()), 0);
}

#[tokio::test]
async fn many_uploads_of_the_same_bytes_at_once() {
    let (root, artifacts) = store();
    let uploads: Vec<_> = (0..16)
        .map(|_| {
            let artifacts = artifacts.clone();
            tokio::spawn(async move { put(&artifacts, b"together").await })
        })
        .collect();
    for upload in uploads {
        assert_eq!(upload.await.unwrap().digest, Digest::of(b"together"));
    }
    assert_eq!(artifacts.list().await.unwrap(), [Digest::of(b"together")]);
    assert_eq!(temporary_files(root.path()), 0);
}

#[tokio::test]
async fn damage_is_found_and_mended() {
    let (_root, artifacts) = store();
    let stored = put(&artifacts, b"sound").await;
    for damage in [&b"SOUND"[..], b"sou", b""] {
        fs::write(&stored.path, damage).unwrap();
        let found = Digest::of(damage);
        for error in [artifacts.get(&stored.digest).await.unwrap_err(), artifacts.verify(&stored.digest).await.unwrap_err()] {
            assert!(matches!(error, ArtifactError::Corrupt { found: f, .. } if f == found), "{error:?}");
        }
        put(&artifacts, b"sound").await;
        artifacts.verify(&stored.digest).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_there() {
    let (_root, artifacts) = store();
    let digest = Digest::of(b"never stored");
    assert!(!artifacts.exists(&digest).await.unwrap());
    assert!(matches!(artifacts.get(&digest).await, Err(ArtifactError::Missing(d)) if d == digest));
    assert!(matches!(artifacts.verify(&digest).await, Err(ArtifactError::Missing(d)) if d == digest));
    assert!(!artifacts.delete(&digest).await.unwrap());
}

#[tokio::test]
async fn deletion() {
    let (_root, artifacts) = store();
    let stored = put(&artifacts, b"short-lived").await;
    assert!(artifacts.delete(&stored.digest).await.unwrap());
    assert!(!artifacts.exists(&stored.digest).await.unwrap());
    assert!(!stored.path.exists());
    assert_eq!(put(&artifacts, b"short-lived").await, stored);
}

#[tokio::test]
async fn a_killed_process_leaves_nothing_for_long() {
    let (root, artifacts) = store();
    let kept = put(&artifacts, b"kept").await;
    let mut upload = artifacts.begin(100).await.unwrap();
    upload.write(b"half").await.unwrap();
    // As a kill would: the destructor does not run.
    std::mem::forget(upload);
    drop(artifacts);

    let artifacts = Artifacts::local(root.path()).unwrap();
    assert_eq!(temporary_files(root.path()), 1);
    assert_eq!(artifacts.sweep().await.unwrap(), 1);
    assert_eq!(artifacts.sweep().await.unwrap(), 0);
    assert_eq!(temporary_files(root.path()), 0);
    artifacts.verify(&kept.digest).await.unwrap();
}

#[tokio::test]
async fn a_root_that_cannot_be_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(Artifacts::local(&file), Err(ArtifactError::Io(_))));
}
