//! What a request, an answer, or a step between them carries.

use crate::tensor::Tensor;

/// What a request, an answer, or a step between them carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// JSON text.
    Json(String),
    /// Named tensors.
    Tensors(Vec<Tensor>),
    /// Bytes with their content type.
    Blob {
        /// As the sender named it.
        content_type: String,
        /// The bytes.
        data: Vec<u8>,
    },
}

impl Payload {
    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Json(text) => text.len(),
            Self::Tensors(tensors) => tensors.iter().map(|tensor| tensor.data.len() + tensor.name.len() + 8 * tensor.shape.len()).sum(),
            Self::Blob { content_type, data } => content_type.len() + data.len(),
        }
    }

    /// What it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Json(_) => "JSON",
            Self::Tensors(_) => "tensors",
            Self::Blob { .. } => "bytes",
        }
    }
}
