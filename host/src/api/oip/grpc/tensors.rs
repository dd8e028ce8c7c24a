//! Tensors in gRPC's messages: as raw bytes, or as lists of numbers.

use std::collections::HashMap;

use crate::api::error::{ApiError, INVALID_INPUT};
use crate::tensor::{self, Datatype, Tensor};

use super::message::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::message::{InferParameter, InferTensorContents, infer_parameter};

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(INVALID_INPUT, message)
}

/// The inputs of a request, and what the last of them says of its content.
///
/// # Errors
/// Names the input, what was expected and what came.
pub(super) fn inputs(inputs: Vec<InferInputTensor>, raw: Vec<Vec<u8>>) -> Result<(Vec<Tensor>, Option<String>), ApiError> {
    if !raw.is_empty() && raw.len() != inputs.len() {
        return Err(invalid(format!("`raw_input_contents` should have the bytes of all {} inputs, and has those of {}", inputs.len(), raw.len())));
    }
    let is_raw = !raw.is_empty();
    let mut raw = raw.into_iter();
    let mut content_type = None;
    let mut tensors = Vec::with_capacity(inputs.len());
    for input in inputs {
        let InferInputTensor { name, datatype, shape, parameters, contents } = input;
        if parameters.contains_key("shared_memory_region") {
            return Err(invalid(format!("input `{name}`: memory is not shared with clients here: send the data with the request")));
        }
        content_type = text(parameters.get("content_type"));
        let datatype = Datatype::of_name(&datatype).ok_or_else(|| {
            let names: Vec<_> = Datatype::ALL.iter().map(|datatype| datatype.name()).collect();
            let got: String = datatype.chars().take(100).collect();
            invalid(format!("input `{name}`: expected a datatype of {}, got `{got}`", names.join(", ")))
        })?;
        let data = match (is_raw, contents) {
            (true, None) => raw.next().unwrap_or_default(),
            (true, Some(contents)) if contents == InferTensorContents::default() => raw.next().unwrap_or_default(),
            (true, Some(_)) => {
                return Err(invalid(format!("input `{name}` has `contents`, and there are `raw_input_contents` too: expected one of them")));
            }
            (false, contents) => {
                let data = typed(&name, datatype, contents.unwrap_or_default())?;
                let expected = tensor::elements(&shape).filter(|elements| *elements > 0);
                if let Some(elements) = expected.filter(|_| data.is_empty()) {
                    let list = list(datatype);
                    return Err(invalid(format!(
                        "input `{name}` of shape {shape:?} takes {elements} elements, and `{list}`, the list for {datatype}, is empty"
                    )));
                }
                data
            }
        };
        tensors.push(Tensor { name, datatype, shape, data });
    }
    Ok((tensors, content_type))
}

/// An output that is asked for in a way that is not there.
///
/// # Errors
/// Says which.
pub(super) fn check_output(output: &InferRequestedOutputTensor) -> Result<(), ApiError> {
    let name = &output.name;
    if output.parameters.contains_key("classification") {
        return Err(invalid(format!(
            "output `{name}`: classes are not picked here: ask for the scores, or put the transform `classify` around the model"
        )));
    }
    if output.parameters.contains_key("shared_memory_region") {
        return Err(invalid(format!("output `{name}`: memory is not shared with clients here")));
    }
    Ok(())
}

/// Not there, zero, or empty.
pub(super) fn is_nothing(parameter: Option<&InferParameter>) -> bool {
    match parameter.and_then(|parameter| parameter.parameter_choice.as_ref()) {
        None | Some(infer_parameter::ParameterChoice::Int64Param(0) | infer_parameter::ParameterChoice::Uint64Param(0)) => true,
        Some(infer_parameter::ParameterChoice::StringParam(text)) => text.is_empty(),
        Some(_) => false,
    }
}

pub(super) fn text(parameter: Option<&InferParameter>) -> Option<String> {
    match parameter?.parameter_choice.as_ref()? {
        infer_parameter::ParameterChoice::StringParam(text) => Some(text.clone()),
        _ => None,
    }
}

/// A whole number of zero or more, whatever its type; none where there is none.
///
/// # Errors
/// Names the parameter, where it is something else.
pub(super) fn number(parameters: &HashMap<String, InferParameter>, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(choice) = parameters.get(name).and_then(|parameter| parameter.parameter_choice.as_ref()) else { return Ok(None) };
    let (number, got) = match choice {
        infer_parameter::ParameterChoice::Int64Param(number) => (u64::try_from(*number).ok(), number.to_string()),
        infer_parameter::ParameterChoice::Uint64Param(number) => return Ok(Some(*number)),
        infer_parameter::ParameterChoice::StringParam(text) => (text.parse().ok(), text.chars().take(40).collect()),
        infer_parameter::ParameterChoice::BoolParam(value) => (None, value.to_string()),
        infer_parameter::ParameterChoice::DoubleParam(value) => (None, value.to_string()),
    };
    number.map(Some).ok_or_else(|| invalid(format!("parameter `{name}`: expected a whole number of zero or more, got {got}")))
}

/// Where the elements of a type stand.
fn list(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Bool => "bool_contents",
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => "uint_contents",
        Datatype::Uint64 => "uint64_contents",
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => "int_contents",
        Datatype::Int64 => "int64_contents",
        Datatype::Fp32 => "fp32_contents",
        Datatype::Fp64 => "fp64_contents",
        Datatype::Bytes => "bytes_contents",
        Datatype::Fp16 | Datatype::Bf16 => "raw_input_contents",
    }
}

fn typed(name: &str, datatype: Datatype, contents: InferTensorContents) -> Result<Vec<u8>, ApiError> {
    let out_of_range = |value: &dyn std::fmt::Display| invalid(format!("input `{name}`: {value} is out of the range of {datatype}"));
    macro_rules! as_is {
        ($values:expr) => {
            $values.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
    }
    macro_rules! narrow {
        ($ty:ty, $values:expr) => {{
            let mut data = Vec::with_capacity($values.len() * size_of::<$ty>());
            for value in $values {
                data.extend(<$ty>::try_from(value).map_err(|_| out_of_range(&value))?.to_le_bytes());
            }
            data
        }};
    }
    Ok(match datatype {
        Datatype::Bool => contents.bool_contents.iter().map(|value| u8::from(*value)).collect(),
        Datatype::Uint8 => narrow!(u8, contents.uint_contents),
        Datatype::Uint16 => narrow!(u16, contents.uint_contents),
        Datatype::Uint32 => as_is!(contents.uint_contents),
        Datatype::Uint64 => as_is!(contents.uint64_contents),
        Datatype::Int8 => narrow!(i8, contents.int_contents),
        Datatype::Int16 => narrow!(i16, contents.int_contents),
        Datatype::Int32 => as_is!(contents.int_contents),
        Datatype::Int64 => as_is!(contents.int64_contents),
        Datatype::Fp32 => as_is!(contents.fp32_contents),
        Datatype::Fp64 => as_is!(contents.fp64_contents),
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err(invalid(format!(
                "input `{name}` of type {datatype} has no list of its own in the protocol: send it in `raw_input_contents`"
            )));
        }
        Datatype::Bytes => {
            let mut data = Vec::new();
            for value in contents.bytes_contents {
                tensor::push_byte_string(&mut data, &value).map_err(|_| invalid(format!("input `{name}` has a string of 4 GiB or more")))?;
            }
            data
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(datatype: &str, contents: Option<InferTensorContents>) -> InferInputTensor {
        InferInputTensor { name: "x".to_owned(), datatype: datatype.to_owned(), shape: vec![1], parameters: Default::default(), contents }
    }

    #[test]
    fn each_mistake_is_named() {
        let ints = || Some(InferTensorContents { int_contents: vec![300], ..Default::default() });
        for (made, raw, says) in [
            (vec![input("INT8", ints())], vec![], "300 is out of the range of INT8"),
            (vec![input("INT32", ints())], vec![vec![0; 4]], "expected one of them"),
            (vec![input("INT32", None)], vec![vec![], vec![]], "all 1 inputs, and has those of 2"),
            (vec![input("FP16", None)], vec![], "send it in `raw_input_contents`"),
            (vec![input("float", None)], vec![], "expected a datatype of BOOL"),
            (vec![input("INT64", ints())], vec![], "takes 1 elements, and `int64_contents`, the list for INT64, is empty"),
        ] {
            let error = inputs(made, raw).unwrap_err();
            assert!(error.told("r").contains(says), "{}", error.told("r"));
        }
        let number = |choice| number(&HashMap::from([("priority".to_owned(), InferParameter { parameter_choice: Some(choice) })]), "priority");
        for (choice, expected) in [
            (infer_parameter::ParameterChoice::Int64Param(2), Ok(Some(2))),
            (infer_parameter::ParameterChoice::StringParam("3".to_owned()), Ok(Some(3))),
            (infer_parameter::ParameterChoice::Int64Param(-1), Err("got -1")),
            (infer_parameter::ParameterChoice::StringParam("abc".to_owned()), Err("got abc")),
            (infer_parameter::ParameterChoice::BoolParam(true), Err("got true")),
            (infer_parameter::ParameterChoice::DoubleParam(1.5), Err("got 1.5")),
        ] {
            match (number(choice), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected),
                (Err(error), Err(expected)) => assert!(error.told("r").contains(expected), "{}", error.told("r")),
                (got, expected) => panic!("{got:?}, expected {expected:?}"),
            }
        }
        let (tensors, _) = inputs(vec![input("INT16", ints())], vec![]).unwrap();
        assert_eq!(tensors[0].data, 300i16.to_le_bytes());
    }
}
