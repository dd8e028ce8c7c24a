//! Where the rows of a model's tensors are, and which requests may therefore share a run.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::runner::{RunError, Signature};
use crate::tensor::{Datatype, Tensor};

/// Where the rows of one tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Along an axis, of which each row takes so many places.
    Along {
        /// Counted from the outermost.
        axis: usize,
        /// More than one where a model gives several of something for each row.
        per_row: usize,
    },
    /// All requests of a batch have it in common.
    Shared,
}

/// Where the rows of all tensors are, in the order of the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) inputs: Vec<Rows>,
    pub(super) outputs: Vec<Rows>,
    pub(super) ragged: Option<Ragged>,
}

/// Tensors whose length differs from request to request, in the order of the signature. Their rows are along axis 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ragged {
    /// The axis of the length in each of the inputs.
    pub(super) axis: usize,
    /// An element to pad each input with; none for an input that has no such length.
    pub(super) padding: Vec<Option<Vec<u8>>>,
    /// The axis of the length in each output that has it.
    pub(super) outputs: Vec<Option<usize>>,
}

impl Ragged {
    /// Whether that axis of that input is its length.
    pub(super) fn is_length(&self, input: usize, axis: usize) -> bool {
        self.axis == axis && self.padding[input].is_some()
    }
}

/// A request's part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// Rows.
    pub(super) rows: usize,
    /// Requests of the same class may merge; none runs alone.
    pub(super) class: Option<u64>,
}

impl Share {
    /// Of a request that runs alone.
    pub(super) const ALONE: Self = Self { rows: 1, class: None };
}

impl Layout {
    /// What a request adds to a batch. Its inputs are checked, and stand in the order of the signature.
    ///
    /// # Errors
    /// Where it has no rows at all.
    pub(super) fn share(&self, signature: &Signature, inputs: &[Tensor]) -> Result<Share, RunError> {
        let mut hasher = DefaultHasher::new();
        let (mut rows, mut length) = (None, None);
        let mut alone = false;
        for (at, tensor) in each(signature, inputs) {
            at.hash(&mut hasher);
            // Its extents are bounded by nothing, since their product is zero.
            alone |= tensor.data.is_empty();
            let Rows::Along { axis, .. } = self.inputs[at] else {
                tensor.shape.hash(&mut hasher);
                tensor.data.hash(&mut hasher);
                continue;
            };
            let Some(own) = tensor.shape.get(axis).and_then(|extent| usize::try_from(*extent).ok()) else {
                alone = true;
                continue;
            };
            if own == 0 {
                let message = format!("input `{}` has no rows: its shape is {:?}, and rows are along axis {axis}", tensor.name, tensor.shape);
                return Err(RunError::Invalid { input: Some(tensor.name.clone()), message });
            }
            // Strings differ in length, so that only whole rows of them can be put one behind another.
            alone |= tensor.datatype == Datatype::Bytes && crate::tensor::elements(&tensor.shape[..axis]) != Some(1);
            // A model may well make something of inputs that don't have as many rows, but only by themselves.
            alone |= *rows.get_or_insert(own) != own;
            for (place, extent) in tensor.shape.iter().enumerate() {
                if self.is_length(at, place) {
                    alone |= *length.get_or_insert(*extent) != *extent;
                } else if place != axis {
                    extent.hash(&mut hasher);
                }
            }
        }
        match rows {
            Some(rows) if !alone => Ok(Share { rows, class: Some(hasher.finish()) }),
            _ => Ok(Share::ALONE),
        }
    }

    /// Whether two requests of one class really may merge: classes are hashes.
    pub(super) fn merges(&self, signature: &Signature, one: &[Tensor], other: &[Tensor]) -> bool {
        one.len() == other.len()
            && each(signature, one).zip(each(signature, other)).all(|((at, a), (same, b))| {
                let varies = |place: usize| match self.inputs[at] {
                    Rows::Along { axis, .. } => place == axis || self.is_length(at, place),
                    Rows::Shared => false,
                };
                at == same
                    && a.shape.len() == b.shape.len()
                    && a.shape.iter().zip(&b.shape).enumerate().all(|(place, (x, y))| x == y || varies(place))
                    && (self.inputs[at] != Rows::Shared || a.data == b.data)
            })
    }

    fn is_length(&self, input: usize, axis: usize) -> bool {
        self.ragged.as_ref().is_some_and(|ragged| ragged.is_length(input, axis))
    }

    /// The length of a request's ragged inputs; none where there are none.
    pub(super) fn length(&self, signature: &Signature, inputs: &[Tensor]) -> Option<usize> {
        let ragged = self.ragged.as_ref()?;
        let (_, tensor) = each(signature, inputs).find(|(at, _)| ragged.padding[*at].is_some())?;
        usize::try_from(*tensor.shape.get(ragged.axis)?).ok()
    }
}

/// Inputs with their places in the signature, whose order they have; optional ones may be missing.
pub(super) fn each<'a>(signature: &Signature, inputs: &'a [Tensor]) -> impl Iterator<Item = (usize, &'a Tensor)> {
    let mut ports = signature.inputs.iter().enumerate();
    inputs.iter().filter_map(move |tensor| {
        let (at, _) = ports.find(|(_, port)| port.name == tensor.name)?;
        Some((at, tensor))
    })
}

/// An element of that value; none where the type can't hold it.
pub(super) fn element(datatype: Datatype, value: i64) -> Option<Vec<u8>> {
    Some(match datatype {
        Datatype::Bool => vec![u8::try_from(value).ok().filter(|value| *value <= 1)?],
        Datatype::Uint8 => u8::try_from(value).ok()?.to_le_bytes().into(),
        Datatype::Uint16 => u16::try_from(value).ok()?.to_le_bytes().into(),
        Datatype::Uint32 => u32::try_from(value).ok()?.to_le_bytes().into(),
        Datatype::Uint64 => u64::try_from(value).ok()?.to_le_bytes().into(),
        Datatype::Int8 => i8::try_from(value).ok()?.to_le_bytes().into(),
        Datatype::Int16 => i16::try_from(value).ok()?.to_le_bytes().into(),
        Datatype::Int32 => i32::try_from(value).ok()?.to_le_bytes().into(),
        Datatype::Int64 => value.to_le_bytes().into(),
        #[expect(clippy::cast_precision_loss, reason = "the nearest number is as good a padding")]
        Datatype::Fp16 => half::f16::from_f64(value as f64).to_le_bytes().into(),
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        Datatype::Bf16 => half::bf16::from_f64(value as f64).to_le_bytes().into(),
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        Datatype::Fp32 => (value as f32).to_le_bytes().into(),
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        Datatype::Fp64 => (value as f64).to_le_bytes().into(),
        Datatype::Bytes => return None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::runner::Port;

    const FIRST: Rows = Rows::Along { axis: 0, per_row: 1 };

    pub(in crate::engine) fn tensor(name: &str, shape: &[i64], values: &[f32]) -> Tensor {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor { name: name.to_owned(), datatype: Datatype::Fp32, shape: shape.to_vec(), data }
    }

    pub(in crate::engine) fn signature(inputs: &[&str], outputs: &[&str]) -> Signature {
        let port = |name: &&str| Port { name: (*name).to_owned(), datatype: Datatype::Fp32, shape: None, optional: false, symbols: Vec::new() };
        Signature { inputs: inputs.iter().map(port).collect(), outputs: outputs.iter().map(port).collect() }
    }

    /// A row, a state with rows along axis 1, and a rate that all have in common.
    fn speech() -> (Signature, Layout) {
        let layout = Layout { inputs: vec![FIRST, Rows::Along { axis: 1, per_row: 1 }, Rows::Shared], outputs: vec![FIRST], ragged: None };
        (signature(&["x", "state", "rate"], &["y"]), layout)
    }

    fn spoken(rows: i64, width: i64, state_rows: i64, rate: f32) -> Vec<Tensor> {
        let zeros = |shape: &[i64]| vec![0.0; shape.iter().product::<i64>() as usize];
        let (x, state) = ([rows, width], [2, state_rows, 3]);
        vec![tensor("x", &x, &zeros(&x)), tensor("state", &state, &zeros(&state)), tensor("rate", &[], &[rate])]
    }

    #[test]
    fn equal_rows_are_of_one_class() {
        let (signature, layout) = speech();
        let share = |inputs: &[Tensor]| layout.share(&signature, inputs).unwrap();
        let one = share(&spoken(1, 4, 1, 16.0));
        let three = share(&spoken(3, 4, 3, 16.0));
        assert_eq!((one.rows, three.rows), (1, 3));
        assert!(one.class.is_some());
        assert_eq!(one.class, three.class);
        assert!(layout.merges(&signature, &spoken(1, 4, 1, 16.0), &spoken(3, 4, 3, 16.0)));
        for (name, other) in [("another width", spoken(1, 5, 1, 16.0)), ("another rate", spoken(1, 4, 1, 8.0))] {
            assert_ne!(one.class, share(&other).class, "{name}");
            assert!(!layout.merges(&signature, &spoken(1, 4, 1, 16.0), &other), "{name}");
        }
        assert_eq!(share(&spoken(2, 4, 1, 16.0)), Share::ALONE, "rows that don't agree");
        assert_eq!(share(&spoken(1 << 60, 0, 1, 16.0)), Share::ALONE, "nothing in any number of rows");
    }

    #[test]
    fn no_rows_is_an_error() {
        let (signature, layout) = speech();
        let error = layout.share(&signature, &spoken(1, 4, 0, 16.0)).unwrap_err().to_string();
        assert_eq!(error, "input `state` has no rows: its shape is [2, 0, 3], and rows are along axis 1");
    }

    #[test]
    fn texts_of_any_length_are_of_one_class() {
        let (signature, layout) = speech();
        let ragged = Ragged { axis: 1, padding: vec![element(Datatype::Fp32, 0), None, None], outputs: vec![None] };
        let layout = Layout { ragged: Some(ragged), ..layout };
        let share = |inputs: &[Tensor]| layout.share(&signature, inputs).unwrap();
        assert_eq!(share(&spoken(1, 4, 1, 16.0)), share(&spoken(1, 9, 1, 16.0)));
        assert!(layout.merges(&signature, &spoken(1, 4, 1, 16.0), &spoken(1, 9, 1, 16.0)));
        assert_eq!(layout.length(&signature, &spoken(1, 9, 1, 16.0)), Some(9));
    }

    #[test]
    fn paddings_fit_their_type() {
        assert_eq!(element(Datatype::Int64, -1).unwrap(), [0xff; 8]);
        assert_eq!(element(Datatype::Fp32, 1).unwrap(), 1f32.to_le_bytes());
        for (datatype, value) in [(Datatype::Uint8, 256), (Datatype::Uint8, -1), (Datatype::Bool, 2), (Datatype::Bytes, 0)] {
            assert_eq!(element(datatype, value), None, "{datatype} {value}");
        }
    }
}
