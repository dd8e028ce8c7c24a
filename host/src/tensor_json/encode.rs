//! An infer response as JSON.

use crate::tensor::{self, Datatype, Tensor};

/// An infer response.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Version of the model.
    pub version: &'a str,
    /// The request's own, echoed.
    pub id: Option<&'a str>,
    /// The outputs.
    pub outputs: &'a [Tensor],
    /// Which of the outputs follow the JSON as bytes; those beyond its end don't.
    pub follow: &'a [bool],
}

/// Writes an infer response.
///
/// # Errors
/// Names the output that JSON can't carry.
pub fn encode(answer: &Answer<'_>) -> Result<String, Unwritable> {
    let follows = |at: usize| answer.follow.get(at).copied().unwrap_or(false);
    let bytes: usize = answer.outputs.iter().enumerate().filter(|(at, _)| !follows(*at)).map(|(_, output)| output.data.len()).sum();
    let mut out = String::with_capacity(128 + answer.outputs.len() * 96 + bytes * 3);
    out.push_str("{\"model_name\":");
    string(&mut out, answer.model);
    out.push_str(",\"model_version\":");
    string(&mut out, answer.version);
    if let Some(id) = answer.id {
        out.push_str(",\"id\":");
        string(&mut out, id);
    }
    out.push_str(",\"outputs\":[");
    for (at, output) in answer.outputs.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str("{\"name\":");
        string(&mut out, &output.name);
        out.push_str(",\"datatype\":\"");
        out.push_str(output.datatype.name());
        out.push_str("\",\"shape\":[");
        join(&mut out, output.shape.iter(), |out, extent| out.push_str(itoa::Buffer::new().format(*extent)));
        if follows(at) {
            out.push_str("],\"parameters\":{\"binary_data_size\":");
            out.push_str(itoa::Buffer::new().format(output.data.len()));
            out.push_str("}}");
        } else {
            out.push_str("],\"data\":[");
            elements(&mut out, output)?;
            out.push_str("]}");
        }
    }
    out.push_str("]}");
    Ok(out)
}

/// An output that JSON can't carry.
#[derive(Debug, thiserror::Error)]
#[error("output `{name}` holds bytes that are no UTF-8, which JSON can't carry: ask for it as binary data, through `/v2` or gRPC")]
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
