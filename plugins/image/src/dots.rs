//! Shrinks rows of grays: sums of pixels times their weights, eight at a time.

use crate::taps::{PRECISION, Taps};
use crate::vectors::{Quad, Words};

/// Pixels that are multiplied together.
const STEP: usize = 8;

/// The weights of a row in two parts of 16 bits, since processors multiply twice as many of these at a time as of 32: an
/// upper one, which counts 2<sup>11</sup> times, and a lower one, which is not negative.
pub(crate) struct Dots {
    /// For each pixel that is made, the first one that counts, from where on `steps` times eight are there.
    starts: Vec<usize>,
    weights: Vec<[[i16; STEP]; 2]>,
    steps: usize,
}

const LOWER_BITS: u32 = PRECISION / 2;

impl Dots {
    /// For rows of `width` pixels; none where they have fewer than are multiplied at a time.
    pub(crate) fn new(taps: &Taps, width: usize) -> Option<Self> {
        let (_, weights) = taps.iter().next()?;
        let steps = weights.len().div_ceil(STEP);
        let last = width.checked_sub(steps * STEP)?;
        let mut dots = Self { starts: Vec::new(), weights: Vec::new(), steps };
        let mut padded = vec![0; steps * STEP];
        for (start, weights) in taps.iter() {
            let shifted = start.min(last);
            padded.fill(0);
            padded[start - shifted..][..weights.len()].copy_from_slice(weights);
            dots.starts.push(shifted);
            let part = |of: fn(i32) -> i32| move |weights: &[i32; STEP]| weights.map(|weight| of(weight) as i16);
            let (upper, lower) = (part(|weight| weight >> LOWER_BITS), part(|weight| weight & ((1 << LOWER_BITS) - 1)));
            dots.weights.extend(padded.as_chunks().0.iter().map(|weights| [upper(weights), lower(weights)]));
        }
        Some(dots)
    }

    /// The sums for each pixel that is made of `row`, with `PRECISION` fractional bits.
    pub(crate) fn sums(&self, row: &[u8]) -> impl Iterator<Item = i32> {
        self.starts.iter().zip(self.weights.chunks_exact(self.steps)).map(|(start, weights)| {
            let pixels = row[*start..][..self.steps * STEP].as_chunks::<STEP>().0;
            let (mut upper, mut lower) = (Quad::splat(0), Quad::splat(0));
            for (pixels, weights) in pixels.iter().zip(weights) {
                let pixels = Words::of_bytes(*pixels);
                upper = upper + pixels.dot(Words::of(weights[0]));
                lower = lower + pixels.dot(Words::of(weights[1]));
            }
            ((upper << LOWER_BITS) + lower).sum()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Filter;

    #[test]
    fn sums_are_those_of_the_weights() {
        for (from, to) in [(640, 28), (28, 640), (9, 8), (40, 3), (100, 99), (8, 1)] {
            for filter in [Filter::Bilinear, Filter::Bicubic] {
                let row: Vec<u8> = (0..from).map(|at| (at * at * 37 % 256) as u8).collect();
                let taps = Taps::new(from, to, filter);
                let plain = taps
                    .iter()
                    .map(|(start, weights)| row[start..].iter().zip(weights).map(|(pixel, weight)| i32::from(*pixel) * weight).sum::<i32>());
                let dots = Dots::new(&taps, from).unwrap();
                assert!(dots.sums(&row).eq(plain), "{from} to {to}, {filter:?}");
            }
        }
    }

    #[test]
    fn short_rows_are_left_to_others() {
        assert!(Dots::new(&Taps::new(7, 3, Filter::Bilinear), 7).is_none());
    }
}
