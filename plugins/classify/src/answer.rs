//! The answer's shape.

use std::borrow::Cow;

use serde::Serialize;

use crate::labels::Labels;
use crate::scores::Score;

/// What a batch of several rows is answered with.
#[derive(Serialize)]
pub(crate) struct Answer<'l, T> {
    pub(crate) predictions: Vec<Prediction<'l, T>>,
}

/// What one row is answered with: the best class, and those that came next.
#[derive(Serialize)]
pub(crate) struct Prediction<'l, T> {
    label: Cow<'l, str>,
    score: T,
    top: Vec<Scored<'l, T>>,
}

#[derive(Serialize)]
struct Scored<'l, T> {
    label: Cow<'l, str>,
    score: T,
}

impl<'l, T: Score> Prediction<'l, T> {
    /// Of classes with their scores, the best first.
    pub(crate) fn new(ranked: &[(usize, T)], labels: Option<&'l Labels>) -> Self {
        let name = |index: usize| match labels.and_then(|labels| labels.get(index)) {
            Some(label) => Cow::Borrowed(label),
            None => Cow::Owned(index.to_string()),
        };
        let (best, score) = ranked.first().map_or((0, T::LOWEST), |best| *best);
        let top = ranked.iter().map(|(index, score)| Scored { label: name(*index), score: *score }).collect();
        Self { label: name(best), score, top }
    }
}
