//! Which pixels of a line make a pixel of a shorter or longer one, and with what weights: Pillow's, to the bit.

use crate::config::Filter;

/// Fractional bits of a weight: what a sum of 8-bit pixels leaves of 32, less 2 for filters that overshoot.
pub(crate) const PRECISION: u32 = 32 - 8 - 2;

/// For each pixel of the line that is made. All have the same number of weights, the missing ones being zero: a loop
/// that ends elsewhere for each pixel costs more by its mispredicted branches than by its work.
pub(crate) struct Taps {
    /// The first pixel that counts.
    starts: Vec<usize>,
    weights: Vec<i32>,
    count: usize,
}

impl Taps {
    /// For a line of `from` pixels that becomes one of `to`.
    pub(crate) fn new(from: usize, to: usize, filter: Filter) -> Self {
        let (kernel, reach): (fn(f64) -> f64, f64) = match filter {
            Filter::Bilinear => (bilinear, 1.0),
            Filter::Bicubic => (bicubic, 2.0),
        };
        let scale = from as f64 / to as f64;
        // Shrinking widens the filter, so that every pixel counts.
        let stretch = scale.max(1.0);
        let support = reach * stretch;
        let span = |index: usize| {
            let center = (index as f64 + 0.5) * scale;
            // The casts cut towards zero, and what is below zero to zero.
            let start = (center - support + 0.5) as usize;
            (center, start, ((center + support + 0.5) as usize).min(from))
        };
        let count = (0..to).map(span).map(|(_, start, end)| end - start).max().unwrap_or_default();
        let mut taps = Self { starts: Vec::with_capacity(to), weights: vec![0; to * count], count };
        let mut exact = Vec::with_capacity(count);
        for (index, weights) in taps.weights.chunks_exact_mut(count).enumerate() {
            let (center, start, end) = span(index);
            exact.clear();
            exact.extend((start..end).map(|at| kernel((at as f64 - center + 0.5) * (1.0 / stretch))));
            let sum: f64 = exact.iter().sum();
            // Further to the left where zeros would stand for pixels beyond the line's end.
            let shifted = start.min(from - count);
            for (weight, exact) in weights[start - shifted..].iter_mut().zip(&exact) {
                *weight = fixed(if sum == 0.0 { *exact } else { exact / sum });
            }
            taps.starts.push(shifted);
        }
        taps
    }

    /// The first pixel that counts and the weights from there on, for each pixel that is made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.starts.iter().copied().zip(self.weights.chunks_exact(self.count))
    }

    /// The first pixel that counts for any, and the one after the last.
    pub(crate) fn range(&self) -> (usize, usize) {
        let last = self.starts.last().map_or(0, |start| start + self.count);
        (self.starts.first().copied().unwrap_or_default(), last)
    }
}

fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

fn bilinear(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 { 1.0 - x } else { 0.0 }
}

fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
