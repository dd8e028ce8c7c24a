//! What may go, and what goes with it.

use bulkhead_registry::*;

use super::support::*;

chapters!(a_plugin_in_use, many_users_of_a_plugin, a_graph_in_use, a_version, the_last_version);

async fn a_plugin_in_use(store: &dyn Store) {
    let image = plugin("image@0.1.0");
    assert_eq!(store.delete_plugin(&acme(), &image.plugin, &Origin::host()).await.unwrap(), Deleted::NotFound);
    store.put_plugin(image.clone(), &[], &Origin::host()).await.unwrap();
    store.put_plugin(plugin("image@0.2.0"), &[], &Origin::host()).await.unwrap();
    let uses = "transforms = [{plugin = 'image@0.1.0'}, {plugin = 'image@0.1.0'}]";
    for name in ["b@1.0.0", "a@1.10.0", "a@1.9.0"] {
        store.put_version(version(name, uses), PutStage::Staging, &[], &Origin::host()).await.unwrap();
    }
    let users = ["a@1.9.0", "a@1.10.0", "b@1.0.0"].map(str::to_owned).to_vec();
    assert_eq!(store.delete_plugin(&acme(), &image.plugin, &Origin::host()).await.unwrap(), Deleted::InUse(users));
    assert!(store.plugin(&acme(), &image.plugin).await.unwrap().is_some());
    // Another version of the plugin is another plugin.
    assert_eq!(store.delete_plugin(&acme(), &plugin_ref("image@0.2.0"), &Origin::host()).await.unwrap(), Deleted::Done);

    for name in ["a@1.9.0", "a@1.10.0", "b@1.0.0"] {
        assert_eq!(store.delete_version(&acme(), &model_ref(name), &Origin::host()).await.unwrap(), Deleted::Done);
    }
    assert_eq!(store.delete_plugin(&acme(), &image.plugin, &Origin::host()).await.unwrap(), Deleted::Done);
    assert_eq!(store.plugin(&acme(), &image.plugin).await.unwrap(), None);
    // Gone, so the name and version are free for other bytes.
    let other = PluginRecord { digest: Digest::of(b"other"), ..image };
    assert!(matches!(store.put_plugin(other, &[], &Origin::host()).await.unwrap(), Put::Created(_)));
}

async fn many_users_of_a_plugin(store: &dyn Store) {
    store.put_plugin(plugin("image@0.1.0"), &[], &Origin::host()).await.unwrap();
    for n in 0..23 {
        let user = version(&format!("m@1.{n}.0"), "transforms = [{plugin = 'image@0.1.0'}]");
        store.put_version(user, PutStage::Staging, &[], &Origin::host()).await.unwrap();
    }
    let Deleted::InUse(users) = store.delete_plugin(&acme(), &plugin_ref("image@0.1.0"), &Origin::host()).await.unwrap() else {
        panic!("it is in use");
    };
    assert_eq!(users.len(), 21);
    assert_eq!((users[19].as_str(), users[20].as_str()), ("m@1.19.0", "and 3 more"));
}

async fn a_graph_in_use(store: &dyn Store) {
    store.put_plugin(plugin("cascade@0.1.0"), &[], &Origin::host()).await.unwrap();
    put_all(store, &["digits@1.0.0", "digits@2.0.0"]).await;
    let user = predictor("both@1.0.0", "cascade@0.1.0", "{ small = 'digits@2.0.0', again = 'digits@2.0.0' }");
    store.put_version(user, PutStage::Staging, &[], &Origin::host()).await.unwrap();
    let used = Deleted::InUse(vec!["both@1.0.0".into()]);
    assert_eq!(store.delete_version(&acme(), &model_ref("digits@2.0.0"), &Origin::host()).await.unwrap(), used);
    assert_eq!(store.delete_plugin(&acme(), &plugin_ref("cascade@0.1.0"), &Origin::host()).await.unwrap(), used);
    assert_eq!(store.delete_version(&acme(), &model_ref("both@1.0.0"), &Origin::host()).await.unwrap(), Deleted::Done);
    assert_eq!(store.delete_version(&acme(), &model_ref("digits@2.0.0"), &Origin::host()).await.unwrap(), Deleted::Done);
    assert_eq!(store.delete_plugin(&acme(), &plugin_ref("cascade@0.1.0"), &Origin::host()).await.unwrap(), Deleted::Done);

    // What another tenant has can't be granted.
    put_all(store, &["other@1.0.0"]).await;
    let foreign = VersionRecord { tenant: tenant("globex"), ..predictor("both@1.0.0", "cascade@0.1.0", "{ a = 'other@1.0.0' }") };
    store.put_plugin(PluginRecord { tenant: tenant("globex"), ..plugin("cascade@0.1.0") }, &[], &Origin::host()).await.unwrap();
    let error = store.put_version(foreign, PutStage::Staging, &[], &Origin::host()).await.unwrap_err();
    assert!(matches!(&error, StoreError::MissingGraph(missing) if *missing == model_ref("other@1.0.0")), "{error}");
}

async fn a_version(store: &dyn Store) {
    assert_eq!(store.delete_version(&acme(), &model_ref("m@1.0.0"), &Origin::host()).await.unwrap(), Deleted::NotFound);
    put_all(store, &["m@1.0.0", "m@2.0.0"]).await;
    let refused = Deleted::InUse(vec!["m@1.0.0 is in production: promote another version first".into()]);
    assert_eq!(store.delete_version(&acme(), &model_ref("m@1.0.0"), &Origin::host()).await.unwrap(), refused);
    store.promote(&acme(), &model_ref("m@2.0.0"), &Origin::host()).await.unwrap();
    assert_eq!(store.delete_version(&acme(), &model_ref("m@1.0.0"), &Origin::host()).await.unwrap(), Deleted::Done);
    assert_eq!(store.version(&acme(), &model_ref("m@1.0.0")).await.unwrap(), None);
    assert_eq!(store.model(&acme(), &model("m")).await.unwrap().unwrap().versions, 1);
}

async fn the_last_version(store: &dyn Store) {
    let tagged = version("m@1.0.0", "tags = {team = 'vision'}");
    store.put_version(tagged, PutStage::Staging, &[], &Origin::host()).await.unwrap();
    assert_eq!(store.delete_version(&acme(), &model_ref("m@1.0.0"), &Origin::host()).await.unwrap(), Deleted::Done);
    assert_eq!(store.model(&acme(), &model("m")).await.unwrap(), None);
    assert_eq!(store.models(&acme(), &ModelFilter::default(), &Page::default()).await.unwrap().items, []);
    // The model that comes next under this name is a new one.
    assert_eq!(put(store, "m@1.0.0", PutStage::Auto).await.stage, Stage::Production);
}
