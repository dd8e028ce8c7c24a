//! The elements of a tensor, flat or nested, from JSON straight into its bytes.

use super::reader::{NESTING, Outcome, Reader, is_written_as_json};
use crate::tensor::{self, Datatype};

/// What is read into.
pub(super) struct Sink<'a> {
    pub(super) data: &'a mut Vec<u8>,
    /// Elements that the shape tells; those beyond are counted, and not kept.
    pub(super) expected: usize,
    /// Strings are base64.
    pub(super) base64: bool,
}

/// Reads an array of elements, or a single one; gives how many there were.
pub(super) fn read(reader: &mut Reader<'_>, datatype: Datatype, sink: &mut Sink<'_>) -> Outcome<usize> {
    match datatype {
        Datatype::Bool => all(reader, sink, boolean),
        Datatype::Uint8 => all(reader, sink, |reader, sink| integer::<u8>(reader, sink, datatype)),
        Datatype::Uint16 => all(reader, sink, |reader, sink| integer::<u16>(reader, sink, datatype)),
        Datatype::Uint32 => all(reader, sink, |reader, sink| integer::<u32>(reader, sink, datatype)),
        Datatype::Uint64 => all(reader, sink, |reader, sink| integer::<u64>(reader, sink, datatype)),
        Datatype::Int8 => all(reader, sink, |reader, sink| integer::<i8>(reader, sink, datatype)),
        Datatype::Int16 => all(reader, sink, |reader, sink| integer::<i16>(reader, sink, datatype)),
        Datatype::Int32 => all(reader, sink, |reader, sink| integer::<i32>(reader, sink, datatype)),
        Datatype::Int64 => all(reader, sink, |reader, sink| integer::<i64>(reader, sink, datatype)),
        Datatype::Fp16 => all(reader, sink, |reader, sink| {
            float::<f64>(reader, datatype, |value| {
                let half = half::f16::from_f64(value);
                sink.put(&half.to_le_bytes());
                half.is_finite()
            })
        }),
        Datatype::Bf16 => all(reader, sink, |reader, sink| {
            float::<f64>(reader, datatype, |value| {
                let half = half::bf16::from_f64(value);
                sink.put(&half.to_le_bytes());
                half.is_finite()
            })
        }),
        Datatype::Fp32 => all(reader, sink, |reader, sink| {
            float::<f32>(reader, datatype, |value| {
                sink.put(&value.to_le_bytes());
                value.is_finite()
            })
        }),
        Datatype::Fp64 => all(reader, sink, |reader, sink| {
            float::<f64>(reader, datatype, |value| {
                sink.put(&value.to_le_bytes());
                value.is_finite()
            })
        }),
        Datatype::Bytes => all(reader, sink, string),
    }
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }
}

/// Reads elements by `one`, whatever the nesting of the arrays around them.
fn all<'s>(reader: &mut Reader<'_>, sink: &mut Sink<'s>, one: impl Fn(&mut Reader<'_>, &mut Sink<'s>) -> Outcome<()>) -> Outcome<usize> {
    let mut got = 0;
    let mut depth = 0;
    // An array may end where it has just begun, and must not end behind a comma.
    let mut may_end = false;
    loop {
        match reader.peek() {
            Some(b'[') => {
                if depth == NESTING {
                    return Err(format!("arrays are nested more than {NESTING} deep{}", reader.place()));
                }
                depth += 1;
                may_end = true;
                reader.skip(1);
                continue;
            }
            Some(b']') if may_end => {}
            _ => {
                let kept = sink.data.len();
                one(reader, sink)?;
                got += 1;
                if got > sink.expected {
                    sink.data.truncate(kept);
                }
                if depth == 0 {
                    return Ok(got);
                }
            }
        }
        // Behind an element or an array: the ends of arrays, then a comma.
        while reader.take(b']') {
            depth -= 1;
            if depth == 0 {
                return Ok(got);
            }
        }
        if !reader.take(b',') {
            return Err(reader.unexpected("`,` or `]`"));
        }
        may_end = false;
    }
}

fn boolean(reader: &mut Reader<'_>, sink: &mut Sink<'_>) -> Outcome<()> {
    let value = reader.word("true");
    if !value && !reader.word("false") {
        return Err(reader.unexpected("BOOL"));
    }
    sink.put(&[u8::from(value)]);
    Ok(())
}

fn string(reader: &mut Reader<'_>, sink: &mut Sink<'_>) -> Outcome<()> {
    use base64::Engine as _;
    if reader.peek() != Some(b'"') {
        return Err(reader.unexpected("BYTES"));
    }
    let text = reader.string()?;
    let bytes = if sink.base64 {
        let decoded = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
        decoded.map_err(|error| format!("expected base64, as `content_type` says: {error}{}", reader.place()))?
    } else {
        text.into_owned().into_bytes()
    };
    tensor::push_byte_string(sink.data, &bytes).map_err(|error| error.to_string())
}

/// Whole numbers that a tensor can hold.
trait Integer: Sized + Copy {
    /// None where it does not fit.
    fn of(negative: bool, magnitude: u64) -> Option<Self>;
    fn put(self, sink: &mut Sink<'_>);
}

macro_rules! integers {
    ($($ty:ty),+) => {
        $(impl Integer for $ty {
            #[inline]
            fn of(negative: bool, magnitude: u64) -> Option<Self> {
                if negative { Self::try_from(0i128 - i128::from(magnitude)).ok() } else { Self::try_from(magnitude).ok() }
            }

            #[inline]
            fn put(self, sink: &mut Sink<'_>) {
                sink.put(&self.to_le_bytes());
            }
        })+
    };
}
integers!(u8, u16, u32, u64, i8, i16, i32, i64);

#[inline]
fn integer<N: Integer>(reader: &mut Reader<'_>, sink: &mut Sink<'_>, datatype: Datatype) -> Outcome<()> {
    let rest = reader.rest();
    let negative = rest.first() == Some(&b'-');
    let digits = &rest[usize::from(negative)..];
    let mut magnitude = 0u64;
    let mut length = 0;
    let mut fits = true;
    while let Some(digit) = digits.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        let next = magnitude.checked_mul(10).and_then(|magnitude| magnitude.checked_add(u64::from(digit)));
        fits &= next.is_some();
        magnitude = next.unwrap_or(0);
        length += 1;
    }
    let more = matches!(digits.get(length), Some(b'.' | b'e' | b'E' | b'+' | b'-'));
    if length == 0 || more || (length > 1 && digits[0] == b'0') {
        return Err(reader.unexpected(datatype.name()));
    }
    let Some(value) = N::of(negative, magnitude).filter(|_| fits) else {
        return Err(format!("{} is out of the range of {datatype}", reader.number_shown()));
    };
    value.put(sink);
    reader.skip(length + usize::from(negative));
    Ok(())
}

/// Numbers, and what stands for those that JSON does not know. `put` tells whether what it put is finite.
#[inline]
fn float<F: fast_float2::FastFloat + From<f32>>(reader: &mut Reader<'_>, datatype: Datatype, put: impl FnOnce(F) -> bool) -> Outcome<()> {
    let rest = reader.rest();
    let negative = rest.first() == Some(&b'-');
    match rest.get(usize::from(negative)) {
        Some(b'0'..=b'9') => {
            let Ok((value, length)) = fast_float2::parse_partial::<F, _>(rest) else {
                return Err(reader.unexpected(datatype.name()));
            };
            let digits = &rest[usize::from(negative)..length];
            if !is_written_as_json(digits) {
                return Err(reader.unexpected(datatype.name()));
            }
            if !put(value) {
                return Err(format!("{} is out of the range of {datatype}", reader.number_shown()));
            }
            reader.skip(length);
            Ok(())
        }
        _ => {
            for (word, value) in [("null", f32::NAN), ("NaN", f32::NAN), ("Infinity", f32::INFINITY), ("-Infinity", f32::NEG_INFINITY)] {
                if reader.word(word) {
                    put(value.into());
                    return Ok(());
                }
            }
            Err(reader.unexpected(datatype.name()))
        }
    }
}
