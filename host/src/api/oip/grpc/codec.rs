//! Messages are measured before they are decoded: an element of two bytes would become hundreds in memory.

use std::any::TypeId;
use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use super::message::ModelInferRequest;

/// Fields of a message, each element of a list counted. Arbitrary: some times the inputs and outputs of the largest model.
const FIELDS: usize = 8192;

/// Strings of all inputs that come as lists. Arbitrary; more go as raw bytes.
const STRINGS: usize = 1 << 20;

/// Bytes of a shape: 32 extents of ten bytes each.
const SHAPE_BYTES: usize = 320;

/// Of `ModelInferRequest`, its inputs and their contents, by their numbers in `proto/inference.proto`.
const INPUTS: u32 = 5;
const SHAPE: u32 = 3;
const CONTENTS: u32 = 5;
const LENGTH_DELIMITED: u32 = 2;

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
    let mut strings = 0;
    each(message, FIELDS, |number, input| {
        if !is_infer || number != INPUTS {
            return Ok(());
        }
        each(input, FIELDS, |number, field| match number {
            SHAPE if field.len() > SHAPE_BYTES => Err("a shape has more than 32 extents".to_owned()),
            CONTENTS => each(field, STRINGS, |_, _| {
                strings += 1;
                if strings > STRINGS { Err(format!("more than {STRINGS} strings: send them in `raw_input_contents`")) } else { Ok(()) }
            }),
            _ => Ok(()),
        })
    })
}

/// Calls `take` for every field with a length; what is no message is left to who decodes it.
fn each(mut message: &[u8], most: usize, mut take: impl FnMut(u32, &[u8]) -> Result<(), String>) -> Result<(), String> {
    let mut fields = 0;
    while !message.is_empty() {
        fields += 1;
        if fields > most {
            return Err(format!("the message has more than {most} elements"));
        }
        let Some(key) = varint(&mut message) else { return Ok(()) };
        let (number, kind) = ((key >> 3) as u32, (key & 7) as u32);
        let length = match kind {
            0 => varint(&mut message).map(|_| 0),
            1 => Some(8),
            LENGTH_DELIMITED => varint(&mut message).and_then(|length| usize::try_from(length).ok()),
            5 => Some(4),
            _ => None,
        };
        let Some((field, rest)) = length.and_then(|length| message.split_at_checked(length)) else { return Ok(()) };
        message = rest;
        if kind == LENGTH_DELIMITED {
            take(number, field)?;
        }
    }
    Ok(())
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
        for broken in [&[0x2a, 0x05, 1][..], &[0xff; 12], &[0x2b]] {
            assert_eq!(measure(broken, true), Ok(()), "left to the decoder");
        }
    }
}
