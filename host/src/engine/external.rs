//! Refuses models whose parts lie in other files: the runtime would read whatever file of this host they name, another
//! tenant's model perhaps.
//!
//! A walk over the wire format of ONNX's messages, by the numbers of the fields in `onnx.proto` that can hold a tensor. It
//! allocates nothing, and is no stricter than the runtime's own reader: what has another type on the wire than it should is an
//! unknown field to both.

use std::fs::File;
use std::path::Path;

use super::backend::BackendError;

/// Messages within messages; the runtime's reader takes 100.
const NESTING: usize = 100;

/// Messages that are looked into: nodes, attributes, tensors. A node costs the runtime 2 KiB (measured with 1.31), though it may
/// take two bytes in the file. Arbitrary: the largest honest graphs have some ten thousand nodes.
const MESSAGES: usize = 2_000_000;

/// The same of a model that a component brings along within a request. Arbitrary.
const MESSAGES_BROUGHT: usize = 20_000;

/// Wire types.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;
const GROUP: u64 = 3;
const END_GROUP: u64 = 4;
const FIXED_32: u64 = 5;

/// Messages that can hold a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    TrainingInfo,
    Function,
    Graph,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
}

impl Message {
    /// What a field holds, where that matters.
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::TrainingInfo, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::TrainingInfo,
            (Self::Model, 25) => Self::Function,
            (Self::Function, 7) | (Self::Graph, 1) => Self::Node,
            (Self::Function, 11) | (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            _ => return None,
        })
    }
}

/// What a walk came to before its end.
enum Stop {
    /// A tensor lies elsewhere; its name, where that came first.
    Elsewhere(String),
    Malformed(&'static str),
}

struct Walk {
    messages: usize,
    most: usize,
    /// A function may call others twice each: a few bytes become any number of nodes when the runtime expands them.
    may_have_functions: bool,
    has_graph: bool,
}

/// Checks a model's bytes.
///
/// # Errors
/// Where a tensor of theirs lies elsewhere; or where nobody can know, since they are no ONNX.
pub(super) fn check(model: &[u8]) -> Result<(), BackendError> {
    walked(Walk { messages: 0, most: MESSAGES, may_have_functions: true, has_graph: false }, model)
}

/// Checks a model that a component brings along, which may be anybody's.
///
/// # Errors
/// The same, and where it has functions of its own, or very many parts.
pub(super) fn check_brought(model: &[u8]) -> Result<(), BackendError> {
    walked(Walk { messages: 0, most: MESSAGES_BROUGHT, may_have_functions: false, has_graph: false }, model)
}

fn walked(mut walk: Walk, model: &[u8]) -> Result<(), BackendError> {
    let outcome = walk.message(Message::Model, model, NESTING);
    let why = match outcome {
        Ok(()) if walk.has_graph => return Ok(()),
        Ok(()) => "they hold no graph",
        Err(Stop::Malformed(why)) => why,
        Err(Stop::Elsewhere(name)) => {
            return Err(BackendError::Refused(format!(
                "its tensor `{name}` lies in another file, which nothing here is read from: save the model as one file (`save_as_external_data=False`)"
            )));
        }
    };
    Err(BackendError::Refused(format!("expected an ONNX model, got bytes that are none: {why}")))
}

/// Checks a model's file, of which only what is walked over is read: its weights are not; gives its size in bytes.
///
/// # Errors
/// The same, and where it can't be read.
pub(super) fn check_file(file: &Path) -> Result<u64, BackendError> {
    let unreadable = |error: std::io::Error| BackendError::Refused(format!("the model can't be read: {error}"));
    let file = File::open(file).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length == 0 {
        // Nothing can't be mapped.
        check(&[])?;
    }
    #[expect(unsafe_code, reason = "a file that is mapped must not change")]
    // SAFETY: artifacts are written once, under another name, and never changed; whoever runs `bulkhead tune` or `plugin run`
    // on a file and cuts it short meanwhile ends that command. A disk that fails under a mapping ends the process, as it does under
    // the mapped components.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(unreadable)?;
    check(&bytes).map(|()| length)
}

impl Walk {
    fn message(&mut self, kind: Message, mut bytes: &[u8], nesting: usize) -> Result<(), Stop> {
        self.messages += 1;
        if kind == Message::Function && !self.may_have_functions {
            return Err(Stop::Malformed("they define functions, which a model that is brought along may not: inline them before"));
        }
        if self.messages > self.most {
            return Err(Stop::Malformed("they hold more nodes, attributes and tensors than are taken (20 000 of a model that is brought along)"));
        }
        let mut name: &[u8] = &[];
        let mut elsewhere = false;
        while !bytes.is_empty() {
            let tag = varint(&mut bytes)?;
            let number = tag >> 3;
            match tag & 7 {
                VARINT => {
                    let value = varint(&mut bytes)?;
                    // `data_location`: 1 is a file.
                    elsewhere |= kind == Message::Tensor && number == 14 && value != 0;
                }
                FIXED_64 => drop(take(&mut bytes, 8)?),
                FIXED_32 => drop(take(&mut bytes, 4)?),
                LENGTH => {
                    let length = varint(&mut bytes)?;
                    let content = take(&mut bytes, usize::try_from(length).unwrap_or(usize::MAX))?;
                    if kind == Message::Tensor {
                        match number {
                            8 => name = content,
                            // `external_data`.
                            13 => elsewhere = true,
                            _ => {}
                        }
                    } else if let Some(inner) = kind.field(number) {
                        self.has_graph |= kind == Message::Model && inner == Message::Graph;
                        let nesting = nesting.checked_sub(1).ok_or(Stop::Malformed("they are nested too deeply"))?;
                        self.message(inner, content, nesting)?;
                    }
                }
                GROUP | END_GROUP => return Err(Stop::Malformed("they hold groups, which ONNX has none of")),
                _ => return Err(Stop::Malformed("they are no protobuf message")),
            }
        }
        if elsewhere {
            return Err(Stop::Elsewhere(String::from_utf8_lossy(name).chars().take(100).collect()));
        }
        Ok(())
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Stop> {
    let mut value = 0;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first().ok_or(Stop::Malformed("they end too soon"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * at).min(63);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Stop::Malformed("they are no protobuf message"))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Stop> {
    let (head, rest) = bytes.split_at_checked(length).ok_or(Stop::Malformed("they end too soon"))?;
    *bytes = rest;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that holds bytes.
    fn field(number: u64, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for mut value in [number << 3 | LENGTH, content.len() as u64] {
            while value > 0x7f {
                out.push(value as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
        }
        out.extend_from_slice(content);
        out
    }

    fn tensor(rest: &[u8]) -> Vec<u8> {
        [field(8, b"w\xff"), rest.to_vec()].concat()
    }

    fn refused(model: &[u8]) -> String {
        check(model).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_tensor_elsewhere_is_found_wherever_it_hides() {
        let by_data = tensor(&field(13, &field(1, b"location")));
        let by_location = tensor(&[14 << 3, 1]);
        for tensor in [by_data, by_location] {
            let initializer = field(5, &tensor);
            let in_attribute = |attribute: &[u8]| field(7, &field(1, &field(5, attribute)));
            let graph = |content: &[u8]| field(6, content);
            for hiding in [
                field(7, &initializer),
                field(7, &field(15, &field(2, &tensor))),
                in_attribute(&field(5, &tensor)),
                in_attribute(&field(10, &tensor)),
                in_attribute(&field(23, &field(1, &tensor))),
                in_attribute(&graph(&field(1, &field(5, &graph(&initializer))))),
                in_attribute(&field(11, &initializer)),
                [field(7, &[]), field(25, &field(7, &field(5, &field(5, &tensor))))].concat(),
                [field(7, &[]), field(20, &field(2, &initializer))].concat(),
                // Of another type on the wire than it should be: nothing to any reader, so that what follows counts.
                [field(7, &initializer), vec![0xa0, 0x01, 0x00]].concat(),
            ] {
                assert!(refused(&hiding).starts_with("its tensor `w\u{fffd}` lies in another file"), "{}", refused(&hiding));
            }
        }
        assert_eq!(refused(&field(7, &field(5, &tensor(&[14 << 3, 0])))), "");
    }

    #[test]
    fn what_is_no_onnx_is_refused() {
        let mut deep = field(5, &tensor(&[]));
        for _ in 0..200 {
            deep = field(1, &field(5, &field(6, &deep)));
        }
        for bytes in [&b""[..], b"ORTM....", b"\x08\x01", &[0xff; 64], &field(7, &[0x2a, 0x7f]), &field(7, &deep), &[0x0b]] {
            assert!(refused(bytes).starts_with("expected an ONNX model"), "{}", refused(bytes));
        }
        let crowd = field(7, &field(5, &[]).repeat(MESSAGES + 1));
        assert!(refused(&crowd).contains("more nodes, attributes and tensors"));
        // Of a model that somebody brings along less is taken.
        let brought = |bytes: &[u8]| check_brought(bytes).err().map(|error| error.to_string()).unwrap_or_default();
        let many = field(7, &field(5, &[]).repeat(MESSAGES_BROUGHT + 1));
        assert!(refused(&many).is_empty() && brought(&many).contains("more nodes, attributes and tensors"));
        let functions = [field(7, &[]), field(25, &[])].concat();
        assert!(refused(&functions).is_empty() && brought(&functions).contains("inline them"));
    }
}
