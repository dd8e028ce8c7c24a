//! Inputs made up for trial runs.

use super::layout::{Ragged, Rows};
use crate::runner::{Port, Signature};
use crate::tensor::{self, Datatype, Tensor};

/// Bytes of inputs that a trial is made with. Arbitrary: a model that takes more is a large one.
const TRIAL_BYTES: usize = 256 << 20;

/// What a trial run is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample<'a> {
    /// Where the inputs' rows are.
    pub(super) rows_at: &'a [Rows],
    /// Inputs whose length varies.
    pub(super) ragged: Option<&'a Ragged>,
    /// The input that marks padding.
    pub(super) mask: Option<&'a str>,
    /// Of every extent that may be anything, but rows and length.
    pub(super) free: i64,
    /// Of ragged inputs.
    pub(super) length: i64,
    /// None for zeros; else a number, with which the values go.
    pub(super) seed: Option<u64>,
}

impl Sample<'_> {
    /// A row for each input that a request must bring; none where they would be too large.
    pub(super) fn row(&self, signature: &Signature) -> Option<Vec<Tensor>> {
        let mut left = TRIAL_BYTES;
        let mut inputs = Vec::new();
        for (at, port) in signature.inputs.iter().enumerate().filter(|(_, port)| !port.optional) {
            let shape = self.shape(at, port);
            let elements = tensor::elements(&shape)?;
            // An element of a byte string is its length and a letter.
            let bytes = elements.checked_mul(port.datatype.size().unwrap_or(size_of::<u32>() + 1))?;
            left = left.checked_sub(bytes)?;
            // What all rows have in common is the same in every sample.
            let own = |seed: u64| if self.rows_at[at] == Rows::Shared { 0 } else { seed };
            let seed = self.seed.map(|seed| own(seed).wrapping_mul(1000).wrapping_add(at as u64));
            let data = if self.mask == Some(port.name.as_str()) { ones(port.datatype, elements)? } else { values(port.datatype, elements, seed) };
            inputs.push(Tensor { name: port.name.clone(), datatype: port.datatype, shape, data });
        }
        Some(inputs)
    }

    fn shape(&self, at: usize, port: &Port) -> Vec<i64> {
        let is_ragged = |place| self.ragged.is_some_and(|ragged| ragged.is_length(at, place));
        let is_rows = |place| matches!(self.rows_at[at], Rows::Along { axis, .. } if axis == place);
        let extents = port.shape.iter().flatten().enumerate();
        extents
            .map(|(place, extent)| match *extent {
                _ if is_ragged(place) => self.length,
                _ if is_rows(place) => 1,
                extent if extent < 0 => self.free,
                extent => extent,
            })
            .collect()
    }
}

fn ones(datatype: Datatype, elements: usize) -> Option<Vec<u8>> {
    Some(super::layout::element(datatype, 1)?.repeat(elements))
}

/// Zeros, or numbers that differ: floats between 0 and 1, whole numbers of 0 and 1, strings of one letter.
pub(super) fn values(datatype: Datatype, elements: usize, seed: Option<u64>) -> Vec<u8> {
    let Some(seed) = seed else {
        // An empty byte string is its length alone.
        return vec![0; elements * datatype.size().unwrap_or(size_of::<u32>())];
    };
    let mut data = Vec::with_capacity(elements * datatype.size().unwrap_or(size_of::<u32>() + 1));
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..elements {
        // Knuth's linear congruential generator: enough for numbers that merely differ.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = u32::try_from(state >> 40).unwrap_or(0);
        let fraction = f64::from(bits) / f64::from(1u32 << 24);
        match datatype {
            Datatype::Fp16 => data.extend(half::f16::from_f64(fraction).to_le_bytes()),
            Datatype::Bf16 => data.extend(half::bf16::from_f64(fraction).to_le_bytes()),
            #[expect(clippy::cast_possible_truncation, reason = "24 bits fit")]
            Datatype::Fp32 => data.extend((fraction as f32).to_le_bytes()),
            Datatype::Fp64 => data.extend(fraction.to_le_bytes()),
            Datatype::Bytes => data.extend([1, 0, 0, 0, b'a' + u8::try_from(bits % 26).unwrap_or(0)]),
            whole => data.extend(super::layout::element(whole, i64::from(bits & 1)).unwrap_or_default()),
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_values_that_differ() {
        for datatype in Datatype::ALL {
            for seed in [None, Some(1)] {
                let tensor = Tensor { name: "x".to_owned(), datatype, shape: vec![64], data: values(datatype, 64, seed) };
                tensor.check().unwrap();
            }
            assert_ne!(values(datatype, 64, Some(1)), values(datatype, 64, Some(2)), "{datatype}");
        }
    }
}
