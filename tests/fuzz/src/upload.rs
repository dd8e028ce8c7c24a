//! The form of a new version: a manifest, and an artifact on its way to the disk.

use std::sync::LazyLock;

use axum::extract::Request;
use axum::response::IntoResponse as _;
use bulkhead::api::read_upload;
use bulkhead_registry::Artifacts;

use super::{pieces, wait};

/// Between the parts; `X` in the corpus would be as good.
const BOUNDARY: &str = "X";

/// Bytes of an artifact.
const MOST: u64 = 2048;

/// The first byte says in pieces of how many bytes the form comes.
pub fn upload(data: &[u8]) {
    static STORE: LazyLock<(tempfile::TempDir, Artifacts)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let artifacts = Artifacts::local(folder.path()).expect("a store");
        (folder, artifacts)
    });
    let Some((length, form)) = data.split_first() else { return };
    let (folder, artifacts) = &*STORE;
    let request = Request::put("/").header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    let request = request.body(pieces(form, usize::from(*length) + 1)).expect("a request");
    match wait(read_upload(request, artifacts, MOST)) {
        Ok(((manifest, _), artifact)) => {
            assert!(artifact.is_some() || manifest.predictor.is_some(), "a model without an artifact");
            if let Some(artifact) = artifact {
                assert!(artifact.size() <= MOST, "{} bytes", artifact.size());
                assert_eq!(artifact.path().metadata().expect("a file").len(), artifact.size());
            }
        }
        Err(error) => {
            let status = error.into_response().status();
            assert!(status.is_client_error(), "{status}");
        }
    }
    assert_eq!(folder.path().join("tmp").read_dir().expect("a folder").count(), 0, "an upload was left");
}
