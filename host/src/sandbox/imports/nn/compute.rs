//! Between the tensors of `wasi:nn` and the host's own.

use super::{Error, ErrorCode, Tensor};
use crate::runner::{Port, RunError, Signature};
use crate::sandbox::bindings::predictor::wasi::nn::tensor::TensorType;
use crate::sandbox::limits::{DIMENSIONS, NAME_BYTES};
use crate::tensor::{self, Datatype};

/// The host's tensors, as the model's inputs have their types.
///
/// # Errors
/// Names the input, what was expected and what came.
pub(super) fn taken(signature: &Signature, given: Vec<(String, Tensor)>) -> Result<Vec<tensor::Tensor>, Error> {
    given
        .into_iter()
        .map(|(name, Tensor { dimensions, ty, data })| {
            // Both stand in messages.
            if name.len() > NAME_BYTES || dimensions.len() > DIMENSIONS {
                let message = format!(
                    "expected inputs with names of at most {NAME_BYTES} bytes and at most {DIMENSIONS} dimensions, got {} and {}",
                    name.len(),
                    dimensions.len()
                );
                return Err(Error::new(ErrorCode::InvalidArgument, message));
            }
            let port = signature.inputs.iter().find(|port| port.name == name);
            let datatype = datatype(port, &name, ty)?;
            let mut shape: Vec<i64> = dimensions.into_iter().map(i64::from).collect();
            if shape == [1] && port.is_some_and(|port| port.shape.as_deref() == Some(&[])) {
                shape.clear();
            }
            Ok(tensor::Tensor { name, datatype, shape, data: data.into() })
        })
        .collect()
}

/// What a tensor of this type is to the model. One that the model lacks keeps the obvious type, and is refused for its name.
fn datatype(port: Option<&Port>, input: &str, ty: TensorType) -> Result<Datatype, Error> {
    let Some(port) = port else { return Ok(plain(ty)) };
    match tensor_type(port.datatype) {
        Some(expected) if expected == ty => Ok(port.datatype),
        Some(expected) => {
            let message = format!("input `{input}` takes {} (the model's {}), got {}", name(expected), port.datatype, name(ty));
            Err(Error::new(ErrorCode::InvalidArgument, message))
        }
        None => {
            let message = format!("input `{input}` takes {}, for which wasi:nn has no type", port.datatype);
            Err(Error::new(ErrorCode::UnsupportedOperation, message))
        }
    }
}

/// What came out, as `wasi:nn` has it; without the outputs that it has no type for.
///
/// # Errors
/// Where an extent is beyond what it can say.
pub(super) fn ran(outputs: Vec<tensor::Tensor>) -> Result<Vec<(String, Tensor)>, Error> {
    let typed = outputs.into_iter().filter_map(|output| tensor_type(output.datatype).map(|ty| (output, ty)));
    typed
        .map(|(output, ty)| {
            let dimensions: Result<Vec<u32>, _> = match output.shape.as_slice() {
                [] => Ok(vec![1]),
                shape => shape.iter().map(|extent| u32::try_from(*extent)).collect(),
            };
            let too_large = |_| Error::new(ErrorCode::TooLarge, format!("output `{}` has an extent beyond 32 bits: {:?}", output.name, output.shape));
            let dimensions = dimensions.map_err(too_large)?;
            Ok((output.name, Tensor { dimensions, ty, data: output.data.into() }))
        })
        .collect()
}

/// Why nothing came out.
pub(super) fn refused(error: &RunError) -> Error {
    let code = match error {
        RunError::Invalid { .. } => ErrorCode::InvalidArgument,
        RunError::TooLarge { .. } => ErrorCode::TooLarge,
        RunError::Overloaded { .. }
        | RunError::OutOfMemory { .. }
        | RunError::Waited { .. }
        | RunError::Deadline
        | RunError::EngineGone { .. }
        | RunError::Stopped => ErrorCode::Timeout,
        RunError::Failed(_) => ErrorCode::RuntimeError,
    };
    Error::new(code, error.to_string())
}

fn plain(ty: TensorType) -> Datatype {
    match ty {
        TensorType::Fp16 => Datatype::Fp16,
        TensorType::Fp32 => Datatype::Fp32,
        TensorType::Fp64 => Datatype::Fp64,
        TensorType::Bf16 => Datatype::Bf16,
        TensorType::U8 => Datatype::Uint8,
        TensorType::I32 => Datatype::Int32,
        TensorType::I64 => Datatype::Int64,
    }
}

/// Whether tensors of this type can go in and come out.
#[must_use]
pub fn carries(datatype: Datatype) -> bool {
    tensor_type(datatype).is_some()
}

/// Whether tensors of one type come out as another, for want of a type of their own.
#[must_use]
pub fn travels_as(own: Datatype, seen: Datatype) -> bool {
    own != seen && tensor_type(own).is_some_and(|ty| plain(ty) == seen)
}

/// As `wit/` calls it.
fn name(ty: TensorType) -> &'static str {
    match ty {
        TensorType::Fp16 => "FP16",
        TensorType::Fp32 => "FP32",
        TensorType::Fp64 => "FP64",
        TensorType::Bf16 => "BF16",
        TensorType::U8 => "U8",
        TensorType::I32 => "I32",
        TensorType::I64 => "I64",
    }
}

/// The type under which it travels: its own, or the one of its width.
fn tensor_type(datatype: Datatype) -> Option<TensorType> {
    Some(match datatype {
        Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => TensorType::U8,
        Datatype::Int32 | Datatype::Uint32 => TensorType::I32,
        Datatype::Int64 | Datatype::Uint64 => TensorType::I64,
        Datatype::Fp16 => TensorType::Fp16,
        Datatype::Bf16 => TensorType::Bf16,
        Datatype::Fp32 => TensorType::Fp32,
        Datatype::Fp64 => TensorType::Fp64,
        Datatype::Uint16 | Datatype::Int16 | Datatype::Bytes => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_goes_in_and_out_as_one_of_its_width() {
        for datatype in Datatype::ALL {
            let Some(ty) = tensor_type(datatype) else {
                assert!(matches!(datatype, Datatype::Uint16 | Datatype::Int16 | Datatype::Bytes));
                continue;
            };
            assert_eq!(plain(ty).size(), datatype.size(), "{datatype}");
            let port = Port { name: "x".to_owned(), datatype, shape: Some(vec![]), optional: false, symbols: Vec::new() };
            let signature = Signature { inputs: vec![port], outputs: Vec::new() };
            let data = vec![1; datatype.size().unwrap()];
            let given = Tensor { dimensions: vec![1], ty, data: data.clone().into() };
            let tensors = taken(&signature, vec![("x".to_owned(), given)]).ok().unwrap();
            assert_eq!(tensors[0], tensor::Tensor { name: "x".to_owned(), datatype, shape: vec![], data }, "a scalar may come as [1]");
            let outputs = ran(tensors).ok().unwrap();
            assert_eq!((outputs[0].1.dimensions.as_slice(), outputs[0].1.ty), (&[1][..], ty), "a scalar leaves as [1]");
        }
        assert!(ran(vec![tensor::Tensor { name: "s".to_owned(), datatype: Datatype::Bytes, shape: vec![0], data: vec![] }]).ok().unwrap().is_empty());
    }

    #[test]
    fn another_type_is_refused_by_name() {
        let port = |datatype| Port { name: "x".to_owned(), datatype, shape: None, optional: false, symbols: Vec::new() };
        let refused = |datatype, ty| datatype_error(&port(datatype), ty);
        let error = refused(Datatype::Bool, TensorType::Fp32);
        assert_eq!((error.code, error.data.as_str()), (ErrorCode::InvalidArgument, "input `x` takes U8 (the model's BOOL), got FP32"));
        let error = refused(Datatype::Bytes, TensorType::U8);
        assert_eq!((error.code, error.data.as_str()), (ErrorCode::UnsupportedOperation, "input `x` takes BYTES, for which wasi:nn has no type"));
    }

    fn datatype_error(port: &Port, ty: TensorType) -> Error {
        datatype(Some(port), "x", ty).err().unwrap()
    }
}
