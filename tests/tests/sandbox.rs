//! Plugins that misbehave, in every way there is: each is another answer, and none harms anybody else.

use std::time::{Duration, Instant};

use bulkhead_tests::wasm::Teller;
use bulkhead_tests::{TestHost, fixtures, wasm};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Value, json};

/// Far more than the bounds below and far less than forever.
const BOUNDED: Duration = Duration::from_secs(20);

const FAILURES: &str = "bulkhead_plugin_failures_total";

fn manifest(sandbox: &str) -> String {
    format!("{}\nheaders = [\"x-shown\"]\ntransforms = [{{ plugin = \"hostile@0.1.0\" }}]\n[sandbox]\n{sandbox}", fixtures::PLAIN)
}

async fn hostile(sandbox: &str) -> TestHost {
    // Built first, which may take longer than a host keeps an idle connection.
    let component = fixtures::hostile();
    let host = TestHost::start().await;
    assert_eq!(host.put_plugin("hostile", "0.1.0", component).await.status, 201);
    host.deploy("m", "1.0.0", &manifest(sandbox), fixtures::model("identity_f32")).await;
    // What is tested is what serves.
    host.configured_ahead("m", "1.0.0").await;
    host
}

async fn behaves(host: &TestHost) {
    assert_eq!(host.predict("m", &json!({})).await.ok(), json!({ "y": [1.0, 2.0] }));
}

#[tokio::test]
async fn each_way_to_fail_is_another_answer_count_and_log_line() {
    let host = hostile("timeout_ms = 300\nmemory_mb = 16").await;
    behaves(&host).await;
    let cases = [
        ("loop", 504, "plugin_deadline", "deadline", "300 ms"),
        ("trap", 502, "plugin_trapped", "trapped", "trapped"),
        ("panic", 502, "plugin_trapped", "trapped", "trapped"),
        ("recurse", 502, "plugin_trapped", "trapped", "trapped"),
        ("allocate", 502, "plugin_out_of_memory", "out_of_memory", "16 MiB"),
        ("refuse", 400, "invalid_input", "invalid_input", "expected anything but this"),
        ("unavailable", 503, "plugin_unavailable", "unavailable", "not now"),
        ("fail", 502, "plugin_error", "plugin_error", "it went wrong in here"),
    ];
    for hook in ["before", "after"] {
        for (act, status, code, kind, words) in cases {
            let labels = [("tenant", "default"), ("plugin", "hostile@0.1.0"), ("kind", kind)];
            let outcome = [("model", "m"), ("version", "1.0.0"), ("outcome", code)];
            let (failures, outcomes) = (host.metric(FAILURES, &labels).await, host.metric("bulkhead_predict_requests_total", &outcome).await);
            let began = Instant::now();
            let answer = host.predict("m", &json!({ hook: act })).await;
            assert!(began.elapsed() < BOUNDED, "{hook} {act} took {:?}", began.elapsed());
            assert_eq!(answer.status, status, "{hook} {act}: {}", answer.text());
            let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
            let refusal = answer.error(status, code);
            refusal.says("hostile@0.1.0").says(words);
            let logged = async || host.log().iter().any(|line| line["request.id"] == *id && line["kind"] == kind);
            bulkhead_tests::eventually("the failure is in the log", BOUNDED, logged).await;
            assert_eq!(refusal.details["plugin"], "hostile@0.1.0");
            if act == "refuse" {
                assert_eq!(refusal.details["pointer"], "/before");
            }
            assert_eq!(host.metric(FAILURES, &labels).await - failures, 1.0, "{hook} {act}");
            assert_eq!(host.metric("bulkhead_predict_requests_total", &outcome).await - outcomes, 1.0, "{hook} {act}");
            behaves(&host).await;
        }
    }
    assert!(host.predict("m", &json!({ "before": "unavailable" })).await.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn others_are_served_while_plugins_loop() {
    const LOOPS: usize = 8;
    let host = hostile("timeout_ms = 3000").await;
    host.plain(&["add_one"]).await;
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
    let wish = json!({ "before": "loop" });
    let loops = join_all((0..LOOPS).map(|_| host.predict("m", &wish)));
    let others = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(host.predict("add_one", &body).await.status, 200);
        }
        behaves(&host).await;
        began.elapsed()
    };
    let (answers, took) = tokio::join!(loops, others);
    // More loops than any two cores have, and still they had their turn before the loops ended.
    assert!(took < Duration::from_millis(2500), "{took:?}");
    for answer in answers {
        answer.error(504, "plugin_deadline");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_requests_are_answered_while_many_plugins_loop() {
    const LOOPS: usize = 128;
    /// Of a Kubernetes probe, by default.
    const PROBE: Duration = Duration::from_secs(1);
    let host = std::sync::Arc::new(hostile("timeout_ms = 4000").await);
    host.plain(&["add_one"]).await;
    let loops: Vec<_> = (0..LOOPS)
        .map(|_| {
            let host = std::sync::Arc::clone(&host);
            tokio::spawn(async move { host.predict("m", &json!({ "before": "loop" })).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
    let (mut probes, mut requests) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let began = Instant::now();
        assert_eq!(host.admin_get("/health/live").await.status, 200);
        probes.push(began.elapsed());
        let began = Instant::now();
        assert_eq!(host.predict("add_one", &body).await.status, 200);
        requests.push(began.elapsed());
    }
    println!("probes {probes:?}\nrequests {requests:?}");
    assert!(probes.iter().all(|took| *took < PROBE), "{probes:?}");
    for answer in loops {
        answer.await.expect("an answer").error(504, "plugin_deadline");
    }
}

#[tokio::test]
async fn nothing_of_one_request_reaches_another() {
    let host = hostile("").await;
    for _ in 0..20 {
        assert_eq!(host.predict("m", &json!({ "before": "count" })).await.ok(), json!({ "count": 1 }));
    }
    let wish = json!({ "after": "count" });
    for answer in join_all((0..20).map(|_| host.predict("m", &wish))).await {
        assert_eq!(answer.ok(), json!({ "count": 1 }));
    }
}

#[tokio::test]
async fn a_warm_sandbox_serves_one_version_only_and_ends_with_a_failure() {
    let host = hostile("reuse = \"warm\"").await;
    let count = async |version: &str| {
        let answer = host.post_json(&format!("/v1/models/m/versions/{version}/predict"), &json!({ "before": "count" })).await.ok();
        answer["count"].as_u64().unwrap()
    };
    assert_eq!([count("1.0.0").await, count("1.0.0").await, count("1.0.0").await], [1, 2, 3]);
    host.deploy("m", "2.0.0", &manifest("reuse = \"warm\""), fixtures::model("identity_f32")).await;
    assert_eq!([count("2.0.0").await, count("1.0.0").await], [1, 4]);
    host.predict("m", &json!({ "before": "trap" })).await.error(502, "plugin_trapped");
    assert_eq!(count("1.0.0").await, 1);
    host.predict("m", &json!({ "before": "refuse" })).await.error(400, "invalid_input");
    assert_eq!(count("1.0.0").await, 1);
}

#[test]
fn however_often_a_warm_sandbox_serves_it_knows_the_requests_of_its_version_alone() {
    const VERSIONS: [&str; 2] = ["1.0.0", "2.0.0"];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = runtime.block_on(async {
        let host = hostile("reuse = \"warm\"").await;
        host.deploy("m", VERSIONS[1], &manifest("reuse = \"warm\""), fixtures::model("identity_f32")).await;
        host
    });
    let ask =
        async |at: usize, wish: &str| host.post_json(&format!("/v1/models/m/versions/{}/predict", VERSIONS[at]), &json!({ "before": wish })).await;
    // One in eight ends its sandbox.
    let steps = proptest::collection::vec((0..VERSIONS.len(), 0..16u8), 1..60);
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 100, ..ProptestConfig::with_cases(16) };
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        runtime.block_on(async {
            let mut counts = [0; VERSIONS.len()];
            for at in 0..VERSIONS.len() {
                prop_assert_eq!(ask(at, "trap").await.status, 502);
            }
            for (at, step) in steps {
                let (wish, status) = match step {
                    0 => ("trap", 502),
                    1 => ("refuse", 400),
                    _ => ("count", 200),
                };
                let answer = ask(at, wish).await;
                prop_assert_eq!(answer.status, status);
                counts[at] = if status == 200 { counts[at] + 1 } else { 0 };
                if status == 200 {
                    prop_assert_eq!(answer.json(), json!({ "count": counts[at] }));
                }
            }
            Ok(())
        })
    });
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[tokio::test]
async fn a_crowd_in_sandboxes_leaves_some_to_another_tenant() {
    let component = fixtures::hostile();
    let host = TestHost::setup().env("BULKHEAD_AUTH_MODE", "required").env("BULKHEAD_SANDBOX_INSTANCES", "4").start().await;
    let [crowd, lone] = ["crowd", "lone"].map(|tenant| host.token(tenant, "all"));
    for token in [&crowd, &lone] {
        host.bear(token);
        assert_eq!(host.put_plugin("hostile", "0.1.0", component.clone()).await.status, 201);
        host.deploy("m", "1.0.0", &manifest("timeout_ms = 20_000"), fixtures::model("identity_f32")).await;
    }
    let predict = async |token: &str, wish: &str| {
        host.send(host.request_as(token, Method::POST, "/v1/models/m/predict").json(&json!({ "before": wish }))).await
    };
    let flood = join_all((0..16).map(|_| predict(&crowd, "loop")));
    let others = async {
        // All that the crowd may have it has by then.
        tokio::time::sleep(Duration::from_millis(500)).await;
        for _ in 0..10 {
            assert_eq!(predict(&lone, "count").await.ok(), json!({ "count": 1 }));
        }
    };
    tokio::select! {
        _ = flood => panic!("the other tenant was answered only once the crowd was gone"),
        () = others => {}
    }
}

#[tokio::test]
async fn each_fresh_sandbox_begins_as_its_configuration_left_it() {
    let mut host = hostile("").await;
    let count = json!({ "before": "count" });
    for _ in 0..3 {
        assert_eq!(host.predict("m", &count).await.ok(), json!({ "count": 1 }));
    }
    // Another configuration of the same plugin is another beginning.
    let labels = |labels: &str| format!("{}\ntransforms = [{{ plugin = \"classify@0.1.0\", config = {{ labels = [{labels}] }} }}]", fixtures::PLAIN);
    assert_eq!(host.put_plugin("classify", "0.1.0", fixtures::plugin("classify")).await.status, 201);
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.0, 1.0] }] });
    for (version, names, best) in [("2.0.0", "'a', 'b'", "b"), ("3.0.0", "'c', 'd'", "d"), ("4.0.0", "'a', 'b'", "b")] {
        host.deploy("c", version, &labels(names), fixtures::model("identity_f32")).await;
        let predict = async || host.post_json(&format!("/v1/models/c/versions/{version}/predict"), &body).await.ok()["label"].clone();
        // Before it is configured ahead, as it may still be here, and after.
        assert_eq!(predict().await, best);
        host.configured_ahead("c", version).await;
        assert_eq!(predict().await, best);
    }
    // What was made is there again after a restart, from the first request on.
    host.restart().await;
    let document = host.get("/v1/models/m/versions/1.0.0").await.ok();
    assert_eq!(document["sandboxes"], json!([{ "plugin": "hostile@0.1.0", "configured_ahead": true }]));
    assert_eq!(host.predict("m", &count).await.ok(), json!({ "count": 1 }));
}

#[tokio::test]
async fn a_plugin_whose_state_can_not_be_copied_configures_itself_at_each_request() {
    // Grows a table, which no component that begins configured could show.
    let grows = "(table 1 4 funcref) (func (drop (table.grow 0 (ref.null func) (i32.const 1))))";
    let host = TestHost::start().await;
    assert_eq!(host.put_plugin("grows", "0.1.0", wasm::transform(grows)).await.status, 201);
    let manifest = format!("{}\ntransforms = [{{ plugin = \"grows@0.1.0\" }}]", fixtures::PLAIN);
    host.deploy("m", "1.0.0", &manifest, fixtures::model("identity_f32")).await;
    bulkhead_tests::eventually("the host says so", BOUNDED, async || {
        host.log()
            .iter()
            .any(|line| line["plugin"] == "grows@0.1.0" && line["message"].as_str().is_some_and(|text| text.contains("each configures it")))
    })
    .await;
    let document = host.get("/v1/models/m/versions/1.0.0").await.ok();
    assert_eq!(document["sandboxes"][0]["configured_ahead"], false);
    // This plugin is configured, and breaks off in `before`.
    host.predict("m", &json!({})).await.error(502, "plugin_trapped");
}

#[tokio::test]
async fn a_plugin_has_no_more_memory_when_it_is_copied_than_when_it_is_tried() {
    // More than any sandbox has: with it, this one would never return.
    let greedy = "(if (i32.ne (memory.grow (i32.const 5000)) (i32.const -1)) (then (loop br 0)))";
    let host = TestHost::start().await;
    assert_eq!(host.put_plugin("greedy", "0.1.0", wasm::transform_configured_by(greedy, "")).await.status, 201);
    let manifest = format!("{}\ntransforms = [{{ plugin = \"greedy@0.1.0\" }}]", fixtures::PLAIN);
    host.deploy("m", "1.0.0", &manifest, fixtures::model("identity_f32")).await;
    host.configured_ahead("m", "1.0.0").await;
    host.predict("m", &json!({})).await.error(502, "plugin_trapped");
}

#[tokio::test]
async fn a_flood_of_log_lines_is_bounded_and_counted() {
    let host = hostile("timeout_ms = 20000").await;
    let dropped = host.metric("bulkhead_plugin_log_lines_dropped_total", &[]).await;
    let _ = host.predict("m", &json!({ "before": "flood" })).await.ok();
    let lines = |host: &TestHost| host.log().iter().filter(|line| line["target"] == "plugin").count();
    let written = lines(&host);
    assert!((1..=100).contains(&written), "{written}");
    let more = host.metric("bulkhead_plugin_log_lines_dropped_total", &[]).await - dropped;
    assert_eq!(more, (10_000 - written) as f64);
    // Over many requests too.
    for _ in 0..20 {
        let _ = host.predict("m", &json!({ "before": "flood" })).await.ok();
    }
    assert!(lines(&host) < 21 * 32, "{}", lines(&host));
}

#[tokio::test]
async fn a_line_says_whose_it_is_and_can_not_forge_another() {
    let host = hostile("").await;
    let request = host.request(reqwest::Method::POST, "/v1/models/m/predict").header("x-request-id", "say-1");
    let _ = host.send(request.body(r#"{"before": "say"}"#)).await.ok();
    bulkhead_tests::eventually("the line is written", BOUNDED, async || host.log().iter().any(|line| line["target"] == "plugin")).await;
    let line = host.log().into_iter().find(|line| line["target"] == "plugin").unwrap();
    for (key, value) in [("tenant", "default"), ("plugin", "hostile@0.1.0"), ("request.id", "say-1"), ("level", "WARN")] {
        assert_eq!(line[key], value, "{line}");
    }
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("one line") && !message.contains(['\n', '\u{1b}']), "{message:?}");
}

#[tokio::test]
async fn odd_tensors_and_answers_of_a_plugin_harm_nobody() {
    let host = hostile("").await;
    for (wish, words) in [("short", "takes 8 bytes, got 7"), ("misnamed", "unknown input `z`")] {
        let answer = host.predict("m", &json!({ "before": wish })).await;
        assert!(answer.status == 400 || answer.status == 502, "{wish}: {}", answer.text());
        assert!(answer.text().contains(words), "{wish}: {}", answer.text());
        behaves(&host).await;
    }
    let nan = host.predict("m", &json!({ "before": "nan", "after": "nan" })).await.ok();
    assert_eq!(nan["outputs"][0]["data"], json!([null, null]));
    let odd = host.predict("m", &json!({ "before": "odd_type" })).await.expect(200);
    assert_eq!((odd.header("content-type"), odd.header("x-forged")), ("application/octet-stream", ""));
}

#[tokio::test]
async fn a_plugin_knows_of_a_request_only_what_the_manifest_lets_through() {
    let host = hostile("").await;
    let request = host.request(reqwest::Method::POST, "/v1/models/m/predict").header("x-request-id", "tell-1");
    let request = request.header("X-Shown", "yes").header("x-hidden", "no").header("authorization", "Bearer secret");
    let told = host.send(request.body(r#"{"before": "tell"}"#)).await.ok();
    assert_eq!(told["headers"], json!(["x-shown: yes"]));
    assert_eq!((&told["id"], &told["model"], &told["version"]), (&json!("tell-1"), &json!("m"), &json!("1.0.0")));
    assert!(told["time_left_us"].as_u64().is_some_and(|left| left > 0 && left <= 60_000_000), "{told}");
}

#[tokio::test]
async fn a_plugin_that_fails_to_describe_itself_is_not_deployed() {
    let host = hostile("").await;
    for (act, words) in [("loop", "ms"), ("trap", "trapped"), ("allocate", "MiB")] {
        let manifest = format!("{}\ntransforms = [{{ plugin = \"hostile@0.1.0\", config = {{ describe = \"{act}\" }} }}]", fixtures::PLAIN);
        let began = Instant::now();
        let answer = host.put_version("other/versions/1.0.0", &manifest, fixtures::model("identity_f32")).await;
        assert!(began.elapsed() < BOUNDED, "{act} took {:?}", began.elapsed());
        answer.error(422, "invalid_plugin_config").says(words);
    }
    behaves(&host).await;
}

#[tokio::test]
async fn a_request_that_goes_away_frees_its_sandbox() {
    let component = fixtures::hostile();
    let host = TestHost::setup().env("BULKHEAD_SANDBOX_INSTANCES", "2").start().await;
    assert_eq!(host.put_plugin("hostile", "0.1.0", component).await.status, 201);
    host.deploy("m", "1.0.0", &manifest("timeout_ms = 600000"), fixtures::model("identity_f32")).await;
    let wish: Value = json!({ "before": "loop" });
    let given_up = async || tokio::time::timeout(Duration::from_millis(300), host.predict("m", &wish)).await;
    let gone = tokio::join!(given_up(), given_up(), given_up());
    assert!(gone.0.is_err() && gone.1.is_err() && gone.2.is_err());
    let began = Instant::now();
    behaves(&host).await;
    assert!(began.elapsed() < BOUNDED, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_transform_is_told_of_the_request_where_it_asks_and_only_once() {
    let host = TestHost::start().await;
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2] }] });
    let cases = [
        (Teller::Before, true, 1),
        (Teller::Before, false, 0),
        (Teller::OnlyAfter, true, 1),
        (Teller::OnlyAfter, false, 0),
        // Its `before` was told.
        (Teller::After, true, 0),
    ];
    for (number, (teller, is_told, expected)) in cases.into_iter().enumerate() {
        let name = format!("teller-{number}");
        assert_eq!(host.put_plugin(&name, "0.1.0", wasm::transform_that_tells(teller, is_told)).await.status, 201);
        let manifest = format!("{}\ntransforms = [{{ plugin = \"{name}@0.1.0\" }}]", fixtures::PLAIN);
        host.deploy(&name, "1.0.0", &manifest, fixtures::model("identity_f32")).await;
        assert_eq!(host.predict(&name, &body).await.ok(), json!(expected), "{teller:?}, {is_told}");
    }
}

#[tokio::test]
async fn a_warm_sandbox_begins_each_exchange_anew() {
    let host = hostile("reuse = \"warm\"").await;
    let ask = async |id: &str, wish: Value| {
        let request = host.request(reqwest::Method::POST, "/v1/models/m/predict").header("x-request-id", id);
        host.send(request.header("content-type", "application/json").body(wish.to_string())).await
    };
    for round in 1..4 {
        // One that ends with `before`, and one that goes all the way: the same instance, and the second knows its own request.
        assert_eq!(ask("first", json!({ "before": "count" })).await.ok()["count"], 2 * round - 1);
        let told = ask("second", json!({ "after": "tell" })).await.ok();
        assert_eq!(told["id"], "second");
    }
    assert_eq!(ask("third", json!({ "after": "count" })).await.ok()["count"], 7);
    // A failure on the way out ends it, and so does one of the model in between.
    ask("fourth", json!({ "after": "trap" })).await.error(502, "plugin_trapped");
    assert_eq!(ask("fifth", json!({ "after": "count" })).await.ok()["count"], 1);
    assert!(ask("sixth", json!({ "before": "misnamed" })).await.status >= 400);
    assert_eq!(ask("seventh", json!({ "after": "count" })).await.ok()["count"], 1);
}
