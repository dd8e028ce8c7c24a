//! Tensors with typed views of their elements.

use std::borrow::Cow;

use bytemuck::Pod;

use crate::bindings::bulkhead::plugin::types as wit;
use crate::{Error, Result};

/// Element types, by the names of the Open Inference Protocol.
pub type Datatype = wit::Datatype;

/// A Rust type that is an element type of tensors.
pub trait Element: Pod {
    /// Its datatype.
    const DATATYPE: Datatype;
}

macro_rules! elements {
    ($($rust:ty => $datatype:ident),+ $(,)?) => {
        $(impl Element for $rust { const DATATYPE: Datatype = Datatype::$datatype; })+
    };
}

elements! {
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    f32 => Fp32, f64 => Fp64,
}

/// A named tensor; its elements are row-major.
#[derive(Debug, Clone)]
pub struct Tensor(wit::Tensor);

impl Tensor {
    /// A tensor of `values`, whose number must be the product of `shape`.
    ///
    /// # Errors
    /// [`Error::Internal`] where it is not.
    pub fn new<T: Element>(name: impl Into<String>, shape: &[i64], values: &[T]) -> Result<Self> {
        Self::from_bytes(name, T::DATATYPE, shape, bytemuck::cast_slice(values).to_vec())
    }

    /// A tensor of `data` as it travels: little-endian; see `wit/types.wit` for `bytes` elements.
    ///
    /// # Errors
    /// [`Error::Internal`] where the length of `data` does not fit `shape`.
    pub fn from_bytes(name: impl Into<String>, datatype: Datatype, shape: &[i64], data: Vec<u8>) -> Result<Self> {
        let name = name.into();
        if let Some(size) = size_of(datatype) {
            let expected = shape.iter().try_fold(size, |bytes, extent| bytes.checked_mul(usize::try_from(*extent).ok()?));
            if expected != Some(data.len()) {
                return Err(Error::internal(format!("tensor `{name}` of shape {shape:?} can't hold {} bytes", data.len())));
            }
        }
        Ok(Self(wit::Tensor { name, datatype, shape: shape.to_vec(), data }))
    }

    /// A tensor of strings, or any other byte strings.
    pub fn from_strings<S: AsRef<[u8]>>(name: impl Into<String>, shape: &[i64], values: &[S]) -> Result<Self> {
        let mut data = Vec::new();
        for value in values {
            let bytes = value.as_ref();
            let length = u32::try_from(bytes.len()).map_err(|_| Error::internal("a string of 4 GiB or more fits no tensor"))?;
            data.extend_from_slice(&length.to_le_bytes());
            data.extend_from_slice(bytes);
        }
        Self::from_bytes(name, Datatype::Bytes, shape, data)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The same tensor under another name.
    #[must_use]
    pub fn renamed(mut self, name: impl Into<String>) -> Self {
        self.0.name = name.into();
        self
    }

    /// The extents, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[i64] {
        &self.0.shape
    }

    /// Its element type.
    #[must_use]
    pub fn datatype(&self) -> Datatype {
        self.0.datatype
    }

    /// The elements as they travel.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.data
    }

    /// The elements as they travel, to be changed in place.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0.data
    }

    /// The elements; borrowed, where the data is aligned for `T`, as it always is in practice.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the tensor's datatype is another one.
    pub fn values<T: Element>(&self) -> Result<Cow<'_, [T]>> {
        self.expect::<T>()?;
        Ok(match bytemuck::try_cast_slice(&self.0.data) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(&self.0.data)),
        })
    }

    /// The elements, to be changed in place.
    ///
    /// # Errors
    /// As [`Tensor::values`].
    pub fn values_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        self.expect::<T>()?;
        bytemuck::try_cast_slice_mut(&mut self.0.data).map_err(|error| Error::internal(format!("elements can't be viewed: {error}")))
    }

    /// The byte strings of a `bytes` tensor.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the tensor's datatype is another one or its data is malformed.
    pub fn strings(&self) -> Result<Vec<&[u8]>> {
        if self.0.datatype != Datatype::Bytes {
            return Err(self.is_not(Datatype::Bytes));
        }
        let mut out = Vec::new();
        let mut rest = self.0.data.as_slice();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let Some((value, tail)) = tail.split_at_checked(length) else {
                return Err(Error::invalid("", format!("tensor `{}` ends within an element", self.0.name)));
            };
            out.push(value);
            rest = tail;
        }
        Ok(out)
    }

    fn expect<T: Element>(&self) -> Result<()> {
        if self.0.datatype == T::DATATYPE { Ok(()) } else { Err(self.is_not(T::DATATYPE)) }
    }

    fn is_not(&self, expected: Datatype) -> Error {
        Error::invalid("", format!("expected tensor `{}` of type {expected:?}, got {:?}", self.0.name, self.0.datatype))
    }
}

/// Bytes of one element; none for those of varying length.
fn size_of(datatype: Datatype) -> Option<usize> {
    match datatype {
        Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => Some(1),
        Datatype::Uint16 | Datatype::Int16 | Datatype::Fp16 | Datatype::Bf16 => Some(2),
        Datatype::Uint32 | Datatype::Int32 | Datatype::Fp32 => Some(4),
        Datatype::Uint64 | Datatype::Int64 | Datatype::Fp64 => Some(8),
        Datatype::Bytes => None,
    }
}

impl From<wit::Tensor> for Tensor {
    fn from(tensor: wit::Tensor) -> Self {
        Self(tensor)
    }
}

impl From<Tensor> for wit::Tensor {
    fn from(tensor: Tensor) -> Self {
        tensor.0
    }
}
