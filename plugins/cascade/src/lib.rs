//! A cheap model answers where it is sure; where it is not, a better one does.
//!
//! A request of several rows is asked of the better model only for those of which the cheap one is unsure, all of them in
//! one run.

mod rows;

use bulkhead_sdk::prelude::*;
use bulkhead_sdk::softmax;

/// The name that the manifest grants the cheap model under.
const SMALL: &str = "small";
/// The name that the manifest grants the better model under.
const BIG: &str = "big";

/// The configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cascade {
    /// The tensor of scores, FP32 `[rows, classes]`, that both models give.
    output: String,
    /// The probability from which on the cheap model's answer is good enough.
    sure_from: f32,
    #[serde(default)]
    kind: Kind,
    /// Inputs that all rows have in common, though their first extent may be the number of rows by chance.
    #[serde(default)]
    common: Vec<String>,
}

/// What the scores are.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Anything; softmax makes probabilities of them.
    #[default]
    Logits,
    /// They add up to one.
    Probabilities,
}

impl Predictor for Cascade {
    fn predict(&mut self, payload: Payload) -> Result<Payload> {
        let inputs = payload.into_tensors()?;
        let mut answer = Graph::named(SMALL)?.forward(&inputs)?;
        let scores = answer.get(&self.output)?;
        let (rows, classes) = extents(scores)?;
        let unsure: Vec<usize> =
            scores.values::<f32>()?.chunks_exact(classes).enumerate().filter(|(_, row)| !self.is_sure(row)).map(|(at, _)| at).collect();
        if unsure.is_empty() {
            return Ok(answer.into());
        }
        let big = Graph::named(BIG)?;
        if unsure.len() == rows {
            return Ok(big.forward(&inputs)?.into());
        }
        let better = big.forward(rows::picked(&inputs, rows, &unsure, &self.common)?)?;
        rows::put(&mut answer, rows, &unsure, &better)?;
        Ok(answer.into())
    }

    fn describe(&self) -> PredictorDescription {
        let scores = (self.output.as_str(), Datatype::Fp32, &[-1, -1][..]);
        PredictorDescription::new("Answers with a cheap model where it is sure, else with a better one")
            .takes_as(SMALL)
            .gives_as(SMALL)
            .reads(SMALL, scores)
            .reads(BIG, scores)
            .stands_for(BIG, SMALL)
            .config_schema(&json!({
                "type": "object",
                "required": ["output", "sure_from"],
                "additionalProperties": false,
                "properties": {
                    "output": { "type": "string", "description": "the tensor of scores, FP32 [rows, classes], that both models give" },
                    "sure_from": { "type": "number", "minimum": 0, "maximum": 1, "description": "the probability from which on the answer of `small` is good enough" },
                    "common": { "type": "array", "items": { "type": "string" }, "description": "inputs that all rows have in common" },
                    "kind": { "enum": ["logits", "probabilities"], "default": "logits" },
                },
            }))
    }

    fn check(&self) -> Result<()> {
        if (0.0..=1.0).contains(&self.sure_from) {
            return Ok(());
        }
        Err(Error::invalid("/sure_from", format!("`sure_from` is a probability from 0 to 1, got {}", self.sure_from)))
    }
}

impl Cascade {
    /// Whether the most probable class of a row is probable enough. Scores that are no numbers never are.
    fn is_sure(&self, row: &[f32]) -> bool {
        let greatest = softmax::greatest(row);
        let probability = match self.kind {
            Kind::Probabilities => f64::from(greatest),
            Kind::Logits => 1.0 / softmax::exp_sum(row, greatest),
        };
        // Not so for NaN.
        probability >= f64::from(self.sure_from)
    }
}

/// How many rows of how many classes.
fn extents(scores: &Tensor) -> Result<(usize, usize)> {
    match *scores.shape() {
        [rows, classes] if classes > 0 => Ok((usize::try_from(rows).unwrap_or(0), usize::try_from(classes).unwrap_or(1))),
        ref shape => Err(Error::internal(format!("output `{}` has the shape {shape:?}, scores have [rows, classes]", scores.name()))),
    }
}

bulkhead_sdk::predictor!(Cascade);
