//! What a request, an answer, or a step between them carries.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::bulkhead::plugin::types::{self as wit};
use crate::bindings::exports::bulkhead::plugin::transformer as export;
use crate::{Error, Result, Tensor};

/// Bytes with their `content_type`, such as an image.
pub type Blob = wit::Blob;

/// What a request, an answer, or a step between them carries.
#[derive(Debug)]
pub enum Payload {
    /// JSON text.
    Json(String),
    /// Named tensors.
    Tensors(Tensors),
    /// Bytes with their content type.
    Blob(Blob),
}

impl Payload {
    /// JSON text of a value.
    ///
    /// # Errors
    /// Where the value has no JSON form (a map with keys that are no strings).
    pub fn from_json(value: &impl Serialize) -> Result<Self> {
        let text = serde_json::to_string(value).map_err(|error| Error::internal(format!("an answer has no JSON form: {error}")))?;
        Ok(Self::Json(text))
    }

    /// The JSON body as a typed value.
    ///
    /// # Errors
    /// [`Error::Invalid`] with a pointer to the value that did not fit, or where the body is not JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        match self {
            Self::Json(text) => Error::from_json(text),
            other => Err(other.is_not("JSON")),
        }
    }

    /// The tensors.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the payload is something else.
    pub fn into_tensors(self) -> Result<Tensors> {
        match self {
            Self::Tensors(tensors) => Ok(tensors),
            other => Err(other.is_not("tensors")),
        }
    }

    /// The error of a payload that is not of the `expected` kind.
    #[must_use]
    pub fn is_not(&self, expected: &str) -> Error {
        let came = match self {
            Self::Json(_) => "JSON".to_owned(),
            Self::Tensors(_) => "tensors".to_owned(),
            Self::Blob(blob) => format!("a body of type `{}`", blob.content_type),
        };
        Error::invalid("", format!("expected {expected}, got {came}"))
    }
}

/// Named tensors, in the order in which they came.
#[derive(Debug, Default)]
pub struct Tensors(Vec<Tensor>);

impl Tensors {
    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is none, naming those there are.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.0.iter().find(|tensor| tensor.name() == name).ok_or_else(|| self.lacks(name))
    }

    /// The tensor of that name, to be changed.
    ///
    /// # Errors
    /// As [`Tensors::get`].
    pub fn get_mut(&mut self, name: &str) -> Result<&mut Tensor> {
        match self.0.iter().position(|tensor| tensor.name() == name) {
            Some(at) => Ok(&mut self.0[at]),
            None => Err(self.lacks(name)),
        }
    }

    fn lacks(&self, name: &str) -> Error {
        let have: Vec<_> = self.0.iter().map(|tensor| format!("`{}`", tensor.name())).collect();
        Error::invalid("", format!("expected a tensor `{name}`, got {}", if have.is_empty() { "none".to_owned() } else { have.join(", ") }))
    }

    /// In the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &Tensor> {
        self.0.iter()
    }

    /// Adds one at the end.
    pub fn push(&mut self, tensor: Tensor) {
        self.0.push(tensor);
    }
}

impl<'t> IntoIterator for &'t Tensors {
    type Item = &'t Tensor;
    type IntoIter = std::slice::Iter<'t, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl From<Tensor> for Tensors {
    fn from(tensor: Tensor) -> Self {
        Self(vec![tensor])
    }
}

impl FromIterator<Tensor> for Tensors {
    fn from_iter<I: IntoIterator<Item = Tensor>>(tensors: I) -> Self {
        Self(tensors.into_iter().collect())
    }
}

impl From<Tensors> for Payload {
    fn from(tensors: Tensors) -> Self {
        Self::Tensors(tensors)
    }
}

impl From<Tensor> for Payload {
    fn from(tensor: Tensor) -> Self {
        Self::Tensors(tensor.into())
    }
}

/// What [`crate::Transform::before`] decided.
#[derive(Debug)]
pub enum Step {
    /// Go on to what is further in, with this payload.
    Proceed(Payload),
    /// This is the answer: nothing further in is run, nor is this transform's `after`.
    Answer(Payload),
}

impl From<wit::Payload> for Payload {
    fn from(payload: wit::Payload) -> Self {
        match payload {
            wit::Payload::Json(text) => Self::Json(text),
            wit::Payload::Tensors(tensors) => Self::Tensors(tensors.into_iter().map(Tensor::from).collect()),
            wit::Payload::Blob(blob) => Self::Blob(blob),
        }
    }
}

impl From<Payload> for wit::Payload {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Json(text) => Self::Json(text),
            Payload::Tensors(tensors) => Self::Tensors(tensors.0.into_iter().map(wit::Tensor::from).collect()),
            Payload::Blob(blob) => Self::Blob(blob),
        }
    }
}

impl From<Step> for export::Step {
    fn from(step: Step) -> Self {
        match step {
            Step::Proceed(payload) => Self::Proceed(payload.into()),
            Step::Answer(payload) => Self::Answer(payload.into()),
        }
    }
}
