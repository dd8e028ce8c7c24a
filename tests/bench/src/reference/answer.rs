//! From scores to labels, as `classify` does it.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// As the demo's manifests have it.
const TOP: usize = 3;

/// Names of the classes.
pub(super) struct Labels(Vec<String>);

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scores {
    Logits,
    Probabilities,
}

#[derive(Serialize)]
pub(super) struct Answer<'l> {
    label: &'l str,
    score: f32,
    top: Vec<Scored<'l>>,
}

#[derive(Serialize)]
struct Scored<'l> {
    label: &'l str,
    score: f32,
}

impl Labels {
    /// Those that the manifest configures `classify` with.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Classify {
            labels: Vec<String>,
        }
        let last = transforms(folder)?.pop().context("the manifest has no transforms")?;
        Ok(Self(serde_json::from_value::<Classify>(last)?.labels))
    }
}

/// The configurations of a manifest's transforms.
pub(super) fn transforms(folder: &Path) -> Result<Vec<serde_json::Value>> {
    #[derive(Deserialize)]
    struct Manifest {
        transforms: Vec<Use>,
    }
    #[derive(Deserialize)]
    struct Use {
        config: serde_json::Value,
    }
    let manifest: Manifest = toml::from_str(&std::fs::read_to_string(folder.join("manifest.toml"))?)?;
    Ok(manifest.transforms.into_iter().map(|transform| transform.config).collect())
}

/// The best classes of one row.
pub(super) fn answer<'l>(labels: &'l Labels, scores: &[f32], kind: Scores) -> Answer<'l> {
    let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |score: f32| f64::from((score - greatest).exp());
    let sum: f64 = if kind == Scores::Logits { scores.iter().copied().map(exp).sum() } else { 1.0 };
    let mut ranked: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(TOP);
    let score = |score: f32| if kind == Scores::Logits { (exp(score) / sum) as f32 } else { score };
    let scored = |(index, raw): &(usize, f32)| Scored { label: labels.0.get(*index).map_or("", String::as_str), score: score(*raw) };
    let top: Vec<_> = ranked.iter().map(scored).collect();
    let (label, score) = top.first().map_or(("", 0.0), |best| (best.label, best.score));
    Answer { label, score, top }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_become_probabilities() {
        let labels = Labels(vec!["a".to_owned(), "b".to_owned()]);
        let text = serde_json::to_string(&answer(&labels, &[1.0, 1.0], Scores::Logits)).unwrap();
        assert_eq!(text, r#"{"label":"a","score":0.5,"top":[{"label":"a","score":0.5},{"label":"b","score":0.5}]}"#);
    }
}
