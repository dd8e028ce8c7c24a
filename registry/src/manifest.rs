//! The manifest: what an upload says about a version beside its bytes.
//!
//! TOML for people, JSON for programs and for the database: both become one JSON value, which is then read key by key.
//! Nothing stops at the first mistake; whoever uploads sees all of them at once, each with a JSON pointer to its place.
//! A key that nothing reads is a mistake too, since it is a typing error or a promise that would not be kept.

mod batching;
mod predictor;
mod read;
mod section;
mod syntax;
mod warmup;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::ids::{IdError, ModelRef, PluginRef, serde_as_text};

/// What an upload says about a version. Every key but `runtime` has a default.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    /// What runs the artifact.
    pub runtime: Runtime,
    /// Plugins around the model, outermost first: `before` in this order, `after` in reverse. At most 8.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<TransformUse>,
    /// Free labels to find versions by. At most 64; keys up to 64 characters, values up to 256.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The commit that the artifact was made from: 7 to 64 hexadecimal digits, in lower case here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_sha: Option<String>,
    /// Request headers that the transforms may see, in lower case, in the order given. At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// How requests share a run of the model.
    pub batching: Batching,
    /// The bounds of one request's plugin code.
    pub sandbox: SandboxOptions,
    /// How the model itself is run.
    pub engine: EngineOptions,
    /// Runs before the version is ready, in each of its sessions. At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warmup: Vec<Warmup>,
    /// Whether answers are kept for requests that ask the same; left out, they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheOptions>,
    /// The component that drives models; with [`Runtime::Predictor`], and only then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predictor: Option<PredictorUse>,
    /// How the container is built, as given; with [`Runtime::Container`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<serde_json::Value>,
}

/// One plugin around the model, with its settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransformUse {
    /// Which plugin.
    pub plugin: PluginRef,
    /// What the plugin is configured with; only the plugin knows its shape.
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// `[predictor]`: the plugin that answers, and what it may do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PredictorUse {
    /// Which plugin.
    pub plugin: PluginRef,
    /// What the plugin is configured with; only the plugin knows its shape.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// What it gets beyond log lines.
    pub grants: Grants,
}

/// `[predictor.grants]`: what a plugin gets beyond log lines. Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Grants {
    /// Versions of models that it may run, each by the name that the plugin calls it. At most 16; names up to 64
    /// characters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub graphs: BTreeMap<String, ModelRef>,
    /// MiB of a model that it may bring along as bytes, up to 256; 0 (the default) for none.
    pub load_mb: u32,
}

/// `[batching]`: the knobs of Triton's dynamic batcher, by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Batching {
    /// Rows in one run of the model, up to 4096; 0 and 1 never join requests, 0 is the default. A request of more rows
    /// runs alone.
    pub max_batch_size: u32,
    /// Rows that a run should have: the largest of these that can be had is taken at once, and only where none can be is
    /// the delay waited for; once that is over, all that waits is taken. None (the default) stands for `max_batch_size`. At
    /// most 16, each up to `max_batch_size`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preferred_batch_size: Vec<u32>,
    /// How long a request may wait for others, up to a minute; 0 (the default) joins only what already waits.
    pub max_queue_delay_microseconds: u64,
    /// Requests of one level of priority that may wait in front of the engine, 1 to 65536, by default 128; one more is refused.
    pub max_queue_size: u32,
    /// Levels of priority, up to 16; those of level 1 go first. 0 (the default) knows none.
    pub priority_levels: u32,
    /// The level of a request that names none; 0 (the default) stands for the middle one. With `priority_levels` only.
    pub default_priority_level: u32,
    /// How long a request may wait in the queue before `timeout_action`, up to an hour; 0 (the default) for as long as the
    /// request itself has.
    pub default_timeout_microseconds: u64,
    /// What becomes of a request that has waited too long.
    pub timeout_action: TimeoutAction,
    /// Lets a request name a timeout of its own, shorter than the default where there is one; by default it may not.
    pub allow_timeout_override: bool,
    /// Answers requests in the order in which they came; not with priorities, nor with [`TimeoutAction::Delay`].
    pub preserve_ordering: bool,
    /// Where the rows of an input or output are, for those of which a trial run can't find it out. At most 256.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub axes: BTreeMap<String, BatchAxis>,
    /// Joins requests of different lengths by padding the shorter ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ragged: Option<Ragged>,
}

/// What becomes of a request that has waited too long; the texts are Triton's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimeoutAction {
    /// It is refused.
    #[default]
    Reject,
    /// It waits on, behind all of its level of priority that have not waited too long.
    Delay,
}

/// Where the rows of a tensor are: a number, or `none` for a tensor that all requests of a batch have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchAxis {
    /// Counted from the outermost, which is 0; up to 15.
    At(u32),
    /// It has none.
    Shared,
}

/// `[batching.ragged]`: inputs whose length varies, such as texts in tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ragged {
    /// The axis of the length in each of these inputs, 1 to 15, by default 1.
    pub axis: u32,
    /// The value that each input is padded with: a whole number. At least one input.
    pub pad: BTreeMap<String, i64>,
    /// The input that tells the model what is padding: padded with 0, where a request brings 1 for what counts.
    pub mask: String,
}

/// `[sandbox]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SandboxOptions {
    /// Time that plugin code may take for one request: 1 to 600 000 ms, by default 1000.
    pub timeout_ms: u64,
    /// Memory of one sandbox: 1 to 256 MiB, by default 64.
    pub memory_mb: u32,
    /// Whether a sandbox serves more than one request.
    pub reuse: Reuse,
}

/// `[[warmup]]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Warmup {
    /// Runs, up to 1000, by default one.
    pub count: u32,
    /// Every input that a request must bring.
    pub inputs: BTreeMap<String, WarmupInput>,
}

/// An input of a run before a version is ready.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WarmupInput {
    /// Whole, with the rows.
    pub shape: Vec<u32>,
    /// Its elements.
    pub data: WarmupData,
}

/// The elements of such an input.
#[derive(Debug, Clone, PartialEq)]
pub enum WarmupData {
    /// All zero, or empty.
    Zero,
    /// Made up: between 0 and 1, or one of these.
    Random,
    /// As given; only the model knows of which type.
    Recorded(Vec<serde_json::Value>),
}

impl Serialize for WarmupData {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Zero => serializer.serialize_str("zero"),
            Self::Random => serializer.serialize_str("random"),
            Self::Recorded(values) => values.serialize(serializer),
        }
    }
}

/// `[cache]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheOptions {
    /// How long an answer is good for, up to 30 days.
    pub ttl_seconds: u32,
    /// MiB of this version's answers, up to 65536, by default 64; those that were not asked for lately go first.
    pub max_mb: u32,
}

/// `[engine]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineOptions {
    /// Copies of the model that run at the same time, 1 to 64; left out, the host decides: several of a tiny model, one
    /// of any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// Threads of each instance, 1 to 256; left out, the host decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Where the model runs.
    pub device: Device,
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            max_batch_size: 0,
            preferred_batch_size: Vec::new(),
            max_queue_delay_microseconds: 0,
            max_queue_size: 128,
            priority_levels: 0,
            default_priority_level: 0,
            default_timeout_microseconds: 0,
            timeout_action: TimeoutAction::Reject,
            allow_timeout_override: false,
            preserve_ordering: false,
            axes: BTreeMap::new(),
            ragged: None,
        }
    }
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self { timeout_ms: 1000, memory_mb: 64, reuse: Reuse::Never }
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { instances: None, threads: None, device: Device::Cpu }
    }
}

/// What runs a version's artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// The engine inside the host.
    Onnx,
    /// A plugin that drives models itself.
    Predictor,
    /// A container of its own.
    Container,
}

/// Whether a sandbox serves more than one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reuse {
    /// A fresh sandbox for every request: nothing of one can reach another.
    #[default]
    Never,
    /// A sandbox may serve many requests, of one tenant only.
    Warm,
}

/// Where a model runs. As text `cpu`, or `cuda:<id>`; `cuda` alone reads as `cuda:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA device, by its number.
    Cuda {
        /// As the CUDA runtime counts, up to 255.
        id: u32,
    },
}

/// One mistake in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// JSON pointer (RFC 6901) to the place; empty for the manifest as a whole.
    pub pointer: String,
    /// What was expected there and what came.
    pub message: String,
}

/// All mistakes of a manifest; never empty. Text that is not TOML or JSON at all is one mistake at the empty pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    problems: Vec<Problem>,
}

impl ManifestError {
    /// The mistakes, in the order in which the keys are read; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ManifestError {}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the manifest is not valid: ")?;
        for (index, Problem { pointer, message }) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            match pointer.as_str() {
                "" => write!(f, "{separator}{message}")?,
                pointer => write!(f, "{separator}`{pointer}`: {message}")?,
            }
        }
        Ok(())
    }
}

impl Manifest {
    /// The longest text that is read, in bytes. Arbitrary; a transform's label list fits many times over.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Reads TOML.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn from_toml(text: &str) -> Result<Self, ManifestError> {
        read::manifest(syntax::toml(text)?)
    }

    /// Reads JSON; what [`to_json`](Self::to_json) wrote reads back as the same manifest.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn from_json(text: &str) -> Result<Self, ManifestError> {
        read::manifest(syntax::json(text)?)
    }

    /// Every plugin that it names: the transforms, outermost first, and the predictor.
    pub fn plugins(&self) -> impl Iterator<Item = &PluginRef> {
        let transforms = self.transforms.iter().map(|used| &used.plugin);
        transforms.chain(self.predictor.iter().map(|used| &used.plugin))
    }

    /// Every version of a model that its predictor may run.
    pub fn graphs(&self) -> impl Iterator<Item = &ModelRef> {
        self.predictor.iter().flat_map(|used| used.grants.graphs.values())
    }

    /// The manifest with every default filled in, as JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a manifest has only text keys and finite numbers")
    }
}

/// Enums whose text is the same in manifests, queries, columns and answers.
macro_rules! text_enum {
    ($name:ident, $expected:literal, $($variant:ident = $text:literal),+) => {
        impl $name {
            /// The text of this variant, the same everywhere.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::ids::IdError;

            fn from_str(text: &str) -> Result<Self, $crate::ids::IdError> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::ids::IdError::new($expected, text)),
                }
            }
        }

        $crate::ids::serde_as_text!($name);
    };
}
pub(crate) use text_enum;

text_enum!(Runtime, "`onnx`, `predictor` or `container`", Onnx = "onnx", Predictor = "predictor", Container = "container");
text_enum!(TimeoutAction, "`REJECT` or `DELAY`", Reject = "REJECT", Delay = "DELAY");
text_enum!(Reuse, "`never` or `warm`", Never = "never", Warm = "warm");

impl Serialize for BatchAxis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::At(axis) => serializer.serialize_u32(*axis),
            Self::Shared => serializer.serialize_str("none"),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda { id } => write!(f, "cuda:{id}"),
        }
    }
}

impl FromStr for Device {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        // Through `u8` for its bound, which is arbitrary but above any machine. `parse` alone would take a `+` too.
        let cuda = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse::<u8>().ok()).flatten();
        match text {
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda { id: 0 }),
            _ => text.strip_prefix("cuda:").and_then(cuda).map(|id| Self::Cuda { id: id.into() }),
        }
        .ok_or_else(|| IdError::new("`cpu`, `cuda` or `cuda:<number up to 255>`", text))
    }
}

serde_as_text!(Device);

#[cfg(test)]
mod tests;
