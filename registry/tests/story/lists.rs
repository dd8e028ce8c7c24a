//! Lists: their order, their pages and their filters.

use bulkhead_registry::*;

use super::support::*;

chapters!(plugins_in_pages, versions_in_pages, models_in_pages, limits, filters, bad_keys);

/// In semver's order, which is not the order of text.
const VERSIONS: [&str; 8] = ["0.9.0", "1.0.0-alpha", "1.0.0-alpha.2", "1.0.0-alpha.10", "1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0"];

/// All keys of a list, read in pages of `limit`, each of which but the last must be full.
macro_rules! all_pages {
    ($limit:expr, |$page:ident| $list:expr, $key:expr) => {{
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let $page = page($limit, after);
            let part = $list.await.unwrap();
            keys.extend(part.items.iter().map($key));
            if part.next.is_none() {
                break keys;
            }
            assert_eq!(part.items.len() as u32, $limit);
            assert_eq!(part.next.as_ref(), part.items.last().map($key).as_ref());
            after = part.next;
        }
    }};
}

async fn plugins_in_pages(store: &dyn Store) {
    let mut expected = Vec::new();
    for name in ["Z", "a", "a-b", "ab"] {
        expected.extend(VERSIONS.iter().map(|version| format!("{name}@{version}")));
    }
    for name in expected.iter().rev() {
        store.put_plugin(plugin(name), &[], &Origin::host()).await.unwrap();
    }
    for limit in [1, 3, 8, 32, 100] {
        let keys = all_pages!(limit, |page| store.plugins(&acme(), &page), |item: &PluginRecord| item.plugin.to_string());
        assert_eq!(keys, expected, "in pages of {limit}");
    }
    let versions = store.plugin_versions(&acme(), &"a-b".parse().unwrap()).await.unwrap();
    let versions: Vec<_> = versions.iter().map(|item| item.plugin.version.as_str()).collect();
    assert_eq!(versions, VERSIONS);
    let all: Vec<_> = store.all_plugins().await.unwrap().iter().map(|item| item.plugin.to_string()).collect();
    assert_eq!(all, expected);
}

async fn versions_in_pages(store: &dyn Store) {
    for version in VERSIONS.iter().rev() {
        put(store, &format!("m@{version}"), PutStage::Staging).await;
        put(store, &format!("n@{version}"), PutStage::Staging).await;
    }
    for limit in [1, 3, 8, 100] {
        let (m, all) = (model("m"), ModelFilter::default());
        let key = |item: &VersionRecord| item.model.version.to_string();
        let keys = all_pages!(limit, |page| store.versions(&acme(), &m, &all, &page), key);
        assert_eq!(keys, VERSIONS, "in pages of {limit}");
    }
    // A page goes on where it stopped, even if the item there is gone.
    store.delete_version(&acme(), &model_ref("m@1.0.0"), &Origin::host()).await.unwrap();
    let rest = page(2, Some("1.0.0".into()));
    let rest = store.versions(&acme(), &model("m"), &ModelFilter::default(), &rest).await.unwrap();
    let rest: Vec<_> = rest.items.iter().map(|item| item.model.version.as_str()).collect();
    assert_eq!(rest, ["1.9.0", "1.10.0"]);
}

async fn models_in_pages(store: &dyn Store) {
    let names = ["B", "a", "a-b", "a.b", "ab", "b"];
    for name in names.iter().rev() {
        put_all(store, &[&format!("{name}@1.10.0"), &format!("{name}@1.9.0")]).await;
    }
    for limit in [1, 4, 6, 100] {
        let all = ModelFilter::default();
        let key = |item: &ModelRecord| item.name.to_string();
        let keys = all_pages!(limit, |page| store.models(&acme(), &all, &page), key);
        assert_eq!(keys, names, "in pages of {limit}");
    }
    let expected = ModelRecord {
        tenant: acme(),
        name: model("ab"),
        production: Some(v("1.10.0")),
        latest: v("1.10.0"),
        versions: 2,
        created_at: 1_700_000_000_000,
    };
    assert_eq!(store.model(&acme(), &model("ab")).await.unwrap(), Some(expected.clone()));
    let listed = store.models(&acme(), &ModelFilter::default(), &page(1, Some("a.b".into()))).await.unwrap();
    assert_eq!(listed.items, [expected]);
}

async fn limits(store: &dyn Store) {
    for n in 0..501 {
        store.put_plugin(plugin(&format!("p@1.0.{n}")), &[], &Origin::host()).await.unwrap();
    }
    for (limit, expected) in [(0, 1), (1, 1), (500, 500), (501, 500), (u32::MAX, 500)] {
        let part = store.plugins(&acme(), &page(limit, None)).await.unwrap();
        assert_eq!(part.items.len(), expected, "limit {limit}");
        assert_eq!(part.next, Some(format!("p@1.0.{}", expected - 1)));
    }
}

async fn filters(store: &dyn Store) {
    let container = |name: &str, tags: &str| {
        let manifest = Manifest::from_toml(&format!("runtime = 'container'\n{tags}")).unwrap();
        VersionRecord { manifest, ..version(name, "") }
    };
    for record in [
        version("a@1.0.0", "tags = {team = 'vision', tier = 'gold'}"),
        container("a@2.0.0", "tags = {team = 'speech'}"),
        version("b@1.0.0", "tags = {team = 'speech'}"),
        version("c@1.0.0", ""),
        version("c@2.0.0", "tags = {team = 'vision'}"),
    ] {
        let stage = if record.model.name.as_str() == "b" { PutStage::Staging } else { PutStage::Auto };
        store.put_version(record, stage, &[], &Origin::host()).await.unwrap();
    }
    let tag = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
    let none = ModelFilter::default();
    let cases = [
        (none.clone(), "a b c", "1.0.0 2.0.0"),
        (ModelFilter { runtime: Some(Runtime::Container), ..none.clone() }, "a", "2.0.0"),
        (ModelFilter { runtime: Some(Runtime::Onnx), ..none.clone() }, "a b c", "1.0.0"),
        (ModelFilter { stage: Some(Stage::Production), ..none.clone() }, "a c", "1.0.0"),
        (ModelFilter { stage: Some(Stage::Staging), ..none.clone() }, "a b c", "2.0.0"),
        (ModelFilter { stage: Some(Stage::Archived), ..none.clone() }, "", ""),
        (ModelFilter { tag: tag("team", "vision"), ..none.clone() }, "a c", "1.0.0"),
        (ModelFilter { tag: tag("team", "speech"), ..none.clone() }, "a b", "2.0.0"),
        (ModelFilter { tag: tag("team", "gold"), ..none.clone() }, "", ""),
        (ModelFilter { tag: tag("tier", "gold"), ..none.clone() }, "a", "1.0.0"),
        // One version has to match all of it: `a` has such a tag and such a runtime, on two different ones.
        (ModelFilter { tag: tag("team", "vision"), runtime: Some(Runtime::Container), stage: None }, "", ""),
        (ModelFilter { tag: tag("team", "vision"), stage: Some(Stage::Staging), runtime: None }, "c", ""),
    ];
    for (filter, models, versions_of_a) in cases {
        let found = store.models(&acme(), &filter, &Page::default()).await.unwrap().items;
        let found: Vec<_> = found.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(found.join(" "), models, "models by {filter:?}");
        let found = store.versions(&acme(), &model("a"), &filter, &Page::default()).await.unwrap().items;
        let found: Vec<_> = found.iter().map(|item| item.model.version.as_str()).collect();
        assert_eq!(found.join(" "), versions_of_a, "versions by {filter:?}");
    }
    // Filters and pages together.
    let staged = ModelFilter { stage: Some(Stage::Staging), ..none };
    let first = store.models(&acme(), &staged, &page(2, None)).await.unwrap();
    assert_eq!((first.items.len(), first.next.as_deref()), (2, Some("b")));
    let second = store.models(&acme(), &staged, &page(2, first.next)).await.unwrap();
    assert_eq!((second.items[0].name.as_str(), second.next), ("c", None));
}

async fn bad_keys(store: &dyn Store) {
    let (bad, all) = (page(1, Some("' OR 1=1 --".into())), ModelFilter::default());
    let errors = [
        store.plugins(&acme(), &bad).await.unwrap_err(),
        store.models(&acme(), &all, &bad).await.unwrap_err(),
        store.versions(&acme(), &model("m"), &all, &bad).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, StoreError::Cursor(_)), "{error:?}");
    }
}
