//! Keys, tenants, and the audit of every change.

use bulkhead_registry::*;

use super::support::*;

chapters!(keys, tenants, every_change_is_written_down, what_changes_nothing_is_not, the_audit_is_filtered, a_retention_keeps_the_chain);

fn key(id: &str) -> KeyRecord {
    KeyRecord {
        id: id.into(),
        tenant: acme(),
        name: "ci".into(),
        hash: "00".into(),
        scopes: "models:read models:write".into(),
        across: String::new(),
        created_by: "ann".into(),
        created_at: 1,
        expires_at: Some(2),
        revoked_at: None,
    }
}

async fn keys(store: &dyn Store) {
    assert_eq!(store.put_key(key("b"), &ann()).await.unwrap(), Put::Created(key("b")));
    assert_eq!(store.put_key(key("b"), &ann()).await.unwrap(), Put::Same(key("b")));
    store.put_key(key("a"), &ann()).await.unwrap();
    store.put_key(KeyRecord { tenant: tenant("other"), ..key("c") }, &ann()).await.unwrap();
    let first = store.keys(&acme(), &page(1, None)).await.unwrap();
    assert_eq!((first.items, first.next.as_deref()), (vec![key("a")], Some("a")));
    assert_eq!(store.keys(&acme(), &page(9, first.next)).await.unwrap().items, [key("b")]);
    assert_eq!(store.all_keys().await.unwrap().len(), 3);
    let revoked = KeyRecord { revoked_at: Some(7), ..key("a") };
    assert_eq!(store.revoke_key(&acme(), "a", 7, &ann()).await.unwrap(), Revoked::Done(revoked.clone()));
    // The first moment stays; another tenant's key is none.
    assert_eq!(store.revoke_key(&acme(), "a", 8, &ann()).await.unwrap(), Revoked::Done(revoked));
    assert_eq!(store.revoke_key(&acme(), "c", 8, &ann()).await.unwrap(), Revoked::NotFound);
    let actions: Vec<_> =
        audit(store, AuditFilter { oldest_first: true, ..AuditFilter::default() }).await.into_iter().map(|row| row.action).collect();
    assert_eq!(actions, ["key.create", "key.create", "key.create", "key.revoke"]);
}

async fn tenants(store: &dyn Store) {
    let quotas = Quotas { requests_per_second: Some(5), ..Quotas::default() };
    let record = TenantRecord { tenant: acme(), trusted: true, disabled: false, require_signatures: false, quotas, created_at: 1, updated_at: 1 };
    assert_eq!(store.put_tenant(record.clone(), &ann()).await.unwrap(), record);
    let changed = TenantRecord { disabled: true, created_at: 9, updated_at: 9, ..record.clone() };
    let expected = TenantRecord { created_at: 1, ..changed.clone() };
    assert_eq!(store.put_tenant(changed, &ann()).await.unwrap(), expected);
    assert_eq!(store.all_tenants().await.unwrap(), [expected]);
    put_all(store, &["m@1.0.0", "m@2.0.0"]).await;
    store.put_plugin(plugin("p@1.0.0"), &[], &ann()).await.unwrap();
    assert_eq!(store.kept(&acme()).await.unwrap(), Kept { bytes: 21, versions: 2 });
    assert_eq!(store.kept(&tenant("other")).await.unwrap(), Kept::default());
    store.put_key(KeyRecord { tenant: tenant("other"), ..key("c") }, &ann()).await.unwrap();
    assert_eq!(store.known_tenants().await.unwrap(), [acme(), tenant("other")]);
}

fn ann() -> Origin {
    Origin {
        request_id: "r-1".into(),
        kind: ActorKind::Token,
        actor: "ann".into(),
        tenant: Some(acme()),
        source: Some(std::net::IpAddr::from([10, 0, 0, 1])),
    }
}

async fn audit(store: &dyn Store, filter: AuditFilter) -> Vec<AuditRecord> {
    store.audit(&filter, &page(500, None)).await.unwrap().items
}

/// All rows, after checking their chain.
async fn whole(store: &dyn Store) -> Vec<AuditRecord> {
    let rows = audit(store, AuditFilter { oldest_first: true, ..AuditFilter::default() }).await;
    let mut check = ChainCheck::default();
    rows.iter().for_each(|row| check.next(row).unwrap());
    rows
}

async fn every_change_is_written_down(store: &dyn Store) {
    store.put_plugin(plugin("p@1.0.0"), &[], &ann()).await.unwrap();
    for name in ["m@1.0.0", "m@2.0.0"] {
        store.put_version(version(name, ""), PutStage::Auto, &[], &ann()).await.unwrap();
    }
    store.promote(&acme(), &model_ref("m@2.0.0"), &ann()).await.unwrap();
    store.rollback(&acme(), &model("m"), &ann()).await.unwrap();
    store.delete_version(&acme(), &model_ref("m@2.0.0"), &ann()).await.unwrap();
    store.delete_plugin(&acme(), &plugin_ref("p@1.0.0"), &ann()).await.unwrap();
    let rows = whole(store).await;
    let told: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.target_kind.as_str(), row.target.as_str())).collect();
    let expected = [
        ("plugin.create", "plugin", "p@1.0.0"),
        ("version.create", "version", "m@1.0.0"),
        ("version.create", "version", "m@2.0.0"),
        ("model.promote", "version", "m@2.0.0"),
        ("model.rollback", "version", "m@1.0.0"),
        ("version.delete", "version", "m@2.0.0"),
        ("plugin.delete", "plugin", "p@1.0.0"),
    ];
    assert_eq!(told, expected);
    for row in &rows {
        assert_eq!((row.request_id.as_str(), row.actor.as_str(), row.result), ("r-1", "ann", Outcome::Allowed));
        assert_eq!(
            (row.actor_tenant.as_deref(), row.target_tenant.as_deref(), row.source.as_deref()),
            (Some("acme"), Some("acme"), Some("10.0.0.1"))
        );
    }
    assert!(rows[1].detail.as_deref().unwrap().ends_with(", production"), "{:?}", rows[1].detail);
}

async fn what_changes_nothing_is_not(store: &dyn Store) {
    put_all(store, &["m@1.0.0"]).await;
    store.put_version(version("m@1.0.0", ""), PutStage::Auto, &[], &ann()).await.unwrap();
    store.promote(&acme(), &model_ref("m@1.0.0"), &ann()).await.unwrap();
    store.promote(&acme(), &model_ref("m@9.0.0"), &ann()).await.unwrap();
    store.rollback(&acme(), &model("m"), &ann()).await.unwrap();
    store.delete_version(&acme(), &model_ref("m@1.0.0"), &ann()).await.unwrap();
    store.delete_plugin(&acme(), &plugin_ref("p@1.0.0"), &ann()).await.unwrap();
    assert_eq!(whole(store).await.len(), 1);
}

fn denied(target: &str, by: Origin, at: i64) -> AuditEntry {
    AuditEntry {
        at,
        by,
        action: "GET /v1/models/{name}".into(),
        target_kind: "path".into(),
        target: target.into(),
        target_tenant: None,
        outcome: Outcome::Denied,
        reason: Some("missing_scope".into()),
        detail: None,
    }
}

async fn the_audit_is_filtered(store: &dyn Store) {
    let nobody = Origin { kind: ActorKind::Unknown, actor: "".into(), tenant: None, request_id: "r-2".into(), ..ann() };
    store.append_audit(vec![denied("/a", nobody, 10), denied("/b", ann(), 20)]).await.unwrap();
    put_all(store, &["m@1.0.0"]).await;
    assert_eq!(whole(store).await.len(), 3);
    let count = async |filter: AuditFilter| audit(store, filter).await.len();
    let all = AuditFilter::default;
    assert_eq!(count(AuditFilter { request_id: Some("r-2".into()), ..all() }).await, 1);
    assert_eq!(count(AuditFilter { tenant: Some(acme()), ..all() }).await, 2);
    assert_eq!(count(AuditFilter { tenant: Some(tenant("other")), ..all() }).await, 0);
    assert_eq!(count(AuditFilter { outcome: Some(Outcome::Denied), ..all() }).await, 2);
    assert_eq!(count(AuditFilter { action: Some("version.create".into()), ..all() }).await, 1);
    assert_eq!(count(AuditFilter { actor: Some("ann".into()), ..all() }).await, 1);
    assert_eq!(count(AuditFilter { since: Some(20), until: Some(21), ..all() }).await, 1);
    let newest = store.audit(&all(), &page(2, None)).await.unwrap();
    assert_eq!(newest.items.iter().map(|row| row.seq).collect::<Vec<_>>(), [3, 2]);
    let rest = store.audit(&all(), &page(2, newest.next)).await.unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));
    assert!(matches!(store.audit(&all(), &page(2, Some("x".into()))).await, Err(StoreError::Cursor(_))));
}

async fn a_retention_keeps_the_chain(store: &dyn Store) {
    assert_eq!(store.retain_audit(i64::MAX, &Origin::host()).await.unwrap(), 0);
    store.append_audit((1..=5).map(|at| denied("/x", ann(), at)).collect()).await.unwrap();
    assert_eq!(store.retain_audit(4, &Origin::host()).await.unwrap(), 3);
    let rows = whole(store).await;
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!((rows[2].action.as_str(), rows[2].actor.as_str()), ("audit.retain", "host"));
    // Even one that would take all leaves what the next row follows.
    assert_eq!(store.retain_audit(i64::MAX, &Origin::host()).await.unwrap(), 2);
    store.append_audit(vec![denied("/y", ann(), 9)]).await.unwrap();
    assert_eq!(whole(store).await.iter().map(|row| row.seq).collect::<Vec<_>>(), [6, 7, 8]);
    assert_eq!(store.retain_audit(0, &Origin::host()).await.unwrap(), 0);
}
