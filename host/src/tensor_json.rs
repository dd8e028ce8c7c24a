//! Tensors as JSON: the bodies of the Open Inference Protocol's `infer`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::tensor::{self, Datatype, Tensor};

/// An infer request.
#[derive(Debug)]
pub struct Request {
    /// Echoed in the answer.
    pub id: Option<String>,
    /// Tensors, in the order in which they came.
    pub inputs: Vec<Tensor>,
    /// Names of the outputs that are asked for; empty for all.
    pub outputs: Vec<String>,
    /// Level of priority, counted from 1; 0 for what the manifest says.
    pub priority: u64,
    /// How long it may wait in the queue at most.
    pub timeout: Option<Duration>,
}

/// Why a body is no infer request.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Malformed {
    /// JSON pointer to what is wrong; empty for the body as a whole.
    pub pointer: String,
    /// What was expected and what came.
    pub message: String,
}

/// Nesting of `data`, whatever the shape says.
const NESTING: usize = 32;

#[derive(Deserialize)]
struct RequestBody<'a> {
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    inputs: Vec<InputBody<'a>>,
    #[serde(default, borrow)]
    outputs: Vec<OutputBody<'a>>,
    #[serde(default)]
    parameters: Option<Parameters>,
}

/// Those that mean something here; a request may bring others.
#[derive(Deserialize, Default)]
struct Parameters {
    #[serde(default)]
    priority: u64,
    /// In microseconds.
    #[serde(default)]
    timeout: u64,
}

#[derive(Deserialize)]
struct InputBody<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    shape: Vec<i64>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct OutputBody<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// Reads an infer request.
///
/// # Errors
/// [`Malformed`], with a pointer to what is wrong.
pub fn decode(text: &str) -> Result<Request, Malformed> {
    let body: RequestBody<'_> = serde_json::from_str(text).map_err(|error| Malformed {
        pointer: String::new(),
        message: format!(
            "expected the JSON body of an inference request, {{\"inputs\": [{{\"name\", \"datatype\", \"shape\", \"data\"}}]}}: {error}"
        ),
    })?;
    let mut inputs = Vec::with_capacity(body.inputs.len());
    for (at, input) in body.inputs.into_iter().enumerate() {
        inputs.push(input.tensor(at)?);
    }
    let parameters = body.parameters.unwrap_or_default();
    Ok(Request {
        priority: parameters.priority,
        timeout: Some(Duration::from_micros(parameters.timeout)).filter(|timeout| !timeout.is_zero()),
        id: body.id.filter(|id| !id.is_empty()).map(Cow::into_owned),
        inputs,
        outputs: body.outputs.into_iter().map(|output| output.name.into_owned()).collect(),
    })
}

impl InputBody<'_> {
    fn tensor(self, at: usize) -> Result<Tensor, Malformed> {
        let malformed = |field: &str, message: String| Malformed { pointer: format!("/inputs/{at}{field}"), message };
        let datatype = Datatype::of_name(&self.datatype).ok_or_else(|| {
            let names: Vec<_> = Datatype::ALL.iter().map(|datatype| datatype.name()).collect();
            malformed("/datatype", format!("expected one of {}, got `{}`", names.join(", "), self.datatype))
        })?;
        let elements =
            tensor::elements(&self.shape).ok_or_else(|| malformed("/shape", format!("expected extents of zero or more, got {:?}", self.shape)))?;
        // The text bounds the number of elements, whatever the shape claims.
        let expected = elements.min(self.data.get().len());
        let mut data = Vec::with_capacity(expected * datatype.size().unwrap_or(size_of::<u32>()));
        let mut got = 0;
        let mut reader = serde_json::Deserializer::from_str(self.data.get());
        let seed = Elements { datatype, data: &mut data, got: &mut got, depth: 0 };
        seed.deserialize(&mut reader).map_err(|error| malformed("/data", format!("input `{}`: {error}", self.name)))?;
        if got != elements {
            return Err(malformed("/data", format!("input `{}` of shape {:?} takes {elements} elements, got {got}", self.name, self.shape)));
        }
        Ok(Tensor { name: self.name.into_owned(), datatype, shape: self.shape, data })
    }
}

/// Reads elements, flat or nested, straight into a tensor's data.
struct Elements<'a> {
    datatype: Datatype,
    data: &'a mut Vec<u8>,
    got: &'a mut usize,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Elements<'_> {
    fn put<E>(self, bytes: &[u8]) -> Result<(), E> {
        *self.got += 1;
        self.data.extend_from_slice(bytes);
        Ok(())
    }

    fn integer<E: de::Error, N: TryInto<i64> + TryInto<u64> + fmt::Display + Copy>(self, value: N) -> Result<(), E> {
        let out_of_range = || E::custom(format_args!("{value} is out of the range of {}", self.datatype));
        macro_rules! put {
            ($wide:ty, $narrow:ty) => {{
                let wide: $wide = value.try_into().map_err(|_| out_of_range())?;
                let narrow = <$narrow>::try_from(wide).map_err(|_| out_of_range())?;
                self.put(&narrow.to_le_bytes())
            }};
        }
        match self.datatype {
            Datatype::Uint8 => put!(u64, u8),
            Datatype::Uint16 => put!(u64, u16),
            Datatype::Uint32 => put!(u64, u32),
            Datatype::Uint64 => put!(u64, u64),
            Datatype::Int8 => put!(i64, i8),
            Datatype::Int16 => put!(i64, i16),
            Datatype::Int32 => put!(i64, i32),
            Datatype::Int64 => put!(i64, i64),
            _ => Err(E::custom(format_args!("expected {}, got a number", self.datatype))),
        }
    }

    /// Rounds a number to a floating-point element.
    fn float<E: de::Error>(self, value: f64) -> Result<(), E> {
        match self.datatype {
            Datatype::Fp16 => match half::f16::from_f64(value) {
                half if half.is_finite() => self.put(&half.to_le_bytes()),
                _ => Err(E::custom(format_args!("{value} is out of the range of FP16"))),
            },
            Datatype::Bf16 => self.put(&half::bf16::from_f64(value).to_le_bytes()),
            #[expect(clippy::cast_possible_truncation, reason = "the nearest single is what was asked for")]
            Datatype::Fp32 => match value as f32 {
                single if single.is_finite() => self.put(&single.to_le_bytes()),
                _ => Err(E::custom(format_args!("{value} is out of the range of FP32"))),
            },
            Datatype::Fp64 => self.put(&value.to_le_bytes()),
            _ => Err(E::custom(format_args!("expected {}, got the number {value}", self.datatype))),
        }
    }

    fn is_float(&self) -> bool {
        matches!(self.datatype, Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "elements of type {}", self.datatype)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        match self.datatype {
            Datatype::Bool => self.put(&[u8::from(value)]),
            _ => Err(E::custom(format_args!("expected {}, got `{value}`", self.datatype))),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "the nearest floating-point number is what was asked for")]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        if self.is_float() { self.float(value as f64) } else { self.integer(value) }
    }

    #[expect(clippy::cast_precision_loss, reason = "the nearest floating-point number is what was asked for")]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        if self.is_float() { self.float(value as f64) } else { self.integer(value) }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.float(value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        if self.datatype != Datatype::Bytes {
            return Err(E::custom(format_args!("expected {}, got a string", self.datatype)));
        }
        *self.got += 1;
        tensor::push_byte_string(self.data, value.as_bytes()).map_err(E::custom)
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Err(E::custom(format_args!("expected {}, got null", self.datatype)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        if self.depth == NESTING {
            return Err(de::Error::custom("arrays are nested too deeply"));
        }
        let Self { datatype, data, got, depth } = self;
        while sequence.next_element_seed(Elements { datatype, data: &mut *data, got: &mut *got, depth: depth + 1 })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Err(de::Error::custom(format_args!("expected {}, got an object", self.datatype)))
    }
}

/// Writes an infer response.
///
/// # Errors
/// Names the output that JSON can't carry.
pub fn encode(model: &str, version: &str, id: Option<&str>, outputs: &[Tensor]) -> Result<String, Unwritable> {
    let bytes: usize = outputs.iter().map(|output| output.data.len()).sum();
    let mut out = String::with_capacity(128 + outputs.len() * 64 + bytes * 3);
    out.push_str("{\"model_name\":");
    string(&mut out, model);
    out.push_str(",\"model_version\":");
    string(&mut out, version);
    if let Some(id) = id {
        out.push_str(",\"id\":");
        string(&mut out, id);
    }
    out.push_str(",\"outputs\":[");
    for (at, output) in outputs.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str("{\"name\":");
        string(&mut out, &output.name);
        out.push_str(",\"datatype\":\"");
        out.push_str(output.datatype.name());
        out.push_str("\",\"shape\":[");
        join(&mut out, output.shape.iter(), |out, extent| out.push_str(itoa::Buffer::new().format(*extent)));
        out.push_str("],\"data\":[");
        elements(&mut out, output)?;
        out.push_str("]}");
    }
    out.push_str("]}");
    Ok(out)
}

/// An output that JSON can't carry.
#[derive(Debug, thiserror::Error)]
#[error("output `{name}` holds bytes that are no UTF-8, which JSON can't carry")]
pub struct Unwritable {
    name: String,
}

fn elements(out: &mut String, tensor: &Tensor) -> Result<(), Unwritable> {
    macro_rules! each {
        ($ty:ty, $write:expr) => {
            join(out, tensor.data.chunks_exact(size_of::<$ty>()), |out, chunk| {
                // `chunks_exact` gives exactly this many bytes.
                let value = <$ty>::from_le_bytes(chunk.try_into().unwrap_or_default());
                $write(out, value)
            })
        };
    }
    macro_rules! integers {
        ($ty:ty) => {
            each!($ty, |out: &mut String, value: $ty| out.push_str(itoa::Buffer::new().format(value)))
        };
    }
    match tensor.datatype {
        Datatype::Bool => join(out, tensor.data.iter(), |out, byte| out.push_str(if *byte == 0 { "false" } else { "true" })),
        Datatype::Uint8 => integers!(u8),
        Datatype::Uint16 => integers!(u16),
        Datatype::Uint32 => integers!(u32),
        Datatype::Uint64 => integers!(u64),
        Datatype::Int8 => integers!(i8),
        Datatype::Int16 => integers!(i16),
        Datatype::Int32 => integers!(i32),
        Datatype::Int64 => integers!(i64),
        Datatype::Fp16 => each!(u16, |out: &mut String, bits| float(out, half::f16::from_bits(bits).to_f32())),
        Datatype::Bf16 => each!(u16, |out: &mut String, bits| float(out, half::bf16::from_bits(bits).to_f32())),
        Datatype::Fp32 => each!(f32, float),
        Datatype::Fp64 => each!(f64, float),
        Datatype::Bytes => {
            let unwritable = || Unwritable { name: tensor.name.clone() };
            let strings = tensor::byte_strings(&tensor.data).ok_or_else(unwritable)?;
            for (at, bytes) in strings.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                string(out, std::str::from_utf8(bytes).map_err(|_| unwritable())?);
            }
        }
    }
    Ok(())
}

fn join<T>(out: &mut String, items: impl Iterator<Item = T>, write: impl Fn(&mut String, T)) {
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
}

/// A number, or null where JSON has none for it.
fn float<F: ryu::Float + Into<f64>>(out: &mut String, value: F) {
    if value.into().is_finite() {
        out.push_str(ryu::Buffer::new().format_finite(value));
    } else {
        out.push_str("null");
    }
}

/// A string in quotes. Names rarely need escapes; those that do take the long way.
fn string(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_one(datatype: &str, shape: &str, data: &str) -> Result<Tensor, String> {
        let body = format!(r#"{{"model_name": "ignored", "inputs": [{{"data": {data}, "name": "x", "shape": {shape}, "datatype": "{datatype}"}}]}}"#);
        decode(&body).map(|mut request| request.inputs.remove(0)).map_err(|error| format!("{}: {}", error.pointer, error.message))
    }

    #[test]
    fn every_datatype_goes_in_and_comes_out() {
        for (datatype, data) in [
            ("BOOL", "[true,false]"),
            ("UINT8", "[0,255]"),
            ("UINT16", "[0,65535]"),
            ("UINT32", "[0,4294967295]"),
            ("UINT64", "[0,18446744073709551615]"),
            ("INT8", "[-128,127]"),
            ("INT16", "[-32768,32767]"),
            ("INT32", "[-2147483648,2147483647]"),
            ("INT64", "[-9223372036854775808,9223372036854775807]"),
            ("FP16", "[0.5,-2.0]"),
            ("BF16", "[0.5,-2.0]"),
            ("FP32", "[0.1,-3.4028235e38]"),
            ("FP64", "[0.1,-1.7976931348623157e308]"),
            ("BYTES", r#"["one","zw\"ei"]"#),
        ] {
            let tensor = decode_one(datatype, "[2]", data).unwrap();
            tensor.check().unwrap();
            let text = encode("m", "1.0.0", None, &[tensor]).unwrap();
            let expected = format!(
                r#"{{"model_name":"m","model_version":"1.0.0","outputs":[{{"name":"x","datatype":"{datatype}","shape":[2],"data":{data}}}]}}"#
            );
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn data_may_be_nested() {
        let nested = decode_one("INT32", "[2,2]", "[[1,2],[3,4]]").unwrap();
        assert_eq!(nested, decode_one("INT32", "[2,2]", "[1,2,3,4]").unwrap());
        assert_eq!(decode_one("FP32", "[]", "[1]").unwrap().shape, [0i64; 0]);
        assert_eq!(decode_one("FP32", "[0,4]", "[]").unwrap().data, [0u8; 0]);
    }

    #[test]
    fn each_mistake_is_named() {
        for (datatype, shape, data, expected) in [
            ("FLOAT", "[1]", "[1]", "/inputs/0/datatype: expected one of BOOL, UINT8"),
            ("FP32", "[-1]", "[1]", "/inputs/0/shape: expected extents of zero or more, got [-1]"),
            ("FP32", "[9223372036854775807,9]", "[1]", "/inputs/0/shape"),
            ("FP32", "[2]", "[1]", "/inputs/0/data: input `x` of shape [2] takes 2 elements, got 1"),
            ("FP32", "[1]", "[1,2]", "/inputs/0/data: input `x` of shape [1] takes 1 elements, got 2"),
            ("FP32", "[1]", r#"["1"]"#, "/inputs/0/data: input `x`: expected FP32, got a string"),
            ("FP32", "[1]", "[null]", "/inputs/0/data: input `x`: expected FP32, got null"),
            ("FP32", "[1]", "[{}]", "/inputs/0/data: input `x`: expected FP32, got an object"),
            ("UINT8", "[1]", "[256]", "/inputs/0/data: input `x`: 256 is out of the range of UINT8"),
            ("UINT8", "[1]", "[-1]", "/inputs/0/data: input `x`: -1 is out of the range of UINT8"),
            ("INT64", "[1]", "[9223372036854775808]", "is out of the range of INT64"),
            ("INT64", "[1]", "[1.5]", "/inputs/0/data: input `x`: expected INT64, got the number 1.5"),
            ("BOOL", "[1]", "[1]", "/inputs/0/data: input `x`: expected BOOL, got a number"),
            ("FP32", "[1]", "[NaN]", "expected the JSON body"),
            ("FP32", "[1]", "[1e39]", "is out of the range of FP32"),
            ("FP16", "[1]", "[70000]", "70000 is out of the range of FP16"),
            ("FP32", "[1000000000000]", "[1]", "takes 1000000000000 elements, got 1"),
        ] {
            let error = decode_one(datatype, shape, data).unwrap_err();
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(decode_one("FP32", "[1]", &deep).unwrap_err().contains("nested too deeply"));
    }

    #[test]
    fn what_json_has_no_number_for_is_null() {
        let data = [f32::NAN, f32::INFINITY, 1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = Tensor { name: "y".to_owned(), datatype: Datatype::Fp32, shape: vec![3], data };
        assert!(encode("m", "1", Some("7"), &[tensor]).unwrap().ends_with(r#""data":[null,null,1.0]}]}"#));
    }
}
