//! Signatures on plugins and models: whose count, what is required, and who may grant.

mod supply;

use bulkhead::signing::{SecretKey, Signature, Statement};
use bulkhead_registry::{Digest, Manifest};
use bulkhead_tests::{TestHost, command, fixtures, onnx};
use reqwest::Method;
use serde_json::json;
use supply::{ODD, answers, body, odd, put_plugin, put_version};

const PLAIN: &str = fixtures::PLAIN;

fn key() -> SecretKey {
    SecretKey::generate().expect("random numbers")
}

fn plugin_statement(name: &str, bytes: &[u8]) -> Statement {
    Statement::plugin(&name.parse().expect("a plugin"), Digest::of(bytes), "transform")
}

fn model_statement(name: &str, manifest: &str, bytes: &[u8]) -> Statement {
    let parsed = Manifest::from_toml(manifest).expect("a manifest");
    Statement::model(&name.parse().expect("a version"), Digest::of(bytes), Digest::of(manifest.as_bytes()), &parsed)
}

/// Adds a trust root; gives its id.
async fn trust(host: &TestHost, key: &SecretKey) -> String {
    let wanted = json!({ "name": "releases", "public_key": key.public().to_pem() });
    host.post_json("/v1/trust-roots", &wanted).await.expect(201).json()["id"].as_str().expect("an id").to_owned()
}

async fn require(host: &TestHost, tenant: &str, required: bool) {
    let before = host.bear(&host.mint(&["--tenant", "ops", "--scope", "admin:tenants", "--across", "admin:tenants"]));
    let said = json!({ "require_signatures": required });
    let document = host.send(host.request(Method::PUT, &format!("/v1/tenants/{tenant}")).json(&said)).await.ok();
    assert_eq!(document["signatures_required"], required);
    host.bear(&before);
}

#[tokio::test]
async fn a_signature_is_of_one_plugin_by_one_key_and_a_bad_one_is_refused_though_none_is_asked_for() {
    let host = TestHost::start().await;
    let (known, stranger, gone) = (key(), key(), key());
    let id = trust(&host, &known).await;
    let gone_id = trust(&host, &gone).await;
    assert_eq!(host.delete(&format!("/v1/trust-roots/{gone_id}")).await.ok()["stopped"], json!([]));
    let (bytes, other) = (odd(0), odd(1));
    let good = plugin_statement("odd@1.0.0", &bytes);
    let with_bit = {
        let text = known.sign(&good).to_string();
        let at = text.len() - 20;
        let flipped = if &text[at..=at] == "A" { "B" } else { "A" };
        format!("{}{flipped}{}", &text[..at], &text[at + 1..]).parse::<Signature>().expect("a signature")
    };
    let of_predictor = Statement::plugin(&"odd@1.0.0".parse().expect("a plugin"), Digest::of(&bytes), "predictor");
    for (what, signature, says) in [
        ("other bytes", known.sign(&plugin_statement("odd@1.0.0", &other)), "is not of plugin `odd@1.0.0`"),
        ("another name", known.sign(&plugin_statement("odb@1.0.0", &bytes)), "is not of plugin `odd@1.0.0`"),
        ("another version", known.sign(&plugin_statement("odd@1.0.1", &bytes)), "is not of plugin `odd@1.0.0`"),
        ("another world", known.sign(&of_predictor), "a transform and not a predictor"),
        ("a model", known.sign(&model_statement("odd@1.0.0", PLAIN, &bytes)), "is not of plugin `odd@1.0.0`"),
        ("a changed one", with_bit, "is not of plugin `odd@1.0.0`"),
        ("a stranger's", stranger.sign(&good), "no such trust root"),
        ("a revoked key's", gone.sign(&good), "was revoked"),
    ] {
        let answer = put_plugin(&host, "odd@1.0.0", &bytes, &[signature]).await;
        answer.error(422, "signature_invalid").says(says);
        let rows = host.get(&format!("/v1/audit?request_id={}", answer.header("x-request-id"))).await.ok();
        assert_eq!((&rows["items"][0]["result"], &rows["items"][0]["reason"]), (&json!("denied"), &json!("signature_invalid")), "{what}");
    }
    let malformed = host.request(Method::PUT, "/v1/plugins/odd/versions/1.0.0").header("x-bulkhead-signature", "ed25519:me:x");
    host.send(malformed.body(bytes.clone())).await.error(400, "invalid_input").says("ed25519:<id of the key>");
    host.get("/v1/plugins/odd").await.error(404, "not_found");

    // A good one is kept; a stranger's beside it does no harm, and is not; the same again adds another root's.
    put_plugin(&host, "odd@1.0.0", &bytes, &[stranger.sign(&good), known.sign(&good)]).await.expect(201);
    let signed_by = async || host.get("/v1/plugins/odd/versions/1.0.0").await.ok()["signed_by"].clone();
    assert_eq!(signed_by().await, json!([{ "id": id, "name": "releases", "revoked": false }]));
    let second = key();
    trust(&host, &second).await;
    put_plugin(&host, "odd@1.0.0", &bytes, &[second.sign(&good)]).await.expect(200);
    assert_eq!(signed_by().await.as_array().expect("signers").len(), 2);
    put_plugin(&host, "odd@1.0.0", &bytes, &[stranger.sign(&good)]).await.error(422, "signature_invalid");
    // Without any it goes too: none is asked for.
    put_plugin(&host, "odd@2.0.0", &bytes, &[]).await.expect(201);
    // Roots: what is none, what was revoked, what is not there.
    let add = async |pem: &str| host.post_json("/v1/trust-roots", &json!({ "name": "x", "public_key": pem })).await;
    add(&key().to_pem().expect("a key")).await.error(400, "invalid_input").says("got a private one");
    add("x").await.error(400, "invalid_input").says("BEGIN PUBLIC KEY");
    add(&gone.public().to_pem()).await.error(409, "already_exists").says("never counts again");
    add(&known.public().to_pem()).await.expect(200);
    host.delete("/v1/trust-roots/0").await.error(404, "not_found");
}

#[tokio::test]
async fn a_signature_is_of_one_version_with_its_manifest_and_grants() {
    let host = TestHost::start().await;
    let known = key();
    trust(&host, &known).await;
    let model = fixtures::model("add_one");
    let other = onnx::with_note(&model, "other");
    let tagged = format!("{PLAIN}\ntags = {{ team = \"a\" }}");
    for (what, statement) in [
        ("other bytes", model_statement("m@1.0.0", PLAIN, &other)),
        ("another name", model_statement("n@1.0.0", PLAIN, &model)),
        ("another version", model_statement("m@1.0.1", PLAIN, &model)),
        ("another manifest", model_statement("m@1.0.0", &tagged, &model)),
        ("a plugin", plugin_statement("m@1.0.0", &model)),
    ] {
        let answer = put_version(&host, "m@1.0.0", PLAIN, &model, &[known.sign(&statement)]).await;
        assert_eq!(answer.status, 422, "{what}");
        answer.error(422, "signature_invalid").says("is not of model `m@1.0.0`");
    }
    assert!(!host.files("artifacts").iter().any(|file| file.contains(&Digest::of(&model).hex())), "what was refused is not kept");
    put_version(&host, "m@1.0.0", PLAIN, &model, &[known.sign(&model_statement("m@1.0.0", PLAIN, &model))]).await.expect(201);
    assert_eq!(host.get("/v1/models/m/versions/1.0.0").await.ok()["signed_by"][0]["name"], "releases");
    // The same under a manifest that means the same, with a signature over that text.
    let same = format!("{PLAIN}\n# a remark\n");
    put_version(&host, "m@1.0.0", &same, &model, &[known.sign(&model_statement("m@1.0.0", PLAIN, &model))]).await.error(422, "signature_invalid");
    put_version(&host, "m@1.0.0", &same, &model, &[known.sign(&model_statement("m@1.0.0", &same, &model))]).await.expect(200);

    // A predictor's signature is of its component, and of what that is granted.
    let prober = fixtures::guest("prober");
    host.put_plugin("prober", "0.1.0", prober.clone()).await.expect(201);
    let manifest = |more: &str| format!("runtime = \"predictor\"\n[predictor]\nplugin = \"prober@0.1.0\"\n[predictor.grants]\n{more}");
    let (granted, more) = (manifest("graphs = { a = \"m@1.0.0\" }"), manifest("graphs = { a = \"m@1.0.0\" }\nload_mb = 1"));
    let signature = known.sign(&model_statement("p@1.0.0", &granted, &prober));
    put_version(&host, "p@1.0.0", &more, &[], std::slice::from_ref(&signature)).await.error(422, "signature_invalid");
    put_version(&host, "p@1.0.0", &granted, &[], &[signature]).await.expect(201);
}

#[tokio::test]
async fn where_signatures_are_required_only_what_is_signed_is_taken_in_and_comes_back() {
    let mut host = TestHost::setup().env("BULKHEAD_REQUIRE_SIGNATURES", "true").start().await;
    let known = key();
    let (model, bytes) = (fixtures::model("add_one"), odd(0));
    let plugin = plugin_statement("odd@1.0.0", &bytes);
    put_plugin(&host, "odd@1.0.0", &bytes, &[]).await.error(422, "signature_required").says("brings none");
    put_plugin(&host, "odd@1.0.0", &bytes, &[known.sign(&plugin)]).await.error(422, "signature_invalid").says("no such trust root");
    let id = trust(&host, &known).await;
    let refused = put_version(&host, "m@1.0.0", PLAIN, &model, &[]).await;
    refused.error(422, "signature_required").says("`--sign-with`");
    let rows = host.get(&format!("/v1/audit?request_id={}", refused.header("x-request-id"))).await.ok();
    assert_eq!((&rows["items"][0]["result"], &rows["items"][0]["reason"]), (&json!("denied"), &json!("signature_required")));
    put_plugin(&host, "odd@1.0.0", &bytes, &[known.sign(&plugin)]).await.expect(201);
    put_version(&host, "m@1.0.0", ODD, &model, &[known.sign(&model_statement("m@1.0.0", ODD, &model))]).await.expect(201);
    put_version(&host, "plain@1.0.0", PLAIN, &model, &[known.sign(&model_statement("plain@1.0.0", PLAIN, &model))]).await.expect(201);
    answers(&host, "m").await;
    for restart in [false, true] {
        if restart {
            host.restart().await;
        } else {
            host.kill9();
            host.start_again().await;
        }
        answers(&host, "m").await;
        answers(&host, "plain").await;
    }
    // The root goes: what it alone vouches for stops, now and after a restart, and is taken in no more.
    let stopped = host.delete(&format!("/v1/trust-roots/{id}")).await.ok();
    assert_eq!(stopped["stopped"], json!(["m@1.0.0", "plain@1.0.0"]));
    for restart in [false, true] {
        if restart {
            host.restart().await;
        }
        host.predict("m", &body()).await.error(503, "not_ready").says("signatures are required");
        let document = host.get("/v1/models/m/versions/1.0.0").await.ok();
        assert!(document["state"] == "failed" && document["why"].as_str().is_some_and(|why| why.contains("sign it")), "{document}");
        host.post("/v2/repository/models/m/load", "application/json", "").await.expect(422);
    }
    // Signed by another, it comes back: the version and its plugin, each as it is there.
    let second = key();
    trust(&host, &second).await;
    let again = put_version(&host, "plain@1.0.0", PLAIN, &model, &[second.sign(&model_statement("plain@1.0.0", PLAIN, &model))]).await;
    assert_eq!(again.ok()["state"], "ready");
    host.predict("plain", &body()).await.ok();
    put_version(&host, "m@1.0.0", ODD, &model, &[second.sign(&model_statement("m@1.0.0", ODD, &model))]).await.expect(200);
    host.predict("m", &body()).await.error(503, "not_ready").says("plugin `odd@1.0.0`");
    put_plugin(&host, "odd@1.0.0", &bytes, &[second.sign(&plugin)]).await.expect(200);
    answers(&host, "m").await;
}

#[tokio::test]
async fn a_tenant_s_roots_and_what_it_requires_are_its_own() {
    let mut host = TestHost::guarded().await;
    let (acme, other) = (host.token("acme", "all"), host.token("other", "all"));
    let (known, theirs) = (key(), key());
    let model = fixtures::model("add_one");
    for (token, key) in [(&acme, &known), (&other, &theirs)] {
        host.bear(token);
        trust(&host, key).await;
        host.plain(&["add_one"]).await;
    }
    host.bear(&acme);
    require(&host, "acme", true).await;
    // What was there without a signature stops; the neighbour goes on.
    host.predict("add_one", &body()).await.error(503, "not_ready").says("sign it");
    let statement = model_statement("add_one@1.0.0", PLAIN, &model);
    put_version(&host, "add_one@1.0.0", PLAIN, &model, &[theirs.sign(&statement)]).await.error(422, "signature_invalid").says("no such trust root");
    put_version(&host, "add_one@2.0.0", PLAIN, &model, &[]).await.error(422, "signature_required");
    host.bear(&other);
    host.predict("add_one", &body()).await.ok();
    put_version(&host, "add_one@2.0.0", PLAIN, &model, &[]).await.expect(201);
    // It is required no more, and comes back; and with a signature it stays though it is.
    host.bear(&acme);
    require(&host, "acme", false).await;
    answers(&host, "add_one").await;
    put_version(&host, "add_one@1.0.0", PLAIN, &model, &[known.sign(&statement)]).await.expect(200);
    require(&host, "acme", true).await;
    host.predict("add_one", &body()).await.ok();
    host.restart().await;
    host.predict("add_one", &body()).await.ok();
    // Not for the tenant itself to say.
    let own = host.send(host.request(Method::PUT, "/v1/tenants/acme").json(&json!({}))).await;
    own.error(403, "forbidden");
}

#[tokio::test]
async fn what_a_plugin_is_granted_is_for_who_may_grant() {
    let host = TestHost::guarded().await;
    let all = host.token("acme", "all");
    let without = host.token("acme", "models:read,models:write,models:predict,plugins:read,plugins:write");
    host.bear(&all);
    host.plain(&["add_one", "identity_f32"]).await;
    let prober = fixtures::guest("prober");
    host.put_plugin("prober", "0.1.0", prober.clone()).await.expect(201);
    let renamed = [prober.as_slice(), &[0, 2, 1, b'Z']].concat();
    host.put_plugin("prober", "0.2.0", renamed.clone()).await.expect(201);
    host.put_plugin("proper", "0.1.0", renamed).await.expect(201);
    let manifest = |plugin: &str, graphs: &str, load_mb: u32| {
        format!("runtime = \"predictor\"\n[predictor]\nplugin = \"{plugin}\"\n[predictor.grants]\ngraphs = {{ {graphs} }}\nload_mb = {load_mb}")
    };
    let put = async |token: &str, version: &str, manifest: &str| {
        host.bear(token);
        put_version(&host, &format!("p@{version}"), manifest, &[], &[]).await
    };
    let first = manifest("prober@0.1.0", "plus = \"add_one@1.0.0\"", 0);
    let refused = put(&without, "1.0.0", &first).await;
    refused.error(403, "forbidden").says("plugins:grant");
    host.bear(&all);
    let rows = host.get(&format!("/v1/audit?request_id={}", refused.header("x-request-id"))).await.ok();
    assert_eq!((&rows["items"][0]["result"], &rows["items"][0]["reason"]), (&json!("denied"), &json!("forbidden")));
    put(&all, "1.0.0", &first).await.expect(201);
    // As before, or less, whoever may upload may do; another version of the plugin is the same plugin.
    put(&without, "1.0.0", &first).await.expect(200);
    put(&without, "1.1.0", &manifest("prober@0.2.0", "plus = \"add_one@1.0.0\"", 0)).await.expect(201);
    for (more, says) in [
        (manifest("prober@0.1.0", "plus = \"add_one@1.0.0\", id = \"identity_f32@1.0.0\"", 0), "the graph `id`"),
        (manifest("prober@0.1.0", "plus = \"identity_f32@1.0.0\"", 0), "`identity_f32@1.0.0`"),
        (manifest("prober@0.1.0", "plus = \"add_one@1.0.0\"", 1), "models of 1 MiB"),
        (manifest("proper@0.1.0", "plus = \"add_one@1.0.0\"", 0), "`proper@0.1.0`"),
    ] {
        put(&without, "2.0.0", &more).await.error(403, "forbidden").says(says);
    }
    // A staged version with more is nobody's leave: what is in production counts.
    put(&all, "2.0.0", &manifest("prober@0.1.0", "plus = \"add_one@1.0.0\"", 1)).await.expect(201);
    let more = manifest("prober@0.2.0", "plus = \"add_one@1.0.0\"", 1);
    put(&without, "3.0.0", &more).await.error(403, "forbidden");
    host.bear(&without);
    let _ = host.promote("p", "2.0.0").await.ok();
    put(&without, "3.0.0", &more).await.expect(201);
    // A model without a predictor grants nothing.
    put_version(&host, "add_one@2.0.0", PLAIN, &fixtures::model("add_one"), &[]).await.expect(201);
}

#[tokio::test]
async fn what_the_configuration_lists_may_be_signed_too() {
    let (known, model) = (key(), fixtures::model("add_one"));
    let listed = "[[models]]\nname = \"m\"\nversion = \"1.0.0\"\nfile = \"m.onnx\"\nmanifest = \"m.toml\"\nsignatures = [\"m.sig\"]";
    let config = format!("require_signatures = true\n{listed}");
    let signature = format!("{}\n", known.sign(&model_statement("m@1.0.0", PLAIN, &model)));
    let setup = TestHost::setup().config(&config).file("m.onnx", model).file("m.toml", PLAIN).file("m.sig", signature);
    let mut host = setup.start().await;
    // Whose signatures count is said to the host; it is there before that.
    host.predict("m", &body()).await.error(503, "not_ready").says("no such trust root");
    trust(&host, &known).await;
    host.restart().await;
    host.predict("m", &body()).await.ok();
}

/// Runs the command line against a host.
fn run(host: &TestHost, folder: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = command();
    let output = command.current_dir(folder).env("BULKHEAD_URL", format!("http://{}", host.address())).args(arguments).output().expect("the binary");
    (output.status.code(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn the_command_line_makes_keys_signs_and_revokes() {
    use std::os::unix::fs::PermissionsExt as _;
    let host = TestHost::setup().env("BULKHEAD_REQUIRE_SIGNATURES", "true").start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let prober = fixtures::guest("prober");
    for (name, bytes) in [("odd.wasm", odd(0)), ("prober.wasm", prober), ("m.onnx", fixtures::model("add_one")), ("m.toml", PLAIN.into())] {
        std::fs::write(path(name), bytes).expect("a file");
    }
    let grants = "runtime = \"predictor\"\n[predictor]\nplugin = \"prober@0.1.0\"\n[predictor.grants]\ngraphs = { a = \"m@1.0.0\" }";
    std::fs::write(path("p.toml"), grants).expect("a file");
    let run = |arguments: &[&str]| run(&host, folder.path(), arguments);
    let fine = |arguments: &[&str]| {
        let (status, said) = run(arguments);
        assert_eq!(status, Some(0), "{arguments:?}: {said}");
        said
    };
    let refused = |arguments: &[&str], says: &str| {
        let (status, said) = run(arguments);
        assert!(matches!(status, Some(1 | 2)) && said.contains(says), "{arguments:?}: {status:?} {said}");
    };
    fine(&["sign", "keygen", "a.key"]);
    assert_eq!(std::fs::metadata(path("a.key")).expect("a key").permissions().mode() & 0o777, 0o600);
    refused(&["sign", "keygen", "a.key"], "is there already");
    refused(&["trust-root", "add", "releases", "--key", "a.key"], "was not sent");
    let id = fine(&["trust-root", "add", "releases", "--key", "a.key.pub"]).trim().to_owned();
    assert!(fine(&["trust-root", "list"]).contains(&id));
    // In one go, or signed here and pushed there.
    refused(&["plugin", "push", "odd@1.0.0", "odd.wasm"], "signature_required");
    fine(&["plugin", "push", "odd@1.0.0", "odd.wasm", "--sign-with", "a.key"]);
    fine(&["sign", "plugin", "prober@0.1.0", "prober.wasm", "--key", "a.key", "--out", "prober.sig"]);
    fine(&["plugin", "push", "prober@0.1.0", "prober.wasm", "--signature", "prober.sig"]);
    refused(&["plugin", "push", "prober@0.2.0", "prober.wasm", "--signature", "prober.sig"], "signature_invalid");
    fine(&["model", "push", "m@1.0.0", "--manifest", "m.toml", "--model", "m.onnx", "--sign-with", "a.key"]);
    let signature = fine(&["sign", "model", "m@2.0.0", "--manifest", "m.toml", "--model", "m.onnx", "--key", "a.key"]);
    std::fs::write(path("m.sig"), signature).expect("a file");
    fine(&["model", "push", "m@2.0.0", "--manifest", "m.toml", "--model", "m.onnx", "--signature", "m.sig"]);
    refused(&["model", "push", "p@1.0.0", "--manifest", "p.toml", "--sign-with", "a.key"], "--component FILE");
    fine(&["model", "push", "p@1.0.0", "--manifest", "p.toml", "--component", "prober.wasm", "--sign-with", "a.key"]);
    assert!(fine(&["model", "show", "m@1.0.0"]).contains(&id));
    // Keys of another tool.
    std::fs::write(path("b.key"), include_str!("../../host/src/auth/fixtures/ed.pem")).expect("a file");
    std::fs::write(path("b.pub"), include_str!("../../host/src/auth/fixtures/ed.pub.pem")).expect("a file");
    let other = fine(&["trust-root", "add", "other", "--key", "b.pub"]).trim().to_owned();
    let said = fine(&["plugin", "push", "odd@1.0.0", "odd.wasm", "--sign-with", "b.key"]);
    assert!(said.contains("chmod 600"), "{said}");
    refused(&["sign", "plugin", "odd@1.0.0", "m.onnx", "--key", "a.key"], "is no plugin");
    refused(&["sign", "plugin", "odd@1.0.0", "odd.wasm", "--key", "b.pub"], "expected a private key");
    assert!(fine(&["trust-root", "revoke", &other]).contains("stopped: -"));

    let said = fine(&["revocation", "add", "--model", "m@1.0.0", "--reason", "leaks"]);
    assert!(said.contains("stopped: m@1.0.0, m@2.0.0, p@1.0.0"), "{said}");
    assert!(fine(&["revocation", "list"]).contains("leaks"));
    refused(&["predict", "m", "--json", "{}"], "revoked");
    refused(&["revocation", "add", "--reason", "x"], "DIGEST");
    let digest = Digest::of(&fixtures::model("add_one")).to_string();
    fine(&["revocation", "remove", &digest]);
    answers(&host, "m").await;
    assert!(fine(&["trust-root", "revoke", &id]).contains("p@1.0.0"));
}
