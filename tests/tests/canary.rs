//! What one sandbox leaves behind, no other finds: instances of several plugins of two tenants take turns in the same
//! places, each looks through all of its fresh memory and tables, and then fills them.

use std::path::Path;
use std::time::Duration;

use bulkhead::clock::Deadline;
use bulkhead::payload::Payload;
use bulkhead::sandbox::{AdmissionLimits, Limits, Places, RequestInfo, SandboxOptions, Sandboxes, Step, Transform, UseOptions};
use bulkhead::telemetry::metrics::Metrics;
use bulkhead::tenants::Tenants;
use bulkhead_registry::{Digest, Quotas};
use bulkhead_tests::{WatFile, fixtures};

/// Instances in all.
const INSTANCES: usize = 100_000;

/// Sandboxes at one time: the pool has two memories then for all plugins, which go from one plugin to the other.
const PLACES: u32 = 1;

/// Pages that a plugin begins with, and that it takes: less and more than what stays mapped between two instances.
const SIZES: [(u32, u32); 6] = [(1, 0), (2, 1), (1, 3), (9, 0), (3, 8), (1, 1)];

/// Looks whether everything is as it should be at the start, and then leaves its mark everywhere.
fn text((pages, more): (u32, u32)) -> String {
    format!(
        r#"
(memory {{memory}} {pages} 64)
(table $t 50 100 funcref)
(elem declare func $mark)
(global $seen (mut i64) (i64.const 0))
(data (i32.const 400) "clean")
(data (i32.const 500) "dirty")
(func $mark)
(func $is_clean (result i32)
    (local $at i32) (local $end i32)
    ;; What is below is the plugin's own, and its request's.
    (local.set $at (i32.const 4096))
    (local.set $end (i32.mul (memory.size) (i32.const 65536)))
    (loop
        (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (return (i32.const 0))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if 0 (i32.lt_u (local.get $at) (local.get $end))))
    (local.set $at (i32.const 0))
    (loop
        (if (i32.eqz (ref.is_null (table.get $t (local.get $at)))) (then (return (i32.const 0))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $at) (table.size $t))))
    (i64.eqz (global.get $seen)))
(func {{before}}
    (if (i32.eq (memory.grow (i32.const {more})) (i32.const -1)) (then unreachable))
    (drop (table.grow $t (ref.null func) (i32.const 20)))
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store (i32.const 312) (select (i32.const 400) (i32.const 500) (call $is_clean)))
    (i32.store (i32.const 316) (i32.const 5))
    (global.set $seen (i64.const -1))
    (table.fill $t (i32.const 0) (ref.func $mark) (table.size $t))
    (memory.fill (i32.const 4096) (i32.const 0xca) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4096)))
    (i32.const 300))
"#
    )
}

async fn transform(sandboxes: &Sandboxes, at: usize, warm: bool) -> Transform {
    let tenant = Tenants::new(Quotas::default(), 1).tenant(&["one", "other"][at % 2].parse().expect("a tenant"));
    let component = WatFile::of("canary", &text(SIZES[at])).component();
    let plugin = sandboxes.admit(&tenant, &format!("canary-{at}@0.1.0"), &Digest::of(&component), component.clone()).await.expect("a plugin");
    let limits = Limits { time: Duration::from_secs(10), memory_bytes: 4 << 20 };
    let options = UseOptions { config: "{}".into(), limits, warm };
    sandboxes.transform(&plugin, options, std::future::ready(Ok(component))).await.expect("a transform")
}

async fn finds(transform: &Transform) -> String {
    let request = RequestInfo {
        id: "canary".into(),
        model: "model".into(),
        version: "1.0.0".into(),
        headers: Vec::new(),
        deadline: Deadline::after(Duration::from_secs(60)),
    };
    let places = Places::take(std::slice::from_ref(transform), None, request.deadline).await.expect("places").expect("a place");
    match transform.before(&request, &places, Payload::Json("{}".to_owned())).await {
        Ok((Step::Answer(Payload::Json(text)), _)) => text,
        other => format!("no answer: {:?}", other.map(|(step, _)| step)),
    }
}

fn sandboxes(cache: &Path, instances: u32) -> Sandboxes {
    let options = SandboxOptions {
        instances,
        cache: cache.to_owned(),
        admission: AdmissionLimits::default(),
        compiler: fixtures::bulkhead(),
        compile_seconds: 30,
    };
    Sandboxes::start(options, Metrics::new().expect("metrics").sandboxes()).expect("sandboxes")
}

#[tokio::test]
async fn nothing_of_a_hundred_thousand_instances_is_found_by_another() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let sandboxes = sandboxes(cache.path(), PLACES);
    let mut transforms = Vec::new();
    for at in 0..SIZES.len() {
        transforms.push(transform(&sandboxes, at, false).await);
    }
    for turn in 0..INSTANCES {
        // In an order in which each follows each.
        let at = (turn * turn + turn / SIZES.len()) % SIZES.len();
        assert_eq!(finds(&transforms[at]).await, "clean", "turn {turn}, plugin {at}");
    }
}

#[tokio::test]
async fn what_an_instance_leaves_it_finds_itself() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let sandboxes = sandboxes(cache.path(), 4);
    // Of an instance that is kept, which shows that the others would find it too.
    let warm = transform(&sandboxes, 0, true).await;
    assert_eq!([finds(&warm).await, finds(&warm).await], ["clean", "dirty"]);
}
