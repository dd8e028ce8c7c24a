//! What is put stays as it was put.

use bulkhead_registry::*;

use super::support::*;

chapters!(a_plugin, a_version, a_manifest_needs_its_plugins, the_first_version, tenants, bytes_in_use);

async fn a_plugin(store: &dyn Store) {
    let image = plugin("image@0.1.0");
    assert_eq!(store.plugin(&acme(), &image.plugin).await.unwrap(), None);
    assert_eq!(store.put_plugin(image.clone(), &[], &Origin::host()).await.unwrap(), Put::Created(image.clone()));
    assert_eq!(store.plugin(&acme(), &image.plugin).await.unwrap(), Some(image.clone()));

    // The same bytes again, at another time: the first stays.
    let later = PluginRecord { created_at: image.created_at + 1, ..image.clone() };
    assert_eq!(store.put_plugin(later, &[], &Origin::host()).await.unwrap(), Put::Same(image.clone()));
    let other = PluginRecord { digest: Digest::of(b"other"), ..image.clone() };
    assert_eq!(store.put_plugin(other, &[], &Origin::host()).await.unwrap(), Put::Conflict(image.clone()));
    assert_eq!(store.plugin(&acme(), &image.plugin).await.unwrap(), Some(image));
}

async fn a_version(store: &dyn Store) {
    let one = version("digits@1.0.0", "tags = {team = 'vision', ratio = '0.1'}\ngit_sha = 'abcdef0'");
    let stored = VersionRecord { stage: Stage::Production, ..one.clone() };
    assert_eq!(store.version(&acme(), &one.model).await.unwrap(), None);
    assert_eq!(store.put_version(one.clone(), PutStage::Auto, &[], &Origin::host()).await.unwrap(), Put::Created(stored.clone()));
    assert_eq!(store.version(&acme(), &one.model).await.unwrap(), Some(stored.clone()));

    let later = VersionRecord { created_at: one.created_at + 1, ..one.clone() };
    assert_eq!(store.put_version(later, PutStage::Staging, &[], &Origin::host()).await.unwrap(), Put::Same(stored.clone()));
    let other_bytes = VersionRecord { digest: Digest::of(b"other"), ..one.clone() };
    assert_eq!(store.put_version(other_bytes, PutStage::Auto, &[], &Origin::host()).await.unwrap(), Put::Conflict(stored.clone()));
    let other_manifest = VersionRecord { manifest: version("digits@1.0.0", "").manifest, ..one.clone() };
    assert_eq!(store.put_version(other_manifest, PutStage::Auto, &[], &Origin::host()).await.unwrap(), Put::Conflict(stored.clone()));
    assert_eq!(store.version(&acme(), &one.model).await.unwrap(), Some(stored));
}

async fn a_manifest_needs_its_plugins(store: &dyn Store) {
    let uses = "transforms = [{plugin = 'image@0.1.0', config = {w = 0.1}}, {plugin = 'image@0.1.0'}, {plugin = 'classify@0.1.0'}]";
    let one = version("digits@1.0.0", uses);
    store.put_plugin(plugin("image@0.1.0"), &[], &Origin::host()).await.unwrap();
    // Another tenant's plugin of that name does not count, nor another version.
    store.put_plugin(PluginRecord { tenant: tenant("other"), ..plugin("classify@0.1.0") }, &[], &Origin::host()).await.unwrap();
    store.put_plugin(plugin("classify@0.2.0"), &[], &Origin::host()).await.unwrap();
    let error = store.put_version(one.clone(), PutStage::Auto, &[], &Origin::host()).await.unwrap_err();
    assert!(matches!(&error, StoreError::MissingPlugin(missing) if *missing == plugin_ref("classify@0.1.0")));
    assert_eq!(error.to_string(), "plugin `classify@0.1.0` does not exist");
    // Nothing of it is left, not even the model.
    assert_eq!(store.model(&acme(), &model("digits")).await.unwrap(), None);

    store.put_plugin(plugin("classify@0.1.0"), &[], &Origin::host()).await.unwrap();
    assert!(matches!(store.put_version(one, PutStage::Auto, &[], &Origin::host()).await.unwrap(), Put::Created(_)));
}

async fn the_first_version(store: &dyn Store) {
    assert_eq!(put(store, "a@1.0.0", PutStage::Auto).await.stage, Stage::Production);
    assert_eq!(put(store, "a@2.0.0", PutStage::Auto).await.stage, Stage::Staging);
    assert_eq!(production(store, "a").await.as_deref(), Some("1.0.0"));
    let history = store.history(&acme(), &model("a"), &Page::default()).await.unwrap().items;
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].action, &history[0].version, &history[0].from), (Action::Promote, &v("1.0.0"), &None));
    // The database's clock runs.
    assert!(history[0].at > 1_700_000_000_000);

    assert_eq!(put(store, "b@1.0.0", PutStage::Staging).await.stage, Stage::Staging);
    assert_eq!(put(store, "b@2.0.0", PutStage::Auto).await.stage, Stage::Staging);
    assert_eq!(production(store, "b").await, None);
    assert_eq!(store.history(&acme(), &model("b"), &Page::default()).await.unwrap().items, []);
}

async fn tenants(store: &dyn Store) {
    let other = tenant("other");
    store.put_plugin(plugin("image@0.1.0"), &[], &Origin::host()).await.unwrap();
    put_all(store, &["digits@1.0.0", "digits@2.0.0"]).await;
    store.promote(&acme(), &model_ref("digits@2.0.0"), &Origin::host()).await.unwrap();

    let (all, page) = (ModelFilter::default(), Page::default());
    let (digits, one, image) = (model("digits"), model_ref("digits@1.0.0"), plugin_ref("image@0.1.0"));
    assert_eq!(store.plugin(&other, &image).await.unwrap(), None);
    assert_eq!(store.plugins(&other, &page).await.unwrap().items, []);
    assert_eq!(store.plugin_versions(&other, &image.name).await.unwrap(), []);
    assert_eq!(store.delete_plugin(&other, &image, &Origin::host()).await.unwrap(), Deleted::NotFound);
    assert_eq!(store.version(&other, &one).await.unwrap(), None);
    assert_eq!(store.versions(&other, &digits, &all, &page).await.unwrap().items, []);
    assert_eq!(store.model(&other, &digits).await.unwrap(), None);
    assert_eq!(store.models(&other, &all, &page).await.unwrap().items, []);
    assert_eq!(store.delete_version(&other, &one, &Origin::host()).await.unwrap(), Deleted::NotFound);
    assert_eq!(store.promote(&other, &one, &Origin::host()).await.unwrap(), None);
    assert_eq!(store.rollback(&other, &digits, &Origin::host()).await.unwrap(), RolledBack::NotFound);
    assert_eq!(store.history(&other, &digits, &page).await.unwrap().items, []);

    // The same names are free to it, with other bytes, and its changes are its own.
    let theirs = VersionRecord { tenant: other.clone(), digest: Digest::of(b"theirs"), ..version("digits@1.0.0", "") };
    assert!(matches!(store.put_version(theirs, PutStage::Auto, &[], &Origin::host()).await.unwrap(), Put::Created(_)));
    let theirs = PluginRecord { tenant: other.clone(), digest: Digest::of(b"theirs"), ..plugin("image@0.1.0") };
    assert!(matches!(store.put_plugin(theirs, &[], &Origin::host()).await.unwrap(), Put::Created(_)));
    assert_eq!(store.delete_plugin(&other, &image, &Origin::host()).await.unwrap(), Deleted::Done);
    assert!(store.plugin(&acme(), &image).await.unwrap().is_some());
    assert_eq!(production(store, "digits").await.as_deref(), Some("2.0.0"));
    assert_eq!(store.rollback(&other, &digits, &Origin::host()).await.unwrap(), RolledBack::Nothing);

    // On start all of it is wanted.
    let all: Vec<_> = store.all_versions().await.unwrap();
    let all: Vec<_> = all.iter().map(|version| format!("{}/{}", version.tenant, version.model)).collect();
    assert_eq!(all, ["acme/digits@1.0.0", "acme/digits@2.0.0", "other/digits@1.0.0"]);
    assert_eq!(store.all_plugins().await.unwrap().len(), 1);
}

async fn bytes_in_use(store: &dyn Store) {
    let (image, digits) = (plugin("image@0.1.0"), version("digits@1.0.0", ""));
    for digest in [&image.digest, &digits.digest] {
        assert!(!store.digest_in_use(digest).await.unwrap());
    }
    store.put_plugin(image.clone(), &[], &Origin::host()).await.unwrap();
    store.put_version(digits.clone(), PutStage::Staging, &[], &Origin::host()).await.unwrap();
    for digest in [&image.digest, &digits.digest] {
        assert!(store.digest_in_use(digest).await.unwrap());
    }
    store.delete_plugin(&acme(), &image.plugin, &Origin::host()).await.unwrap();
    store.delete_version(&acme(), &digits.model, &Origin::host()).await.unwrap();
    for digest in [&image.digest, &digits.digest] {
        assert!(!store.digest_in_use(digest).await.unwrap());
    }
}
