//! Payloads in the JSON form of the cases.

use bulkhead_sdk::{Datatype, Payload, Tensor, Tensors};
use serde::Deserialize;
use serde_json::{Value, json};

/// `{"tensors": […]}` stands for tensors, everything else for itself.
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

/// The names of the Open Inference Protocol, of those types that a case can write.
const DATATYPES: [(&str, Datatype); 12] = [
    ("BOOL", Datatype::Bool),
    ("UINT8", Datatype::Uint8),
    ("UINT16", Datatype::Uint16),
    ("UINT32", Datatype::Uint32),
    ("UINT64", Datatype::Uint64),
    ("INT8", Datatype::Int8),
    ("INT16", Datatype::Int16),
    ("INT32", Datatype::Int32),
    ("INT64", Datatype::Int64),
    ("FP32", Datatype::Fp32),
    ("FP64", Datatype::Fp64),
    ("BYTES", Datatype::Bytes),
];

/// The payload that a request file stands for.
pub(crate) fn payload(text: String) -> Payload {
    let is_wrapped = serde_json::from_str::<Value>(&text).is_ok_and(|value| value.get("tensors").is_some());
    if !is_wrapped {
        return Payload::Json(text);
    }
    let wrapped: Wrapped = serde_json::from_str(&text).unwrap_or_else(|error| panic!("request.json: {error}"));
    Payload::Tensors(wrapped.tensors.into_iter().map(tensor).collect::<Tensors>())
}

/// The JSON form of a payload.
pub(crate) fn to_value(payload: &Payload) -> Value {
    match payload {
        Payload::Json(text) => serde_json::from_str(text).unwrap_or_else(|error| panic!("the answer is not JSON: {error}")),
        Payload::Tensors(tensors) => json!({ "tensors": tensors.iter().map(written).collect::<Vec<_>>() }),
        Payload::Blob(blob) => json!({ "content_type": blob.content_type, "bytes": blob.data.len() }),
    }
}

fn tensor(written: Written) -> Tensor {
    let datatype =
        DATATYPES.iter().find(|(name, _)| *name == written.datatype).unwrap_or_else(|| panic!("unknown datatype `{}`", written.datatype)).1;
    let mut data = Vec::new();
    for value in &written.data {
        element(datatype, value, &mut data);
    }
    Tensor::from_bytes(written.name, datatype, &written.shape, data).expect("data that fits the shape")
}

fn element(datatype: Datatype, value: &Value, out: &mut Vec<u8>) {
    let integer = || value.as_i64().unwrap_or_else(|| panic!("{value} is no integer"));
    match datatype {
        Datatype::Bool => out.push(u8::from(value.as_bool().expect("a boolean"))),
        Datatype::Uint8 | Datatype::Int8 => out.extend(&integer().to_le_bytes()[..1]),
        Datatype::Uint16 | Datatype::Int16 => out.extend(&integer().to_le_bytes()[..2]),
        Datatype::Uint32 | Datatype::Int32 => out.extend(&integer().to_le_bytes()[..4]),
        Datatype::Int64 => out.extend(integer().to_le_bytes()),
        Datatype::Uint64 => out.extend(value.as_u64().expect("an unsigned integer").to_le_bytes()),
        #[expect(clippy::cast_possible_truncation, reason = "the element type of the tensor")]
        Datatype::Fp32 => out.extend((float(value) as f32).to_le_bytes()),
        Datatype::Fp64 => out.extend(float(value).to_le_bytes()),
        Datatype::Bytes => {
            let text = value.as_str().expect("a string");
            out.extend(u32::try_from(text.len()).expect("a short string").to_le_bytes());
            out.extend(text.as_bytes());
        }
        Datatype::Fp16 | Datatype::Bf16 => panic!("cases can't write 16-bit floats"),
    }
}

/// JSON has no notation for them: `"NaN"`, `"inf"` and `"-inf"` are written as strings.
fn float(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

fn written(tensor: &Tensor) -> Value {
    let name = DATATYPES.iter().find(|(_, datatype)| *datatype == tensor.datatype()).map_or("?", |(name, _)| *name);
    json!({ "name": tensor.name(), "datatype": name, "shape": tensor.shape(), "data": elements(tensor) })
}

fn elements(tensor: &Tensor) -> Vec<Value> {
    fn integers<T: bulkhead_sdk::Element + Into<Value>>(tensor: &Tensor) -> Vec<Value> {
        tensor.values::<T>().expect("its own datatype").iter().map(|value| (*value).into()).collect()
    }
    fn number(value: f64) -> Value {
        if value.is_finite() { json!(value) } else { json!(value.to_string()) }
    }
    match tensor.datatype() {
        Datatype::Bool => tensor.bytes().iter().map(|byte| json!(*byte != 0)).collect(),
        Datatype::Uint8 => integers::<u8>(tensor),
        Datatype::Uint16 => integers::<u16>(tensor),
        Datatype::Uint32 => integers::<u32>(tensor),
        Datatype::Uint64 => integers::<u64>(tensor),
        Datatype::Int8 => integers::<i8>(tensor),
        Datatype::Int16 => integers::<i16>(tensor),
        Datatype::Int32 => integers::<i32>(tensor),
        Datatype::Int64 => integers::<i64>(tensor),
        Datatype::Fp32 => tensor.values::<f32>().expect("its own datatype").iter().map(|value| number(f64::from(*value))).collect(),
        Datatype::Fp64 => tensor.values::<f64>().expect("its own datatype").iter().map(|value| number(*value)).collect(),
        Datatype::Bytes => tensor.strings().expect("its own datatype").iter().map(|value| json!(String::from_utf8_lossy(value))).collect(),
        Datatype::Fp16 | Datatype::Bf16 => panic!("cases can't read 16-bit floats"),
    }
}
