//! What answers in place of a model.

use crate::{Payload, PredictorDescription, Result};

/// What answers in place of a model, with models that it runs itself: the configuration in the manifest, cloned for each
/// request.
///
/// ```
/// use bulkhead_sdk::prelude::*;
///
/// /// The mean of what two models say.
/// #[derive(Clone, Deserialize)]
/// struct Mean {}
///
/// impl Predictor for Mean {
///     fn predict(&mut self, payload: Payload) -> Result<Payload> {
///         let inputs = payload.into_tensors()?;
///         let mut scores = Graph::named("one")?.compute(&inputs)?;
///         let other = Graph::named("other")?.compute(&inputs)?;
///         for (score, other) in scores.get_mut("scores")?.values_mut::<f32>()?.iter_mut().zip(&*other.get("scores")?.values::<f32>()?) {
///             *score = (*score + other) / 2.0;
///         }
///         Ok(scores.into())
///     }
///
///     fn describe(&self) -> PredictorDescription {
///         let scores = ("scores", Datatype::Fp32, &[-1, -1][..]);
///         PredictorDescription::new("The mean of two models").takes_as("one").gives_as("one").reads("one", scores).reads("other", scores)
///     }
/// }
///
/// bulkhead_sdk::predictor!(Mean);
/// # fn main() {}
/// ```
///
/// The manifest says which models these are:
///
/// ```toml
/// runtime = "predictor"
/// [predictor]
/// plugin = "mean@0.1.0"
/// [predictor.grants]
/// graphs = { one = "digits@1.0.0", other = "digits@2.0.0" }
/// ```
pub trait Predictor: serde::de::DeserializeOwned + Clone + 'static {
    /// Answers a request.
    ///
    /// # Errors
    /// [`crate::Error::invalid`] tells the caller what is wrong with the request.
    fn predict(&mut self, payload: Payload) -> Result<Payload>;

    /// What this predictor does under this configuration; called when a version that uses it is loaded.
    fn describe(&self) -> PredictorDescription;

    /// Refuses a configuration that deserializes but makes no sense. Called before anything else, and no graph is there yet.
    ///
    /// # Errors
    /// The JSON pointer of the error points into the configuration.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}
