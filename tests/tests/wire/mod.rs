//! Payloads in the JSON form of the cases: `{"tensors": […]}` stands for tensors, everything else for itself.
#![expect(clippy::panic, reason = "only ever run inside a test")]

use bulkhead::payload::Payload;
use bulkhead::tensor::{Datatype, Tensor};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    tensors: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    data: Vec<Value>,
}

/// The payload that a request file stands for.
pub(crate) fn payload(text: String) -> Payload {
    let is_wrapped = serde_json::from_str::<Value>(&text).is_ok_and(|value| value.get("tensors").is_some());
    if !is_wrapped {
        return Payload::Json(text);
    }
    let wrapped: Wrapped = serde_json::from_str(&text).unwrap_or_else(|error| panic!("request.json: {error}"));
    Payload::Tensors(wrapped.tensors.into_iter().map(tensor).collect())
}

/// The JSON form of a payload.
pub(crate) fn to_value(payload: &Payload) -> Value {
    match payload {
        Payload::Json(text) => serde_json::from_str(text).unwrap_or_else(|error| panic!("the answer is not JSON: {error}")),
        Payload::Tensors(tensors) => json!({ "tensors": tensors.iter().map(written).collect::<Vec<_>>() }),
        Payload::Blob { content_type, data } => json!({ "content_type": content_type, "bytes": data.len() }),
    }
}

fn tensor(written: Written) -> Tensor {
    let datatype = Datatype::of_name(&written.datatype).unwrap_or_else(|| panic!("unknown datatype `{}`", written.datatype));
    let mut data = Vec::new();
    for value in &written.data {
        element(datatype, value, &mut data);
    }
    Tensor { name: written.name, datatype, shape: written.shape, data }
}

fn element(datatype: Datatype, value: &Value, out: &mut Vec<u8>) {
    match datatype {
        Datatype::Bool => out.push(u8::from(value.as_bool().expect("a boolean"))),
        Datatype::Fp32 => out.extend((float(value) as f32).to_le_bytes()),
        Datatype::Fp64 => out.extend(float(value).to_le_bytes()),
        Datatype::Uint64 => out.extend(value.as_u64().expect("an unsigned integer").to_le_bytes()),
        Datatype::Bytes => {
            let text = value.as_str().expect("a string");
            out.extend(u32::try_from(text.len()).expect("a short string").to_le_bytes());
            out.extend(text.as_bytes());
        }
        Datatype::Fp16 | Datatype::Bf16 => panic!("cases can't write 16-bit floats"),
        integer => {
            let value = value.as_i64().unwrap_or_else(|| panic!("{value} is no integer"));
            out.extend(&value.to_le_bytes()[..integer.size().expect("integers have a size")]);
        }
    }
}

/// JSON has no notation for them: `"NaN"`, `"inf"` and `"-inf"` are written as strings.
fn float(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

fn written(tensor: &Tensor) -> Value {
    json!({ "name": tensor.name, "datatype": tensor.datatype.name(), "shape": tensor.shape, "data": elements(tensor) })
}

fn elements(tensor: &Tensor) -> Vec<Value> {
    fn each<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> Value) -> Vec<Value> {
        data.chunks_exact(N).map(|chunk| value(chunk.try_into().expect("a chunk"))).collect()
    }
    fn number(value: f64) -> Value {
        if value.is_finite() { json!(value) } else { json!(value.to_string()) }
    }
    let data = &tensor.data;
    match tensor.datatype {
        Datatype::Bool => each(data, |[byte]| json!(byte != 0)),
        Datatype::Uint8 => each(data, |bytes| json!(u8::from_le_bytes(bytes))),
        Datatype::Uint16 => each(data, |bytes| json!(u16::from_le_bytes(bytes))),
        Datatype::Uint32 => each(data, |bytes| json!(u32::from_le_bytes(bytes))),
        Datatype::Uint64 => each(data, |bytes| json!(u64::from_le_bytes(bytes))),
        Datatype::Int8 => each(data, |bytes| json!(i8::from_le_bytes(bytes))),
        Datatype::Int16 => each(data, |bytes| json!(i16::from_le_bytes(bytes))),
        Datatype::Int32 => each(data, |bytes| json!(i32::from_le_bytes(bytes))),
        Datatype::Int64 => each(data, |bytes| json!(i64::from_le_bytes(bytes))),
        Datatype::Fp32 => each(data, |bytes| number(f32::from_le_bytes(bytes).into())),
        Datatype::Fp64 => each(data, |bytes| number(f64::from_le_bytes(bytes))),
        Datatype::Bytes => {
            let strings = bulkhead::tensor::byte_strings(data).expect("whole elements");
            strings.into_iter().map(|bytes| json!(String::from_utf8_lossy(bytes))).collect()
        }
        Datatype::Fp16 | Datatype::Bf16 => panic!("cases can't read 16-bit floats"),
    }
}

/// Where two values differ first; none where they are equal. Integers are compared exactly, other numbers up to
/// `tolerance`, relative to the larger one where that is above 1.
pub(crate) fn difference(got: &Value, expected: &Value, tolerance: f64) -> Option<String> {
    match (got, expected) {
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let found =
                left.iter().zip(right).enumerate().find_map(|(at, (left, right))| Some((at.to_string(), difference(left, right, tolerance)?)));
            found.map(|(at, difference)| format!("/{at}{difference}"))
        }
        (Value::Object(left), Value::Object(right)) if left.keys().eq(right.keys()) => {
            let found = left.iter().zip(right.values()).find_map(|((key, left), right)| Some((key, difference(left, right, tolerance)?)));
            found.map(|(key, difference)| format!("/{key}{difference}"))
        }
        _ if got == expected || is_close(got, expected, tolerance) => None,
        _ => Some(format!(": expected {expected}, got {got}")),
    }
}

fn is_close(got: &Value, expected: &Value, tolerance: f64) -> bool {
    match (got.as_f64(), expected.as_f64()) {
        (Some(_), Some(_)) if got.is_i64() && expected.is_i64() => false,
        (Some(left), Some(right)) => (left - right).abs() <= tolerance * left.abs().max(right.abs()).max(1.0),
        _ => false,
    }
}
