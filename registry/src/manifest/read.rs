//! What each key means and where its bounds are.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::predictor;
use super::section::{Problems, Section, shown};
use super::{Batching, CacheOptions, EngineOptions, Manifest, ManifestError, Reuse, Runtime, SandboxOptions, TransformUse};
use crate::ids::PluginRef;

/// Every transform is a sandbox per request.
const MAX_TRANSFORMS: usize = 8;
/// Arbitrary; tags are rows of an index.
const MAX_TAGS: usize = 64;
const MAX_TAG_KEY_CHARS: usize = 64;
const MAX_TAG_VALUE_CHARS: usize = 256;
/// Arbitrary; every header is copied into every sandbox.
const MAX_HEADERS: usize = 16;
const MAX_HEADER_BYTES: usize = 64;
/// 30 days: what is good for longer is no answer of a model that changes.
const MAX_TTL_SECONDS: u32 = 30 * 24 * 3600;

/// Plugins are other people's code: what proves who the caller is never reaches them.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

pub(super) fn manifest(value: Value) -> Result<Manifest, ManifestError> {
    let mut problems = Problems::default();
    let manifest = top(value, &mut problems);
    match manifest {
        Some(manifest) => problems.none_or(manifest),
        None => Err(problems.into()),
    }
}

/// `None` only where a mistake was noted.
fn top(value: Value, problems: &mut Problems) -> Option<Manifest> {
    let mut top = Section::new("", value, problems)?;
    let runtime = top.parsed("runtime");
    if runtime.is_none() {
        top.missing("runtime", "`onnx`, `predictor` or `container`");
    }
    let transforms = transforms(&mut top);
    let tags = top.take("tags").map(|value| tags(value, top.problems)).unwrap_or_default();
    let git_sha = git_sha(&mut top);
    let headers = headers(&mut top);
    let batching = top.section("batching").map(super::batching::read).unwrap_or_default();
    let sandbox = top.section("sandbox").map(sandbox).unwrap_or_default();
    let engine = top.section("engine").map(engine).unwrap_or_default();
    let warmup = super::warmup::read(&mut top);
    let cache = top.section("cache").and_then(cache);
    if runtime == Some(Runtime::Predictor) {
        let engine_is_set = engine != EngineOptions::default();
        predictor::refuse(&mut top, [("batching", batching != Batching::default()), ("engine", engine_is_set), ("warmup", !warmup.is_empty())]);
    }
    let predictor = predictor::read(&mut top, runtime);
    let container = container(&mut top, runtime);
    top.finish();
    Some(Manifest { runtime: runtime?, transforms, tags, git_sha, headers, batching, sandbox, engine, warmup, cache, predictor, container })
}

fn transforms(top: &mut Section<'_>) -> Vec<TransformUse> {
    let pointer = top.at("transforms");
    let items = top.list("transforms", MAX_TRANSFORMS).into_iter().enumerate();
    items.filter_map(|(index, item)| transform(format!("{pointer}/{index}"), item, top.problems)).collect()
}

fn transform(pointer: String, item: Value, problems: &mut Problems) -> Option<TransformUse> {
    let mut section = Section::new(pointer, item, problems)?;
    let (plugin, config) = plugin(&mut section, "image@0.1.0");
    section.finish();
    Some(TransformUse { plugin: plugin?, config })
}

/// Which plugin a table names, and its configuration.
pub(super) fn plugin(section: &mut Section<'_>, such_as: &str) -> (Option<PluginRef>, Map<String, Value>) {
    let plugin = section.parsed("plugin");
    if plugin.is_none() {
        section.missing("plugin", &format!("a plugin and its version such as `{such_as}`"));
    }
    let config = match section.take("config") {
        None => Map::new(),
        Some(Value::Object(config)) => config,
        Some(other) => {
            section.problems.expected(&section.at("config"), "a table", &other);
            Map::new()
        }
    };
    (plugin, config)
}

fn tags(value: Value, problems: &mut Problems) -> BTreeMap<String, String> {
    let Value::Object(map) = value else {
        problems.expected("/tags", "a table", &value);
        return BTreeMap::new();
    };
    if map.len() > MAX_TAGS {
        problems.add("/tags", format!("expected at most {MAX_TAGS} tags, got {}", map.len()));
        return BTreeMap::new();
    }
    let fits = |text: &str, most| text.chars().nth(most).is_none() && !text.chars().any(char::is_control);
    let mut tags = BTreeMap::new();
    for (key, value) in map {
        // The pointer repeats the key; a huge one is shown cut.
        let pointer = Problems::pointer("/tags", &key.chars().take(MAX_TAG_KEY_CHARS).collect::<String>());
        if key.is_empty() || !fits(&key, MAX_TAG_KEY_CHARS) {
            let message = format!("expected a key of 1 to {MAX_TAG_KEY_CHARS} characters, none of them a control character");
            problems.add(&pointer, message);
        }
        match value {
            Value::String(text) if fits(&text, MAX_TAG_VALUE_CHARS) => {
                tags.insert(key, text);
            }
            other => {
                let expected = format!("text of at most {MAX_TAG_VALUE_CHARS} characters, none of them a control character");
                problems.expected(&pointer, expected, &other);
            }
        }
    }
    tags
}

fn git_sha(top: &mut Section<'_>) -> Option<String> {
    let sha = top.text("git_sha")?;
    if (7..=64).contains(&sha.len()) && sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(sha.to_ascii_lowercase());
    }
    top.problems.expected(&top.at("git_sha"), "7 to 64 hexadecimal digits", &Value::String(sha));
    None
}

fn headers(top: &mut Section<'_>) -> Vec<String> {
    let pointer = top.at("headers");
    let mut headers = Vec::new();
    for (index, item) in top.list("headers", MAX_HEADERS).into_iter().enumerate() {
        match header(&item) {
            Ok(name) if !headers.contains(&name) => headers.push(name),
            Ok(name) => top.problems.add(&format!("{pointer}/{index}"), format!("`{name}` is listed twice")),
            Err(message) => top.problems.add(&format!("{pointer}/{index}"), message),
        }
    }
    headers
}

/// A header's name in lower case, or what is wrong with it.
fn header(item: &Value) -> Result<String, String> {
    // The token of RFC 9110, section 5.6.2.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name = item.as_str().filter(|name| (1..=MAX_HEADER_BYTES).contains(&name.len()) && name.bytes().all(token));
    let Some(name) = name.map(str::to_ascii_lowercase) else {
        return Err(format!("expected the name of a header, up to {MAX_HEADER_BYTES} characters, got {}", shown(item)));
    };
    if CREDENTIALS.contains(&name.as_str()) {
        return Err(format!("`{name}` proves who the caller is and is never let through to a plugin"));
    }
    Ok(name)
}

fn sandbox(mut section: Section<'_>) -> SandboxOptions {
    let default = SandboxOptions::default();
    let read = SandboxOptions {
        timeout_ms: section.integer("timeout_ms", 1..=600_000).unwrap_or(default.timeout_ms),
        memory_mb: section.integer("memory_mb", 1..=256).unwrap_or(default.memory_mb),
        reuse: section.parsed::<Reuse>("reuse").unwrap_or(default.reuse),
    };
    section.finish();
    read
}

fn cache(mut section: Section<'_>) -> Option<CacheOptions> {
    let ttl_seconds = section.integer("ttl_seconds", 1..=MAX_TTL_SECONDS);
    if ttl_seconds.is_none() {
        section.missing("ttl_seconds", "how long an answer is good for");
    }
    let max_mb = section.integer("max_mb", 1..=65_536).unwrap_or(64);
    section.finish();
    Some(CacheOptions { ttl_seconds: ttl_seconds?, max_mb })
}

fn engine(mut section: Section<'_>) -> EngineOptions {
    let default = EngineOptions::default();
    let read = EngineOptions {
        instances: section.integer("instances", 1..=64),
        threads: section.integer("threads", 1..=256),
        device: section.parsed("device").unwrap_or(default.device),
    };
    section.finish();
    read
}

/// The section's own keys are for who builds the container; here it is only a table or nothing.
fn container(top: &mut Section<'_>, runtime: Option<Runtime>) -> Option<Value> {
    let value = top.take("container")?;
    if matches!(runtime, Some(Runtime::Onnx | Runtime::Predictor)) {
        top.problems.add(&top.at("container"), "only with `runtime = \"container\"`");
        return None;
    }
    if !value.is_object() {
        top.problems.expected(&top.at("container"), "a table", &value);
        return None;
    }
    Some(value)
}
