//! Credentials of every kind, good and bad, against real keys and a real server that publishes some.

use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use bulkhead_registry::{ActorKind, TenantId};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;

const RSA: &[u8] = include_bytes!("fixtures/rsa.pem");
const EC: &[u8] = include_bytes!("fixtures/ec.pem");
const ED: &[u8] = include_bytes!("fixtures/ed.pem");
const SECRET: &[u8] = b"thirty-two bytes that nobody knows";

fn expected() -> Expected {
    Expected { issuer: "https://issuer.test".to_owned(), audience: "bulkhead".to_owned() }
}

/// What a good token says.
fn claims() -> Value {
    let now = now_s();
    json!({
        "iss": "https://issuer.test", "aud": "bulkhead", "sub": "ada", "tenant": "acme", "scope": "models:read models:predict",
        "iat": now, "nbf": now, "exp": now + 600,
    })
}

/// The same with other values; null takes one out.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut claims = claims();
    for (name, value) in changes {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
            value => claims[*name] = value.clone(),
        }
    }
    claims
}

fn signed(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

fn by_secret(claims: &Value) -> String {
    signed(Algorithm::HS256, None, &EncodingKey::from_secret(SECRET), claims)
}

async fn of(source: Source) -> Authenticator {
    Authenticator::new(Keys::open(source).await.unwrap(), expected(), NonZeroU32::new(60).unwrap())
}

async fn bearer(authenticator: &Authenticator, token: &str) -> Result<Arc<Caller>, AuthError> {
    authenticator.authenticate(Presented { bearer: Some(token), api_key: None }, None).await
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

#[tokio::test]
async fn a_good_token_names_tenant_subject_and_scopes() {
    let authenticator = of(Source::Secret(SECRET.to_vec())).await;
    let token = by_secret(&claims());
    for _ in 0..2 {
        let caller = bearer(&authenticator, &token).await.unwrap();
        assert_eq!((caller.tenant.as_str(), &*caller.subject, caller.actor), ("acme", "ada", ActorKind::Token));
        assert_eq!(caller.scopes, Scopes::parse("models:read models:predict").unwrap());
        assert!(caller.may(Scope::ModelsRead, &caller.tenant) && !caller.may(Scope::ModelsWrite, &caller.tenant));
        assert!(!caller.may(Scope::ModelsRead, &TenantId::default_tenant()));
    }
    assert_eq!(authenticator.verified.iter().count(), 1, "its signature is checked once");
    // Lists are as good as text; what is no scope of ours is another service's.
    let listed = with(&[("scope", json!(["openid", "audit:read", "admin:tenants"])), ("xt", json!(["audit:read"]))]);
    let caller = bearer(&authenticator, &by_secret(&listed)).await.unwrap();
    assert_eq!(caller.scopes, Scopes::parse("audit:read admin:tenants").unwrap());
    // Across tenants both are needed.
    assert!(caller.may(Scope::AuditRead, &TenantId::default_tenant()) && !caller.may(Scope::AdminTenants, &TenantId::default_tenant()));
}

#[tokio::test]
async fn each_thing_that_is_wrong_with_a_token_has_its_code() {
    let authenticator = of(Source::Secret(SECRET.to_vec())).await;
    let now = now_s();
    for (changes, error) in [
        (vec![("exp", json!(now - 61))], AuthError::Expired),
        (vec![("nbf", json!(now + 90))], AuthError::NotYet),
        (vec![("aud", json!("other"))], AuthError::Audience),
        (vec![("iss", json!("https://other.test"))], AuthError::Issuer),
        (vec![("exp", Value::Null)], AuthError::Claims),
        (vec![("iss", Value::Null)], AuthError::Claims),
        (vec![("aud", Value::Null)], AuthError::Claims),
        (vec![("sub", Value::Null)], AuthError::Claims),
        (vec![("tenant", Value::Null)], AuthError::Claims),
        (vec![("tenant", json!("../other"))], AuthError::Claims),
        (vec![("sub", json!(""))], AuthError::Claims),
        (vec![("sub", json!("a\nb"))], AuthError::Claims),
        (vec![("sub", json!("s".repeat(201)))], AuthError::Claims),
    ] {
        let token = by_secret(&with(&changes));
        assert_eq!(bearer(&authenticator, &token).await, Err(error), "{changes:?}");
        // Nor is it kept for the next time.
        assert_eq!(bearer(&authenticator, &token).await, Err(error), "{changes:?}");
    }
    // Within the leeway.
    for changes in [vec![("exp", json!(now - 30))], vec![("nbf", json!(now + 30))], vec![("nbf", Value::Null), ("iat", Value::Null)]] {
        assert!(bearer(&authenticator, &by_secret(&with(&changes))).await.is_ok(), "{changes:?}");
    }
    let good = by_secret(&claims());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let other = by_secret(&with(&[("tenant", json!("other"))]));
    let tampered = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    assert_eq!(bearer(&authenticator, &tampered).await, Err(AuthError::Signature));
    assert_eq!(bearer(&authenticator, &format!("{head}.")).await, Err(AuthError::Signature));
    let unsigned = |alg: &str| {
        use base64::Engine as _;
        let part = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&json!({ "alg": alg, "typ": "JWT" })), part(&claims()))
    };
    for alg in ["none", "None", "HS1", ""] {
        assert_eq!(bearer(&authenticator, &unsigned(alg)).await, Err(AuthError::Algorithm), "{alg}");
    }
    let wider = signed(Algorithm::HS512, None, &EncodingKey::from_secret(SECRET), &claims());
    assert_eq!(bearer(&authenticator, &wider).await, Err(AuthError::Algorithm));
    for junk in ["", "a", "a.b.c", "....", "\u{0}"] {
        let error = bearer(&authenticator, junk).await.unwrap_err();
        assert!(matches!(error, AuthError::Malformed | AuthError::Algorithm), "{junk:?}: {error:?}");
    }
    assert_eq!(bearer(&authenticator, &"a".repeat(9000)).await, Err(AuthError::Oversized));
    assert_eq!(authenticator.authenticate(Presented::default(), None).await, Err(AuthError::Missing));
}

#[tokio::test]
async fn keys_of_files_are_good_for_their_own_algorithm_alone() {
    let (rsa, ec, ed) =
        (file(include_bytes!("fixtures/rsa.pub.pem")), file(include_bytes!("fixtures/ec.pub.pem")), file(include_bytes!("fixtures/ed.pub.pem")));
    let authenticator = of(Source::Files([&rsa, &ec, &ed].map(|file| file.path().to_owned()).to_vec())).await;
    for (algorithm, key) in [
        (Algorithm::RS256, EncodingKey::from_rsa_pem(RSA).unwrap()),
        (Algorithm::ES256, EncodingKey::from_ec_pem(EC).unwrap()),
        (Algorithm::EdDSA, EncodingKey::from_ed_pem(ED).unwrap()),
    ] {
        let token = signed(algorithm, None, &key, &claims());
        assert_eq!(&*bearer(&authenticator, &token).await.unwrap().subject, "ada", "{algorithm:?}");
    }
    // One whose file is gone is good no more, and the others are; what can't be read is another matter, for its time.
    let by_rsa = |who: &str| signed(Algorithm::RS256, None, &EncodingKey::from_rsa_pem(RSA).unwrap(), &with(&[("sub", json!(who))]));
    let by_ec = |who: &str| signed(Algorithm::ES256, None, &EncodingKey::from_ec_pem(EC).unwrap(), &with(&[("sub", json!(who))]));
    drop(rsa);
    authenticator.keys.passed(Duration::from_secs(600));
    assert_eq!(bearer(&authenticator, &by_rsa("grace")).await, Err(AuthError::UnknownKey));
    assert!(bearer(&authenticator, &by_ec("grace")).await.is_ok());
    std::fs::write(ec.path(), "no key").unwrap();
    authenticator.keys.passed(Duration::from_secs(600));
    assert!(bearer(&authenticator, &by_ec("alan")).await.is_ok());
    authenticator.keys.passed(Duration::from_secs(25 * 3600));
    assert_eq!(bearer(&authenticator, &by_ec("kurt")).await, Err(AuthError::KeysUnavailable));
    std::fs::write(ec.path(), include_bytes!("fixtures/ec.pub.pem")).unwrap();
    authenticator.keys.passed(Duration::from_secs(600));
    // A public key is no secret: nobody may sign with it as one.
    let confused = signed(Algorithm::HS256, None, &EncodingKey::from_secret(include_bytes!("fixtures/rsa.pub.pem")), &claims());
    assert_eq!(bearer(&authenticator, &confused).await, Err(AuthError::Algorithm));
    let other = signed(Algorithm::RS384, None, &EncodingKey::from_rsa_pem(RSA).unwrap(), &claims());
    assert_eq!(bearer(&authenticator, &other).await, Err(AuthError::Algorithm));
    let bad = file(b"no key");
    let error = Keys::open(Source::Files(vec![bad.path().to_owned()])).await.err().unwrap().to_string();
    assert!(error.contains("expected a public key of RSA, P-256 or Ed25519 as PEM"), "{error}");
    let gone = Keys::open(Source::Files(vec!["/nowhere/key.pem".into()])).await.err().unwrap().to_string();
    assert!(gone.contains("/nowhere/key.pem"), "{gone}");
}

/// A server that publishes whatever it was told last; none for an error.
async fn publisher(set: Arc<Mutex<Option<JwkSet>>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let answer = move || async move { set.lock().unwrap().clone().map(axum::Json).ok_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR) };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/keys", axum::routing::get(answer))).await });
    url
}

fn published(id: &str, key: &EncodingKey, algorithm: Algorithm) -> Jwk {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
    jwk.common.key_id = Some(id.to_owned());
    jwk
}

#[tokio::test]
async fn published_keys_are_renewed_when_a_token_names_one_that_is_not_there() {
    let (one, two) = (EncodingKey::from_ed_pem(ED).unwrap(), EncodingKey::from_ec_pem(EC).unwrap());
    let set = Arc::new(Mutex::new(Some(JwkSet { keys: vec![published("one", &one, Algorithm::EdDSA)] })));
    let authenticator = of(Source::Url(publisher(Arc::clone(&set)).await)).await;
    let (first, second) = (signed(Algorithm::EdDSA, Some("one"), &one, &claims()), signed(Algorithm::ES256, Some("two"), &two, &claims()));
    assert!(bearer(&authenticator, &first).await.is_ok());
    assert_eq!(bearer(&authenticator, &second).await, Err(AuthError::UnknownKey));
    // It comes, and the other goes; but nobody is asked again so soon, whatever tokens name.
    *set.lock().unwrap() = Some(JwkSet { keys: vec![published("two", &two, Algorithm::ES256)] });
    assert_eq!(bearer(&authenticator, &second).await, Err(AuthError::UnknownKey));
    authenticator.keys.passed(Duration::from_secs(11));
    assert!(bearer(&authenticator, &second).await.is_ok());
    assert_eq!(bearer(&authenticator, &first).await, Err(AuthError::UnknownKey), "what was verified before is not good any more");
    // Where the set can't be had the last good one serves on, for its time.
    *set.lock().unwrap() = None;
    authenticator.keys.passed(Duration::from_secs(600));
    let third = signed(Algorithm::ES256, Some("two"), &two, &with(&[("sub", json!("grace"))]));
    assert!(bearer(&authenticator, &third).await.is_ok());
    authenticator.keys.passed(Duration::from_secs(25 * 3600));
    let fourth = signed(Algorithm::ES256, Some("two"), &two, &with(&[("sub", json!("alan"))]));
    assert_eq!(bearer(&authenticator, &fourth).await, Err(AuthError::KeysUnavailable));
}

#[tokio::test]
async fn a_publisher_that_is_down_at_first_is_asked_again() {
    let key = EncodingKey::from_ed_pem(ED).unwrap();
    let set = Arc::new(Mutex::new(None));
    let authenticator = of(Source::Url(publisher(Arc::clone(&set)).await)).await;
    let token = signed(Algorithm::EdDSA, Some("one"), &key, &claims());
    assert_eq!(bearer(&authenticator, &token).await, Err(AuthError::KeysUnavailable));
    *set.lock().unwrap() = Some(JwkSet { keys: vec![published("one", &key, Algorithm::EdDSA)] });
    authenticator.keys.passed(Duration::from_secs(11));
    assert!(bearer(&authenticator, &token).await.is_ok());
}

fn issued(key: &ApiKey, subject: &str) -> Issued {
    let caller = Caller {
        tenant: "acme".parse().unwrap(),
        subject: subject.into(),
        actor: ActorKind::Key,
        scopes: Scopes::parse("models:predict").unwrap(),
        across: Scopes::NONE,
    };
    Issued { hash: key.hash(), caller: Arc::new(caller), until_s: None, revoked_s: None }
}

#[tokio::test]
async fn keys_of_the_hosts_own_are_revoked_at_once() {
    let authenticator = of(Source::Secret(SECRET.to_vec())).await;
    let (key, other) = (ApiKey::generate(), ApiKey::generate());
    assert_ne!(key, other);
    assert!(!format!("{key:?}").contains(&key.reveal()[21..]), "its secret is not in log lines");
    let row = issued(&key, "ci");
    let table = |row: Issued| HashMap::from([(key.id().to_owned(), row)]);
    authenticator.issue(table(row.clone()));
    let ask = async |text: &str| authenticator.authenticate(Presented { api_key: Some(text), bearer: None }, None).await;
    assert_eq!(&*ask(&key.reveal()).await.unwrap().subject, "ci");
    assert_eq!(&*bearer(&authenticator, &key.reveal()).await.unwrap().subject, "ci", "either header will do");
    assert_eq!(ask(&other.reveal()).await, Err(AuthError::Key));
    let (id, secret) = (key.id(), other.reveal()[21..].to_owned());
    assert_eq!(ask(&format!("bhk_{id}_{secret}")).await, Err(AuthError::Key), "another secret");
    for junk in ["bhk_", "bhk_a_b", &key.reveal()[..50], &key.reveal().to_uppercase().replace("BHK", "bhk")] {
        assert_eq!(ask(junk).await, Err(AuthError::Malformed), "{junk}");
    }
    authenticator.issue(table(Issued { until_s: Some(now_s()), ..row.clone() }));
    assert_eq!(ask(&key.reveal()).await, Err(AuthError::Expired));
    authenticator.issue(table(Issued { revoked_s: Some(now_s()), ..row.clone() }));
    assert_eq!(ask(&key.reveal()).await, Err(AuthError::Revoked));
    // Long ago, and nobody remembers.
    authenticator.issue(table(Issued { revoked_s: Some(now_s() - REMEMBERED_S), ..row }));
    assert_eq!(ask(&key.reveal()).await, Err(AuthError::Key));
    assert!(authenticator.issued.load().is_empty());
    assert_eq!(KeyHash::from_hex(&key.hash().to_hex()), Some(key.hash()));
    assert_eq!(KeyHash::from_hex(&"é".repeat(32)), None);
}

#[tokio::test]
async fn two_credentials_must_be_the_same_callers() {
    let authenticator = of(Source::Secret(SECRET.to_vec())).await;
    let key = ApiKey::generate();
    authenticator.issue(HashMap::from([(key.id().to_owned(), issued(&key, "ci"))]));
    let (own, same) = (by_secret(&claims()), by_secret(&with(&[("sub", json!("ci"))])));
    let both = async |bearer: &str, api_key: &str| authenticator.authenticate(Presented { bearer: Some(bearer), api_key: Some(api_key) }, None).await;
    assert_eq!(both(&own, &key.reveal()).await, Err(AuthError::Disagree));
    assert!(both(&same, &key.reveal()).await.is_ok() && both(&key.reveal(), &key.reveal()).await.is_ok());
    assert_eq!(both(&own, "bhk_0").await, Err(AuthError::Malformed), "each must be good");
}

#[test]
fn callers_are_told_no_more_than_they_should_be() {
    let told: Vec<_> = [AuthError::Signature, AuthError::UnknownKey, AuthError::Issuer, AuthError::Audience, AuthError::Key, AuthError::Revoked]
        .map(AuthError::told)
        .to_vec();
    assert!(told.iter().all(|text| *text == told[0]), "{told:?}");
    assert_ne!(AuthError::Signature.code(), AuthError::UnknownKey.code());
}

#[tokio::test]
async fn a_minted_token_is_good_and_another_secret_s_is_not() {
    let mint = development::Mint {
        tenant: "acme".to_owned(),
        subject: "ada".to_owned(),
        scopes: Scopes::parse("models:read").unwrap(),
        across: Scopes::NONE,
        lifetime: Duration::from_secs(60),
        expected: expected(),
    };
    let authenticator = of(Source::Secret(SECRET.to_vec())).await;
    let caller = bearer(&authenticator, &development::mint(SECRET, &mint).unwrap()).await.unwrap();
    assert_eq!((caller.tenant.as_str(), &*caller.subject, caller.scopes), ("acme", "ada", mint.scopes));
    let other = development::mint(b"another secret of thirty-two bytes", &mint).unwrap();
    assert_eq!(bearer(&authenticator, &other).await, Err(AuthError::Signature));
}

#[tokio::test]
async fn who_tries_many_is_not_listened_to_but_who_was_good_is() {
    let authenticator = Authenticator::new(Keys::open(Source::Secret(SECRET.to_vec())).await.unwrap(), expected(), NonZeroU32::new(5).unwrap());
    let source = Some(IpAddr::from([10, 0, 0, 1]));
    let ask = async |token: &str, source| authenticator.authenticate(Presented { bearer: Some(token), api_key: None }, source).await.map(drop);
    let (known, new) = (by_secret(&claims()), by_secret(&with(&[("sub", json!("bob"))])));
    ask(&known, source).await.unwrap();
    let guess = |n: u32| signed(Algorithm::HS256, None, &EncodingKey::from_secret(format!("a guess, one of many: {n}").as_bytes()), &claims());
    for n in 0..6 {
        assert_eq!(ask(&guess(n), source).await, Err(AuthError::Signature));
    }
    let is_barred = |outcome| matches!(outcome, Err(AuthError::TooMany { wait }) if wait > Duration::from_secs(5) && wait <= Duration::from_secs(12));
    assert!(is_barred(ask(&guess(7), source).await) && is_barred(ask(&new, source).await));
    // Whatever is tried: keys, what is no credential, and headers that are none.
    assert!(is_barred(ask(&ApiKey::generate().reveal(), source).await) && is_barred(ask("junk", source).await));
    assert!(is_barred(Err(authenticator.refuse(AuthError::Malformed, source))));
    assert_eq!(authenticator.refuse(AuthError::Missing, source), AuthError::Missing);
    assert_eq!(ask(&known, source).await, Ok(()));
    assert_eq!(ask(&new, Some(IpAddr::from([10, 0, 0, 2]))).await, Ok(()));
}

#[tokio::test]
async fn keys_that_are_guessed_bar_an_address_too() {
    let authenticator = Authenticator::new(Keys::open(Source::Secret(SECRET.to_vec())).await.unwrap(), expected(), NonZeroU32::new(3).unwrap());
    let key = ApiKey::generate();
    authenticator.issue(HashMap::from([(key.id().to_owned(), issued(&key, "ci"))]));
    let source = Some(IpAddr::from([10, 0, 0, 1]));
    let ask = async |text: &str| authenticator.authenticate(Presented { bearer: None, api_key: Some(text) }, source).await.map(drop);
    for _ in 0..4 {
        assert_eq!(ask(&ApiKey::generate().reveal()).await, Err(AuthError::Key));
    }
    assert!(matches!(ask(&ApiKey::generate().reveal()).await, Err(AuthError::TooMany { .. })));
    assert_eq!(ask(&key.reveal()).await, Ok(()), "one that is good is let in");
}

#[tokio::test]
async fn one_task_renews_keys_however_many_ask_meanwhile() {
    let key = EncodingKey::from_ed_pem(ED).unwrap();
    let set = JwkSet { keys: vec![published("one", &key, Algorithm::EdDSA)] };
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let answer = move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let set = set.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            axum::Json(set)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/keys", axum::routing::get(answer))).await });
    let authenticator = of(Source::Url(url)).await;
    let token = signed(Algorithm::EdDSA, Some("one"), &key, &claims());
    bearer(&authenticator, &token).await.unwrap();
    authenticator.keys.passed(Duration::from_secs(600));
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for _ in 0..100 {
        bearer(&authenticator, &token).await.unwrap();
    }
    assert!(tokio::runtime::Handle::current().metrics().num_alive_tasks() <= tasks + 5);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 2);
}
