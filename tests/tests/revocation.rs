//! What was revoked stops at once and stays so; nothing else does, and it comes back when that is taken back.

mod supply;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bulkhead_registry::Digest;
use bulkhead_tests::{Answer, TestHost, WatFile, eventually, fixtures, onnx};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use supply::{ODD, SOON, answers, body, odd, put_plugin, put_version};

const PLAIN: &str = fixtures::PLAIN;

/// What a revocation has to hold within.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Rounds of the model `slow` that take longer than any test.
const FOREVER: i64 = 1_000_000_000;

async fn revoke(host: &TestHost, bytes: &[u8], all_tenants: bool) -> Value {
    let wanted = json!({ "digest": Digest::of(bytes).to_string(), "reason": "leaks", "all_tenants": all_tenants });
    host.post_json("/v1/revocations", &wanted).await.expect(201).json()
}

async fn restore(host: &TestHost, bytes: &[u8]) -> Answer {
    host.delete(&format!("/v1/revocations/{}", Digest::of(bytes))).await
}

#[tokio::test]
async fn a_revoked_plugin_stops_within_a_second_under_load_and_nothing_else_does() {
    let mut host = TestHost::guarded().await;
    let (acme, other) = (host.token("acme", "all"), host.token("other", "all"));
    let (bytes, fine) = (odd(0), odd(1));
    let model = fixtures::model("add_one");
    for token in [&other, &acme] {
        host.bear(token);
        put_plugin(&host, "odd@1.0.0", &bytes, &[]).await.expect(201);
        put_plugin(&host, "odd@2.0.0", &fine, &[]).await.expect(201);
        host.deploy("m", "1.0.0", &ODD.replace("1.0.0", "2.0.0"), model.clone()).await;
        host.deploy("m", "2.0.0", ODD, onnx::with_note(&model, "2")).await;
        let _ = host.promote("m", "2.0.0").await.ok();
        host.deploy("fine", "1.0.0", PLAIN, model.clone()).await;
    }
    let (stop, revoked) = (AtomicBool::new(false), std::sync::OnceLock::<Instant>::new());
    let ask = async |token: &str, model: &str| {
        let request = host.request(Method::POST, &format!("/v1/models/{model}/predict")).json(&body());
        let began = Instant::now();
        // Of this credential, whatever the host bears meanwhile.
        (began, host.send(request.header("x-api-key", token)).await)
    };
    host.bear("");
    let neighbour = async |token: &str, model: &str| {
        let mut count = 0;
        while !stop.load(Ordering::SeqCst) {
            let (_, answer) = ask(token, model).await;
            assert_eq!(answer.status, 200, "{model}: {}", answer.text());
            count += 1;
        }
        count
    };
    let stopped = async || {
        let mut refused = 0;
        while !stop.load(Ordering::SeqCst) {
            let (began, answer) = ask(&acme, "m").await;
            match revoked.get() {
                // One that is asked after the acknowledgement is not answered, whatever was under way.
                Some(at) if began >= *at => {
                    answer.error(409, "revoked").says("leaks");
                    refused += 1;
                }
                _ => assert!(matches!(answer.status, 200 | 409), "{}", answer.text()),
            }
        }
        refused
    };
    let change = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let wanted = json!({ "digest": Digest::of(&bytes).to_string(), "reason": "leaks" });
        let began = Instant::now();
        let answer = host.send(host.request(Method::POST, "/v1/revocations").header("x-api-key", &acme).json(&wanted)).await.expect(201);
        revoked.set(Instant::now()).expect("once");
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        assert_eq!(answer.json()["stopped"], json!(["m@2.0.0"]));
        tokio::time::sleep(Duration::from_millis(500)).await;
        stop.store(true, Ordering::SeqCst);
    };
    let load = join_all((0..4).map(|_| stopped()));
    let ((refused, theirs), (own, ())) =
        tokio::join!(async { tokio::join!(load, neighbour(&other, "m")) }, async { tokio::join!(neighbour(&acme, "fine"), change) });
    assert!(refused.iter().all(|count| *count > 0) && theirs > 0 && own > 0, "{refused:?} {theirs} {own}");

    host.bear(&acme);
    assert_eq!(host.state("m", "2.0.0").await, "revoked");
    assert!(host.get("/v1/plugins/odd/versions/1.0.0").await.ok()["revoked"].as_str().is_some_and(|why| why.ends_with("leaks")));
    assert_eq!(host.get("/v1/plugins/odd/versions/2.0.0").await.ok()["revoked"], Value::Null);
    let still = async |host: &TestHost| {
        host.predict("m", &body()).await.error(409, "revoked").says("plugin `odd@1.0.0`");
        host.promote("m", "2.0.0").await.error(409, "revoked");
        put_plugin(host, "odd@1.0.0", &bytes, &[]).await.error(409, "revoked");
        put_plugin(host, "another@1.0.0", &bytes, &[]).await.error(409, "revoked");
        put_version(host, "n@1.0.0", ODD, &model, &[]).await.error(409, "revoked").says("odd@1.0.0");
    };
    still(&host).await;
    host.kill9();
    host.start_again().await;
    still(&host).await;
    // Back to the version before, and not to what was revoked.
    assert_eq!(host.post_json("/v1/models/m/rollback", &json!({})).await.ok()["production"], "1.0.0");
    host.predict("m", &body()).await.ok();
    host.post_json("/v1/models/m/versions/2.0.0/predict", &body()).await.error(409, "revoked");
    // It comes back when that is taken back.
    restore(&host, &bytes).await.ok();
    restore(&host, &bytes).await.error(404, "not_found");
    eventually("it may run again", SOON, async || host.post_json("/v1/models/m/versions/2.0.0/predict", &body()).await.status == 200).await;
    host.predict("m", &body()).await.ok();
    let rows = host.get("/v1/audit?limit=500").await.ok();
    let actions: Vec<_> = rows["items"].as_array().expect("rows").iter().filter_map(|row| row["action"].as_str()).collect();
    assert!(actions.contains(&"digest.revoke") && actions.contains(&"digest.restore"), "{actions:?}");
}

#[tokio::test]
async fn a_request_that_is_under_way_ends_too() {
    let host = TestHost::start().await;
    host.plain(&["slow", "add_one"]).await;
    let rounds = json!({ "inputs": [{ "name": "n", "datatype": "INT64", "shape": [1], "data": [FOREVER] }] });
    let wait = async {
        let answer = host.predict("slow", &rounds).await;
        (Instant::now(), answer)
    };
    let change = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = Instant::now();
        assert_eq!(revoke(&host, &fixtures::model("slow"), false).await["stopped"], json!(["slow@1.0.0"]));
        began
    };
    let ((ended, answer), began) = tokio::join!(wait, change);
    answer.error(409, "revoked").says("does not answer any more");
    assert!(ended.duration_since(began) < AT_ONCE, "{:?}", ended.duration_since(began));
    let of_slow = [("model", "slow"), ("outcome", "revoked")];
    assert_eq!(host.metric("bulkhead_predict_requests_total", &of_slow).await, 1.0);
    // A plugin in the middle of something likewise.
    let spins = WatFile::of("spins", "(func {before} (loop $again (br $again)) unreachable)").component();
    put_plugin(&host, "spins@1.0.0", &spins, &[]).await.expect(201);
    let manifest = format!("{PLAIN}\ntransforms = [{{ plugin = \"spins@1.0.0\" }}]\nsandbox = {{ timeout_ms = 60000 }}");
    put_version(&host, "spins@1.0.0", &manifest, &fixtures::model("add_one"), &[]).await.expect(201);
    let wait = async {
        let answer = host.predict("spins", &body()).await;
        (Instant::now(), answer)
    };
    let change = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = Instant::now();
        assert_eq!(revoke(&host, &spins, false).await["stopped"], json!(["spins@1.0.0"]));
        began
    };
    let ((ended, answer), began) = tokio::join!(wait, change);
    answer.error(409, "revoked").says("plugin `spins@1.0.0`");
    assert!(ended.duration_since(began) < AT_ONCE, "{:?}", ended.duration_since(began));
    // By the protocol's words too; and the other model is there.
    assert!(host.post_json("/v2/models/slow/infer", &rounds).await.expect(409).text().contains("leaks"));
    let index = host.post("/v2/repository/index", "application/json", "").await.ok();
    assert!(index.to_string().contains("leaks"), "{index}");
    host.predict("add_one", &body()).await.ok();
    assert!(host.get("/health/ready").await.ok()["failed"].to_string().contains("leaks"));
}

#[tokio::test]
async fn all_that_is_made_of_a_digest_stops_and_a_revocation_of_all_is_of_all() {
    let host = TestHost::guarded().await;
    let (acme, other) = (host.token("acme", "all"), host.token("other", "all"));
    let (prober, model) = (fixtures::guest("prober"), fixtures::model("add_one"));
    let manifest = "runtime = \"predictor\"\n[predictor]\nplugin = \"prober@0.1.0\"\n[predictor.grants]\ngraphs = { plus = \"add_one@1.0.0\" }";
    for token in [&other, &acme] {
        host.bear(token);
        host.plain(&["add_one"]).await;
        host.put_plugin("prober", "0.1.0", prober.clone()).await.expect(201);
        put_version(&host, "p@1.0.0", manifest, &[], &[]).await.expect(201);
    }
    // The granted model takes the predictor along.
    let ask = json!({ "compute": { "graph": "plus", "inputs": [{ "name": "x", "type": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] } });
    host.predict("p", &ask).await.ok();
    assert_eq!(revoke(&host, &model, false).await["stopped"], json!(["add_one@1.0.0", "p@1.0.0"]));
    host.predict("p", &ask).await.error(409, "revoked").says("the granted model `add_one@1.0.0`");
    // Twice is no more than once, and not what another tenant has.
    let again = json!({ "digest": Digest::of(&model).to_string(), "reason": "again" });
    assert_eq!(host.post_json("/v1/revocations", &again).await.expect(200).json()["reason"], "leaks");
    host.bear(&other);
    host.predict("p", &ask).await.ok();
    assert_eq!(host.get("/v1/revocations").await.ok()["items"], json!([]));
    // Of all tenants only who may in all; and what is said of all, a tenant can't take back.
    let wanted = json!({ "digest": Digest::of(&model).to_string(), "reason": "leaks", "all_tenants": true });
    host.post_json("/v1/revocations", &wanted).await.error(403, "forbidden").says("admin:trust");
    let operator = host.mint(&["--tenant", "ops", "--scope", "admin:trust,admin:tenants", "--across", "admin:trust"]);
    host.bear(&operator);
    assert_eq!(revoke(&host, &model, true).await["stopped"], json!(["other/add_one@1.0.0", "other/p@1.0.0"]));
    host.bear(&other);
    host.predict("add_one", &body()).await.error(409, "revoked");
    assert_eq!(host.get("/v1/revocations").await.ok()["items"][0]["all_tenants"], true);
    restore(&host, &model).await.error(404, "not_found").says("of the tenant's own");
    let all = format!("/v1/revocations/{}?all_tenants=true", Digest::of(&model));
    host.delete(&all).await.error(403, "forbidden");
    host.bear(&operator);
    host.delete(&all).await.ok();
    host.bear(&other);
    answers(&host, "add_one").await;
    eventually("the predictor answers", SOON, async || host.predict("p", &ask).await.status == 200).await;
    // Acme's own stays, until it is taken back.
    host.bear(&acme);
    host.predict("add_one", &body()).await.error(409, "revoked");
    restore(&host, &model).await.ok();
    answers(&host, "add_one").await;
    // What was never here can be revoked before it comes.
    revoke(&host, &odd(7), false).await;
    put_plugin(&host, "odd@1.0.0", &odd(7), &[]).await.error(409, "revoked").says("leaks");
    let bad = |digest: &str, reason: &str| json!({ "digest": digest, "reason": reason });
    host.post_json("/v1/revocations", &bad("sha256:x", "y")).await.error(400, "invalid_input").says("64 lower-case");
    host.post_json("/v1/revocations", &bad(&Digest::of(b"").to_string(), "")).await.error(400, "invalid_input").says("`reason`");
}

#[tokio::test]
async fn nobody_goes_back_to_what_was_revoked() {
    let host = TestHost::start().await;
    let of_version = |version: &str| onnx::with_note(&fixtures::model("add_one"), version);
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        host.deploy("m", version, PLAIN, of_version(version)).await;
        let _ = host.promote("m", version).await.ok();
    }
    assert_eq!(revoke(&host, &of_version("2.0.0"), false).await["stopped"], json!([]), "it was not in memory");
    // What answers goes on answering.
    host.post_json("/v1/models/m/rollback", &json!({})).await.error(409, "revoked").says("version `2.0.0`");
    assert_eq!(host.predict("m", &body()).await.header("x-bulkhead-version"), "3.0.0");
    host.post_json("/v1/models/m/versions/2.0.0/predict", &body()).await.error(409, "revoked");
    let _ = host.promote("m", "1.0.0").await.ok();
    assert_eq!(host.predict("m", &body()).await.header("x-bulkhead-version"), "1.0.0");
    // An archived version that may run again is as it was: loaded when it is asked for.
    restore(&host, &of_version("2.0.0")).await.ok();
    eventually("it may run again", SOON, async || host.post_json("/v1/models/m/versions/2.0.0/predict", &body()).await.status == 200).await;
}

#[tokio::test]
async fn a_revocation_that_was_acknowledged_outlives_a_kill() {
    let mut host = TestHost::start().await;
    for round in 0..8_u8 {
        let name = format!("m{round}");
        let model = onnx::with_note(&fixtures::model("add_one"), &name);
        host.deploy(&name, "1.0.0", PLAIN, model.clone()).await;
        host.predict(&name, &body()).await.ok();
        revoke(&host, &model, false).await;
        host.kill9();
        host.start_again().await;
        for earlier in 0..=round {
            host.predict(&format!("m{earlier}"), &body()).await.error(409, "revoked");
        }
    }
    let model = onnx::with_note(&fixtures::model("add_one"), "m0");
    restore(&host, &model).await.ok();
    host.kill9();
    host.start_again().await;
    answers(&host, "m0").await;
}

#[tokio::test]
async fn uploads_loads_and_revocations_that_cross_leave_nothing_that_answers_nor_anything_that_never_will() {
    let host = TestHost::start().await;
    let mut uploaded = 0;
    for round in 0..12_u64 {
        let name = format!("m{round}");
        let model = onnx::with_note(&fixtures::model("add_one"), &name);
        let later = async |times: u64| tokio::time::sleep(Duration::from_millis(times)).await;
        let revoked = async {
            later(3 * round).await;
            revoke(&host, &model, false).await;
        };
        let at = format!("{name}@1.0.0");
        let (answer, ()) = tokio::join!(put_version(&host, &at, PLAIN, &model, &[]), revoked);
        assert!(matches!(answer.status, 201 | 409), "{}", answer.text());
        let answer = host.predict(&name, &body()).await;
        assert!(matches!(answer.status, 404 | 409), "{}", answer.text());
        let is_there = host.get(&format!("/v1/models/{name}")).await.status == 200;
        // Taken back while somebody has it loaded.
        let restored = async {
            later(round).await;
            restore(&host, &model).await.ok();
        };
        let path = format!("/v2/repository/models/{name}/load");
        tokio::join!(restored, async { drop(host.post(&path, "application/json", "").await) });
        if is_there {
            uploaded += 1;
            answers(&host, &name).await;
        } else {
            put_version(&host, &at, PLAIN, &model, &[]).await.expect(201);
        }
    }
    assert!(uploaded > 0);
}
