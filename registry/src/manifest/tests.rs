//! Manifests that are read, and every mistake in one.

use serde_json::json;

use super::*;

/// The manifest of the documentation.
const FULL: &str = r##"
runtime = "onnx"
transforms = [
  { plugin = "image@0.1.0", config = { width = 28, ratio = 0.1, color = "gray", deep = { on = true, list = [1, 2.0] } } },
  { plugin = "classify@0.1.0" },
]
tags = { team = "vision" }
git_sha = "ABCDEF0"
headers = ["X-Tenant-Hint", "accept"]
[batching]
max_batch_size = 32
preferred_batch_size = [16, 8, 16]
max_queue_delay_microseconds = 100
max_queue_size = 16
priority_levels = 3
default_priority_level = 3
default_timeout_microseconds = 5000
timeout_action = "DELAY"
allow_timeout_override = true
axes = { state = 1, sample_rate = "none" }
ragged = { axis = 2, pad = { input_ids = -1 }, mask = "attention_mask" }
[sandbox]
timeout_ms = 250
memory_mb = 128
reuse = "warm"
[engine]
instances = 2
threads = 4
device = "cuda"
[cache]
ttl_seconds = 60
[[warmup]]
count = 3
inputs = { x = { shape = [2, 3], data = "random" }, y = { shape = [2], data = [0.5, 1] } }
"##;

fn problems(text: &str) -> Vec<(String, String)> {
    let error = match text.trim_start().starts_with('{') {
        true => Manifest::from_json(text),
        false => Manifest::from_toml(text),
    };
    let problems = error.expect_err(text).problems;
    assert!(!problems.is_empty());
    problems.into_iter().map(|problem| (problem.pointer, problem.message)).collect()
}

#[test]
fn every_key_reads() {
    let manifest = Manifest::from_toml(FULL).unwrap();
    assert_eq!(manifest.runtime, Runtime::Onnx);
    assert_eq!(manifest.transforms[0].plugin, "image@0.1.0".parse().unwrap());
    assert_eq!(
        serde_json::Value::from(manifest.transforms[0].config.clone()),
        json!({"width": 28, "ratio": 0.1, "color": "gray", "deep": {"on": true, "list": [1, 2.0]}})
    );
    assert!(manifest.transforms[1].config.is_empty());
    assert_eq!(manifest.tags["team"], "vision");
    assert_eq!(manifest.git_sha.as_deref(), Some("abcdef0"));
    assert_eq!(manifest.headers, ["x-tenant-hint", "accept"]);
    let batching = Batching {
        max_batch_size: 32,
        preferred_batch_size: vec![8, 16],
        max_queue_delay_microseconds: 100,
        max_queue_size: 16,
        priority_levels: 3,
        default_priority_level: 3,
        default_timeout_microseconds: 5000,
        timeout_action: TimeoutAction::Delay,
        allow_timeout_override: true,
        preserve_ordering: false,
        axes: [("state".to_owned(), BatchAxis::At(1)), ("sample_rate".to_owned(), BatchAxis::Shared)].into(),
        ragged: Some(Ragged { axis: 2, pad: [("input_ids".to_owned(), -1)].into(), mask: "attention_mask".to_owned() }),
    };
    assert_eq!(manifest.batching, batching);
    assert_eq!(manifest.sandbox, SandboxOptions { timeout_ms: 250, memory_mb: 128, reuse: Reuse::Warm });
    assert_eq!(manifest.engine, EngineOptions { instances: Some(2), threads: Some(4), device: Device::Cuda { id: 0 } });
    assert_eq!(manifest.cache, Some(CacheOptions { ttl_seconds: 60, max_mb: 64 }));
    let x = WarmupInput { shape: vec![2, 3], data: WarmupData::Random };
    let y = WarmupInput { shape: vec![2], data: WarmupData::Recorded(vec![json!(0.5), json!(1)]) };
    assert_eq!(manifest.warmup, [Warmup { count: 3, inputs: [("x".to_owned(), x), ("y".to_owned(), y)].into() }]);
    assert_eq!(manifest.container, None);
}

#[test]
fn everything_but_the_runtime_has_a_default() {
    let expected = Manifest {
        runtime: Runtime::Onnx,
        transforms: Vec::new(),
        tags: BTreeMap::new(),
        git_sha: None,
        headers: Vec::new(),
        batching: Batching::default(),
        sandbox: SandboxOptions::default(),
        engine: EngineOptions::default(),
        warmup: Vec::new(),
        cache: None,
        predictor: None,
        container: None,
    };
    assert_eq!(Manifest::from_toml("runtime = 'onnx'").unwrap(), expected);
    assert_eq!(Manifest::from_json(r#"{"runtime": "onnx", "git_sha": null, "engine": null}"#).unwrap(), expected);
}

const PREDICTOR: &str = r#"
runtime = "predictor"
headers = ["accept-language"]
[predictor]
plugin = "cascade@0.1.0"
config = { sure = 0.9 }
[predictor.grants]
graphs = { small = "digits-small@1.0.0", big = "digits@2.1.0" }
load_mb = 16
"#;

#[test]
fn a_predictor_and_its_grants() {
    let manifest = Manifest::from_toml(PREDICTOR).unwrap();
    let used = manifest.predictor.as_ref().unwrap();
    assert_eq!((used.plugin.to_string().as_str(), used.config["sure"].as_f64()), ("cascade@0.1.0", Some(0.9)));
    assert_eq!((used.grants.graphs["big"].to_string().as_str(), used.grants.load_mb), ("digits@2.1.0", 16));
    assert_eq!(manifest.plugins().map(ToString::to_string).collect::<Vec<_>>(), ["cascade@0.1.0"]);
    assert_eq!(manifest.graphs().map(ToString::to_string).collect::<Vec<_>>(), ["digits@2.1.0", "digits-small@1.0.0"]);
    let alone = Manifest::from_toml("runtime = 'predictor'\npredictor = { plugin = 'a@1.0.0' }").unwrap();
    assert_eq!(alone.predictor.unwrap().grants, Grants::default());
}

#[test]
fn what_is_written_reads_back() {
    let container = "runtime = 'container'\n[container]\nkind = 'joblib'\nrequirements = ['scikit-learn==1.9.1']";
    // Numbers on which a hasty reader of JSON is off by the last digit, or loses that they are not whole.
    let numbers = r#"{"runtime": "onnx", "transforms": [{"plugin": "a@1.0.0", "config": {"n":
        [0.1, 1.0, -0.0, 1e300, 5e-324, 122.416294033786585, 8.7382346520016e-13, 18446744073709551615, -9223372036854775808]}}]}"#;
    let texts = [FULL, container, PREDICTOR].map(Manifest::from_toml);
    let manifests = texts.into_iter().chain([Manifest::from_json(numbers)]).map(Result::unwrap);
    for manifest in manifests {
        let again = Manifest::from_json(&manifest.to_json()).unwrap();
        assert_eq!(again, manifest);
        assert_eq!(again.to_json(), manifest.to_json());
    }
}

#[test]
fn toml_and_json_are_the_same_manifest() {
    let toml = Manifest::from_toml(FULL).unwrap();
    let json = json!({
        "runtime": "onnx",
        "transforms": [
            {"plugin": "image@0.1.0",
             "config": {"width": 28, "ratio": 0.1, "color": "gray", "deep": {"on": true, "list": [1, 2.0]}}},
            {"plugin": "classify@0.1.0", "config": {}},
        ],
        "tags": {"team": "vision"},
        "git_sha": "abcdef0",
        "headers": ["x-tenant-hint", "accept"],
        "batching": {
            "max_batch_size": 32, "preferred_batch_size": [8, 16], "max_queue_delay_microseconds": 100, "max_queue_size": 16,
            "priority_levels": 3, "default_priority_level": 3, "default_timeout_microseconds": 5000, "timeout_action": "DELAY",
            "allow_timeout_override": true, "preserve_ordering": false, "axes": {"state": 1, "sample_rate": "none"},
            "ragged": {"axis": 2, "pad": {"input_ids": -1}, "mask": "attention_mask"},
        },
        "sandbox": {"timeout_ms": 250, "memory_mb": 128, "reuse": "warm"},
        "engine": {"instances": 2, "threads": 4, "device": "cuda:0"},
        "cache": {"ttl_seconds": 60, "max_mb": 64},
        "warmup": [{"count": 3, "inputs": {"x": {"shape": [2, 3], "data": "random"}, "y": {"shape": [2], "data": [0.5, 1]}}}],
    });
    assert_eq!(Manifest::from_json(&json.to_string()).unwrap(), toml);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&toml.to_json()).unwrap(), json);
}

/// Each text has exactly one mistake: its place, and what the message must say.
#[test]
fn one_mistake() {
    let cases = [
        ("", "/runtime", "missing; expected `onnx`, `predictor` or `container`"),
        ("runtime = 'tf'", "/runtime", "expected `onnx`, `predictor` or `container`, got `tf`"),
        ("runtime = 1", "/runtime", "expected text, got `1`"),
        ("runtime = 'onnx'\nruntme = 1", "/runtme", "unknown key; known here are `runtime`, `transforms`"),
        ("runtime = 'onnx'\ntransforms = 1", "/transforms", "expected a list, got `1`"),
        ("runtime = 'onnx'\ntransforms = ['a']", "/transforms/0", "expected a table, got `\"a\"`"),
        ("runtime = 'onnx'\ntransforms = [{}]", "/transforms/0/plugin", "missing; expected a plugin and its version"),
        ("runtime = 'onnx'\ntransforms = [{plugin = 'a'}]", "/transforms/0/plugin", "`image@0.1.0`, got `a`"),
        ("runtime = 'onnx'\ntransforms = [{plugin = 'a@1'}]", "/transforms/0/plugin", "`1.0.0`, got `1`"),
        ("runtime = 'onnx'\ntransforms = [{plugin = 'a@1.0.0', x = 1}]", "/transforms/0/x", "unknown key"),
        ("runtime = 'onnx'\ntransforms = [{plugin = 'a@1.0.0', config = 1}]", "/transforms/0/config", "a table"),
        ("runtime = 'onnx'\ntransforms = [{plugin = 'a@1.0.0', config = {x = nan}}]", "/transforms/0/config/x", "finite"),
        (
            "runtime = 'onnx'\ntransforms = [{plugin = 'a@1.0.0', config = {'a/~' = [1, 2020-01-01]}}]",
            "/transforms/0/config/a~1~0/1",
            "expected a date as text, `\"2020-01-01\"`",
        ),
        ("runtime = 'onnx'\ntags = []", "/tags", "expected a table, got a list"),
        ("runtime = 'onnx'\ntags = {a = 1}", "/tags/a", "expected text of at most 256 characters"),
        ("runtime = 'onnx'\ntags = {a = \"\\n\"}", "/tags/a", "control character"),
        ("runtime = 'onnx'\ntags = {'' = 'x'}", "/tags/", "a key of 1 to 64 characters"),
        ("runtime = 'onnx'\ngit_sha = 'abcdef'", "/git_sha", "7 to 64 hexadecimal digits, got `\"abcdef\"`"),
        ("runtime = 'onnx'\ngit_sha = 'abcdefg'", "/git_sha", "7 to 64 hexadecimal digits"),
        ("runtime = 'onnx'\nheaders = ['a b']", "/headers/0", "expected the name of a header"),
        ("runtime = 'onnx'\nheaders = ['']", "/headers/0", "expected the name of a header"),
        ("runtime = 'onnx'\nheaders = [1]", "/headers/0", "expected the name of a header"),
        ("runtime = 'onnx'\nheaders = ['a', 'A']", "/headers/1", "`a` is listed twice"),
        ("runtime = 'onnx'\nheaders = ['Authorization']", "/headers/0", "never let through"),
        ("runtime = 'onnx'\nbatching = 1", "/batching", "expected a table"),
        ("runtime = 'onnx'\n[batching]\nmax_batch_size = 4097", "/batching/max_batch_size", "from 0 to 4096, got `4097`"),
        ("runtime = 'onnx'\n[batching]\nmax_batch_size = -1", "/batching/max_batch_size", "from 0 to 4096, got `-1`"),
        ("runtime = 'onnx'\n[batching]\nmax_batch_size = 1.0", "/batching/max_batch_size", "got `1.0`"),
        ("runtime = 'onnx'\n[batching]\nmax_batch_size = '1'", "/batching/max_batch_size", "got `\"1\"`"),
        ("runtime = 'onnx'\n[batching]\nmax_queue_size = 0", "/batching/max_queue_size", "from 1 to 65536"),
        ("runtime = 'onnx'\n[batching]\nmax_queue_size = 65537", "/batching/max_queue_size", "from 1 to 65536"),
        ("runtime = 'onnx'\n[batching]\nmax_queue_delay_microseconds = 60000001", "/batching/max_queue_delay_microseconds", "from 0 to 60000000"),
        ("runtime = 'onnx'\n[batching]\npreserve_ordering = 1", "/batching/preserve_ordering", "expected `true` or `false`, got `1`"),
        (
            "runtime = 'onnx'\n[batching]\npriority_levels = 2\npreserve_ordering = true",
            "/batching/preserve_ordering",
            "several priorities can't be answered in the order",
        ),
        ("runtime = 'onnx'\n[batching]\npriority_levels = 17", "/batching/priority_levels", "from 0 to 16"),
        ("runtime = 'onnx'\n[batching]\ndefault_priority_level = 1", "/batching/default_priority_level", "a level of the 0 that"),
        ("runtime = 'onnx'\n[batching]\npreferred_batch_size = [1]", "/batching/preferred_batch_size/0", "`max_batch_size`, which is 0, got `1`"),
        ("runtime = 'onnx'\n[batching]\npreferred_batch_size = 4", "/batching/preferred_batch_size", "expected a list"),
        ("runtime = 'onnx'\n[batching]\ntimeout_action = 'DROP'", "/batching/timeout_action", "expected `REJECT` or `DELAY`, got `DROP`"),
        ("runtime = 'onnx'\n[batching]\ndefault_timeout_microseconds = 3600000001", "/batching/default_timeout_microseconds", "to 3600000000"),
        ("runtime = 'onnx'\n[batching]\naxes = { x = 'last' }", "/batching/axes/x", "from 0 to 15, or `none`, got `\"last\"`"),
        ("runtime = 'onnx'\n[batching]\naxes = { x = 16 }", "/batching/axes/x", "got `16`"),
        ("runtime = 'onnx'\n[batching]\naxes = 1", "/batching/axes", "expected a table of at most 256 tensors, got `1`"),
        (
            "runtime = 'onnx'\n[batching]\ntimeout_action = 'DELAY'\npreserve_ordering = true",
            "/batching/preserve_ordering",
            "requests that are delayed",
        ),
        ("runtime = 'onnx'\n[batching.ragged]\npad = { x = 0 }\nmask = 'm'", "/batching/ragged", "only with a `max_batch_size` of 2"),
        (
            "runtime = 'onnx'\n[batching]\nmax_batch_size = 2\n[batching.ragged]\npad = { x = 0 }",
            "/batching/ragged/mask",
            "missing; expected the name of the input",
        ),
        (
            "runtime = 'onnx'\n[batching]\nmax_batch_size = 2\n[batching.ragged]\nmask = 'm'",
            "/batching/ragged/pad",
            "missing; expected the value to pad with",
        ),
        (
            "runtime = 'onnx'\n[batching]\nmax_batch_size = 2\n[batching.ragged]\nmask = 'm'\npad = { x = 0.5 }",
            "/batching/ragged/pad/x",
            "expected a whole number, got `0.5`",
        ),
        ("runtime = 'onnx'\n[sandbox]\ntimeout_ms = 0", "/sandbox/timeout_ms", "from 1 to 600000"),
        ("runtime = 'onnx'\n[sandbox]\ntimeout_ms = 600001", "/sandbox/timeout_ms", "from 1 to 600000"),
        ("runtime = 'onnx'\n[sandbox]\nmemory_mb = 257", "/sandbox/memory_mb", "from 1 to 256"),
        ("runtime = 'onnx'\n[sandbox]\nreuse = 'hot'", "/sandbox/reuse", "expected `never` or `warm`, got `hot`"),
        ("runtime = 'onnx'\n[engine]\ninstances = 65", "/engine/instances", "from 1 to 64"),
        ("runtime = 'onnx'\n[engine]\nthreads = 0", "/engine/threads", "from 1 to 256"),
        ("runtime = 'onnx'\n[engine]\ndevice = 'gpu'", "/engine/device", "expected `cpu`, `cuda` or"),
        ("runtime = 'onnx'\n[engine]\ndevice = 'cuda:256'", "/engine/device", "got `cuda:256`"),
        ("runtime = 'onnx'\n[engine]\ndevice = 'cuda:+1'", "/engine/device", "got `cuda:+1`"),
        ("runtime = 'onnx'\n[[warmup]]", "/warmup/0/inputs", "missing; expected a table"),
        ("runtime = 'onnx'\n[[warmup]]\ninputs = { x = { shape = [1] } }", "/warmup/0/inputs/x/data", "missing; expected `zero`"),
        ("runtime = 'onnx'\n[[warmup]]\ninputs = { x = { shape = [-1], data = 'zero' } }", "/warmup/0/inputs/x/shape", "zero or more"),
        ("runtime = 'onnx'\n[[warmup]]\ninputs = { x = { data = 'ones' } }", "/warmup/0/inputs/x/data", "got `\"ones\"`"),
        ("runtime = 'onnx'\n[cache]", "/cache/ttl_seconds", "missing; expected how long"),
        ("runtime = 'onnx'\n[cache]\nttl_seconds = 0", "/cache/ttl_seconds", "from 1 to 2592000"),
        ("runtime = 'onnx'\n[container]\nkind = 'torch'", "/container", "only with `runtime = \"container\"`"),
        ("runtime = 'onnx'\n[predictor]\nplugin = 'a@1.0.0'", "/predictor", "only with `runtime = \"predictor\"`"),
        ("runtime = 'predictor'", "/predictor", "missing; expected a table with the plugin"),
        ("runtime = 'predictor'\npredictor = {}", "/predictor/plugin", "missing; expected a plugin and its version such as `cascade@0.1.0`"),
        ("runtime = 'predictor'\npredictor = { plugin = 'a@1.0.0', graphs = {} }", "/predictor/graphs", "unknown key"),
        ("runtime = 'predictor'\npredictor = { plugin = 'a@1.0.0' }\n[engine]\nthreads = 2", "/engine", "not with `runtime = \"predictor\"`"),
        ("runtime = 'predictor'\npredictor = { plugin = 'a@1.0.0' }\n[batching]\nmax_batch_size = 2", "/batching", "not with `runtime"),
        ("runtime = 'predictor'\npredictor = { plugin = 'a@1.0.0' }\n[container]", "/container", "only with `runtime = \"container\"`"),
        (
            "runtime = 'predictor'\npredictor = { plugin = 'a@1.0.0', grants = { graphs = ['m@1.0.0'] } }",
            "/predictor/grants/graphs",
            "expected a table of versions",
        ),
        (
            "runtime = 'predictor'\npredictor = { plugin = 'a@1.0.0', grants = { graphs = { m = 'm' } } }",
            "/predictor/grants/graphs/m",
            "`digits@1.0.0`, got `m`",
        ),
        (
            "runtime = 'predictor'\npredictor = { plugin = 'a@1.0.0', grants = { graphs = { '' = 'm@1.0.0' } } }",
            "/predictor/grants/graphs/",
            "expected a name of 1 to 64",
        ),
        ("runtime = 'predictor'\npredictor = { plugin = 'a@1.0.0', grants = { load_mb = 257 } }", "/predictor/grants/load_mb", "from 0 to 256"),
        (
            "runtime = 'predictor'\npredictor = { plugin = 'a@1.0.0', grants = { http = 1 } }",
            "/predictor/grants/http",
            "unknown key; known here are `graphs`, `load_mb`",
        ),
        ("runtime = 'container'\ncontainer = 1", "/container", "expected a table"),
        ("runtime = 'onnx'\n\n= 1", "", "in line 3"),
        ("{", "", "not valid JSON"),
        (r#"{"runtime": "onnx", "runtime": "container"}"#, "", "the key `runtime` stands twice"),
        ("{} x", "", "not valid JSON"),
    ];
    for (text, pointer, message) in cases {
        let problems = problems(text);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert_eq!(problems[0].0, pointer, "{text}: {problems:?}");
        assert!(problems[0].1.contains(message), "{text}: {problems:?}");
    }
    assert!(Manifest::from_json("[]").unwrap_err().to_string().contains("expected a table, got a list"));
}

#[test]
fn all_mistakes_at_once() {
    let error = Manifest::from_toml(
        "runtime = 'tf'\nextra = 1\ntransforms = [{plugin = 'a'}, {plugin = 'b@1.0.0', y = 2}]\ntags = {a = 1}
         [engine]\ninstances = 0\nthreads = 'many'",
    )
    .unwrap_err();
    let pointers: Vec<_> = error.problems.iter().map(|problem| problem.pointer.as_str()).collect();
    let expected = ["/runtime", "/transforms/0/plugin", "/transforms/1/y", "/tags/a", "/engine/instances", "/engine/threads", "/extra"];
    assert_eq!(pointers, expected);
    let text = error.to_string();
    assert!(text.starts_with("the manifest is not valid: `/runtime`: expected `onnx`"), "{text}");
    assert!(text.contains("; `/engine/instances`: expected a whole number from 1 to 64, got `0`"), "{text}");
}

#[test]
fn counts_and_lengths_are_bounded() {
    let transforms = |n: usize| format!("runtime='onnx'\ntransforms=[{}]", "{plugin='a@1.0.0'},".repeat(n));
    assert_eq!(Manifest::from_toml(&transforms(8)).unwrap().transforms.len(), 8);
    assert_eq!(problems(&transforms(9)), [("/transforms".into(), "expected at most 8 items, got 9".into())]);

    let tags = |n: usize| {
        let tags: String = (0..n).map(|n| format!("t{n} = 'x'\n")).collect();
        format!("runtime='onnx'\n[tags]\n{tags}")
    };
    assert_eq!(Manifest::from_toml(&tags(64)).unwrap().tags.len(), 64);
    assert_eq!(problems(&tags(65)), [("/tags".into(), "expected at most 64 tags, got 65".into())]);

    let tag = |key: usize, value: usize| Manifest::from_toml(&format!("runtime='onnx'\n[tags]\n{} = '{}'", "k".repeat(key), "é".repeat(value)));
    assert!(tag(64, 256).is_ok());
    assert!(tag(65, 1).is_err() && tag(1, 257).is_err());

    let headers: Vec<_> = (0..17).map(|n| format!("x-{n}")).collect();
    assert!(Manifest::from_json(&json!({"runtime": "onnx", "headers": headers[..16]}).to_string()).is_ok());
    assert!(Manifest::from_json(&json!({"runtime": "onnx", "headers": headers}).to_string()).is_err());

    let comment = "#".repeat(Manifest::MAX_BYTES);
    assert!(problems(&format!("runtime='onnx'\n{comment}"))[0].1.starts_with("expected at most 1048576 bytes"));
    assert!(problems(&format!("runtime = '{}'", "x".repeat(1000)))[0].1.len() < 200);
}

/// Depth costs the reader's stack, so text that nests without end must be an error and not a crash.
#[test]
fn endless_nesting_is_refused() {
    let n = 100_000;
    let open = "[".repeat(n);
    assert!(Manifest::from_json(&format!(r#"{{"runtime": {open}"#)).is_err());
    assert!(Manifest::from_toml(&format!("runtime = {open}")).is_err());
    assert!(Manifest::from_toml(&format!("a{} = 1", ".a".repeat(n))).is_err());
    assert!(Manifest::from_toml(&format!("[a{}]\nb = 1", ".a".repeat(n))).is_err());
    assert!(Manifest::from_toml(&format!("a = {}", "{b = ".repeat(n))).is_err());
}

#[test]
fn devices() {
    for (text, device, shown) in
        [("cpu", Device::Cpu, "cpu"), ("cuda", Device::Cuda { id: 0 }, "cuda:0"), ("cuda:1", Device::Cuda { id: 1 }, "cuda:1")]
    {
        assert_eq!(text.parse::<Device>().unwrap(), device);
        assert_eq!(device.to_string(), shown);
    }
    for bad in ["", "CPU", "cuda:", "cuda:x", "cuda:-1", "cpu:0"] {
        assert!(bad.parse::<Device>().is_err(), "{bad}");
    }
}

#[test]
fn the_readme_shows_the_keys_and_the_defaults() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let manifest = Manifest::from_toml(example).unwrap();
    assert_eq!(manifest.sandbox, SandboxOptions::default());
    assert_eq!(manifest.batching, Batching::default());
    assert_eq!(manifest.engine, EngineOptions { instances: Some(1), threads: Some(1), ..EngineOptions::default() });
    // All of them: what a manifest can say at all, but for what predictors and containers bring.
    let all = serde_json::to_value(&manifest).unwrap();
    assert_eq!(all.as_object().unwrap().len(), 10, "{all}");
    let predictor = readme.split("```toml\n").find(|block| block.starts_with("runtime = \"predictor\"")).and_then(|block| block.split("```").next());
    let used = Manifest::from_toml(predictor.unwrap()).unwrap().predictor.unwrap();
    assert_eq!((used.grants.graphs.len(), used.grants.load_mb), (2, Grants::default().load_mb));
}
