//! Ranking of scores.

use std::cmp::Ordering;

use bulkhead_sdk::{Element, softmax};
use serde::Serialize;

/// A type of scores.
pub(crate) trait Score: Element + PartialOrd + Serialize {
    const LOWEST: Self;

    fn is_finite(self) -> bool;
    /// Of the difference to the greatest score, so it never overflows.
    fn exp_below(self, greatest: Self) -> f64;
    /// Of all of them.
    fn exp_sum(row: &[Self], greatest: Self) -> f64;
    fn from_f64(value: f64) -> Self;
}

impl Score for f32 {
    const LOWEST: Self = Self::NEG_INFINITY;

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn exp_below(self, greatest: Self) -> f64 {
        f64::from((self - greatest).exp())
    }

    fn exp_sum(row: &[Self], greatest: Self) -> f64 {
        softmax::exp_sum(row, greatest)
    }

    #[expect(clippy::cast_possible_truncation, reason = "as precise as the model")]
    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

impl Score for f64 {
    const LOWEST: Self = Self::NEG_INFINITY;

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn exp_below(self, greatest: Self) -> f64 {
        (self - greatest).exp()
    }

    fn exp_sum(row: &[Self], greatest: Self) -> f64 {
        row.iter().map(|score| score.exp_below(greatest)).sum()
    }

    fn from_f64(value: f64) -> Self {
        value
    }
}

/// Indices of the `top` greatest scores with these scores, the greatest first and the lower index first among equals;
/// none where the scores can't be ranked. Logits become probabilities; a logit of minus infinity is an excluded class.
pub(crate) fn rank<T: Score>(row: &[T], logits: bool, top: usize) -> Option<Vec<(usize, T)>> {
    let mut ranked: Vec<(usize, T)> = Vec::with_capacity(top.min(row.len()) + 1);
    for (index, score) in row.iter().enumerate() {
        let below = ranked.last().is_some_and(|(_, last)| score <= last);
        if ranked.len() < top || !below {
            // NaN has no place in the order.
            score.partial_cmp(score)?;
            let at = ranked.partition_point(|(_, other)| other.partial_cmp(score) != Some(Ordering::Less));
            ranked.insert(at, (index, *score));
            ranked.truncate(top);
        }
    }
    let greatest = ranked.first()?.1;
    if !greatest.is_finite() || (!logits && row.contains(&T::LOWEST)) {
        return None;
    }
    if logits {
        let sum = T::exp_sum(row, greatest);
        for (_, score) in &mut ranked {
            *score = T::from_f64(score.exp_below(greatest) / sum);
        }
    }
    Some(ranked)
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn equal_scores_keep_their_order() {
        let ranked = rank(&[0.2_f32, 0.3, 0.2, 0.3], false, 3).unwrap();
        assert_eq!(ranked.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 3, 0]);
    }

    #[test]
    fn softmax_survives_large_logits() {
        let ranked = rank(&[1000.0_f32, 1000.0, f32::NEG_INFINITY], true, 9).unwrap();
        assert_eq!(ranked, [(0, 0.5), (1, 0.5), (2, 0.0)]);
        let ranked = rank(&[-1e300_f64, -2e300], true, 1).unwrap();
        assert_eq!(ranked, [(0, 1.0)]);
    }

    #[test]
    fn scores_that_are_no_numbers_are_refused_wherever_they_stand() {
        for at in 0..4 {
            for logits in [true, false] {
                let mut row = [4.0_f32, 3.0, 2.0, 1.0];
                row[at] = f32::NAN;
                assert_eq!(rank(&row, logits, 1), None, "{at}");
            }
        }
        assert_eq!(rank(&[f32::NEG_INFINITY; 2], true, 1), None);
        assert_eq!(rank(&[f32::INFINITY, 0.0], true, 1), None);
        assert_eq!(rank(&[f32::NEG_INFINITY, 0.0], false, 1), None);
    }
}
