//! Nobody gets in without a credential, nor further than it permits: every operation that the host says it has is tried.

use std::collections::BTreeSet;
use std::process::Command;

use bulkhead_tests::{Answer, TestHost, command, fixtures, wasm};
use reqwest::Method;
use serde_json::{Value, json};

/// What an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Credential,
    /// One of these.
    Scopes(&'static [&'static str]),
}
use Need::{Credential, Nothing, Scopes};

/// What another tenant's caller sees of what an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    /// It names nothing, or its own only.
    Own,
    /// A thing that is not there.
    NotFound,
    /// It would make one of its own.
    Makes,
}
use Others::{Makes, NotFound, Own};

const READ: Need = Scopes(&["models:read"]);
const SEE: Need = Scopes(&["models:read", "models:predict"]);
const PREDICT: Need = Scopes(&["models:predict"]);
const WRITE: Need = Scopes(&["models:write"]);
const TRUST: Need = Scopes(&["admin:trust"]);

/// Written down here by hand, and not derived: a route that is not in it fails the test until somebody has thought about it.
const OPERATIONS: &[(&str, Need, Others)] = &[
    ("get /docs", Credential, Own),
    ("get /health/live", Nothing, Own),
    ("get /health/ready", Nothing, Own),
    ("get /health/startup", Nothing, Own),
    ("get /metrics", READ, Own),
    ("get /openapi.json", Credential, Own),
    ("get /v1/audit", Scopes(&["audit:read"]), Own),
    ("get /v1/audit/export", Scopes(&["audit:read"]), Own),
    ("post /v1/keys", Scopes(&["admin:keys"]), Makes),
    ("get /v1/keys", Scopes(&["admin:keys"]), Own),
    ("delete /v1/keys/{id}", Scopes(&["admin:keys"]), NotFound),
    ("get /v1/models", READ, Own),
    ("get /v1/models/{name}", READ, NotFound),
    ("get /v1/models/{name}/history", READ, NotFound),
    ("post /v1/models/{name}/predict", PREDICT, NotFound),
    ("post /v1/models/{name}/promote", WRITE, NotFound),
    ("post /v1/models/{name}/rollback", WRITE, NotFound),
    ("get /v1/models/{name}/versions", READ, NotFound),
    ("delete /v1/models/{name}/versions/{version}", WRITE, NotFound),
    ("get /v1/models/{name}/versions/{version}", READ, NotFound),
    ("post /v1/models/{name}/versions/{version}/predict", PREDICT, NotFound),
    ("put /v1/models/{name}/versions/{version}", WRITE, Makes),
    ("get /v1/plugins", Scopes(&["plugins:read"]), Own),
    ("get /v1/plugins/{name}", Scopes(&["plugins:read"]), NotFound),
    ("delete /v1/plugins/{name}/versions/{version}", Scopes(&["plugins:write"]), NotFound),
    ("get /v1/plugins/{name}/versions/{version}", Scopes(&["plugins:read"]), NotFound),
    ("put /v1/plugins/{name}/versions/{version}", Scopes(&["plugins:write"]), Makes),
    ("post /v1/revocations", TRUST, Makes),
    ("get /v1/revocations", TRUST, Own),
    ("delete /v1/revocations/{digest}", TRUST, NotFound),
    ("get /v1/tenants", Scopes(&["admin:tenants"]), Own),
    ("get /v1/tenants/{tenant}", Scopes(&["admin:tenants"]), NotFound),
    ("put /v1/tenants/{tenant}", Scopes(&["admin:tenants"]), NotFound),
    ("post /v1/trust-roots", TRUST, Makes),
    ("get /v1/trust-roots", TRUST, Own),
    ("delete /v1/trust-roots/{id}", TRUST, NotFound),
    ("get /v1/whoami", Credential, Own),
    ("get /v2", Credential, Own),
    ("get /v2/", Credential, Own),
    ("get /v2/health/live", Nothing, Own),
    ("get /v2/health/ready", Nothing, Own),
    ("get /v2/models", SEE, Own),
    ("get /v2/models/stats", READ, Own),
    ("get /v2/models/{name}", SEE, NotFound),
    ("get /v2/models/{name}/config", SEE, NotFound),
    ("post /v2/models/{name}/infer", PREDICT, NotFound),
    ("get /v2/models/{name}/ready", SEE, NotFound),
    ("get /v2/models/{name}/stats", READ, NotFound),
    ("get /v2/models/{name}/versions/{version}", SEE, NotFound),
    ("get /v2/models/{name}/versions/{version}/config", SEE, NotFound),
    ("post /v2/models/{name}/versions/{version}/infer", PREDICT, NotFound),
    ("get /v2/models/{name}/versions/{version}/ready", SEE, NotFound),
    ("get /v2/models/{name}/versions/{version}/stats", READ, NotFound),
    ("post /v2/repository/index", READ, Own),
    ("post /v2/repository/models/{name}/load", WRITE, NotFound),
    ("post /v2/repository/models/{name}/unload", WRITE, NotFound),
];

const ALL: [&str; 15] = [
    "models:read",
    "models:write",
    "models:predict",
    "plugins:read",
    "plugins:write",
    "plugins:grant",
    "rollouts:write",
    "jobs:submit",
    "jobs:read",
    "jobs:cancel",
    "audit:read",
    "admin:tenants",
    "admin:workers",
    "admin:keys",
    "admin:trust",
];

/// A digest of nothing that there is.
const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A host with a model, a plugin, a key, a trust root and a revocation of the tenant `acme`; gives the key's id and the root's.
async fn acme() -> (TestHost, [String; 2]) {
    let host = TestHost::guarded().await;
    host.bear(&host.token("acme", "all"));
    host.plain(&["add_one"]).await;
    host.put_plugin("odd", "1.0.0", wasm::transform("")).await.expect(201);
    let key = host.post_json("/v1/keys", &json!({ "name": "ci", "scopes": ["models:read"] })).await.expect(201).json();
    let public_key = bulkhead::signing::SecretKey::generate().expect("random numbers").public().to_pem();
    let root = host.post_json("/v1/trust-roots", &json!({ "name": "releases", "public_key": public_key })).await.expect(201).json();
    host.post_json("/v1/revocations", &json!({ "digest": DIGEST, "reason": "known only to acme" })).await.expect(201);
    let id = |document: Value| document["id"].as_str().expect("an id").to_owned();
    (host, [id(key), id(root)])
}

/// An operation with acme's names in its path.
async fn ask(host: &TestHost, operation: &str, [key, root]: &[String; 2], credential: &str) -> Answer {
    let (method, path) = operation.split_once(' ').expect("method and path");
    let name = if path.contains("/plugins/") { "odd" } else { "add_one" };
    let id = if path.contains("/trust-roots/") { root } else { key };
    let path = path.replace("{name}", name).replace("{version}", "1.0.0").replace("{id}", id).replace("{tenant}", "acme").replace("{digest}", DIGEST);
    let body = match (method, &*path) {
        ("post", path) if path.ends_with("/promote") => json!({ "version": "1.0.0" }).to_string(),
        ("put", path) if path.starts_with("/v1/tenants") => "{}".to_owned(),
        _ => String::new(),
    };
    host.bear(credential);
    let method: Method = method.to_uppercase().parse().expect("a method");
    let answer = host.send(host.request(method, &path).header("content-type", "application/json").body(body)).await;
    host.bear("");
    answer
}

fn others(scopes: &[&str]) -> String {
    ALL.iter().filter(|scope| !scopes.contains(scope)).copied().collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn every_operation_is_known_and_needs_what_it_should() {
    let (host, ids) = acme().await;
    let document = host.get("/openapi.json").await.ok();
    let mut told = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let operation_name = format!("{method} {path}");
            // The model's own path stands for the one with a parameter in it.
            let name = operation_name.replace("/models/add_one/", "/models/{name}/");
            let known = OPERATIONS.iter().find(|(known, ..)| *known == name);
            let (_, need, _) = known.unwrap_or_else(|| panic!("`{name}` is not known here: what does it need, and what do other tenants see of it?"));
            assert_eq!(operation["security"], security(*need), "{name}");
            told.insert(name);
        }
    }
    let known: BTreeSet<_> = OPERATIONS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(told, known, "the document leaves something out");

    let (a, b) = (host.token("acme", "all"), host.token("other", "all"));
    for (operation, need, sees) in OPERATIONS {
        let nobody = ask(&host, operation, &ids, "").await;
        match need {
            Nothing => assert_ne!(nobody.status, 401, "{operation}"),
            _ => refused(&nobody, 401, "unauthenticated", operation),
        }
        if let Scopes(scopes) = need {
            let refusal = ask(&host, operation, &ids, &host.token("acme", &others(scopes))).await;
            refused(&refusal, 403, "forbidden", operation);
            for scope in *scopes {
                assert!(refusal.text().contains(scope), "{operation}: {}", refusal.text());
            }
        }
        let other = ask(&host, operation, &ids, &b).await;
        match sees {
            NotFound => refused(&other, 404, "not_found", operation),
            Makes => assert!(matches!(other.status, 200 | 201 | 400 | 415 | 422), "{operation}: {}", other.text()),
            Own => {
                assert!(matches!(other.status, 200 | 503 | 303), "{operation}: {}", other.text());
                for secret in ["add_one", "odd", "acme", &ids[0], &ids[1]] {
                    assert!(!other.text().contains(secret), "{operation} tells another tenant of {secret}: {}", other.text());
                }
            }
        }
    }
    // Nothing was harmed.
    host.bear(&a);
    host.get("/v1/plugins/odd/versions/1.0.0").await.ok();
    assert_eq!(host.get("/v1/models/add_one/versions/1.0.0").await.ok()["state"], "ready");
    assert_eq!(host.get("/v1/keys").await.ok()["items"][0]["revoked_at"], Value::Null);
}

fn security(need: Need) -> Value {
    let with = |scopes: &[&str]| vec![json!({ "bearer": scopes }), json!({ "api_key": scopes })];
    match need {
        Nothing => json!([]),
        Credential => json!(with(&[])),
        Scopes(scopes) => scopes.iter().flat_map(|scope| with(&[scope])).collect(),
    }
}

/// The protocol's clients read the message alone.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, operation: &str) {
    assert_eq!(answer.status, status, "{operation}: {}", answer.text());
    if operation.contains(" /v2") {
        assert!(answer.json()["error"].is_string(), "{operation}: {}", answer.text());
    } else {
        answer.error(status, code);
    }
}

#[tokio::test]
async fn what_is_not_there_is_nobody_s_business() {
    let (host, _) = acme().await;
    let token = host.token("acme", "models:read");
    host.bear("");
    for (method, path) in [(Method::GET, "/v1/nothing"), (Method::PATCH, "/v1/models"), (Method::GET, "/v1/models/x/y/z"), (Method::GET, "/console")]
    {
        host.send(host.request(method.clone(), path)).await.error(401, "unauthenticated");
        host.bear(&token);
        let known = host.send(host.request(method, path)).await;
        assert!(matches!(known.status, 404 | 405), "{path}: {}", known.text());
        host.bear("");
    }
    // The operator's listener is no way around.
    host.admin_get("/metrics").await.error(401, "unauthenticated");
    assert_eq!(host.admin_get("/health/ready").await.ok(), json!({ "status": "ready" }));
    let answer = host.get("/v1/models").await;
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
    answer.error(401, "unauthenticated").says("Authorization: Bearer");
}

#[tokio::test]
async fn an_admin_gets_into_another_tenant_by_scope_and_capability_only() {
    let (host, _) = acme().await;
    let ask = async |arguments: &[&str], tenant: &str| {
        host.bear(&host.mint(arguments));
        let answer = host.send(host.request(Method::GET, "/v1/models/add_one").header("x-bulkhead-tenant", tenant)).await;
        host.bear("");
        answer
    };
    let scope = "models:read,admin:tenants";
    ask(&["--tenant", "ops", "--scope", scope, "--across", "models:read"], "acme").await.ok();
    ask(&["--tenant", "ops", "--scope", scope], "acme").await.error(403, "forbidden").says("xt");
    ask(&["--tenant", "ops", "--scope", scope, "--across", "models:write"], "acme").await.error(403, "forbidden");
    ask(&["--tenant", "ops", "--scope", "models:read", "--across", "models:read"], "acme").await.error(403, "forbidden").says("admin:tenants");
    ask(&["--tenant", "ops", "--scope", "admin:tenants", "--across", "models:read"], "acme").await.error(403, "forbidden");
    // Its own tenant anybody may name.
    ask(&["--tenant", "acme", "--scope", "models:read"], "acme").await.ok();
    ask(&["--tenant", "acme", "--scope", "models:read"], "no tenant").await.error(400, "invalid_input").says("x-bulkhead-tenant");
    // Whoever looks into another tenant leaves a row there.
    host.bear(&host.token("acme", "audit:read"));
    let rows = host.get("/v1/audit?action=GET%20/v1/models/%7Bname%7D").await.ok();
    let row = &rows["items"].as_array().expect("rows").iter().find(|row| row["result"] == "allowed").expect("a row");
    assert_eq!((&row["actor_tenant"], &row["target_tenant"]), (&json!("ops"), &json!("acme")));
}

#[tokio::test]
async fn grpc_asks_for_the_same() {
    let (host, _) = acme().await;
    let python = fixtures::workspace().join("target/clients/venv/bin/python");
    assert!(python.exists(), "run `deploy/setup/clients.sh` (`make setup-test` does)");
    let script = fixtures::workspace().join("tests/clients/access.py");
    let tokens: Vec<String> =
        ["all", &others(&["models:predict"]), &others(&["models:read", "models:predict"]), &others(&["models:write"]), &others(&["models:read"])]
            .iter()
            .map(|scopes| host.token("acme", scopes))
            .collect();
    let mut command = Command::new(python);
    command.arg(script).arg(host.grpc_address()).args(tokens).arg(host.token("other", "all"));
    let output = tokio::task::spawn_blocking(move || command.output().expect("a program that starts")).await.expect("a process");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("access.py: ok"), "{said}");
}

#[tokio::test]
async fn documentation_may_be_open_and_names_no_models_then() {
    let host = TestHost::setup().env("BULKHEAD_AUTH_MODE", "required").env("BULKHEAD_AUTH_OPEN_DOCS", "true").start().await;
    host.bear(&host.token("acme", "all"));
    host.plain(&["add_one"]).await;
    assert!(host.get("/openapi.json").await.text().contains("add_one"));
    host.bear("");
    let document = host.get("/openapi.json").await.expect(200);
    assert!(!document.text().contains("add_one"));
    host.get("/docs/").await.expect(200);
    host.get("/v1/models").await.error(401, "unauthenticated");
}

#[tokio::test]
async fn the_command_line_brings_a_credential() {
    let (host, _) = acme().await;
    let run = |arguments: &[&str], token: &str| {
        let output =
            command().args(arguments).arg("--url").arg(format!("http://{}", host.address())).args(["--token", token]).output().expect("the binary");
        (output.status.code(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    };
    let admin = host.mint(&["--tenant", "acme", "--user", "ann", "--scope", "all", "--across", "audit:read,admin:tenants"]);
    let (status, said) = run(&["whoami"], &admin);
    assert!(status == Some(0) && said.contains("acme") && said.contains("ann"), "{said}");
    let (status, said) = run(&["whoami"], "");
    assert!(status == Some(1) && said.contains("unauthenticated"), "{said}");
    let (status, said) = run(&["key", "create", "robot", "--scope", "models:read", "--lifetime", "1h"], &admin);
    let key = said.lines().find(|line| line.starts_with("bhk_")).unwrap_or_else(|| panic!("{status:?} {said}")).to_owned();
    assert!(run(&["model", "list"], &key).1.contains("add_one"));
    let (status, said) = run(&["model", "delete", "add_one@1.0.0"], &key);
    assert!(status == Some(1) && said.contains("models:write"), "{said}");
    let id = key.split('_').nth(1).expect("an id");
    assert!(run(&["key", "list"], &admin).1.contains(id));
    assert_eq!(run(&["key", "revoke", id], &admin).0, Some(0));
    assert!(run(&["model", "list"], &key).1.contains("unauthenticated"));
    let (status, said) = run(&["tenant", "set", "acme", "--quota", "versions=1"], &admin);
    assert!(status == Some(0) && said.contains("\"versions\":1"), "{said}");
    assert!(run(&["tenant", "set", "acme", "--quota", "speed=1"], &admin).1.contains("speed"));
    let (_, said) = run(&["audit", "list", "--result", "denied", "--all-tenants"], &admin);
    assert!(said.contains("credential_missing") && said.contains("key_revoked"), "{said}");
    let (status, said) = run(&["audit", "verify"], &admin);
    assert!(status == Some(0) && said.contains("are whole"), "{said}");
}
