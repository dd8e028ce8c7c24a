//! Empty stores, and records with what a chapter does not care about filled in.

use std::ops::Deref;

use bulkhead_registry::*;
use serde_json::json;
use tempfile::TempDir;

/// An empty store that goes away with its directory.
pub(crate) struct Fresh {
    store: Box<dyn Store>,
    _directory: TempDir,
}

impl Deref for Fresh {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

pub(crate) async fn sqlite() -> Fresh {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("registry.db")).await.unwrap();
    Fresh { store: Box::new(store), _directory: directory }
}

/// Makes one test per database of every chapter.
macro_rules! chapters {
    ($($chapter:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $chapter() {
                    super::$chapter(&*$crate::story::support::sqlite().await).await;
                }
            )+
        }
    };
}
pub(crate) use chapters;

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn acme() -> TenantId {
    tenant("acme")
}

pub(crate) fn model(name: &str) -> ModelName {
    name.parse().unwrap()
}

pub(crate) fn model_ref(text: &str) -> ModelRef {
    text.parse().unwrap()
}

pub(crate) fn plugin_ref(text: &str) -> PluginRef {
    text.parse().unwrap()
}

pub(crate) fn v(text: &str) -> Version {
    text.parse().unwrap()
}

/// A plugin whose bytes are its own name.
pub(crate) fn plugin(name: &str) -> PluginRecord {
    PluginRecord {
        tenant: acme(),
        plugin: plugin_ref(name),
        world: "transform".into(),
        digest: Digest::of(name.as_bytes()),
        size: name.len() as u64,
        imports: vec!["bulkhead:plugin/log@0.1.0".into()],
        description: json!({"config": {"type": "object"}, "n": 0.1}),
        created_at: 1_700_000_000_000,
    }
}

/// A version whose bytes are its own name, with the rest of the manifest as TOML.
pub(crate) fn version(name: &str, manifest: &str) -> VersionRecord {
    VersionRecord {
        tenant: acme(),
        model: model_ref(name),
        digest: Digest::of(name.as_bytes()),
        size: name.len() as u64,
        manifest: Manifest::from_toml(&format!("runtime = 'onnx'\n{manifest}")).unwrap(),
        signature: json!({"inputs": [{"name": "x", "shape": [-1, 4]}]}),
        stage: Stage::Staging,
        created_at: 1_700_000_000_000,
    }
}

/// A version that a plugin answers for, which may run these graphs.
pub(crate) fn predictor(name: &str, plugin: &str, graphs: &str) -> VersionRecord {
    let manifest = format!("runtime = 'predictor'\npredictor = {{ plugin = '{plugin}', grants = {{ graphs = {graphs} }} }}");
    VersionRecord { manifest: Manifest::from_toml(&manifest).unwrap(), ..version(name, "") }
}

pub(crate) async fn put(store: &dyn Store, name: &str, stage: PutStage) -> VersionRecord {
    match store.put_version(version(name, ""), stage, &[], &Origin::host()).await.unwrap() {
        Put::Created(stored) => stored,
        other => panic!("{name} is there already: {other:?}"),
    }
}

pub(crate) async fn put_all(store: &dyn Store, names: &[&str]) {
    for name in names {
        put(store, name, PutStage::Auto).await;
    }
}

/// What is in production, after checking that all ways to see it agree.
pub(crate) async fn production(store: &dyn Store, name: &str) -> Option<String> {
    let record = store.model(&acme(), &model(name)).await.unwrap().unwrap();
    let filter = ModelFilter { stage: Some(Stage::Production), ..ModelFilter::default() };
    let staged = store.versions(&acme(), &model(name), &filter, &Page::default()).await.unwrap().items;
    let staged: Vec<_> = staged.into_iter().map(|version| version.model.version).collect();
    assert_eq!(staged, Vec::from_iter(record.production.clone()));
    record.production.map(|version| version.to_string())
}

pub(crate) async fn stage(store: &dyn Store, name: &str) -> Stage {
    store.version(&acme(), &model_ref(name)).await.unwrap().unwrap().stage
}

pub(crate) fn page(limit: u32, after: Option<String>) -> Page {
    Page { limit, after }
}
