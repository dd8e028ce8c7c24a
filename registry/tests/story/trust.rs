//! Trust roots, signatures, and digests that were revoked.

use bulkhead_registry::*;

use super::support::*;

chapters!(roots, signatures, revocations, what_a_rollback_would_return_to);

fn root(key_id: &str) -> TrustRoot {
    TrustRoot {
        tenant: acme(),
        key_id: key_id.into(),
        name: "releases".into(),
        public_key: "PEM".into(),
        created_by: "ann".into(),
        created_at: 1,
        revoked_at: None,
    }
}

fn signature(key_id: &str, manifest: Option<&str>) -> SignatureRecord {
    let manifest = manifest.map(|text| Digest::of(text.as_bytes()));
    SignatureRecord { key_id: key_id.into(), signature: "c2ln".into(), manifest, created_at: 1 }
}

fn revoked(digest: &str, tenant: Option<TenantId>) -> Revocation {
    Revocation { seq: 0, digest: Digest::of(digest.as_bytes()), tenant, reason: "leaked".into(), created_by: "ann".into(), created_at: 1 }
}

async fn actions(store: &dyn Store) -> Vec<(String, Option<String>)> {
    let rows = store.audit(&AuditFilter { oldest_first: true, ..AuditFilter::default() }, &page(500, None)).await.unwrap().items;
    rows.into_iter().map(|row| (row.action, row.target_tenant)).collect()
}

async fn roots(store: &dyn Store) {
    let by = Origin::host();
    assert_eq!(store.put_root(root("b"), &by).await.unwrap(), Put::Created(root("b")));
    assert_eq!(store.put_root(TrustRoot { name: "again".into(), ..root("b") }, &by).await.unwrap(), Put::Same(root("b")));
    store.put_root(root("a"), &by).await.unwrap();
    store.put_root(TrustRoot { tenant: tenant("other"), ..root("b") }, &by).await.unwrap();
    let first = store.roots(&acme(), &page(1, None)).await.unwrap();
    assert_eq!((first.items, first.next.as_deref()), (vec![root("a")], Some("a")));
    assert_eq!(store.all_roots().await.unwrap().len(), 3);
    let gone = TrustRoot { revoked_at: Some(7), ..root("b") };
    assert_eq!(store.revoke_root(&acme(), "b", 7, &by).await.unwrap(), Some(gone.clone()));
    assert_eq!(store.revoke_root(&acme(), "b", 8, &by).await.unwrap(), Some(gone.clone()));
    assert_eq!(store.revoke_root(&acme(), "c", 8, &by).await.unwrap(), None);
    // It never comes back; another tenant's is its own.
    assert_eq!(store.put_root(root("b"), &by).await.unwrap(), Put::Conflict(gone));
    assert_eq!(store.roots(&tenant("other"), &Page::default()).await.unwrap().items[0].revoked_at, None);
    let told: Vec<_> = actions(store).await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(told, ["trust_root.create", "trust_root.create", "trust_root.create", "trust_root.revoke"]);
    assert_eq!(store.known_tenants().await.unwrap(), [acme(), tenant("other")]);
}

async fn signatures(store: &dyn Store) {
    let by = Origin::host();
    let image = plugin("image@0.1.0");
    store.put_plugin(image.clone(), &[signature("b", None)], &by).await.unwrap();
    assert_eq!(store.plugin_signatures(&acme(), &image.plugin).await.unwrap(), [signature("b", None)]);
    // The same again with one more; of a key there is one signature.
    let again = SignatureRecord { signature: "b3RoZXI".into(), ..signature("b", None) };
    store.put_plugin(image.clone(), &[again, signature("a", None)], &by).await.unwrap();
    assert_eq!(store.plugin_signatures(&acme(), &image.plugin).await.unwrap(), [signature("a", None), signature("b", None)]);
    // Other bytes bring none.
    let other = PluginRecord { digest: Digest::of(b"x"), ..image.clone() };
    store.put_plugin(other, &[signature("c", None)], &by).await.unwrap();
    assert_eq!(store.plugin_signatures(&acme(), &image.plugin).await.unwrap().len(), 2);
    let one = version("m@1.0.0", "");
    store.put_version(one.clone(), PutStage::Auto, &[signature("a", Some("text"))], &by).await.unwrap();
    store.put_version(one.clone(), PutStage::Auto, &[signature("b", Some("text "))], &by).await.unwrap();
    let expected = [signature("a", Some("text")), signature("b", Some("text "))];
    assert_eq!(store.version_signatures(&acme(), &one.model).await.unwrap(), expected);
    let told: Vec<_> = actions(store).await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(told, ["plugin.create", "plugin.sign", "version.create", "version.sign"]);
    // They go with what they are on, so that another of the name begins without.
    store.delete_plugin(&acme(), &image.plugin, &by).await.unwrap();
    store.put_plugin(image.clone(), &[], &by).await.unwrap();
    assert_eq!(store.plugin_signatures(&acme(), &image.plugin).await.unwrap(), []);
}

async fn revocations(store: &dyn Store) {
    let by = Origin::host();
    let Put::Created(own) = store.put_revocation(revoked("x", Some(acme())), &by).await.unwrap() else { panic!("it was there") };
    let again = Revocation { reason: "other".into(), ..revoked("x", Some(acme())) };
    assert_eq!(store.put_revocation(again, &by).await.unwrap(), Put::Same(own.clone()));
    let Put::Created(all) = store.put_revocation(revoked("x", None), &by).await.unwrap() else { panic!("it was there") };
    store.put_revocation(revoked("x", Some(tenant("other"))), &by).await.unwrap();
    assert_eq!(store.all_revocations().await.unwrap().len(), 3);
    let first = store.revocations(&acme(), &page(1, None)).await.unwrap();
    assert_eq!(first.items, std::slice::from_ref(&all));
    assert_eq!(store.revocations(&acme(), &page(9, first.next)).await.unwrap().items, std::slice::from_ref(&own));
    let digest = Digest::of(b"x");
    assert_eq!(store.lift_revocation(Some(&acme()), &digest, &by).await.unwrap(), Some(own));
    assert_eq!(store.lift_revocation(Some(&acme()), &digest, &by).await.unwrap(), None);
    assert_eq!(store.lift_revocation(None, &digest, &by).await.unwrap(), Some(all));
    let told = actions(store).await;
    let told: Vec<_> = told.iter().map(|(action, tenant)| (action.as_str(), tenant.as_deref())).collect();
    let expected = [
        ("digest.revoke", Some("acme")),
        ("digest.revoke", None),
        ("digest.revoke", Some("other")),
        ("digest.restore", Some("acme")),
        ("digest.restore", None),
    ];
    assert_eq!(told, expected);
}

async fn what_a_rollback_would_return_to(store: &dyn Store) {
    assert_eq!(store.before_production(&acme(), &model("m")).await.unwrap(), None);
    put_all(store, &["m@1.0.0", "m@2.0.0"]).await;
    assert_eq!(store.before_production(&acme(), &model("m")).await.unwrap(), None);
    store.promote(&acme(), &model_ref("m@2.0.0"), &Origin::host()).await.unwrap();
    assert_eq!(store.before_production(&acme(), &model("m")).await.unwrap(), Some(v("1.0.0")));
    assert_eq!(production(store, "m").await.as_deref(), Some("2.0.0"), "nothing was changed");
}
