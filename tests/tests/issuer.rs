//! Tokens of an issuer, whose keys the host has from an address or from files: let in, refused, and told of in the audit.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_tests::{TestHost, eventually};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use reqwest::Method;
use serde_json::{Value, json};

/// More than the host lets pass between two looks for keys.
const LOOK: Duration = Duration::from_secs(40);

struct Key {
    id: &'static str,
    pair: KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key") }
    }

    /// As an issuer publishes it.
    fn published(&self) -> Value {
        // A byte that says how it is written, and the two numbers of the point.
        let point = self.pair.der_bytes();
        let [x, y] = [&point[1..33], &point[33..65]].map(|number| URL_SAFE_NO_PAD.encode(number));
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y })
    }

    /// A token of its own for each name.
    fn token(&self, name: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
        let scope = "models:read audit:read";
        let claims = json!({ "iss": "https://issuer.test", "aud": "bulkhead", "sub": name, "tenant": "acme", "scope": scope, "exp": now + 600 });
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, &claims, &EncodingKey::from_ec_pem(self.pair.serialize_pem().as_bytes()).expect("a key")).expect("a token")
    }
}

type Published = Arc<Mutex<Option<Vec<Value>>>>;

/// An address that publishes what it is told to; nothing for a failure.
async fn issuer(published: &Published) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
    let published = Arc::clone(published);
    let answer = move || async move {
        let keys = published.lock().expect("the keys").clone();
        keys.map(|keys| axum::Json(json!({ "keys": keys }))).ok_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR)
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/keys", axum::routing::get(answer))).await });
    url
}

async fn asked(host: &TestHost, token: &str) -> u16 {
    host.send(host.request_as(token, Method::GET, "/v1/models")).await.status
}

/// Why the audit and the log say that tokens were refused.
async fn reasons(host: &TestHost, reader: &str) -> Vec<String> {
    let rows = host.send(host.request_as(reader, Method::GET, "/v1/audit?result=denied&limit=500")).await.ok();
    let in_audit = rows["items"].as_array().expect("rows").iter().filter_map(|row| row["reason"].as_str().map(str::to_owned));
    let log = host.log();
    let in_log = log.iter().filter(|line| line["result"] == "denied").filter_map(|line| line["reason"].as_str().map(str::to_owned));
    in_audit.chain(in_log).collect()
}

#[tokio::test]
async fn published_keys_come_and_go_without_a_restart() {
    let (one, two) = (Key::new("one"), Key::new("two"));
    let published: Published = Arc::default();
    let url = issuer(&published).await;
    let setup = TestHost::setup().env("BULKHEAD_AUTH_MODE", "required").env("BULKHEAD_AUTH_JWKS_URL", &url);
    let host = setup.env("BULKHEAD_AUTH_ISSUER", "https://issuer.test").start().await;
    // The address does not answer yet: that is nobody's fault who asks.
    let early = host.send(host.request_as(&one.token("early"), Method::GET, "/v1/models")).await;
    early.error(503, "keys_unavailable");
    assert!(!early.header("retry-after").is_empty());
    *published.lock().expect("the keys") = Some(vec![one.published()]);
    eventually("the key is there", LOOK, async || asked(&host, &one.token("ann")).await == 200).await;
    let unknown = host.send(host.request_as(&two.token("bob"), Method::GET, "/v1/models")).await;
    unknown.error(401, "unauthenticated");
    // Which keys there are is nobody's business.
    assert!(!unknown.text().contains("two") && !unknown.text().contains("kid"), "{}", unknown.text());
    *published.lock().expect("the keys") = Some(vec![two.published()]);
    eventually("the next key is there", LOOK, async || asked(&host, &two.token("bob")).await == 200).await;
    assert_eq!(asked(&host, &one.token("ann")).await, 401);
    // Where the address fails now, the last good ones serve on.
    *published.lock().expect("the keys") = None;
    assert_eq!(asked(&host, &two.token("cleo")).await, 200);
    // Nobody knew who they were, so no tenant was theirs; the log has them all.
    let reasons = reasons(&host, &two.token("auditor")).await;
    for reason in ["token_keys_unavailable", "token_unknown_key"] {
        assert!(reasons.iter().any(|found| found == reason), "{reason} is not in {reasons:?}");
    }
}

#[tokio::test]
async fn keys_of_files_let_in_who_was_signed_for() {
    let (one, other) = (Key::new("one"), Key::new("other"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("issuer.pem");
    std::fs::write(&file, one.pair.public_key_pem()).expect("a file");
    let setup = TestHost::setup().env("BULKHEAD_AUTH_MODE", "required").env("BULKHEAD_AUTH_KEY_FILES", file.to_str().expect("a path"));
    let host = setup.env("BULKHEAD_AUTH_ISSUER", "https://issuer.test").start().await;
    assert_eq!(asked(&host, &one.token("ann")).await, 200);
    host.send(host.request_as(&other.token("ann"), Method::GET, "/v1/models")).await.error(401, "unauthenticated");
    // A secret for development is no key here.
    assert!(!host.data().join("development.secret").exists());
}
