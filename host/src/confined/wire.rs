//! What a host and a process of models say to each other. Each message is one packet; tensors, and texts of any length, lie
//! in the memory that both share.

use serde::{Deserialize, Serialize};

use crate::engine::{BackendError, BatchTotal, Merging};
use crate::runner::{RunError, RunTimes, Signature};
use crate::tensor::{Datatype, Tensor};

/// Bytes of a message at most: the shapes of some thousand tensors.
pub(super) const MESSAGE_BYTES: usize = 64 << 10;

/// Bytes of a text in one. Arbitrary: more than anybody is told.
const TEXT_BYTES: usize = 8 << 10;

/// On a lane, from the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Load the model whose bytes come as a file; its manifest is so many bytes of JSON in the memory.
    Load { what: What, manifest_bytes: u64 },
    /// Run a model on the tensors in the memory.
    Run(Run),
    /// The memory has grown to what was asked for.
    Grown,
}

/// What is to be loaded.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum What {
    /// A version's artifact.
    Artifact,
    /// A model that a component brings along.
    Brought,
}

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    /// Counts the runs of a lane.
    pub(super) run: u64,
    /// As [`Facts`] has it.
    pub(super) model: u32,
    /// Until the deadline.
    pub(super) left_us: u64,
    pub(super) priority: u64,
    pub(super) timeout_us: Option<u64>,
    /// On the thread of the lane, however long it takes, where nothing else waits for the model.
    pub(super) here: bool,
    pub(super) inputs: Vec<Piece>,
}

/// A tensor in the memory, where the one before it ends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Piece {
    /// Its place in the signature.
    pub(super) port: u16,
    pub(super) datatype: Datatype,
    pub(super) shape: Vec<i64>,
    pub(super) bytes: u64,
}

/// On a lane, from the process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// The model is loaded; [`Facts`] are so many bytes of JSON in the memory.
    Loaded { facts_bytes: u64 },
    /// It can't be.
    Refused(Refusal),
    /// The outputs are in the memory.
    Ran { outputs: Vec<Piece>, times: RunTimes, since: Since },
    /// There are none.
    Failed { error: RunError, since: Since },
    /// What is to be told needs a memory of so many bytes.
    Grow { bytes: u64 },
}

/// Why a model can't be loaded.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// See [`BackendError::Refused`].
    Refused(String),
    /// See [`BackendError::Manifest`].
    Manifest { pointer: String, message: String },
}

/// What became of a model since it was last told of.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Since {
    /// See `Loaded::runs_inline`.
    pub(super) inline: bool,
    /// Requests that wait now.
    pub(super) waiting: i64,
    /// Batches that failed, and were run again one by one.
    pub(super) retried: u64,
    pub(super) batches: Vec<BatchTotal>,
}

/// A model that was loaded.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) model: u32,
    pub(super) signature: Signature,
    pub(super) merging: Merging,
    pub(super) instances: usize,
    pub(super) threads: usize,
    pub(super) inline: bool,
    /// By how much the load raised the most that the process ever held, in bytes.
    pub(super) peak_bytes: u64,
}

/// To the process, beside all lanes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// A lane: its socket and its memory come with this.
    Lane { lane: u32 },
    /// Nobody waits for that run any more.
    Unwanted { lane: u32, run: u64 },
    /// A model is done with.
    Close { model: u32 },
}

/// What the process says once it has locked itself in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// What this kernel lacks.
    pub(super) lacks: Vec<String>,
}

impl From<BackendError> for Refusal {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Manifest { pointer, message } => Self::Manifest { pointer: cut(pointer), message: cut(message) },
            BackendError::Refused(message) => Self::Refused(cut(message)),
            other => Self::Refused(cut(other.to_string())),
        }
    }
}

/// Texts quote what a model has, and must fit into a message.
pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES));
    text
}

impl From<Refusal> for BackendError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Refused(message) => Self::Refused(message),
            Refusal::Manifest { pointer, message } => Self::Manifest { pointer, message },
        }
    }
}

impl Piece {
    /// Of a tensor that is to lie in the memory.
    pub(super) fn of(port: usize, tensor: &Tensor) -> Option<Self> {
        let port = u16::try_from(port).ok()?;
        Some(Self { port, datatype: tensor.datatype, shape: tensor.shape.clone(), bytes: tensor.data.len() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_fits_into_a_message_whatever_it_quotes() {
        let long = "\u{e9}".repeat(MESSAGE_BYTES);
        for error in [BackendError::Refused(long.clone()), BackendError::Manifest { pointer: long.clone(), message: long.clone() }] {
            let bytes = postcard::to_allocvec(&Told::Refused(error.into())).unwrap();
            assert!(bytes.len() < MESSAGE_BYTES && bytes.len() > TEXT_BYTES, "{}", bytes.len());
        }
    }

    #[test]
    fn messages_come_out_as_they_went_in_and_others_not_at_all() {
        let piece = Piece { port: 7, datatype: Datatype::Bytes, shape: vec![-1, 3], bytes: 9 };
        let since = Since { batches: vec![BatchTotal { rows: 1, runs: 2, assembly_ns: 3, inference_ns: 4, split_ns: 5 }], ..Since::default() };
        let told = Told::Ran { outputs: vec![piece], times: RunTimes::default(), since };
        let bytes = postcard::to_allocvec(&told).unwrap();
        let again: Told = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(format!("{told:?}"), format!("{again:?}"));
        for cut in 0..bytes.len() {
            assert!(postcard::from_bytes::<Told>(&bytes[..cut]).is_err());
        }
        // A list that claims to be longer than any memory.
        assert!(postcard::from_bytes::<Told>(&[2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    }
}
