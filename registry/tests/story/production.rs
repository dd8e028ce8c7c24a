//! What is in production, and the way back.

use std::collections::HashSet;

use bulkhead_registry::*;

use super::support::*;

chapters!(
    the_stack,
    promoting_what_is_in_production,
    the_same_version_twice,
    no_way_back,
    stages_follow,
    a_deleted_version_is_not_returned_to,
    history,
    promotions_at_once,
    rollbacks_at_once,
    first_versions_at_once,
);

async fn promote(store: &dyn Store, name: &str) -> Promoted {
    store.promote(&acme(), &model_ref(name), &Origin::host()).await.unwrap().unwrap()
}

async fn rollback(store: &dyn Store) -> RolledBack {
    store.rollback(&acme(), &model("m"), &Origin::host()).await.unwrap()
}

fn back(from: &str, to: &str) -> RolledBack {
    RolledBack::Done { from: v(from), to: v(to) }
}

async fn the_stack(store: &dyn Store) {
    put_all(store, &["m@1.0.0", "m@2.0.0", "m@3.0.0", "m@4.0.0"]).await;
    assert_eq!(promote(store, "m@2.0.0").await, Promoted { changed: true, from: Some(v("1.0.0")), to: v("2.0.0") });
    promote(store, "m@3.0.0").await;
    assert_eq!(rollback(store).await, back("3.0.0", "2.0.0"));
    assert_eq!(production(store, "m").await.as_deref(), Some("2.0.0"));
    assert_eq!(rollback(store).await, back("2.0.0", "1.0.0"));
    assert_eq!(production(store, "m").await.as_deref(), Some("1.0.0"));
    assert_eq!(rollback(store).await, RolledBack::Nothing);
    assert_eq!(production(store, "m").await.as_deref(), Some("1.0.0"));
    // What was rolled back from is off the stack: forward again, and back to where it came from.
    promote(store, "m@4.0.0").await;
    assert_eq!(rollback(store).await, back("4.0.0", "1.0.0"));
}

async fn promoting_what_is_in_production(store: &dyn Store) {
    put_all(store, &["m@1.0.0", "m@2.0.0"]).await;
    promote(store, "m@2.0.0").await;
    let unchanged = Promoted { changed: false, from: Some(v("2.0.0")), to: v("2.0.0") };
    assert_eq!(promote(store, "m@2.0.0").await, unchanged);
    assert_eq!(store.history(&acme(), &model("m"), &Page::default()).await.unwrap().items.len(), 2);
    assert_eq!(rollback(store).await, back("2.0.0", "1.0.0"));
}

async fn the_same_version_twice(store: &dyn Store) {
    put_all(store, &["m@1.0.0", "m@2.0.0"]).await;
    promote(store, "m@2.0.0").await;
    promote(store, "m@1.0.0").await;
    assert_eq!(rollback(store).await, back("1.0.0", "2.0.0"));
    assert_eq!(rollback(store).await, back("2.0.0", "1.0.0"));
    assert_eq!(rollback(store).await, RolledBack::Nothing);
}

async fn no_way_back(store: &dyn Store) {
    assert_eq!(rollback(store).await, RolledBack::NotFound);
    assert_eq!(store.promote(&acme(), &model_ref("m@1.0.0"), &Origin::host()).await.unwrap(), None);
    put(store, "m@1.0.0", PutStage::Staging).await;
    assert_eq!(rollback(store).await, RolledBack::Nothing);
    assert_eq!(store.promote(&acme(), &model_ref("m@9.0.0"), &Origin::host()).await.unwrap(), None);
    // A staged version that nobody proved is not what production returns to.
    assert_eq!(promote(store, "m@1.0.0").await, Promoted { changed: true, from: None, to: v("1.0.0") });
    put(store, "m@2.0.0", PutStage::Auto).await;
    assert_eq!(rollback(store).await, RolledBack::Nothing);
}

async fn stages_follow(store: &dyn Store) {
    put_all(store, &["m@1.0.0", "m@2.0.0", "m@3.0.0"]).await;
    promote(store, "m@2.0.0").await;
    assert_eq!(stage(store, "m@1.0.0").await, Stage::Archived);
    assert_eq!(stage(store, "m@2.0.0").await, Stage::Production);
    assert_eq!(stage(store, "m@3.0.0").await, Stage::Staging);
    rollback(store).await;
    assert_eq!(stage(store, "m@1.0.0").await, Stage::Production);
    assert_eq!(stage(store, "m@2.0.0").await, Stage::Archived);
}

async fn a_deleted_version_is_not_returned_to(store: &dyn Store) {
    put_all(store, &["m@1.0.0", "m@2.0.0", "m@3.0.0"]).await;
    for name in ["m@2.0.0", "m@1.0.0", "m@2.0.0", "m@3.0.0"] {
        promote(store, name).await;
    }
    // The stack is 1 2 1 2 3; without 2 it is 1 1 3, and from 1 there is no way back to 1.
    assert_eq!(store.delete_version(&acme(), &model_ref("m@2.0.0"), &Origin::host()).await.unwrap(), Deleted::Done);
    assert_eq!(rollback(store).await, back("3.0.0", "1.0.0"));
    assert_eq!(rollback(store).await, RolledBack::Nothing);
    // Put again it is a new version, never in production so far.
    put(store, "m@2.0.0", PutStage::Auto).await;
    assert_eq!(rollback(store).await, RolledBack::Nothing);
    assert_eq!(stage(store, "m@2.0.0").await, Stage::Staging);
}

async fn history(store: &dyn Store) {
    put_all(store, &["m@1.0.0", "m@2.0.0", "m@3.0.0", "other@1.0.0"]).await;
    promote(store, "m@2.0.0").await;
    promote(store, "m@3.0.0").await;
    rollback(store).await;
    store.delete_version(&acme(), &model_ref("m@3.0.0"), &Origin::host()).await.unwrap();
    let line = |p: &Promotion| format!("{} {} from {}", p.action, p.version, p.from.as_ref().map(Version::as_str).unwrap_or("nothing"));
    let expected = ["rollback 2.0.0 from 3.0.0", "promote 3.0.0 from 2.0.0", "promote 2.0.0 from 1.0.0", "promote 1.0.0 from nothing"];
    let mut lines = Vec::new();
    let mut after = None;
    for pages in 0.. {
        assert!(pages < 4);
        let part = store.history(&acme(), &model("m"), &page(3, after)).await.unwrap();
        assert!(part.items.is_sorted_by(|a, b| a.seq > b.seq && a.at >= b.at));
        lines.extend(part.items.iter().map(line));
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(lines, expected);
    let error = store.history(&acme(), &model("m"), &page(3, Some("x".into()))).await.unwrap_err();
    assert!(matches!(error, StoreError::Cursor(_)), "{error:?}");
}

/// Runs `verbs` at the same time and gives their answers.
async fn together<T>(verbs: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures_util::future::join_all(verbs).await
}

async fn promotions_at_once(store: &dyn Store) {
    put(store, "m@0.0.0", PutStage::Auto).await;
    let names: Vec<_> = (1..=20).map(|n| format!("m@{n}.0.0")).collect();
    for name in &names {
        put(store, name, PutStage::Staging).await;
    }
    let done = together(names.iter().map(|name| promote(store, name))).await;
    // One after the other means: what each replaced is different, and none is lost.
    let replaced: HashSet<_> = done.iter().map(|promoted| promoted.from.clone().unwrap()).collect();
    assert_eq!(replaced.len(), 20);
    assert!(done.iter().all(|promoted| promoted.changed));
    let last = production(store, "m").await.unwrap();
    assert!(!replaced.contains(&v(&last)));
    // The history is one unbroken chain, and the stack leads all the way back along it.
    let history = store.history(&acme(), &model("m"), &page(100, None)).await.unwrap().items;
    assert!(history.windows(2).all(|pair| pair[0].from.as_ref() == Some(&pair[1].version)));
    for line in &history[..20] {
        assert_eq!(rollback(store).await, RolledBack::Done { from: line.version.clone(), to: line.from.clone().unwrap() });
    }
    assert_eq!(rollback(store).await, RolledBack::Nothing);
}

async fn rollbacks_at_once(store: &dyn Store) {
    put_all(store, &["m@1.0.0", "m@2.0.0", "m@3.0.0", "m@4.0.0"]).await;
    for name in ["m@2.0.0", "m@3.0.0", "m@4.0.0"] {
        promote(store, name).await;
    }
    let mut done = together((0..10).map(|_| rollback(store))).await;
    done.retain(|rolled| *rolled != RolledBack::Nothing);
    assert_eq!(done.len(), 3);
    for expected in [back("4.0.0", "3.0.0"), back("3.0.0", "2.0.0"), back("2.0.0", "1.0.0")] {
        assert!(done.contains(&expected), "{expected:?}");
    }
}

async fn first_versions_at_once(store: &dyn Store) {
    let names: Vec<_> = (1..=10).map(|n| format!("m@{n}.0.0")).collect();
    let done = together(names.iter().map(|name| put(store, name, PutStage::Auto))).await;
    let first: Vec<_> = done.iter().filter(|version| version.stage == Stage::Production).collect();
    assert_eq!(first.len(), 1);
    assert_eq!(production(store, "m").await, Some(first[0].model.version.to_string()));
    // The same version from many hands is made once.
    let same = together((0..10).map(|_| async { store.put_version(version("n@1.0.0", ""), PutStage::Auto, &[], &Origin::host()).await })).await;
    let created = same.iter().filter(|put| matches!(put, Ok(Put::Created(_)))).count();
    let kept = same.iter().filter(|put| matches!(put, Ok(Put::Same(_)))).count();
    assert_eq!((created, kept), (1, 9));
}
