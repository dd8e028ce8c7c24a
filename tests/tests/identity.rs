//! Credentials good and bad, keys from their making to their end, quotas, and what the audit has of it.

use std::time::Duration;

use bulkhead_tests::{Answer, TestHost, command, eventually, fixtures, wasm};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Rows of the audit of all tenants, the latest first.
async fn audit(host: &TestHost, query: &str) -> Vec<Value> {
    let auditor = host.mint(&["--tenant", "ops", "--scope", "audit:read,admin:tenants", "--across", "audit:read"]);
    let before = host.bear(&auditor);
    let answer = host.get(&format!("/v1/audit?all_tenants=true&{query}")).await.ok();
    host.bear(&before);
    answer["items"].as_array().expect("rows").clone()
}

/// Why a request was refused, by its id.
async fn reason(host: &TestHost, answer: &Answer) -> String {
    let rows = audit(host, &format!("request_id={}", answer.header("x-request-id"))).await;
    assert_eq!((rows.len(), &rows[0]["result"]), (1, &json!("denied")), "{rows:?}");
    rows[0]["reason"].as_str().expect("a reason").to_owned()
}

/// A token whose claims are these, signed with the host's secret: header and claims as they are.
fn forge(host: &TestHost, header: &Value, claims: &Value) -> String {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let secret = std::fs::read(host.data().join("development.secret")).expect("a secret");
    format!("{signed}.{}", encode(&hmac_sha256(&secret, signed.as_bytes())))
}

/// RFC 2104, on the digest that the registry has.
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let digest = |bytes: &[u8]| *bulkhead_registry::Digest::of(bytes).as_bytes();
    let mut block = [0u8; 64];
    block[..key.len()].copy_from_slice(key);
    let padded = |pad: u8| block.map(|byte| byte ^ pad).to_vec();
    digest(&[padded(0x5c), digest(&[padded(0x36), message.to_vec()].concat()).to_vec()].concat())
}

fn claims(changes: Value) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let mut claims = json!({
        "iss": "bulkhead", "aud": "bulkhead", "sub": "ann", "tenant": "acme", "scope": "models:read", "iat": now, "nbf": now, "exp": now + 600,
    });
    for (name, value) in changes.as_object().expect("changes") {
        claims[name] = match value.as_i64() {
            Some(seconds) => json!(i64::try_from(now).expect("now") + seconds),
            None => value.clone(),
        };
    }
    claims
}

#[tokio::test]
async fn each_credential_that_is_none_has_a_reason_of_its_own_and_the_caller_learns_little() {
    let host = TestHost::guarded().await;
    let hs256 = json!({ "alg": "HS256", "typ": "JWT" });
    let good = forge(&host, &hs256, &claims(json!({})));
    host.bear(&good);
    host.get("/v1/models").await.ok();
    host.bear("");
    let tampered = {
        let mut parts: Vec<_> = good.split('.').collect();
        let other = forge(&host, &hs256, &claims(json!({ "scope": "models:read models:write" })));
        let middle = other.split('.').nth(1).expect("claims").to_owned();
        parts[1] = &middle;
        parts.join(".")
    };
    let silent = "the credential is not accepted here";
    let oversized = format!("Bearer {}", "x".repeat(9000));
    let unknown_key = format!("Bearer bhk_{}_{}", "0".repeat(16), "0".repeat(64));
    let cases = [
        ("credential_expired", format!("Bearer {}", forge(&host, &hs256, &claims(json!({ "exp": -61 })))), "expired"),
        ("token_not_yet_valid", format!("Bearer {}", forge(&host, &hs256, &claims(json!({ "nbf": 90 })))), "not valid yet"),
        ("token_audience", format!("Bearer {}", forge(&host, &hs256, &claims(json!({ "aud": "other" })))), silent),
        ("token_issuer", format!("Bearer {}", forge(&host, &hs256, &claims(json!({ "iss": "other" })))), silent),
        ("token_signature", format!("Bearer {tampered}"), silent),
        ("token_algorithm", format!("Bearer {}", forge(&host, &json!({ "alg": "none" }), &claims(json!({})))), silent),
        ("token_algorithm", format!("Bearer {}", forge(&host, &json!({ "alg": "RS256", "kid": "k" }), &claims(json!({})))), silent),
        ("token_claims", format!("Bearer {}", forge(&host, &hs256, &claims(json!({ "tenant": "../x" })))), silent),
        ("key_unknown", unknown_key, silent),
        ("credential_malformed", "Basic YW5uOnNlY3JldA==".to_owned(), "Authorization: Bearer"),
        ("credential_malformed", "Bearer not.a.token".to_owned(), ""),
        ("credential_oversized", oversized, "longer"),
    ];
    for (expected, header, told) in cases {
        let answer = host.send(host.request(Method::GET, "/v1/models").header("authorization", &header)).await;
        answer.error(401, "unauthenticated").says(told);
        let found = reason(&host, &answer).await;
        // What is no token at all may fail at its header already.
        assert!(found == expected || header.ends_with("not.a.token"), "{header}: {found}");
        let logged = host.log().into_iter().any(|line| line["request.id"] == answer.header("x-request-id") && line["reason"] == found.as_str());
        assert!(logged, "{expected} is not in the log");
    }
    // Leeway: clocks may differ by a minute.
    for changes in [json!({ "exp": -30 }), json!({ "nbf": 30 })] {
        host.bear(&forge(&host, &hs256, &claims(changes)));
        host.get("/v1/models").await.ok();
    }
    host.bear("");
    // Two that disagree, and two that do not.
    let other = host.token("other", "models:read");
    let two = host.request(Method::GET, "/v1/models").bearer_auth(&good).header("x-api-key", &other);
    let answer = host.send(two).await;
    answer.error(401, "unauthenticated").says("disagree");
    assert_eq!(reason(&host, &answer).await, "credentials_disagree");
    host.send(host.request(Method::GET, "/v1/models").bearer_auth(&good).header("x-api-key", &good)).await.ok();
}

#[tokio::test]
async fn a_key_is_shown_once_bounded_by_its_maker_and_ends_at_once() {
    let mut host = TestHost::guarded().await;
    let admin = host.token("acme", "admin:keys,models:read,models:write");
    host.bear(&admin);
    let ask = |scopes: &[&str], more: Value| {
        let mut wanted = json!({ "name": "ci", "scopes": scopes });
        wanted.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        wanted
    };
    let made = host.post_json("/v1/keys", &ask(&["models:read"], json!({ "expires_in": 3600 }))).await.expect(201).json();
    let (id, key) = (made["id"].as_str().expect("an id").to_owned(), made["key"].as_str().expect("a key").to_owned());
    assert!(!host.get("/v1/keys").await.expect(200).text().contains(&key));
    // Nowhere on the disk either.
    let secret = key.rsplit('_').next().expect("a secret").to_owned();
    for file in ["bulkhead.db", "bulkhead.db-wal"] {
        let bytes = std::fs::read(host.data().join(file)).unwrap_or_default();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{file} has the secret");
    }
    host.post_json("/v1/keys", &ask(&["plugins:read"], json!({}))).await.error(403, "forbidden").says("plugins:read");
    host.post_json("/v1/keys", &ask(&[], json!({}))).await.error(400, "invalid_input").says("`scopes`");
    host.post_json("/v1/keys", &ask(&["models:reed"], json!({}))).await.error(400, "invalid_input").says("there is no scope `models:reed`");
    host.post_json("/v1/keys", &ask(&["models:read"], json!({ "expires_in": 0 }))).await.error(400, "invalid_input").says("`expires_in`");
    host.post_json("/v1/keys", &ask(&["models:read"], json!({ "color": 1 }))).await.error(400, "invalid_input").says("color");
    // As either header, and after a kill.
    let use_key = async |host: &TestHost, key: &str, path: &str| host.send(host.request(Method::GET, path).header("x-api-key", key)).await;
    host.bear("");
    let who = use_key(&host, &key, "/v1/whoami").await.ok();
    assert_eq!((&who["tenant"], &who["subject"], &who["credential"]), (&json!("acme"), &json!(id), &json!("key")));
    host.kill9();
    host.start_again().await;
    use_key(&host, &key, "/v1/models").await.ok();
    use_key(&host, &key, "/v1/keys").await.error(403, "forbidden");
    host.bear(&admin);
    let revoked = host.delete(&format!("/v1/keys/{id}")).await.ok();
    assert!(revoked["revoked_at"].is_i64());
    host.bear("");
    let answer = use_key(&host, &key, "/v1/models").await;
    answer.error(401, "unauthenticated").says("not accepted");
    assert_eq!(reason(&host, &answer).await, "key_revoked");
    host.kill9();
    host.start_again().await;
    use_key(&host, &key, "/v1/models").await.error(401, "unauthenticated");
    // One that lives for a second.
    host.bear(&admin);
    let short = host.post_json("/v1/keys", &ask(&["models:read"], json!({ "expires_in": 1 }))).await.expect(201).json();
    host.bear("");
    let short = short["key"].as_str().expect("a key").to_owned();
    eventually("the key expires", Duration::from_secs(10), async || use_key(&host, &short, "/v1/models").await.status == 401).await;
}

#[tokio::test]
async fn keys_and_failed_attempts_are_bounded_in_rate() {
    // Bounds that come back slowly, however busy the machine is.
    let setup = TestHost::setup().env("BULKHEAD_AUTH_MODE", "required").env("BULKHEAD_AUTH_KEYS_PER_MINUTE", "3");
    let host = setup.env("BULKHEAD_AUTH_FAILED_PER_MINUTE", "2").start().await;
    host.bear(&host.token("acme", "admin:keys,models:read"));
    let wanted = json!({ "name": "ci", "scopes": ["models:read"] });
    let mut answers = Vec::new();
    while answers.len() < 30 && answers.last().is_none_or(|answer: &Answer| answer.status == 201) {
        answers.push(host.post_json("/v1/keys", &wanted).await);
    }
    let answer = answers.pop().expect("an answer");
    assert!(answers.len() >= 3);
    answer.error(429, "too_many_requests").says("3 keys");
    assert!((1..=60).contains(&answer.header("retry-after").parse::<u32>().expect("seconds")));
    // Another tenant's are its own.
    let known = host.token("other", "admin:keys,models:read");
    host.bear(&known);
    host.post_json("/v1/keys", &wanted).await.expect(201);
    // An address that guesses is told no more, whatever it tries, and its new signatures are not checked; who is known is let in.
    let mut answers = Vec::new();
    while answers.len() < 30 && answers.last().is_none_or(|answer: &Answer| answer.status == 200) {
        for n in 0..3 {
            host.bear(&format!("bhk_{n:016x}_{}", "0".repeat(64)));
            assert!(matches!(host.get("/v1/models").await.status, 401 | 429));
            host.bear("");
            let answer = host.send(host.request(Method::GET, "/v1/models").header("authorization", "Basic YTpi")).await;
            assert!(matches!(answer.status, 401 | 429));
        }
        host.bear(&host.mint(&["--user", &format!("new-{}", answers.len()), "--scope", "models:read"]));
        answers.push(host.get("/v1/models").await);
    }
    let answer = answers.pop().expect("an answer");
    answer.error(429, "too_many_requests").says("too many failed attempts");
    // Two in a minute: one comes back in half of one.
    assert!((10..=60).contains(&answer.header("retry-after").parse::<u32>().expect("seconds")));
    host.bear("");
    let answer = host.send(host.request(Method::GET, "/v1/models").header("authorization", "Basic YTpi")).await;
    answer.error(429, "too_many_requests").says("too many failed attempts");
    host.bear(&known);
    host.get("/v1/models").await.ok();
}

#[tokio::test]
async fn a_tenant_has_so_many_keys_that_are_good() {
    let setup = TestHost::setup().env("BULKHEAD_AUTH_MODE", "required").env("BULKHEAD_AUTH_KEYS_PER_TENANT", "2");
    let host = setup.start().await;
    host.bear(&host.token("acme", "admin:keys,models:read"));
    let wanted = json!({ "name": "ci", "scopes": ["models:read"] });
    let first = host.post_json("/v1/keys", &wanted).await.expect(201).json();
    host.post_json("/v1/keys", &wanted).await.expect(201);
    host.post_json("/v1/keys", &wanted).await.error(429, "too_many_requests").says("2 keys that are good");
    host.delete(&format!("/v1/keys/{}", first["id"].as_str().expect("an id"))).await.ok();
    host.post_json("/v1/keys", &wanted).await.expect(201);
    host.bear(&host.token("other", "admin:keys,models:read"));
    host.post_json("/v1/keys", &wanted).await.expect(201);
}

#[tokio::test]
async fn who_looks_at_all_tenants_is_in_the_audit_once() {
    let host = TestHost::guarded().await;
    let own = host.token("acme", "all");
    let operator = host.mint(&["--tenant", "ops", "--user", "eve", "--scope", "all", "--across", "all"]);
    for credential in [&own, &operator] {
        host.bear(credential);
        for _ in 0..3 {
            host.get("/metrics").await.expect(200);
            host.admin_get("/metrics").await.expect(200);
            host.get("/v1/audit").await.ok();
        }
    }
    for _ in 0..2 {
        host.get("/v1/audit?all_tenants=true").await.ok();
        host.get("/v1/audit/export?all_tenants=true").await.expect(200);
        host.get("/v1/tenants").await.ok();
        host.get("/v1/tenants/acme").await.ok();
        host.get("/v1/tenants/other").await.ok();
        host.get("/v1/tenants/ops").await.ok();
    }
    host.bear(&own);
    host.get("/v1/tenants/acme").await.ok();
    let rows = audit(&host, "result=allowed&limit=500").await;
    let looks: Vec<_> = rows
        .iter()
        .filter(|row| {
            row["action"].as_str().is_some_and(|action| action.contains(".read") || action.ends_with(".list") || action.ends_with(".export"))
        })
        .collect();
    let mut seen: Vec<_> = looks
        .iter()
        .filter(|row| row["actor"] == "eve")
        .map(|row| format!("{} {}", row["action"].as_str().unwrap_or_default(), row["target"].as_str().unwrap_or_default()))
        .collect();
    seen.sort();
    let expected = [
        "audit.export all tenants",
        "audit.read all tenants",
        "metrics.read all tenants",
        "tenant.list all tenants",
        "tenant.read acme",
        "tenant.read other",
    ];
    assert_eq!(seen, expected);
    assert!(looks.iter().all(|row| row["actor_tenant"] == "ops"), "{looks:?}");
    // What is its own a tenant sees: that it was looked at.
    host.bear(&own);
    let rows = host.get("/v1/audit?action=tenant.read").await.ok();
    assert_eq!(rows["items"].as_array().expect("rows").len(), 1);
}

#[tokio::test]
async fn who_hangs_up_is_in_the_audit_all_the_same_and_no_method_fills_it() {
    let host = TestHost::guarded().await;
    host.bear(&host.token("acme", "all"));
    host.plain(&["identity_f32"]).await;
    // Another artifact for a version that is there: refused once it has come, by when nobody listens.
    let body = format!(
        "--b\r\ncontent-disposition: form-data; name=\"manifest\"; filename=\"manifest.toml\"\r\n\r\n{}\r\n\
         --b\r\ncontent-disposition: form-data; name=\"model\"; filename=\"m\"\r\n\r\n{}\r\n--b--\r\n",
        fixtures::PLAIN,
        "x".repeat(50)
    );
    let send = async |method: &str, path: &str, more: &str, body: &str| {
        let mut stream = TcpStream::connect(host.address()).await.expect("a connection");
        let head = format!("{method} {path} HTTP/1.1\r\nhost: h\r\n{more}content-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.expect("it is sent");
        if more.contains("100-continue") {
            // Who hangs up before the host has begun has asked for nothing.
            let mut goes_on = [0; 25];
            stream.read_exact(&mut goes_on).await.expect("an answer");
            assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        stream.write_all(body.as_bytes()).await.expect("it is sent");
        stream
    };
    let token = host.bear("");
    let more = format!("authorization: Bearer {token}\r\ncontent-type: multipart/form-data; boundary=b\r\nexpect: 100-continue\r\n");
    drop(send("PUT", "/v1/models/identity_f32/versions/1.0.0", &more, &body).await);
    let mut answered = [0; 12];
    send(&"A".repeat(100_000), "/nowhere", "", "").await.read_exact(&mut answered).await.expect("an answer");
    assert_eq!(&answered, b"HTTP/1.1 401");
    eventually("both are there, the method cut", Duration::from_secs(20), async || {
        let rows = audit(&host, "").await;
        let is_failed = |row: &Value| {
            row["action"] == "PUT /v1/models/{name}/versions/{version}" && row["result"] == "failed" && row["reason"] == "already_exists"
        };
        assert!(rows.iter().all(|row| row["action"].as_str().is_some_and(|action| action.len() < 60)));
        rows.iter().any(is_failed) && rows.iter().any(|row| row["action"] == "A".repeat(16))
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_refusals_is_counted_and_does_not_fill_the_audit() {
    let host = TestHost::guarded().await;
    let began = std::time::Instant::now();
    for _ in 0..300 {
        host.get("/v1/models").await.error(401, "unauthenticated");
    }
    let rows = async || audit(&host, "result=denied&limit=500").await;
    let (count, seconds) = (rows().await.len(), began.elapsed().as_secs());
    // So many at once, and two more in a second; and the count of the others.
    assert!((120..=125 + 2 * usize::try_from(seconds).expect("seconds")).contains(&count), "{count} in {seconds} s");
    eventually("the rest is counted", Duration::from_secs(30), async || {
        rows().await.iter().any(|row| row["detail"].as_str().is_some_and(|detail| detail.contains("more such")))
    })
    .await;
}

#[tokio::test]
async fn a_tenant_is_held_to_its_quotas_and_others_are_not() {
    let host = TestHost::guarded().await;
    let operator = host.mint(&["--tenant", "ops", "--scope", "all", "--across", "admin:tenants"]);
    let set = async |said: Value| {
        host.bear(&operator);
        let answer = host.send(host.request(Method::PUT, "/v1/tenants/acme").json(&said)).await;
        host.bear(&host.token("acme", "all"));
        answer
    };
    // Not by the tenant itself, though its callers may all that a tenant's may.
    host.bear(&host.token("acme", "all"));
    let own = host.send(host.request(Method::PUT, "/v1/tenants/acme").json(&json!({ "trusted": true }))).await;
    own.error(403, "forbidden").says("xt");
    set(json!({ "quotas": { "speed": 1 } })).await.error(400, "invalid_input").says("speed");
    set(json!({ "quotas": { "versions": 1 } })).await.ok();
    host.plain(&["add_one"]).await;
    let refused = host.put_version("slow/versions/1.0.0", fixtures::PLAIN, fixtures::model("slow")).await;
    refused.error(429, "too_many_requests").says("`versions` of 1");
    assert_eq!(refused.json()["error"]["details"], json!({ "quota": "versions", "limit": 1 }));
    // The same again is no more than there is.
    host.put_version("add_one/versions/1.0.0", fixtures::PLAIN, fixtures::model("add_one")).await.expect(200);
    set(json!({ "quotas": { "stored_mb": 1 } })).await.ok();
    let answer = host.put_plugin("large", "1.0.0", [wasm::transform(""), vec![0; 1 << 20]].concat()).await;
    answer.error(429, "too_many_requests").says("stored_mb");
    // By what it says of its length, and while it comes.
    for bytes in [8 << 20, 1 << 20] {
        let answer = host.put_version("large/versions/1.0.0", fixtures::PLAIN, vec![0; bytes]).await;
        answer.error(429, "too_many_requests").says("`stored_mb` of 1");
        assert_eq!(answer.json()["error"]["details"]["quota"], "stored_mb");
        assert_eq!(host.files("artifacts/tmp"), [""; 0]);
    }

    set(json!({ "quotas": { "requests_per_second": 1, "burst": 5 } })).await.ok();
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(host.predict("add_one", &body).await);
    }
    let refused = statuses.iter().find(|answer| answer.status == 429).expect("one beyond the rate");
    refused.error(429, "too_many_requests").says("requests_per_second");
    assert_eq!(refused.header("retry-after"), "1");
    // By the Open Inference Protocol too, whose errors are a message alone.
    let mut refused = host.post_json("/v2/models/add_one/infer", &body).await;
    for _ in 0..12 {
        if refused.status == 200 {
            refused = host.post_json("/v2/models/add_one/infer", &body).await;
        }
    }
    assert_eq!((refused.status, refused.header("retry-after"), refused.header("x-bulkhead-quota")), (429, "1", "requests_per_second"));
    assert!(refused.text().contains("`requests_per_second` of 1"), "{}", refused.text());
    assert!(statuses.iter().filter(|answer| answer.status != 429).count() >= 5);
    host.bear(&host.token("other", "all"));
    host.plain(&["add_one"]).await;
    for _ in 0..12 {
        assert_ne!(host.predict("add_one", &body).await.status, 429);
    }
    set(json!({ "quotas": { "queued_mb": 1 } })).await.ok();
    host.bear(&host.token("acme", "all"));
    let padded = format!("{body}{}", " ".repeat(1 << 20));
    host.post("/v1/models/add_one/predict", "application/json", padded.clone()).await.error(429, "too_many_requests").says("queued_mb");
    // However small it was on its way: what it is inflated to counts. And what a plugin is.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, padded.as_bytes()).expect("memory");
    let small = gzip.finish().expect("memory");
    let request = host.request(Method::POST, "/v2/models/add_one/infer").header("content-encoding", "gzip").body(small);
    let answer = host.send(request).await;
    assert_eq!((answer.status, answer.header("x-bulkhead-quota")), (429, "queued_mb"), "{}", answer.text());
    host.put_plugin("large", "1.0.0", vec![0; (1 << 20) + 1]).await.error(429, "too_many_requests").says("queued_mb");
    // Whether its length is announced or not.
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = padded.as_bytes().chunks(1 << 16).map(|piece| Ok(piece.to_vec())).collect();
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let request = host.request(Method::POST, "/v2/models/add_one/infer").header("content-type", "application/json").body(chunked);
    let answer = host.send(request).await;
    assert!(answer.status == 429 && answer.text().contains("queued_mb"), "{}", answer.text());
    // And what was held is given back.
    host.predict("add_one", &body).await.expect(200);
    set(json!({ "disabled": true })).await.ok();
    let answer = host.get("/v1/models").await;
    answer.error(403, "forbidden").says("disabled");
    assert_eq!(reason(&host, &answer).await, "tenant_disabled");
    set(json!({ "disabled": false })).await.ok();
    host.get("/v1/models").await.ok();
}

/// The same component with other bytes: an empty custom section of another name at its end.
fn with_section(component: &[u8], n: u8) -> Vec<u8> {
    [component, &[0, 2, 1, b'A' + n % 58]].concat()
}

#[tokio::test]
async fn compile_time_runs_out_and_says_when_there_is_some_again() {
    let host = TestHost::setup().env("BULKHEAD_QUOTAS_COMPILE_SECONDS_PER_HOUR", "1").start().await;
    host.plugins(&["classify"]).await;
    let mut refused = None;
    for n in 0..58 {
        let answer = host.put_plugin("image", &format!("0.1.{n}"), with_section(&fixtures::plugin("image"), n)).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let refused = refused.expect("an end of the hour's time");
    refused.error(429, "too_many_requests").says("compile_seconds_per_hour");
    assert!(refused.header("retry-after").parse::<u32>().expect("seconds") >= 1);
    // Nor are copies made with configurations, and requests do without.
    let manifest = format!("{}\ntransforms = [{{ plugin = \"classify@0.1.0\", config = {{ labels = [\"a\", \"b\"] }} }}]", fixtures::PLAIN);
    let answer = host.put_version("m/versions/1.0.0", &manifest, fixtures::model("identity_f32")).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let document = host.get("/v1/models/m/versions/1.0.0").await.ok();
    assert_eq!(document["sandboxes"], json!([{ "plugin": "classify@0.1.0", "configured_ahead": false }]));
}

#[tokio::test]
async fn the_audit_is_whole_after_kills_and_shows_what_is_done_to_it() {
    let mut host = TestHost::guarded().await;
    let token = host.token("acme", "all");
    let acknowledged = std::sync::Mutex::new(Vec::new());
    for round in 0..4 {
        host.bear(&token);
        let upload = async |n: u32| {
            let version = format!("{round}.{n}.0");
            let answer = host.put_version(&format!("add_one/versions/{version}"), fixtures::PLAIN, fixtures::model("add_one")).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            acknowledged.lock().expect("no panic").push(version);
        };
        // Killed in the middle, once some were answered: those count.
        let all = futures_util::future::join_all((0..20).map(upload));
        let some = eventually("some are acknowledged", Duration::from_secs(60), async || acknowledged.lock().expect("no panic").len() > 3 * round);
        tokio::select! {
            _ = all => {}
            () = some => {}
        }
        host.kill9();
        host.start_again().await;
    }
    let acknowledged = acknowledged.into_inner().expect("no panic");
    assert!(acknowledged.len() > 9);
    host.bear("");
    let exported = host.mint(&["--tenant", "ops", "--scope", "audit:read,admin:tenants", "--across", "audit:read"]);
    let request = host.request(Method::GET, "/v1/audit/export?all_tenants=true").bearer_auth(&exported);
    let text = host.send(request).await.expect(200).text();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    for version in &acknowledged {
        assert!(rows.iter().any(|row| row["action"] == "version.create" && row["target"] == format!("add_one@{version}")), "{version} is not there");
    }
    // Each version that is there has its row, and no row is without its version.
    let created = rows.iter().filter(|row| row["action"] == "version.create").count();
    host.bear(&token);
    let there = host.get("/v1/models/add_one").await.ok()["versions"].as_u64().expect("a count");
    assert_eq!(created as u64, there);

    let verify = |text: &str, more: &[&str]| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("a file");
        let output = command().args(["audit", "verify", "--file"]).arg(file.path()).args(more).output().expect("the binary");
        (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    };
    let (fine, said) = verify(&text, &[]);
    assert!(fine && said.contains("are whole"), "{said}");
    let head = said.lines().last().expect("a hash").to_owned();
    assert!(verify(&text, &["--head", &head]).0);
    let lines: Vec<_> = text.lines().collect();
    for (what, changed) in [
        ("was changed", text.replacen("\"ann\"", "\"bob\"", 1)),
        ("are missing", [&lines[..3], &lines[4..]].concat().join("\n")),
        ("rows 1 to 3 are missing, and no row says that a retention took them", lines[3..].join("\n")),
        ("does not follow", [&lines[..3], &lines[2..]].concat().join("\n")),
        ("is no row", text.replacen('{', "", 1)),
    ] {
        let (fine, said) = verify(&changed, &[]);
        assert!(!fine && said.contains(what), "{what}: {said}");
    }
    // A tail that was cut off shows to who kept its hash.
    let (fine, said) = verify(&lines[..lines.len() - 1].join("\n"), &["--head", &head]);
    assert!(!fine && said.contains("no row has the hash"), "{said}");
}

#[tokio::test]
async fn metrics_are_a_tenant_s_own() {
    let host = TestHost::guarded().await;
    for tenant in ["acme", "other"] {
        host.bear(&host.token(tenant, "all"));
        host.plain(&["add_one"]).await;
    }
    let text = host.get("/metrics").await.expect(200).text();
    assert!(text.contains("tenant=\"other\"") && !text.contains("acme") && !text.contains("bulkhead_versions"), "{text}");
    host.bear(&host.mint(&["--tenant", "ops", "--scope", "models:read,admin:tenants", "--across", "models:read"]));
    let text = host.admin_get("/metrics").await.expect(200).text();
    assert!(text.contains("tenant=\"other\"") && text.contains("tenant=\"acme\"") && text.contains("bulkhead_versions"), "{text}");
    host.bear("");
    host.get("/metrics").await.error(401, "unauthenticated");
    host.bear(&host.mint(&["--tenant", "ops", "--scope", "models:read,admin:tenants", "--across", "models:read"]));
    assert!(host.get("/metrics").await.text().contains("bulkhead_requests_refused_total{reason=\"credential_missing\"} 1"));
}
