//! What a model takes and gives, as the runtime tells it.

use ort::value::{Outlet, TensorElementType, ValueType};

use crate::engine::backend::BackendError;
use crate::runner::Port;
use crate::tensor::Datatype;

pub(super) fn datatype(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}

pub(super) fn unsupported(name: &str, of: &ValueType) -> BackendError {
    BackendError::Refused(format!("`{name}` is of type {of}, which can't be served: expected tensors of the Open Inference Protocol's types"))
}

pub(super) fn port(outlet: &Outlet, optional: bool) -> Result<Port, BackendError> {
    let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else {
        return Err(unsupported(outlet.name(), outlet.dtype()));
    };
    let datatype = datatype(*ty).ok_or_else(|| unsupported(outlet.name(), outlet.dtype()))?;
    Ok(Port { name: outlet.name().to_owned(), datatype, shape: Some(shape.to_vec()), optional, symbols: dimension_symbols.to_vec() })
}

/// The tensors that an output is served as: itself; or, for the sequence of maps that converters of classical models
/// put out, the maps' keys and values.
pub(super) fn output_ports(outlet: &Outlet) -> Result<Vec<Port>, BackendError> {
    match outlet.dtype() {
        ValueType::Tensor { .. } => Ok(vec![port(outlet, false)?]),
        ValueType::Sequence(inner) => match &**inner {
            ValueType::Map { key, value } => {
                let (Some(keys), Some(values)) = (datatype(*key), datatype(*value)) else {
                    return Err(unsupported(outlet.name(), outlet.dtype()));
                };
                Ok(vec![
                    Port { name: outlet.name().to_owned(), datatype: values, shape: Some(vec![-1, -1]), optional: false, symbols: Vec::new() },
                    Port { name: keys_name(outlet.name()), datatype: keys, shape: Some(vec![-1]), optional: false, symbols: Vec::new() },
                ])
            }
            _ => Err(unsupported(outlet.name(), outlet.dtype())),
        },
        other => Err(unsupported(outlet.name(), other)),
    }
}

pub(super) fn keys_name(output: &str) -> String {
    format!("{output}.keys")
}
