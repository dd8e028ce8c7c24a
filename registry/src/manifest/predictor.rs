//! `[predictor]`: the plugin that answers, and what it is granted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::section::{Problems, Section};
use super::{Grants, PredictorUse, Runtime, read};
use crate::ids::ModelRef;

/// Arbitrary; each is a model in memory for as long as the version is.
const MAX_GRAPHS: usize = 16;
const MAX_GRAPH_CHARS: usize = 64;

/// The largest model that a plugin may bring along. Arbitrary; a sandbox has at most 256 MiB.
const MAX_LOAD_MB: u32 = 256;

/// Sections that say how a model is run: a predictor has none of its own. What is as it is by default was not asked for:
/// manifests are kept with every default filled in.
pub(super) fn refuse(top: &mut Section<'_>, sections: [(&str, bool); 3]) {
    for (key, is_set) in sections {
        if is_set {
            let message = "not with `runtime = \"predictor\"`: it belongs into the manifests of the models that the predictor drives";
            top.problems.add(&top.at(key), message);
        }
    }
}

pub(super) fn read(top: &mut Section<'_>, runtime: Option<Runtime>) -> Option<PredictorUse> {
    match runtime {
        Some(Runtime::Predictor) => {}
        // What is wrong with the runtime was noted.
        None => {
            top.take("predictor");
            return None;
        }
        Some(_) => {
            if top.take("predictor").is_some() {
                top.problems.add(&top.at("predictor"), "only with `runtime = \"predictor\"`");
            }
            return None;
        }
    }
    let Some(mut section) = top.section("predictor") else {
        top.missing("predictor", "a table with the plugin that answers, such as `plugin = \"cascade@0.1.0\"`");
        return None;
    };
    let (plugin, config) = read::plugin(&mut section, "cascade@0.1.0");
    let grants = section.section("grants").map(grants).unwrap_or_default();
    section.finish();
    Some(PredictorUse { plugin: plugin?, config, grants })
}

fn grants(mut section: Section<'_>) -> Grants {
    let pointer = section.at("graphs");
    let graphs = section.take("graphs").map(|value| graphs(&pointer, value, section.problems)).unwrap_or_default();
    let load_mb = section.integer("load_mb", 0..=MAX_LOAD_MB).unwrap_or_default();
    section.finish();
    Grants { graphs, load_mb }
}

fn graphs(pointer: &str, value: Value, problems: &mut Problems) -> BTreeMap<String, ModelRef> {
    let Value::Object(map) = value else {
        problems.expected(pointer, "a table of versions of models, such as `{ small = \"digits@1.0.0\" }`", &value);
        return BTreeMap::new();
    };
    if map.len() > MAX_GRAPHS {
        problems.add(pointer, format!("expected at most {MAX_GRAPHS} graphs, got {}", map.len()));
        return BTreeMap::new();
    }
    let mut graphs = BTreeMap::new();
    for (name, value) in map {
        // The pointer repeats the name; a huge one is shown cut.
        let at = Problems::pointer(pointer, &name.chars().take(MAX_GRAPH_CHARS).collect::<String>());
        if name.is_empty() || name.chars().nth(MAX_GRAPH_CHARS).is_some() || name.chars().any(char::is_control) {
            problems.add(&at, format!("expected a name of 1 to {MAX_GRAPH_CHARS} characters, none of them a control character"));
        }
        match value.as_str().map(str::parse::<ModelRef>) {
            Some(Ok(model)) => {
                graphs.insert(name, model);
            }
            Some(Err(error)) => problems.add(&at, error.to_string()),
            None => problems.expected(&at, "a model and its version such as `digits@1.0.0`", &value),
        }
    }
    graphs
}
