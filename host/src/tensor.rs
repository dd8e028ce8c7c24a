//! The one tensor type, shared from the wire to ONNX Runtime.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Element types, by the names of the Open Inference Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Datatype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    Uint8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// IEEE half.
    Fp16,
    /// The upper half of an FP32.
    Bf16,
    /// IEEE single.
    Fp32,
    /// IEEE double.
    Fp64,
    /// Byte strings: each element is its length as a 32-bit integer, then the bytes.
    Bytes,
}

impl Datatype {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Bf16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
    ];

    /// The protocol's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// The datatype of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|datatype| datatype.name() == name)
    }

    /// Whether its elements are floating-point numbers.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::Fp16 | Self::Bf16 | Self::Fp32 | Self::Fp64)
    }

    /// Bytes of one element; none for `BYTES`, whose elements vary.
    #[must_use]
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A named tensor: `data` is row-major, little-endian, without padding.
///
/// The data is a vector of bytes so that it moves, rather than being copied, between the wire, a sandbox and the
/// engine. Allocators align it for every element type; who reads it checks that all the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The input's or output's name.
    pub name: String,
    /// Element type.
    pub datatype: Datatype,
    /// Extents, outermost first; none for a scalar.
    pub shape: Vec<i64>,
    /// The elements.
    pub data: Vec<u8>,
}

impl Tensor {
    /// The number of elements that the shape tells.
    ///
    /// # Errors
    /// Where an extent is negative or the product overflows.
    pub fn elements(&self) -> Result<usize, TensorError> {
        elements(&self.shape).ok_or_else(|| TensorError::Shape { name: self.name.clone(), shape: self.shape.clone() })
    }

    /// Bytes of memory that it takes until it has run: the runtime has an object for each string.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// Two owners of a short text.
        const STRING: usize = 96;
        let strings = if self.datatype == Datatype::Bytes { count_byte_strings(&self.data).unwrap_or(0) } else { 0 };
        self.data.len().saturating_add(strings.saturating_mul(STRING))
    }

    /// Checks that the data is what shape and datatype tell.
    ///
    /// # Errors
    /// Where it is not; see [`TensorError`].
    pub fn check(&self) -> Result<(), TensorError> {
        let elements = self.elements()?;
        let expected = match self.datatype.size() {
            Some(size) => elements.checked_mul(size).ok_or_else(|| TensorError::Shape { name: self.name.clone(), shape: self.shape.clone() })?,
            None => {
                let held = count_byte_strings(&self.data).ok_or_else(|| TensorError::Bytes { name: self.name.clone() })?;
                if held != elements {
                    return Err(TensorError::Elements { name: self.name.clone(), shape: self.shape.clone(), expected: elements, got: held });
                }
                return Ok(());
            }
        };
        if expected == self.data.len() {
            Ok(())
        } else {
            Err(TensorError::Length { name: self.name.clone(), shape: self.shape.clone(), datatype: self.datatype, expected, got: self.data.len() })
        }
    }
}

/// The product of a shape; none where an extent is negative or it overflows.
#[must_use]
pub fn elements(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, extent| product.checked_mul(usize::try_from(*extent).ok()?))
}

/// The elements of a `BYTES` tensor; none where the data ends within one.
#[must_use]
pub fn byte_strings(data: &[u8]) -> Option<Vec<&[u8]>> {
    each_byte_string(data).collect()
}

/// How many they are.
#[must_use]
pub fn count_byte_strings(data: &[u8]) -> Option<usize> {
    each_byte_string(data).try_fold(0, |count, string| string.map(|_| count + 1))
}

/// One after another; none, and then no more, where the data ends within one.
fn each_byte_string(data: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = rest.split_first_chunk::<4>().and_then(|(length, tail)| tail.split_at_checked(u32::from_le_bytes(*length) as usize));
        rest = next.map_or(&[], |(_, tail)| tail);
        Some(next.map(|(value, _)| value))
    })
}

/// Adds an element to the data of a `BYTES` tensor.
///
/// # Errors
/// Where it is 4 GiB or longer.
pub fn push_byte_string(data: &mut Vec<u8>, value: &[u8]) -> Result<(), std::num::TryFromIntError> {
    data.extend_from_slice(&u32::try_from(value.len())?.to_le_bytes());
    data.extend_from_slice(value);
    Ok(())
}

/// Why a tensor is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TensorError {
    /// A negative or overflowing shape.
    #[error("tensor `{name}` has the impossible shape {shape:?}")]
    Shape {
        /// Which tensor.
        name: String,
        /// What came.
        shape: Vec<i64>,
    },
    /// Data of the wrong length.
    #[error("tensor `{name}` of shape {shape:?} and type {datatype} takes {expected} bytes, got {got}")]
    Length {
        /// Which tensor.
        name: String,
        /// What came.
        shape: Vec<i64>,
        /// Its type.
        datatype: Datatype,
        /// In bytes.
        expected: usize,
        /// In bytes.
        got: usize,
    },
    /// Too many or too few elements.
    #[error("tensor `{name}` of shape {shape:?} takes {expected} elements, got {got}")]
    Elements {
        /// Which tensor.
        name: String,
        /// What came.
        shape: Vec<i64>,
        /// Elements.
        expected: usize,
        /// Elements.
        got: usize,
    },
    /// Byte strings that end within an element.
    #[error("tensor `{name}` of type BYTES ends within an element: each is its length as four bytes, then its bytes")]
    Bytes {
        /// Which tensor.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(datatype: Datatype, shape: &[i64], bytes: usize) -> Tensor {
        Tensor { name: "x".to_owned(), datatype, shape: shape.to_vec(), data: vec![0; bytes] }
    }

    #[test]
    fn the_data_must_fit_shape_and_type() {
        for (datatype, shape, bytes, good) in [
            (Datatype::Fp32, vec![2, 3], 24, true),
            (Datatype::Fp32, vec![], 4, true),
            (Datatype::Fp32, vec![0, 3], 0, true),
            (Datatype::Fp32, vec![2, 3], 23, false),
            (Datatype::Fp32, vec![-1], 4, false),
            (Datatype::Uint8, vec![i64::MAX, i64::MAX], 1, false),
            (Datatype::Fp64, vec![i64::MAX / 2], 1, false),
            (Datatype::Bytes, vec![1], 4, true),
            (Datatype::Bytes, vec![2], 8, true),
            (Datatype::Bytes, vec![1], 5, false),
            (Datatype::Bytes, vec![2], 4, false),
        ] {
            assert_eq!(tensor(datatype, &shape, bytes).check().is_ok(), good, "{datatype} {shape:?} {bytes}");
        }
    }

    #[test]
    fn byte_strings_go_in_and_come_out() {
        let mut data = Vec::new();
        push_byte_string(&mut data, b"one").unwrap();
        push_byte_string(&mut data, b"").unwrap();
        assert_eq!(byte_strings(&data).unwrap(), [b"one".as_slice(), b""]);
        assert_eq!(byte_strings(&data[..5]), None);
    }

    #[test]
    fn every_datatype_is_found_by_its_name() {
        for datatype in Datatype::ALL {
            assert_eq!(Datatype::of_name(datatype.name()), Some(datatype));
        }
        assert_eq!(Datatype::of_name("float32"), None);
    }
}
