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
