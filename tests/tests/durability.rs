//! What was accepted is there: after a restart, after a kill at any moment, and on a full disk.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::time::Duration;

use bulkhead_tests::{TestHost, Tmpfs, cannot_run_here, fixtures, onnx};
use serde_json::{Value, json};

const PLAIN: &str = fixtures::PLAIN;

fn body() -> Value {
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] })
}

fn of_version(version: &str) -> Vec<u8> {
    onnx::with_note(&fixtures::model("add_one"), version)
}

#[tokio::test]
async fn everything_comes_back_after_a_restart() {
    let mut host = TestHost::start().await;
    host.demo("iris").await;
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        host.deploy("m", version, PLAIN, of_version(version)).await;
    }
    let _ = host.promote("m", "2.0.0").await.ok();
    let record: Value = serde_json::from_slice(&fixtures::demo("iris/sample.json")).unwrap();
    let everything = async |host: &TestHost| {
        let mut seen = Vec::new();
        for path in ["/v1/plugins", "/v1/models", "/v1/models/m/versions", "/v1/models/m/history", "/v1/models/iris/versions/1.0.0", "/openapi.json"]
        {
            seen.push(host.get(path).await.ok());
        }
        seen.push(host.predict("iris", &record).await.ok());
        seen.push(host.predict("m", &body()).await.ok());
        seen
    };
    bulkhead_tests::eventually("the old version is unloaded", Duration::from_secs(10), async || host.state("m", "1.0.0").await == "unloaded").await;
    let before = everything(&host).await;
    host.restart().await;
    assert_eq!(everything(&host).await, before);
    assert_eq!(host.post_json("/v1/models/m/rollback", &json!({})).await.ok()["production"], "1.0.0");
    host.kill9();
    host.start_again().await;
    assert_eq!(host.get("/v1/models/m").await.ok()["production"], "1.0.0");
    assert_eq!(host.predict("m", &body()).await.header("x-bulkhead-version"), "1.0.0");
}

#[tokio::test]
async fn a_kill_at_any_moment_leaves_the_whole_version_or_nothing() {
    const ROUNDS: usize = 18;
    let mut host = TestHost::start().await;
    let (mut acknowledged, mut next) = (BTreeSet::new(), 1);
    for round in 0..ROUNDS {
        // Anywhere in the first few uploads of the round.
        let moment = Duration::from_micros(RandomState::new().hash_one(round) % 120_000);
        let uploads = async {
            loop {
                let version = format!("{next}.0.0");
                let form = host.put_version(&format!("m/versions/{version}"), PLAIN, of_version(&version)).await;
                assert_eq!(form.status, 201, "{}", form.text());
                acknowledged.insert(next);
                next += 1;
            }
        };
        let _ = tokio::time::timeout(moment, uploads).await;
        host.kill9();
        host.start_again().await;
        check_after_kill(&host, &acknowledged, next, moment).await;
        acknowledged.insert(next);
        next += 1;
    }
    for version in &acknowledged {
        let answer = host.post_json(&format!("/v1/models/m/versions/{version}.0.0/predict"), &body()).await;
        assert_eq!(answer.ok()["outputs"][0]["data"], json!([2.0, 3.0, 4.0, 5.0]), "{version}");
    }
}

/// `next` is the version that was under way; afterwards it is there.
async fn check_after_kill(host: &TestHost, acknowledged: &BTreeSet<u32>, next: u32, moment: Duration) {
    let path = format!("/v1/models/m/versions/{next}.0.0");
    let status = host.get(&path).await.status;
    assert!(status == 200 || status == 404, "{status} after a kill at {moment:?}");
    let there = status == 200;
    if there {
        assert_eq!(host.post_json(&format!("{path}/predict"), &body()).await.status, 200, "half a version after a kill at {moment:?}");
    }
    let listed = listed(host).await;
    for version in acknowledged {
        assert!(listed.iter().any(|(name, _)| *name == format!("{version}.0.0")), "{version} is lost after a kill at {moment:?}");
    }
    assert_eq!(listed.len(), acknowledged.len() + usize::from(there));
    // No leftovers, and nothing missing.
    assert_eq!(host.files("artifacts/tmp"), [""; 0], "after a kill at {moment:?}");
    let mut digests: Vec<_> = listed.iter().map(|(_, digest)| digest.clone()).collect();
    digests.sort();
    let mut blobs: Vec<_> = host.files("artifacts/sha256").iter().map(|file| file.rsplit('/').next().unwrap_or_default().to_owned()).collect();
    blobs.sort();
    assert_eq!(blobs, digests, "after a kill at {moment:?}");
    let again = host.put_version(&format!("m/versions/{next}.0.0"), PLAIN, of_version(&format!("{next}.0.0"))).await;
    assert_eq!(again.status, if there { 200 } else { 201 }, "{}", again.text());
}

/// Versions with the hexadecimal digits of their digests.
async fn listed(host: &TestHost) -> Vec<(String, String)> {
    let answer = host.get("/v1/models/m/versions?limit=500").await;
    if answer.status == 404 {
        return Vec::new();
    }
    let list = answer.ok();
    let text = |value: &Value| value.as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned();
    list["items"].as_array().expect("items").iter().map(|item| (text(&item["version"]), text(&item["digest"]))).collect()
}

#[tokio::test]
async fn a_damaged_artifact_stops_one_version_only_and_is_mended_by_an_upload() {
    let mut host = TestHost::start().await;
    for (model, version) in [("whole", "1.0.0"), ("damaged", "2.0.0")] {
        host.deploy(model, version, PLAIN, of_version(version)).await;
    }
    let document = host.get("/v1/models/damaged/versions/2.0.0").await.ok();
    let digest = document["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    host.terminate();
    assert!(host.ended().await.success());
    let blob = host.files("artifacts/sha256").into_iter().find(|file| file.ends_with(&digest)).unwrap();
    std::fs::write(host.data().join("artifacts/sha256").join(blob), b"damaged").unwrap();
    host.start_again().await;
    assert_eq!(host.predict("whole", &body()).await.status, 200);
    host.predict("damaged", &body()).await.error(503, "not_ready").says("damaged");
    let document = host.get("/v1/models/damaged/versions/2.0.0").await.ok();
    assert_eq!(document["state"], "failed");
    assert!(document["why"].as_str().is_some_and(|why| why.len() > 10), "{document}");
    let ready = host.get("/health/ready").await.ok();
    assert_eq!((&ready["failed"][0]["model"], &ready["failed"][0]["version"]), (&json!("damaged"), &json!("2.0.0")));
}

#[tokio::test]
async fn a_full_disk_refuses_an_upload_and_the_host_goes_on() {
    let disk = match Tmpfs::mount(24) {
        Ok(disk) => disk,
        Err(why) => return cannot_run_here(&why),
    };
    let host = TestHost::setup().data_dir(&disk.path().join("data")).start().await;
    host.plugins(&["classify"]).await;
    host.deploy("m", "1.0.0", PLAIN, of_version("1.0.0")).await;
    host.put_version("m/versions/2.0.0", PLAIN, vec![7; 40 << 20]).await.error(507, "disk_full").says("no space");
    assert_eq!(host.files("artifacts/tmp"), [""; 0]);
    host.get("/v1/models/m/versions/2.0.0").await.error(404, "not_found");
    assert_eq!(host.predict("m", &body()).await.status, 200);
    host.deploy("m", "2.0.0", PLAIN, of_version("2.0.0")).await;

    // Not a byte is left.
    let filler = disk.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    host.put_version("m/versions/3.0.0", PLAIN, of_version("3.0.0")).await.error(507, "disk_full");
    host.put_plugin("tabular", "0.1.0", fixtures::plugin("tabular")).await.error(507, "disk_full");
    let promoted = host.promote("m", "2.0.0").await;
    if promoted.status != 200 {
        promoted.error(507, "disk_full");
    }
    assert_eq!(host.predict("m", &body()).await.status, 200);
    drop(file);
    std::fs::remove_file(filler).unwrap();
    host.deploy("m", "3.0.0", PLAIN, of_version("3.0.0")).await;
    host.plugins(&["tabular"]).await;
    let mut host = host;
    host.restart().await;
    assert_eq!(host.post_json("/v1/models/m/versions/3.0.0/predict", &body()).await.status, 200);
}

/// What adds waits for a model's turn, then for those who remove bytes, then for its tenant's other additions; in another order
/// somewhere, some of these would wait for each other for ever.
#[tokio::test]
async fn uploads_and_deletions_at_once_keep_nobody_waiting() {
    use bulkhead_tests::wasm;
    let setup = TestHost::setup().env("BULKHEAD_QUOTAS_STORED_MB", "100").env("BULKHEAD_QUOTAS_VERSIONS", "1000");
    let host = setup.env("BULKHEAD_QUOTAS_COMPILE_SECONDS_PER_HOUR", "3000").start().await;
    // All of the same bytes: each deletion looks whether another row names them.
    let (model, component) = (fixtures::model("add_one"), wasm::transform(""));
    let done = |status: u16| assert!(matches!(status, 200 | 201 | 204 | 404 | 409), "{status}");
    let lane = async |lane: usize| {
        for round in 0..12 {
            let (name, version) = (format!("m{}", lane % 2), format!("1.0.{}", (lane + round) % 3));
            match (lane + round) % 4 {
                0 | 1 => done(host.put_version(&format!("{name}/versions/{version}?stage=staging"), PLAIN, model.clone()).await.status),
                2 => done(host.put_plugin("p", &version, component.clone()).await.status),
                _ => {
                    done(host.delete(&format!("/v1/models/{name}/versions/{version}")).await.status);
                    done(host.delete(&format!("/v1/plugins/p/versions/{version}")).await.status);
                }
            }
        }
    };
    let all = futures_util::future::join_all((0..8).map(lane));
    tokio::time::timeout(Duration::from_secs(120), all).await.expect("nobody waits for ever");
    for version in ["1.0.0", "1.0.1", "1.0.2"] {
        for path in ["models/m0", "models/m1", "plugins/p"] {
            let status = host.delete(&format!("/v1/{path}/versions/{version}")).await.status;
            // The first version of a model stays where it was put in production: none was.
            done(status);
        }
    }
    let left =
        host.get("/v1/models").await.ok()["items"].as_array().unwrap().len() + host.get("/v1/plugins").await.ok()["items"].as_array().unwrap().len();
    assert!(left > 0 || host.files("artifacts/sha256").is_empty(), "bytes that no row names: {:?}", host.files("artifacts/sha256"));
}
