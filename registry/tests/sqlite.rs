//! What concerns the file of the embedded database: it outlives the process, and so do the bytes beside it.

#![expect(clippy::unwrap_used, reason = "what helpers of a test cannot do is a failed test")]

use bulkhead_registry::*;
use serde_json::json;

fn record(name: &str, digest: Digest) -> VersionRecord {
    VersionRecord {
        tenant: TenantId::default_tenant(),
        model: name.parse().unwrap(),
        digest,
        size: 1,
        manifest: Manifest::from_toml("runtime = 'onnx'\ntags = {a = 'b'}\n[engine]\nthreads = 2").unwrap(),
        signature: json!({"inputs": []}),
        stage: Stage::Staging,
        created_at: 1,
    }
}

/// Everything that the trait shows.
async fn everything(store: &dyn Store) -> String {
    let tenant = TenantId::default_tenant();
    let model = "m".parse().unwrap();
    format!(
        "{:?} {:?} {:?} {:?}",
        store.all_plugins().await.unwrap(),
        store.all_versions().await.unwrap(),
        store.model(&tenant, &model).await.unwrap(),
        store.history(&tenant, &model, &Page::default()).await.unwrap(),
    )
}

#[tokio::test]
async fn a_reopened_file_holds_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    let tenant = TenantId::default_tenant();
    let store = SqliteStore::open(&path).await.unwrap();
    for n in 1..=3 {
        store.put_version(record(&format!("m@{n}.0.0"), Digest::of(b"m")), PutStage::Auto, &[], &Origin::host()).await.unwrap();
        store.promote(&tenant, &format!("m@{n}.0.0").parse().unwrap(), &Origin::host()).await.unwrap();
    }
    let before = everything(&store).await;
    store.close().await;
    assert!(store.ping().await.is_err());
    assert!(!directory.path().join("registry.db-wal").exists(), "closing folds the log in");

    let store = SqliteStore::open(&path).await.unwrap();
    store.ping().await.unwrap();
    assert_eq!(everything(&store).await, before);
    let back = RolledBack::Done { from: "3.0.0".parse().unwrap(), to: "2.0.0".parse().unwrap() };
    assert_eq!(store.rollback(&tenant, &"m".parse().unwrap(), &Origin::host()).await.unwrap(), back);
}

/// As a kill leaves it: the first store is still open, its log not folded in, when the second one opens the file.
#[tokio::test]
async fn a_second_process_sees_what_was_acknowledged_and_waits_its_turn() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    let first = SqliteStore::open(&path).await.unwrap();
    first.put_version(record("m@1.0.0", Digest::of(b"m")), PutStage::Auto, &[], &Origin::host()).await.unwrap();
    let second = SqliteStore::open(&path).await.unwrap();
    assert_eq!(everything(&second).await, everything(&first).await);

    let put = |store: SqliteStore, from: u32| async move {
        for n in from..from + 10 {
            store.put_version(record(&format!("m@1.{n}.0"), Digest::of(b"m")), PutStage::Auto, &[], &Origin::host()).await.unwrap();
        }
    };
    tokio::join!(put(first.clone(), 100), put(second.clone(), 200));
    assert_eq!(first.all_versions().await.unwrap().len(), 21);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    std::fs::write(&path, vec![b'x'; 4096]).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("registry.db"));
    let nowhere = directory.path().join("missing/registry.db");
    assert!(matches!(SqliteStore::open(&nowhere).await, Err(StoreError::Open { .. })));
}

#[tokio::test]
async fn garbage_is_what_no_row_refers_to() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("registry.db")).await.unwrap();
    let artifacts = Artifacts::local(&directory.path().join("artifacts")).unwrap();
    let mut digests = Vec::new();
    for bytes in [&b"model"[..], b"plugin", b"killed before its row", b"deleted"] {
        let mut upload = artifacts.begin(100).await.unwrap();
        upload.write(bytes).await.unwrap();
        digests.push(upload.finish().await.unwrap().digest);
    }
    store.put_version(record("m@1.0.0", digests[0]), PutStage::Auto, &[], &Origin::host()).await.unwrap();
    let plugin = PluginRecord {
        tenant: TenantId::default_tenant(),
        plugin: "p@1.0.0".parse().unwrap(),
        world: "transform".into(),
        digest: digests[1],
        size: 6,
        imports: Vec::new(),
        description: json!(null),
        created_at: 1,
    };
    store.put_plugin(plugin, &[], &Origin::host()).await.unwrap();
    store.put_version(record("m@2.0.0", digests[3]), PutStage::Auto, &[], &Origin::host()).await.unwrap();
    store.delete_version(&TenantId::default_tenant(), &"m@2.0.0".parse().unwrap(), &Origin::host()).await.unwrap();

    assert_eq!(garbage(&store, &artifacts).await.unwrap(), 2);
    assert_eq!(garbage(&store, &artifacts).await.unwrap(), 0);
    for (digest, kept) in digests.iter().zip([true, true, false, false]) {
        assert_eq!(artifacts.exists(digest).await.unwrap(), kept);
    }
}
