//! Turns the scores of a classifier into its most probable labels.
//!
//! Everything that can be wrong here is wrong with the model or the configuration, never with the request: all errors
//! are internal ones.

mod answer;
mod describe;
mod labels;
mod scores;

use bulkhead_sdk::prelude::*;

use answer::Answer;
use labels::Labels;
use scores::Score;

/// The configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classify {
    /// Name of the tensor of scores; without it the first of 32-bit floats is taken.
    output: Option<String>,
    #[serde(default)]
    kind: Kind,
    /// Names of the classes in the order of the scores; without it a class is named by its index.
    labels: Option<Labels>,
    #[serde(default = "default_top_k")]
    top_k: usize,
}

/// What the scores are.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Anything; softmax makes probabilities of them.
    #[default]
    Logits,
    /// Passed on as they are.
    Probabilities,
}

/// Enough to see what the model hesitated between.
const fn default_top_k() -> usize {
    3
}

impl Transform for Classify {
    fn after(&mut self, payload: Payload) -> Result<Payload> {
        let Payload::Tensors(tensors) = payload else {
            return Err(Error::internal(format!("`classify` reads the tensors of a model: {}", payload.is_not("tensors"))));
        };
        let tensor = self.pick(&tensors)?;
        match tensor.datatype() {
            Datatype::Fp32 => self.answer::<f32>(tensor),
            Datatype::Fp64 => self.answer::<f64>(tensor),
            other => Err(Error::internal(format!("output `{}` holds {other:?}, scores are FP32 or FP64", tensor.name()))),
        }
    }

    fn describe(&self) -> Description {
        describe::describe(self)
    }

    fn check(&self) -> Result<()> {
        if self.top_k == 0 {
            return Err(Error::invalid("/top_k", "`top_k` is at least 1"));
        }
        match &self.labels {
            Some(labels) if labels.len() == 0 => Err(Error::invalid("/labels", "`labels` is empty; leave it out to name classes by their index")),
            _ => Ok(()),
        }
    }
}

impl Classify {
    fn pick<'t>(&self, tensors: &'t Tensors) -> Result<&'t Tensor> {
        let of = |datatype| tensors.iter().find(move |tensor| tensor.datatype() == datatype);
        match &self.output {
            Some(name) => tensors.get(name).map_err(|error| Error::internal(format!("the model's outputs: {error}"))),
            None => of(Datatype::Fp32)
                .or_else(|| of(Datatype::Fp64))
                .ok_or_else(|| Error::internal("none of the model's outputs holds FP32 or FP64 scores")),
        }
    }

    fn answer<T: Score>(&self, tensor: &Tensor) -> Result<Payload> {
        let values = tensor.values::<T>()?;
        let (rows, classes) = extents(tensor, values.len())?;
        if let Some(labels) = &self.labels
            && labels.len() != classes
        {
            let (count, name) = (labels.len(), tensor.name());
            return Err(Error::internal(format!("`labels` names {count} classes, output `{name}` has {classes} scores")));
        }
        let mut predictions = Vec::with_capacity(rows);
        for row in values.chunks_exact(classes) {
            let ranked = scores::rank(row, self.kind == Kind::Logits, self.top_k)
                .ok_or_else(|| Error::internal(format!("output `{}` holds scores that are not finite numbers", tensor.name())))?;
            predictions.push(answer::Prediction::new(&ranked, self.labels.as_ref()));
        }
        let single = predictions.len() == 1;
        match predictions.pop() {
            Some(prediction) if single => Payload::from_json(&prediction),
            last => {
                predictions.extend(last);
                Payload::from_json(&Answer { predictions })
            }
        }
    }
}

/// How many rows of how many classes a tensor of shape `[N]` or `[B, N]` holds.
fn extents(tensor: &Tensor, len: usize) -> Result<(usize, usize)> {
    let extent = |extent: i64| usize::try_from(extent).unwrap_or(0);
    let (rows, classes) = match *tensor.shape() {
        [classes] => (1, extent(classes)),
        [rows, classes] => (extent(rows), extent(classes)),
        _ => (0, 0),
    };
    if classes == 0 || rows.checked_mul(classes) != Some(len) {
        let (name, shape) = (tensor.name(), tensor.shape());
        return Err(Error::internal(format!("output `{name}` has shape {shape:?}, scores have [classes] or [rows, classes]")));
    }
    Ok((rows, classes))
}

bulkhead_sdk::transform!(Classify);
