//! Medians: neither a mean nor a single round survives a machine that others use too.

use std::time::Duration;

use serde::Serialize;

/// What several rounds gave: half of them lie between `low` and `high`, the quartiles. Extremes would tell of the other
/// users of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of no values: not a number.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        Self { median: at(values.len() / 2), low: at(values.len() / 4), high: at(values.len() * 3 / 4) }
    }
}

/// Two sides of a comparison, measured in turn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// The median of the host's rounds.
    pub(crate) host: f64,
    /// The median of the reference's.
    pub(crate) reference: f64,
    /// Of the ratios of neighbouring rounds, each taken within moments: what disturbs the machine disturbs both sides.
    pub(crate) ratio: Spread,
}

impl Ratio {
    pub(crate) fn of(host: &[f64], reference: &[f64]) -> Self {
        Self {
            host: Spread::of(host.iter().copied()).median,
            reference: Spread::of(reference.iter().copied()).median,
            ratio: Spread::of(host.iter().zip(reference).map(|(host, reference)| host / reference)),
        }
    }
}

/// The latency that a share of the requests did not exceed.
pub(crate) fn percentile(latencies: &mut [Duration], share: f64) -> Duration {
    latencies.sort_unstable();
    let place = (latencies.len() as f64 * share) as usize;
    latencies.get(place.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_values_lie_within_the_spread() {
        assert_eq!(Spread::of([9.0, 1.0, 5.0, 4.0, 6.0]), Spread { median: 5.0, low: 4.0, high: 6.0 });
        assert_eq!(Spread::of([7.0]), Spread { median: 7.0, low: 7.0, high: 7.0 });
        assert!(Spread::of([]).median.is_nan());
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        let ratio = Ratio::of(&[2.0, 20.0, 3.0], &[1.0, 10.0, 1.0]);
        assert_eq!((ratio.host, ratio.reference), (3.0, 1.0));
        assert_eq!(ratio.ratio, Spread { median: 2.0, low: 2.0, high: 3.0 });
    }

    #[test]
    fn percentiles_stay_within_the_values() {
        let mut latencies: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut latencies, 0.5), Duration::from_millis(51));
        assert_eq!(percentile(&mut latencies, 0.99), Duration::from_millis(100));
        assert_eq!(percentile(&mut [], 0.5), Duration::ZERO);
    }
}
