//! Between the host's tensors and the runtime's values.

use std::borrow::Cow;

use ort::memory::Allocator;
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor as OrtTensor, TensorElementType, TensorRef, ValueType};

use super::ports::{datatype, keys_name, unsupported};
use super::refused;
use crate::engine::backend::{BackendError, Take};
use crate::engine::merge::View;
use crate::tensor::{self, Datatype, Tensor};

/// An input as the runtime takes it: a view of its bytes, unless they are strings.
pub(super) fn view(tensor: &Tensor) -> Result<SessionInputValue<'_>, BackendError> {
    value(tensor, false)
}

/// An input in memory of its own.
pub(super) fn copy(tensor: &Tensor) -> Result<SessionInputValue<'_>, BackendError> {
    value(tensor, true)
}

fn value(tensor: &Tensor, copied: bool) -> Result<SessionInputValue<'_>, BackendError> {
    match tensor.datatype {
        Datatype::Bool => {
            if tensor.data.iter().any(|byte| *byte > 1) {
                return Err(BackendError::Refused(format!("input `{}` of type BOOL takes the bytes 0 and 1 only", tensor.name)));
            }
            let values: Vec<bool> = tensor.data.iter().map(|byte| *byte == 1).collect();
            Ok(OrtTensor::from_array((tensor.shape.clone(), values)).map_err(|error| refused(&error))?.into())
        }
        Datatype::Uint8 => numbers::<u8>(tensor, copied),
        Datatype::Uint16 => numbers::<u16>(tensor, copied),
        Datatype::Uint32 => numbers::<u32>(tensor, copied),
        Datatype::Uint64 => numbers::<u64>(tensor, copied),
        Datatype::Int8 => numbers::<i8>(tensor, copied),
        Datatype::Int16 => numbers::<i16>(tensor, copied),
        Datatype::Int32 => numbers::<i32>(tensor, copied),
        Datatype::Int64 => numbers::<i64>(tensor, copied),
        Datatype::Fp16 => numbers::<half::f16>(tensor, copied),
        Datatype::Bf16 => numbers::<half::bf16>(tensor, copied),
        Datatype::Fp32 => numbers::<f32>(tensor, copied),
        Datatype::Fp64 => numbers::<f64>(tensor, copied),
        Datatype::Bytes => strings(tensor),
    }
}

fn numbers<T: PrimitiveTensorElementType + bytemuck::Pod + std::fmt::Debug + 'static>(
    tensor: &Tensor,
    copied: bool,
) -> Result<SessionInputValue<'_>, BackendError> {
    match bytemuck::try_cast_slice::<u8, T>(&tensor.data) {
        // A pointer to nothing is no tensor to the runtime: an empty one is made by the runtime itself.
        Ok([]) => Ok(OrtTensor::<T>::new(&Allocator::default(), tensor.shape.clone()).map_err(|error| refused(&error))?.into()),
        Ok(values) if !copied => Ok(TensorRef::from_array_view((tensor.shape.as_slice(), values)).map_err(|error| refused(&error))?.into()),
        // Not where its type would have it, or wanted elsewhere.
        _ => {
            let values: Vec<T> = bytemuck::pod_collect_to_vec(&tensor.data);
            Ok(OrtTensor::from_array((tensor.shape.clone(), values)).map_err(|error| refused(&error))?.into())
        }
    }
}

fn strings(tensor: &Tensor) -> Result<SessionInputValue<'_>, BackendError> {
    let elements = tensor::byte_strings(&tensor.data).unwrap_or_default();
    let mut texts = Vec::with_capacity(elements.len());
    for element in elements {
        let text = std::str::from_utf8(element)
            .ok()
            .filter(|text| !text.contains('\0'))
            .ok_or_else(|| BackendError::Refused(format!("input `{}` takes strings in UTF-8 without NUL", tensor.name)))?;
        texts.push(text.to_owned());
    }
    let value = OrtTensor::from_string_array((tensor.shape.clone(), texts.as_slice())).map_err(|error| refused(&error))?;
    Ok(value.into())
}

/// Hands on the tensors that an output is served as.
pub(super) fn read(name: &str, value: &DynValue, take: &mut Take<'_>) -> Result<(), BackendError> {
    match value.dtype() {
        ValueType::Tensor { ty, .. } => take(read_tensor(name, *ty, value)?),
        ValueType::Sequence(inner) => match &**inner {
            ValueType::Map { key: TensorElementType::Int64, value: TensorElementType::Float32 } => read_maps::<i64>(name, value, take),
            ValueType::Map { key: TensorElementType::String, value: TensorElementType::Float32 } => read_maps::<String>(name, value, take),
            _ => Err(unsupported(name, value.dtype())),
        },
        other => Err(unsupported(name, other)),
    }
}

fn read_tensor<'a>(name: &'a str, element: TensorElementType, value: &'a DynValue) -> Result<View<'a>, BackendError> {
    let datatype = datatype(element).ok_or_else(|| unsupported(name, value.dtype()))?;
    let (shape, data): (&[i64], Cow<'a, [u8]>) = match element {
        TensorElementType::Bool => {
            let (shape, values) = value.try_extract_tensor::<bool>().map_err(|error| refused(&error))?;
            (shape, values.iter().map(|value| u8::from(*value)).collect())
        }
        TensorElementType::String => {
            let (shape, values) = value.try_extract_strings().map_err(|error| refused(&error))?;
            let mut data = Vec::new();
            for value in values {
                tensor::push_byte_string(&mut data, value.as_bytes())
                    .map_err(|_| BackendError::Refused(format!("output `{name}` holds a string of 4 GiB or more")))?;
            }
            (shape, data.into())
        }
        TensorElementType::Uint8 => bytes::<u8>(value)?,
        TensorElementType::Uint16 => bytes::<u16>(value)?,
        TensorElementType::Uint32 => bytes::<u32>(value)?,
        TensorElementType::Uint64 => bytes::<u64>(value)?,
        TensorElementType::Int8 => bytes::<i8>(value)?,
        TensorElementType::Int16 => bytes::<i16>(value)?,
        TensorElementType::Int32 => bytes::<i32>(value)?,
        TensorElementType::Int64 => bytes::<i64>(value)?,
        TensorElementType::Float16 => bytes::<half::f16>(value)?,
        TensorElementType::Bfloat16 => bytes::<half::bf16>(value)?,
        TensorElementType::Float32 => bytes::<f32>(value)?,
        TensorElementType::Float64 => bytes::<f64>(value)?,
        _ => return Err(unsupported(name, value.dtype())),
    };
    Ok(View { name, datatype, shape, data })
}

fn bytes<T: PrimitiveTensorElementType + bytemuck::Pod>(value: &DynValue) -> Result<(&[i64], Cow<'_, [u8]>), BackendError> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(|error| refused(&error))?;
    Ok((shape, Cow::Borrowed(bytemuck::cast_slice(values))))
}

/// Keys of the maps that converters of classical models put out.
trait MapKey: ort::value::IntoTensorElementType + Clone + std::fmt::Debug + std::hash::Hash + Ord + 'static {
    fn keys(name: &str, keys: &[Self]) -> Tensor;
}

impl MapKey for i64 {
    fn keys(name: &str, keys: &[Self]) -> Tensor {
        Tensor { name: keys_name(name), datatype: Datatype::Int64, shape: vec![keys.len() as i64], data: bytemuck::cast_slice(keys).to_vec() }
    }
}

impl MapKey for String {
    fn keys(name: &str, keys: &[Self]) -> Tensor {
        let mut data = Vec::new();
        for key in keys {
            // A class label of 4 GiB would not have been loaded.
            let _ = tensor::push_byte_string(&mut data, key.as_bytes());
        }
        Tensor { name: keys_name(name), datatype: Datatype::Bytes, shape: vec![keys.len() as i64], data }
    }
}

/// A sequence of maps as two tensors: the values, a row for each map in the order of the keys; and the keys.
fn read_maps<K: MapKey>(name: &str, value: &DynValue, take: &mut Take<'_>) -> Result<(), BackendError> {
    let rows = value.try_extract_sequence::<ort::value::DynMapValueType>().map_err(|error| refused(&error))?;
    let mut keys: Vec<K> = Vec::new();
    let mut data: Vec<f32> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let mut entries = row.try_extract_key_values::<K, f32>().map_err(|error| refused(&error))?;
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        if at == 0 {
            keys = entries.iter().map(|(key, _)| key.clone()).collect();
        } else if !entries.iter().map(|(key, _)| key).eq(keys.iter()) {
            return Err(BackendError::Refused(format!("output `{name}` holds maps of different keys, which make no tensor")));
        }
        data.extend(entries.iter().map(|(_, value)| value));
    }
    let shape = [rows.len() as i64, keys.len() as i64];
    take(View { name, datatype: Datatype::Fp32, shape: &shape, data: Cow::Borrowed(bytemuck::cast_slice(&data)) })?;
    take((&K::keys(name, &keys)).into())
}
