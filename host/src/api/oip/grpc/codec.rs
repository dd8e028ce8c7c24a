//! Messages are measured before they are decoded: an element of two bytes would become hundreds in memory.

use std::any::TypeId;
use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use super::message::ModelInferRequest;

/// Messages, maps' entries and strings of a message in all. Arbitrary: some times the inputs and outputs of the largest model.
const FIELDS: usize = 8192;

/// Strings of all inputs that come as lists. Arbitrary; more go as raw bytes.
const STRINGS: usize = 1 << 20;

/// Bytes in memory of all whole numbers that come as lists: of a byte on the wire, some become eight. Arbitrary; more go as raw
/// bytes.
const NUMBERS: usize = 256 << 20;

/// Extents of an input.
const EXTENTS: usize = 32;

/// Wire types.
const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const FIXED_32: u32 = 5;

/// Prost's codec, with bounds.
pub(super) struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> Codec for BoundedCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

/// Decodes what keeps within the bounds.
pub(super) struct BoundedDecoder<U>(PhantomData<U>);

impl<U: Message + Default + 'static> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        use bytes::Buf as _;
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        measure(&bytes, TypeId::of::<U>() == TypeId::of::<ModelInferRequest>()).map_err(Status::invalid_argument)?;
        U::decode(bytes).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

fn measure(message: &[u8], is_infer: bool) -> Result<(), String> {
    let part = if is_infer { Part::Request } else { Part::Other };
    Measure::default().walk(part, message)
}

/// A message, by what its fields become in memory. Numbers of fields are those of `proto/inference.proto`.
#[derive(Clone, Copy)]
enum Part {
    Request,
    Input,
    Contents,
    /// Maps' entries and parameters too: what repeats in them replaces what came before.
    Other,
}

impl Part {
    /// The message that a field holds.
    fn field(self, number: u32) -> Self {
        match (self, number) {
            (Self::Request, 5) => Self::Input,
            (Self::Input, 5) => Self::Contents,
            _ => Self::Other,
        }
    }
}

/// What was counted so far.
#[derive(Default)]
struct Measure {
    fields: usize,
    strings: usize,
    numbers: usize,
    /// Of the input at hand.
    extents: usize,
}

impl Measure {
    /// Whatever can't be walked is refused: the decoder is no stricter.
    fn walk(&mut self, part: Part, mut message: &[u8]) -> Result<(), String> {
        let broken = || "the message is no protocol buffer".to_owned();
        while !message.is_empty() {
            let key = varint(&mut message).ok_or_else(broken)?;
            let (number, kind) = ((key >> 3) as u32, (key & 7) as u32);
            let length = match kind {
                VARINT => varint(&mut message).map(|_| 0),
                FIXED_64 => Some(8),
                LENGTH_DELIMITED => varint(&mut message).and_then(|length| usize::try_from(length).ok()),
                FIXED_32 => Some(4),
                // Groups are in no message of ours, and hide what follows them.
                _ => None,
            };
            let (field, rest) = length.and_then(|length| message.split_at_checked(length)).ok_or_else(broken)?;
            message = rest;
            self.count(part, number, kind, field)?;
        }
        Ok(())
    }

    fn count(&mut self, part: Part, number: u32, kind: u32, field: &[u8]) -> Result<(), String> {
        let packed = || if kind == LENGTH_DELIMITED { field.iter().filter(|byte| **byte < 0x80).count() } else { 1 };
        match (part, number) {
            (Part::Input, 3) => {
                self.extents += packed();
                if self.extents > EXTENTS {
                    return Err(format!("a shape has more than {EXTENTS} extents"));
                }
            }
            (Part::Contents, 8) => {
                self.strings += 1;
                if self.strings > STRINGS {
                    return Err(format!("more than {STRINGS} strings: send them in `raw_input_contents`"));
                }
            }
            // Floating-point numbers take no more in memory.
            (Part::Contents, 6 | 7) => {}
            (Part::Contents, _) => {
                let size = match number {
                    1 => 1,
                    2 | 4 => 4,
                    _ => 8,
                };
                self.numbers = self.numbers.saturating_add(size * packed());
                if self.numbers > NUMBERS {
                    return Err(format!("numbers that take more than {NUMBERS} bytes: send them in `raw_input_contents`"));
                }
            }
            _ if kind == LENGTH_DELIMITED => {
                self.fields += 1;
                if self.fields > FIELDS {
                    return Err(format!("the message has more than {FIELDS} elements"));
                }
                let inner = part.field(number);
                if matches!(inner, Part::Input) {
                    self.extents = 0;
                }
                match (part, number) {
                    // Of an output its parameters count.
                    (Part::Request, 6) => return self.walk(Part::Other, field),
                    _ if !matches!(inner, Part::Other) => return self.walk(inner, field),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * at).min(63);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::message::InferTensorContents;
    use super::super::message::model_infer_request::InferInputTensor;
    use super::*;

    #[test]
    fn what_would_grow_is_refused_before_it_does() {
        let good = ModelInferRequest {
            inputs: vec![InferInputTensor { name: "x".to_owned(), shape: vec![1; 32], ..Default::default() }],
            raw_input_contents: vec![vec![0; 100_000]],
            ..Default::default()
        };
        assert_eq!(measure(&good.encode_to_vec(), true), Ok(()));
        let many = [0x2a, 0].repeat(1 << 20);
        assert!(measure(&many, true).unwrap_err().contains("more than 8192 elements"));
        let long = ModelInferRequest { inputs: vec![InferInputTensor { shape: vec![1; 400], ..Default::default() }], ..Default::default() };
        assert!(measure(&long.encode_to_vec(), true).unwrap_err().contains("32 extents"));
        let contents = InferTensorContents { bytes_contents: vec![Vec::new(); STRINGS + 1], ..Default::default() };
        let strings = ModelInferRequest { inputs: vec![InferInputTensor { contents: Some(contents), ..Default::default() }], ..Default::default() };
        assert!(measure(&strings.encode_to_vec(), true).is_err());
        for broken in [&[0x2a, 0x05, 1][..], &[0xff; 12], &[0x2b], &[&[0xa3, 0x06, 0xa4, 0x06][..], &many].concat()] {
            assert_eq!(measure(broken, true), Err("the message is no protocol buffer".to_owned()));
        }
        // Parameters of one output, and of each of many inputs.
        let parameter = |tag: u8| [tag, 0].repeat(FIELDS);
        let output = [&[0x32][..], &length(2 * FIELDS), &parameter(0x12)].concat();
        assert!(measure(&output, true).unwrap_err().contains("elements"));
        let input = |content: &[u8]| [&[0x2a][..], &length(content.len()), content].concat();
        let inputs = input(&[0x22, 0].repeat(FIELDS / 2)).repeat(3);
        assert!(measure(&inputs, true).unwrap_err().contains("elements"));
        // A shape in pieces, packed and not.
        assert!(measure(&input(&[0x1a, 1, 1].repeat(33)), true).unwrap_err().contains("32 extents"));
        assert!(measure(&input(&[0x18, 1].repeat(33)), true).unwrap_err().contains("32 extents"));
        assert_eq!(measure(&input(&[0x18, 1].repeat(32)).repeat(2), true), Ok(()), "each has its own");
        let numbers = InferTensorContents { int64_contents: vec![1; NUMBERS / 8 + 1], ..Default::default() };
        let many = ModelInferRequest { inputs: vec![InferInputTensor { contents: Some(numbers), ..Default::default() }], ..Default::default() };
        assert!(measure(&many.encode_to_vec(), true).unwrap_err().contains("numbers"));
    }

    fn length(mut length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while length > 0x7f {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes
    }
}
