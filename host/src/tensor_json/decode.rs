//! An infer request from its JSON.

use std::time::Duration;

use super::elements::{self, Sink};
use super::reader::Reader;
use super::{Malformed, Request, Wanted};
use crate::tensor::{self, Datatype, Tensor};

/// Extents of a shape. Arbitrary: no runtime takes tensors of a higher rank.
const RANK: usize = 32;

/// Inputs or outputs of one request. Arbitrary, far above any model's.
const TENSORS: usize = 1024;

impl From<String> for Malformed {
    fn from(message: String) -> Self {
        Self { pointer: String::new(), message }
    }
}

/// Reads an infer request. Keys that the protocol does not know are read over.
///
/// # Errors
/// [`Malformed`], with a pointer to what is wrong.
pub fn decode(text: &str) -> Result<Request, Malformed> {
    let mut reader = Reader::new(text);
    let mut request = Request::default();
    let mut inputs = false;
    let whole = read(&mut reader, &mut request, &mut inputs).and_then(|()| Ok(reader.end()?));
    whole.and_then(|()| if inputs { Ok(()) } else { Err("`inputs` is missing".to_owned().into()) }).map_err(|error| {
        if !error.pointer.is_empty() {
            return error;
        }
        let expected = "expected the JSON body of an inference request, {\"inputs\": [{\"name\", \"datatype\", \"shape\", \"data\"}]}";
        Malformed { message: format!("{expected}: {}", error.message), ..error }
    })?;
    Ok(request)
}

fn read(reader: &mut Reader<'_>, request: &mut Request, inputs: &mut bool) -> Result<(), Malformed> {
    reader.object(|reader, key| {
        match key {
            "id" => request.id = optional(reader, |reader| reader.string())?.filter(|id| !id.is_empty()).map(std::borrow::Cow::into_owned),
            "parameters" => at("/parameters", parameters(reader, request))?,
            "inputs" => {
                if std::mem::replace(inputs, true) {
                    return Err(refused("/inputs", "`inputs` stands twice"));
                }
                reader.array(|reader, place| {
                    bounded(place, "inputs")?;
                    let pointer = format!("/inputs/{place}");
                    at(&pointer, input(reader, place, request))
                })?;
            }
            "outputs" => {
                let mut wanted = Vec::new();
                optional(reader, |reader| {
                    reader.array(|reader, place| {
                        bounded(place, "outputs")?;
                        let pointer = format!("/outputs/{place}");
                        wanted.push(at(&pointer, output(reader))?);
                        Ok::<_, Malformed>(())
                    })
                })?;
                request.outputs = wanted;
            }
            _ => reader.value()?,
        }
        Ok(())
    })
}

fn bounded(place: usize, what: &str) -> Result<(), Malformed> {
    if place < TENSORS { Ok(()) } else { Err(Malformed { pointer: format!("/{what}"), message: format!("expected at most {TENSORS} {what}") }) }
}

/// Puts a pointer before what has none yet, or one relative to it.
fn at<T>(pointer: &str, outcome: Result<T, Malformed>) -> Result<T, Malformed> {
    outcome.map_err(|error| Malformed { pointer: format!("{pointer}{}", error.pointer), message: error.message })
}

/// None for null.
fn optional<'a, T, E>(reader: &mut Reader<'a>, read: impl FnOnce(&mut Reader<'a>) -> Result<T, E>) -> Result<Option<T>, E> {
    if reader.word("null") { Ok(None) } else { read(reader).map(Some) }
}

fn refused(pointer: &str, message: impl Into<String>) -> Malformed {
    Malformed { pointer: pointer.to_owned(), message: message.into() }
}

fn parameters(reader: &mut Reader<'_>, request: &mut Request) -> Result<(), Malformed> {
    if reader.word("null") {
        return Ok(());
    }
    reader.object(|reader, key| {
        let pointer = format!("/{key}");
        match key {
            "priority" => request.priority = at(&pointer, number(reader))?,
            "timeout" => request.timeout = Some(Duration::from_micros(at(&pointer, number(reader))?)).filter(|timeout| !timeout.is_zero()),
            "binary_data_output" => request.binary_outputs = at(&pointer, boolean(reader))?,
            "sequence_id" if !reader.word("0") && !reader.word("\"\"") => {
                return Err(refused(&pointer, "sequences of requests are not there in this version: each request stands by itself"));
            }
            "sequence_id" => {}
            _ => reader.value()?,
        }
        Ok(())
    })
}

fn number(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    Ok(reader.unsigned("a whole number of zero or more")?)
}

fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(reader.string()?.into_owned())
}

fn boolean(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    let value = reader.word("true");
    if value || reader.word("false") { Ok(value) } else { Err(reader.unexpected("`true` or `false`").into()) }
}

/// An input's keys, in whatever order they come.
#[derive(Default)]
struct Input {
    name: Option<String>,
    datatype: Option<Datatype>,
    shape: Option<Vec<i64>>,
    /// Where the data begins, where it came before what tells how to read it.
    data: Option<usize>,
    /// The elements.
    read: Option<Vec<u8>>,
    content_type: Option<String>,
    follows: Option<usize>,
    /// Its data is null.
    null: bool,
}

fn input(reader: &mut Reader<'_>, place: usize, request: &mut Request) -> Result<(), Malformed> {
    let mut input = Input::default();
    reader.object(|reader, key| {
        match key {
            "name" => input.name = Some(at("/name", text(reader))?),
            "datatype" => input.datatype = Some(at("/datatype", datatype(reader))?),
            "shape" => input.shape = Some(at("/shape", shape(reader))?),
            "parameters" => at("/parameters", input_parameters(reader, &mut input))?,
            "data" => {
                // What `content_type` says of it may come later: strings wait for it.
                if input.name.is_some() && input.datatype.is_some_and(|datatype| datatype != Datatype::Bytes) && input.shape.is_some() {
                    input.elements(reader)?;
                } else {
                    reader.peek();
                    input.data = Some(reader.at());
                    at("/data", reader.value().map_err(Malformed::from))?;
                }
            }
            _ => reader.value()?,
        }
        Ok::<_, Malformed>(())
    })?;
    if let Some(data) = input.data {
        let end = reader.at();
        reader.go_to(data);
        input.elements(reader)?;
        reader.go_to(end);
    }
    let missing = |what: &str| refused("", format!("`{what}` is missing; an input is {{\"name\", \"datatype\", \"shape\", \"data\"}}"));
    let Input { name, datatype, shape, read, content_type, follows, null, .. } = input;
    let (name, datatype, shape) =
        (name.ok_or_else(|| missing("name"))?, datatype.ok_or_else(|| missing("datatype"))?, shape.ok_or_else(|| missing("shape"))?);
    let data = match (read, follows) {
        (Some(data), None) => data,
        (None, Some(bytes)) => {
            request.follow.push((place, bytes));
            Vec::new()
        }
        (Some(_), Some(_)) => return Err(refused("", format!("input `{name}` has both `data` and `binary_data_size`: expected one of them"))),
        (None, None) if null && tensor::elements(&shape) == Some(0) => Vec::new(),
        (None, None) if null => return Err(refused("/data", format!("input `{name}` of shape {shape:?} takes elements, got null"))),
        (None, None) => return Err(missing("data")),
    };
    request.inputs.push(Tensor { name, datatype, shape, data });
    request.content_types.push(content_type);
    Ok(())
}

impl Input {
    fn elements(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let (Some(name), Some(datatype), Some(shape)) = (&self.name, self.datatype, &self.shape) else { return Ok(()) };
        let elements = tensor::elements(shape).ok_or_else(|| refused("/shape", format!("expected extents of zero or more, got {shape:?}")))?;
        // What clients write of a tensor without elements, whether its bytes follow or not.
        if reader.word("null") {
            self.null = true;
            return Ok(());
        }
        // The text bounds the number of elements, whatever the shape claims: each has a comma behind it.
        let room = elements.min(reader.rest().len() / 2 + 1);
        let mut data = Vec::with_capacity(room.saturating_mul(datatype.size().unwrap_or(size_of::<u32>())));
        let base64 = self.content_type.as_deref() == Some("base64");
        let mut sink = Sink { data: &mut data, expected: elements, base64 };
        let got = elements::read(reader, datatype, &mut sink).map_err(|error| refused("/data", format!("input `{name}`: {error}")))?;
        if got != elements {
            return Err(refused("/data", format!("input `{name}` of shape {shape:?} takes {elements} elements, got {got}")));
        }
        self.read = Some(data);
        Ok(())
    }
}

fn input_parameters(reader: &mut Reader<'_>, input: &mut Input) -> Result<(), Malformed> {
    if reader.word("null") {
        return Ok(());
    }
    reader.object(|reader, key| {
        let pointer = format!("/{key}");
        match key {
            "binary_data_size" => {
                let size = at(&pointer, number(reader))?;
                input.follows = Some(usize::try_from(size).map_err(|_| refused(&pointer, "expected a number of bytes that fits into memory"))?);
            }
            "content_type" => input.content_type = Some(at(&pointer, text(reader))?),
            "shared_memory_region" => return Err(refused(&pointer, "memory is not shared with clients here: send the data with the request")),
            _ => reader.value()?,
        }
        Ok(())
    })
}

fn datatype(reader: &mut Reader<'_>) -> Result<Datatype, Malformed> {
    let name = reader.string()?;
    Datatype::of_name(&name).ok_or_else(|| {
        let names: Vec<_> = Datatype::ALL.iter().map(|datatype| datatype.name()).collect();
        refused("", format!("expected one of {}, got `{name}`", names.join(", ")))
    })
}

fn shape(reader: &mut Reader<'_>) -> Result<Vec<i64>, Malformed> {
    let mut shape = Vec::new();
    reader.array(|reader, place| {
        if place == RANK {
            return Err(refused("", format!("expected at most {RANK} extents")));
        }
        shape.push(reader.signed("a whole number")?);
        Ok(())
    })?;
    if tensor::elements(&shape).is_none() {
        return Err(refused("", format!("expected extents of zero or more, got {shape:?}")));
    }
    Ok(shape)
}

fn output(reader: &mut Reader<'_>) -> Result<Wanted, Malformed> {
    let mut name = None;
    let mut binary = None;
    reader.object(|reader, key| {
        match key {
            "name" => name = Some(at("/name", text(reader))?),
            "parameters" if !reader.word("null") => {
                reader.object(|reader, key| {
                    let pointer = format!("/parameters/{key}");
                    match key {
                        "binary_data" => binary = Some(at(&pointer, boolean(reader))?),
                        "classification" => {
                            return Err(refused(
                                &pointer,
                                "classes are not picked here: ask for the scores, or put the transform `classify` around the model",
                            ));
                        }
                        "shared_memory_region" => return Err(refused(&pointer, "memory is not shared with clients here")),
                        _ => reader.value()?,
                    }
                    Ok::<_, Malformed>(())
                })?;
            }
            "parameters" => {}
            _ => reader.value()?,
        }
        Ok::<_, Malformed>(())
    })?;
    let name = name.ok_or_else(|| refused("", "`name` is missing; an output is {\"name\"}"))?;
    Ok(Wanted { name, binary })
}
