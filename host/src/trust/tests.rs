//! Whose signatures count for what, and what may run, as it is said and after it was said anew.

use bulkhead_registry::{Quotas, SqliteStore, TenantRecord};

use super::*;
use crate::signing::SecretKey;

struct House {
    trust: Trust,
    store: Arc<dyn Store>,
    tenants: Arc<Tenants>,
    _folder: tempfile::TempDir,
}

async fn house(required: bool) -> House {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("registry.db")).await.unwrap());
    let tenants = Arc::new(Tenants::new(Quotas::default(), 1));
    let trust = Trust::open(Arc::clone(&store), Arc::clone(&tenants), required).await.unwrap();
    House { trust, store, tenants, _folder: folder }
}

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn other() -> TenantId {
    "other".parse().unwrap()
}

fn image(digest: &[u8]) -> Statement {
    Statement::plugin(&"image@0.1.0".parse().unwrap(), Digest::of(digest), "transform")
}

fn made_of(digest: &[u8], keys: &[&SecretKey]) -> Provenance {
    let keys = keys.iter().map(|key| key.public().id()).collect();
    Provenance::new(vec![Part { what: "plugin `image@0.1.0`".to_owned(), digest: Digest::of(digest), keys }])
}

async fn root(trust: &Trust, tenant: &TenantId, key: &SecretKey) {
    trust.add_root(tenant, "releases", &key.public().to_pem(), &Origin::host()).await.unwrap();
}

#[tokio::test]
async fn a_signature_counts_by_a_root_of_the_tenant_and_of_what_it_is_on() {
    let House { trust, .. } = house(false).await;
    let (known, stranger, theirs) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
    root(&trust, &acme(), &known).await;
    root(&trust, &other(), &theirs).await;
    let check = |statement: &Statement, signatures: &[Signature]| trust.check(&acme(), std::slice::from_ref(statement), signatures);
    let good = image(b"a");
    assert_eq!(check(&good, &[]), Ok((0, vec![])));
    assert_eq!(check(&good, &[known.sign(&good)]), Ok((0, vec![known.sign(&good)])));
    // What a stranger adds is no harm, and not kept.
    assert_eq!(check(&good, &[stranger.sign(&good), known.sign(&good)]), Ok((0, vec![known.sign(&good)])));
    for keys in [vec![&stranger], vec![&theirs], vec![&stranger, &theirs]] {
        let error = check(&good, &keys.iter().map(|key| key.sign(&good)).collect::<Vec<_>>()).unwrap_err();
        assert!(matches!(&error, SignatureError::Unknown { keys: told } if told.len() == keys.len()), "{error}");
    }
    // A bad one is refused though nobody asks for one, and though there is a good one too.
    let of_others = known.sign(&image(b"b"));
    let error = check(&good, &[of_others]).unwrap_err();
    assert!(matches!(&error, SignatureError::Unfit { key, .. } if *key == known.public().id().to_string()), "{error}");
    // One of several statements will do.
    let world = |world| Statement::plugin(&"image@0.1.0".parse().unwrap(), Digest::of(b"a"), world);
    assert_eq!(trust.check(&acme(), &[world("router"), world("transform")], &[known.sign(&good)]), Ok((1, vec![known.sign(&good)])));
}

#[tokio::test]
async fn a_root_that_was_revoked_counts_no_more_and_never_again() {
    let House { trust, store, tenants, _folder } = house(true).await;
    let (key, fine) = (SecretKey::generate().unwrap(), image(b"a"));
    let id = key.public().id();
    assert!(matches!(trust.check(&acme(), std::slice::from_ref(&fine), &[]), Err(SignatureError::Required { .. })));
    root(&trust, &acme(), &key).await;
    assert_eq!(trust.stands(&acme(), &made_of(b"a", &[&key])), Ok(()));
    assert!(matches!(trust.stands(&acme(), &made_of(b"a", &[])), Err(Barred::Unsigned { .. })));
    assert!(matches!(trust.stands(&other(), &made_of(b"a", &[&key])), Err(Barred::Unsigned { .. })), "another tenant's root");
    trust.revoke_root(&acme(), id.as_str(), &Origin::host()).await.unwrap().unwrap();
    for trust in [&trust, &Trust::open(Arc::clone(&store), tenants, true).await.unwrap()] {
        assert!(matches!(trust.stands(&acme(), &made_of(b"a", &[&key])), Err(Barred::Unsigned { .. })));
        assert_eq!(trust.check(&acme(), std::slice::from_ref(&fine), &[key.sign(&fine)]), Err(SignatureError::Revoked { key: id.clone() }));
        let again = trust.add_root(&acme(), "again", &key.public().to_pem(), &Origin::host()).await;
        assert!(matches!(again, Err(TrustError::WasRevoked { .. })));
    }
    // What another vouches for goes on.
    let second = SecretKey::generate().unwrap();
    root(&trust, &acme(), &second).await;
    assert_eq!(trust.stands(&acme(), &made_of(b"a", &[&key, &second])), Ok(()));
}

#[tokio::test]
async fn what_is_kept_is_checked_again() {
    let House { trust, .. } = house(false).await;
    let key = SecretKey::generate().unwrap();
    root(&trust, &acme(), &key).await;
    let kept = |signature: &Signature| SignatureRecord {
        key_id: signature.key().to_string(),
        signature: signature.encoded(),
        manifest: None,
        created_at: 0,
    };
    let good = kept(&key.sign(&image(b"a")));
    assert_eq!(trust.vouching(&acme(), std::slice::from_ref(&good), |_| image(b"a")), [key.public().id()]);
    assert_eq!(trust.vouching(&acme(), std::slice::from_ref(&good), |_| image(b"b")), []);
    assert_eq!(trust.vouching(&other(), std::slice::from_ref(&good), |_| image(b"a")), []);
    let broken = SignatureRecord { signature: "x".to_owned(), ..good };
    assert_eq!(trust.vouching(&acme(), &[broken], |_| image(b"a")), []);
}

#[tokio::test]
async fn a_digest_is_revoked_of_one_tenant_or_of_all_and_comes_back() {
    let House { trust, store, tenants, _folder } = house(false).await;
    let (digest, by) = (Digest::of(b"a"), Origin::host());
    let stands = |trust: &Trust, tenant: &TenantId, digest: &[u8]| trust.stands(tenant, &made_of(digest, &[])).is_ok();
    trust.revoke(Some(&acme()), digest, "leaks", &by).await.unwrap();
    assert!(!stands(&trust, &acme(), b"a") && stands(&trust, &other(), b"a") && stands(&trust, &acme(), b"b"));
    trust.revoke(None, digest, "leaks more", &by).await.unwrap();
    let reopened = Trust::open(store, tenants, false).await.unwrap();
    assert!(!stands(&reopened, &acme(), b"a") && !stands(&reopened, &other(), b"a") && stands(&reopened, &other(), b"b"));
    assert!(trust.takes(&other(), "it", &digest).unwrap_err().to_string().contains("leaks more"));
    trust.restore(None, &digest, &by).await.unwrap().unwrap();
    assert!(!stands(&trust, &acme(), b"a") && stands(&trust, &other(), b"a"), "its own stays");
    assert!(trust.restore(Some(&other()), &digest, &by).await.unwrap().is_none());
    trust.restore(Some(&acme()), &digest, &by).await.unwrap().unwrap();
    assert!(stands(&trust, &acme(), b"a"));
    for reason in ["", "a\nb", &"x".repeat(501)] {
        assert!(matches!(trust.revoke(None, digest, reason, &by).await, Err(TrustError::Invalid(_))), "{reason:?}");
    }
}

#[tokio::test]
async fn a_tenant_may_require_what_others_do_not() {
    let House { trust, tenants, .. } = house(false).await;
    let record = TenantRecord {
        tenant: acme(),
        trusted: false,
        disabled: false,
        require_signatures: true,
        quotas: Quotas::default(),
        created_at: 0,
        updated_at: 0,
    };
    tenants.say(&record);
    assert!(trust.requires(&acme()) && !trust.requires(&other()));
    assert!(trust.stands(&acme(), &made_of(b"a", &[])).is_err() && trust.stands(&other(), &made_of(b"a", &[])).is_ok());
    tenants.say(&TenantRecord { require_signatures: false, ..record });
    assert!(!trust.requires(&acme()));
}
