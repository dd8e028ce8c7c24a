//! Every case folder of every plugin, through the real sandbox; the plugins' own tests run the same folders natively.
//! A new folder needs no line here.

mod pictures;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bulkhead::clock::Deadline;
use bulkhead::payload::Payload;
use bulkhead::sandbox::{AdmissionLimits, Limits, Places, Plugin, RequestInfo, SandboxError, SandboxOptions, Sandboxes, Step, Transform, UseOptions};
use bulkhead::telemetry::metrics::Metrics;
use bulkhead::tenants::Tenants;
use bulkhead_registry::{Digest, Quotas, TenantId};
use bulkhead_tests::fixtures;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    config: toml::Table,
    hook: Hook,
    content_type: Option<String>,
    #[serde(default = "default_tolerance")]
    tolerance: f64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Hook {
    Before,
    After,
}

/// A few units in the last place of a 32-bit float, as natively.
fn default_tolerance() -> f64 {
    1e-6
}

#[tokio::test]
async fn every_case_holds_in_the_sandbox() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let sandboxes = sandboxes(cache.path());
    let mut failures = Vec::new();
    let mut count = 0;
    for folder in folders(&fixtures::workspace().join("plugins")).into_iter().filter(|folder| folder.join("cases").is_dir()) {
        let name = file_name(&folder);
        let plugin = uploaded(&sandboxes, &name).await;
        for case in folders(&folder.join("cases")) {
            count += 1;
            if let Err(failure) = run(&plugin, &case).await {
                failures.push(format!("{name}/{}: {failure}", file_name(&case)));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} cases failed:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 0, "no cases");
}

/// In a sandbox the brightness of a JPEG is decoded with vector instructions, and natively by the library.
#[tokio::test]
async fn grays_of_jpegs_are_the_same_in_the_sandbox_as_natively() {
    const SIZE: (u16, u16) = (72, 40);
    let config = serde_json::json!({ "width": SIZE.0, "height": SIZE.1, "color": "gray", "dtype": "uint8" });
    let cache = tempfile::tempdir().expect("a temporary folder");
    let sandboxes = sandboxes(cache.path());
    let transform = configured(&uploaded(&sandboxes, "image").await, config.to_string()).await.expect("a configuration that it takes");
    for number in 0..60 {
        let data = pictures::jpeg(SIZE, number);
        let blob = bulkhead_sdk::Blob { content_type: "image/jpeg".to_owned(), data: data.clone() };
        let native = bulkhead_sdk::testing::Exchange::<image::Image>::open(&config)
            .and_then(|mut exchange| exchange.before(bulkhead_sdk::Payload::Blob(blob)));
        let here = called(&transform, Hook::Before, Payload::Blob { content_type: "image/jpeg".to_owned(), data }).await;
        match (native.expect("a picture"), here.expect("a picture")) {
            (bulkhead_sdk::Step::Proceed(native), Payload::Tensors(here)) => {
                let native = native.into_tensors().expect("tensors");
                let differ = native.get("image").expect("a tensor").bytes().iter().zip(&here[0].data).filter(|(left, right)| left != right).count();
                assert_eq!(differ, 0, "picture {number}");
            }
            other => panic!("picture {number}: {other:?}"),
        }
    }
}

/// A plugin with its bytes, from which it is configured.
struct Uploaded<'s> {
    sandboxes: &'s Sandboxes,
    plugin: Plugin,
    bytes: Vec<u8>,
}

fn sandboxes(cache: &Path) -> Sandboxes {
    let options = SandboxOptions {
        instances: 4,
        cache: cache.to_owned(),
        admission: AdmissionLimits::default(),
        compiler: fixtures::bulkhead(),
        compile_seconds: 30,
    };
    Sandboxes::start(options, Metrics::new().expect("metrics").sandboxes()).expect("sandboxes")
}

async fn uploaded<'s>(sandboxes: &'s Sandboxes, name: &str) -> Uploaded<'s> {
    let bytes = fixtures::plugin(name);
    let tenant = Tenants::new(Quotas::default(), 1).tenant(&TenantId::default_tenant());
    let plugin = sandboxes.admit(&tenant, &format!("{name}@0.1.0"), &Digest::of(&bytes), bytes.clone()).await;
    Uploaded { sandboxes, plugin: plugin.expect("a plugin that is accepted"), bytes }
}

async fn run(plugin: &Uploaded<'_>, folder: &Path) -> Result<(), String> {
    let case: Case = toml::from_str(&read(&folder.join("case.toml"))).map_err(|error| format!("case.toml: {error}"))?;
    let outcome = exchange(plugin, &case, request(folder, &case)).await;
    let error = folder.join("error.txt");
    match (outcome, error.exists()) {
        (Ok(payload), false) => {
            let expected = serde_json::from_str(&read(&folder.join("expect.json"))).map_err(|error| format!("expect.json: {error}"))?;
            wire::difference(&wire::to_value(&payload), &expected, case.tolerance).map_or(Ok(()), Err)
        }
        (Err(got), true) => {
            let (got, expected) = (error_text(&got), read(&error));
            if got == expected.trim() { Ok(()) } else { Err(format!("expected the error\n  {}\ngot\n  {got}", expected.trim())) }
        }
        (Ok(payload), true) => Err(format!("expected an error, got {}", wire::to_value(&payload))),
        (Err(error), false) => Err(format!("expected an answer, got the error\n  {}", error_text(&error))),
    }
}

async fn exchange(uploaded: &Uploaded<'_>, case: &Case, payload: Payload) -> Result<Payload, SandboxError> {
    let transform = configured(uploaded, serde_json::to_string(&case.config).expect("TOML has a JSON form")).await?;
    called(&transform, case.hook, payload).await
}

/// What is tested is what serves: a copy of the configured instance.
async fn configured(uploaded: &Uploaded<'_>, config: String) -> Result<Transform, SandboxError> {
    let limits = Limits { time: Duration::from_secs(10), memory_bytes: 128 << 20 };
    let options = UseOptions { config: config.into(), limits, warm: false };
    let transform = uploaded.sandboxes.transform(&uploaded.plugin, options, std::future::ready(Ok(uploaded.bytes.clone()))).await?;
    let ahead = async {
        while !transform.is_configured_ahead() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ahead).await.expect("a configured component");
    Ok(transform)
}

async fn called(transform: &Transform, hook: Hook, payload: Payload) -> Result<Payload, SandboxError> {
    let request = RequestInfo {
        id: "case".into(),
        model: "model".into(),
        version: "1.0.0".into(),
        headers: Vec::new(),
        deadline: Deadline::after(Duration::from_secs(60)),
    };
    let places = Places::take(std::slice::from_ref(transform), None, request.deadline).await?.expect("one transform needs a place");
    match hook {
        Hook::After => transform.after(&request, &places, payload).await,
        Hook::Before => match transform.before(&request, &places, payload).await? {
            (Step::Proceed(payload) | Step::Answer(payload), _) => Ok(payload),
        },
    }
}

fn request(folder: &Path, case: &Case) -> Payload {
    let json = folder.join("request.json");
    if json.exists() {
        return wire::payload(read(&json));
    }
    let data = fs::read(folder.join("request.bin")).expect("request.json or request.bin");
    Payload::Blob { content_type: case.content_type.clone().expect("`content_type` of request.bin"), data }
}

fn error_text(error: &SandboxError) -> String {
    match error {
        SandboxError::Invalid { pointer, message } => format!("invalid {pointer}\n{message}").replace(" \n", "\n"),
        SandboxError::Unavailable(message) => format!("unavailable\n{message}"),
        SandboxError::Internal(message) => format!("internal\n{message}"),
        other => format!("{}\n{other}", other.label()),
    }
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}
