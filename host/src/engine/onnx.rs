//! ONNX Runtime: the only file that names `ort`.

use std::borrow::Cow;
use std::path::Path;

use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{NoSelectedOutputs, RunOptions, Session, SessionInputValue};
use ort::value::{DynValue, Outlet, PrimitiveTensorElementType, Tensor as OrtTensor, TensorElementType, TensorRef, ValueType};

use super::backend::{Backend, BackendError, Stop, Take, Terminate};
use super::merge::View;
use crate::runner::{Port, Signature};
use crate::tensor::{self, Datatype, Tensor};

/// ONNX Runtime, loaded into this process once.
#[derive(Clone)]
pub(super) struct Onnx(Environment);

/// Where a session runs, and with how many threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionOptions {
    /// Threads of one run, the calling one counted.
    pub(super) threads: usize,
    /// A CUDA device; none for the CPU.
    pub(super) cuda: Option<i32>,
}

impl Onnx {
    /// Loads the shared library.
    ///
    /// # Errors
    /// With the loader's own message, where there is no such library or it is too old.
    pub(super) fn load(library: &Path) -> Result<Self, BackendError> {
        let environment = ort::init_from(library)
            .map_err(|error| BackendError::Refused(format!("ONNX Runtime can't be loaded from `{}`: {error}", library.display())))?
            .with_name("bulkhead")
            .with_telemetry(false)
            .build()
            .map_err(|error| refused(&error))?;
        Ok(Self(environment))
    }

    /// Loads a model from a file.
    ///
    /// # Errors
    /// With the runtime's own message, without the file's path; where the device can't be had, instead of another.
    pub(super) fn session(&self, model: &Path, options: SessionOptions) -> Result<OnnxSession, BackendError> {
        let session = self.builder(options)?.commit_from_file(model).map_err(|error| without_path(refused(&error), model))?;
        OnnxSession::new(session)
    }

    /// Loads a model from its bytes, for one thread of the CPU and without optimising it.
    ///
    /// # Errors
    /// As [`Onnx::session`].
    pub(super) fn session_from_bytes(&self, model: &[u8]) -> Result<OnnxSession, BackendError> {
        let builder = self.builder(SessionOptions { threads: 1, cuda: None })?;
        let mut builder = builder.with_optimization_level(GraphOptimizationLevel::Disable).map_err(|error| refused(&error))?;
        OnnxSession::new(builder.commit_from_memory(model).map_err(|error| refused(&error))?)
    }

    fn builder(&self, options: SessionOptions) -> Result<SessionBuilder, BackendError> {
        let builder = Session::builder(&self.0).map_err(|error| refused(&error))?;
        let builder = builder.with_optimization_level(GraphOptimizationLevel::Level3).map_err(|error| refused(&error))?;
        // The runtime has a format of its own, whose reader is not meant for what strangers send.
        let builder = builder.with_config_entry("session.load_model_format", "ONNX").map_err(|error| refused(&error))?;
        let builder = builder.with_intra_threads(options.threads).map_err(|error| refused(&error))?;
        // A thread that spins while it waits for work takes a core from the sandboxes.
        let builder = builder.with_intra_op_spinning(false).map_err(|error| refused(&error))?;
        let Some(device) = options.cuda else { return Ok(builder) };
        let provider = ort::ep::CUDA::default().with_device_id(device).build().error_on_failure();
        builder.with_execution_providers([provider]).map_err(|error| BackendError::Refused(format!("device `cuda:{device}` can't be had: {error}")))
    }
}

/// One session of a model.
pub(super) struct OnnxSession {
    session: Session,
    signature: Signature,
}

impl OnnxSession {
    fn new(session: Session) -> Result<Self, BackendError> {
        let mut inputs = session.inputs().iter().map(|outlet| port(outlet, false)).collect::<Result<Vec<_>, _>>()?;
        for initializer in session.overridable_initializers() {
            if let Ok(port) = port(&Outlet::new(initializer.name(), initializer.dtype().clone()), true) {
                inputs.push(port);
            }
        }
        let outputs = session.outputs().iter().map(output_ports).collect::<Result<Vec<_>, _>>()?.concat();
        Ok(Self { session, signature: Signature { inputs, outputs } })
    }
}

struct OnnxStop(RunOptions<NoSelectedOutputs>);

impl Terminate for OnnxStop {
    fn set(&self) {
        if let Err(error) = self.0.terminate() {
            tracing::warn!(%error, "a run can't be ended");
        }
    }

    fn clear(&self) {
        if let Err(error) = self.0.unterminate() {
            tracing::warn!(%error, "a session can't go on after a run that was ended");
        }
    }
}

impl Backend for OnnxSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[Tensor], stop: &Stop, take: &mut Take<'_>) -> Result<(), BackendError> {
        let options = &stop.inner::<OnnxStop>().ok_or_else(|| BackendError::Refused("a stop handle of another runtime".to_owned()))?.0;
        let mut values = Vec::with_capacity(inputs.len());
        for input in inputs {
            values.push((Cow::Borrowed(input.name.as_str()), value(input)?));
        }
        let outputs = self.session.run_with_options(values, options).map_err(|error| {
            // ONNX Runtime has no code of its own for a run that was ended.
            if error.message().contains("terminate flag") { BackendError::Stopped } else { refused(&error) }
        })?;
        for (name, value) in outputs.iter() {
            read(name, &value, take)?;
        }
        Ok(())
    }

    fn stop(&self) -> Result<Stop, BackendError> {
        Ok(Stop::new(OnnxStop(RunOptions::new().map_err(|error| refused(&error))?)))
    }
}

fn refused(error: &ort::Error<impl Sized>) -> BackendError {
    BackendError::Refused(error.message().to_owned())
}

/// The runtime names the file it read; callers have no use for it.
fn without_path(error: BackendError, model: &Path) -> BackendError {
    match error {
        BackendError::Refused(message) => BackendError::Refused(message.replace(&*model.to_string_lossy(), "the model")),
        other => other,
    }
}

fn datatype(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}

fn unsupported(name: &str, of: &ValueType) -> BackendError {
    BackendError::Refused(format!("`{name}` is of type {of}, which can't be served: expected tensors of the Open Inference Protocol's types"))
}

fn port(outlet: &Outlet, optional: bool) -> Result<Port, BackendError> {
    let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else {
        return Err(unsupported(outlet.name(), outlet.dtype()));
    };
    let datatype = datatype(*ty).ok_or_else(|| unsupported(outlet.name(), outlet.dtype()))?;
    Ok(Port { name: outlet.name().to_owned(), datatype, shape: Some(shape.to_vec()), optional, symbols: dimension_symbols.to_vec() })
}

/// The tensors that an output is served as: itself; or, for the sequence of maps that converters of classical models
/// put out, the maps' keys and values.
fn output_ports(outlet: &Outlet) -> Result<Vec<Port>, BackendError> {
    match outlet.dtype() {
        ValueType::Tensor { .. } => Ok(vec![port(outlet, false)?]),
        ValueType::Sequence(inner) => match &**inner {
            ValueType::Map { key, value } => {
                let (Some(keys), Some(values)) = (datatype(*key), datatype(*value)) else {
                    return Err(unsupported(outlet.name(), outlet.dtype()));
                };
                Ok(vec![
                    Port { name: outlet.name().to_owned(), datatype: values, shape: Some(vec![-1, -1]), optional: false, symbols: Vec::new() },
                    Port { name: keys_name(outlet.name()), datatype: keys, shape: Some(vec![-1]), optional: false, symbols: Vec::new() },
                ])
            }
            _ => Err(unsupported(outlet.name(), outlet.dtype())),
        },
        other => Err(unsupported(outlet.name(), other)),
    }
}

fn keys_name(output: &str) -> String {
    format!("{output}.keys")
}

/// An input as the runtime takes it: a view of its bytes, unless they are strings.
fn value(tensor: &Tensor) -> Result<SessionInputValue<'_>, BackendError> {
    match tensor.datatype {
        Datatype::Bool => {
            if tensor.data.iter().any(|byte| *byte > 1) {
                return Err(BackendError::Refused(format!("input `{}` of type BOOL takes the bytes 0 and 1 only", tensor.name)));
            }
            let values: Vec<bool> = tensor.data.iter().map(|byte| *byte == 1).collect();
            Ok(OrtTensor::from_array((tensor.shape.clone(), values)).map_err(|error| refused(&error))?.into())
        }
        Datatype::Uint8 => view::<u8>(tensor),
        Datatype::Uint16 => view::<u16>(tensor),
        Datatype::Uint32 => view::<u32>(tensor),
        Datatype::Uint64 => view::<u64>(tensor),
        Datatype::Int8 => view::<i8>(tensor),
        Datatype::Int16 => view::<i16>(tensor),
        Datatype::Int32 => view::<i32>(tensor),
        Datatype::Int64 => view::<i64>(tensor),
        Datatype::Fp16 => view::<half::f16>(tensor),
        Datatype::Bf16 => view::<half::bf16>(tensor),
        Datatype::Fp32 => view::<f32>(tensor),
        Datatype::Fp64 => view::<f64>(tensor),
        Datatype::Bytes => strings(tensor),
    }
}

fn view<T: PrimitiveTensorElementType + bytemuck::Pod + std::fmt::Debug + 'static>(tensor: &Tensor) -> Result<SessionInputValue<'_>, BackendError> {
    match bytemuck::try_cast_slice::<u8, T>(&tensor.data) {
        // A pointer to nothing is no tensor to the runtime: an empty one is made by the runtime itself.
        Ok([]) => Ok(OrtTensor::<T>::new(&Allocator::default(), tensor.shape.clone()).map_err(|error| refused(&error))?.into()),
        Ok(values) => Ok(TensorRef::from_array_view((tensor.shape.as_slice(), values)).map_err(|error| refused(&error))?.into()),
        Err(_) => {
            let values: Vec<T> = bytemuck::pod_collect_to_vec(&tensor.data);
            Ok(OrtTensor::from_array((tensor.shape.clone(), values)).map_err(|error| refused(&error))?.into())
        }
    }
}

fn strings(tensor: &Tensor) -> Result<SessionInputValue<'_>, BackendError> {
    let elements = tensor::byte_strings(&tensor.data).unwrap_or_default();
    let mut texts = Vec::with_capacity(elements.len());
    for element in elements {
        let text = std::str::from_utf8(element)
            .ok()
            .filter(|text| !text.contains('\0'))
            .ok_or_else(|| BackendError::Refused(format!("input `{}` takes strings in UTF-8 without NUL", tensor.name)))?;
        texts.push(text.to_owned());
    }
    let value = OrtTensor::from_string_array((tensor.shape.clone(), texts.as_slice())).map_err(|error| refused(&error))?;
    Ok(value.into())
}

/// Hands on the tensors that an output is served as.
fn read(name: &str, value: &DynValue, take: &mut Take<'_>) -> Result<(), BackendError> {
    match value.dtype() {
        ValueType::Tensor { ty, .. } => take(read_tensor(name, *ty, value)?),
        ValueType::Sequence(inner) => match &**inner {
            ValueType::Map { key: TensorElementType::Int64, value: TensorElementType::Float32 } => read_maps::<i64>(name, value, take),
            ValueType::Map { key: TensorElementType::String, value: TensorElementType::Float32 } => read_maps::<String>(name, value, take),
            _ => Err(unsupported(name, value.dtype())),
        },
        other => Err(unsupported(name, other)),
    }
}

fn read_tensor<'a>(name: &'a str, element: TensorElementType, value: &'a DynValue) -> Result<View<'a>, BackendError> {
    let datatype = datatype(element).ok_or_else(|| unsupported(name, value.dtype()))?;
    let (shape, data): (&[i64], Cow<'a, [u8]>) = match element {
        TensorElementType::Bool => {
            let (shape, values) = value.try_extract_tensor::<bool>().map_err(|error| refused(&error))?;
            (shape, values.iter().map(|value| u8::from(*value)).collect())
        }
        TensorElementType::String => {
            let (shape, values) = value.try_extract_strings().map_err(|error| refused(&error))?;
            let mut data = Vec::new();
            for value in values {
                tensor::push_byte_string(&mut data, value.as_bytes())
                    .map_err(|_| BackendError::Refused(format!("output `{name}` holds a string of 4 GiB or more")))?;
            }
            (shape, data.into())
        }
        TensorElementType::Uint8 => bytes::<u8>(value)?,
        TensorElementType::Uint16 => bytes::<u16>(value)?,
        TensorElementType::Uint32 => bytes::<u32>(value)?,
        TensorElementType::Uint64 => bytes::<u64>(value)?,
        TensorElementType::Int8 => bytes::<i8>(value)?,
        TensorElementType::Int16 => bytes::<i16>(value)?,
        TensorElementType::Int32 => bytes::<i32>(value)?,
        TensorElementType::Int64 => bytes::<i64>(value)?,
        TensorElementType::Float16 => bytes::<half::f16>(value)?,
        TensorElementType::Bfloat16 => bytes::<half::bf16>(value)?,
        TensorElementType::Float32 => bytes::<f32>(value)?,
        TensorElementType::Float64 => bytes::<f64>(value)?,
        _ => return Err(unsupported(name, value.dtype())),
    };
    Ok(View { name, datatype, shape, data })
}

fn bytes<T: PrimitiveTensorElementType + bytemuck::Pod>(value: &DynValue) -> Result<(&[i64], Cow<'_, [u8]>), BackendError> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(|error| refused(&error))?;
    Ok((shape, Cow::Borrowed(bytemuck::cast_slice(values))))
}

/// Keys of the maps that converters of classical models put out.
trait MapKey: ort::value::IntoTensorElementType + Clone + std::fmt::Debug + std::hash::Hash + Ord + 'static {
    fn keys(name: &str, keys: &[Self]) -> Tensor;
}

impl MapKey for i64 {
    fn keys(name: &str, keys: &[Self]) -> Tensor {
        Tensor { name: keys_name(name), datatype: Datatype::Int64, shape: vec![keys.len() as i64], data: bytemuck::cast_slice(keys).to_vec() }
    }
}

impl MapKey for String {
    fn keys(name: &str, keys: &[Self]) -> Tensor {
        let mut data = Vec::new();
        for key in keys {
            // A class label of 4 GiB would not have been loaded.
            let _ = tensor::push_byte_string(&mut data, key.as_bytes());
        }
        Tensor { name: keys_name(name), datatype: Datatype::Bytes, shape: vec![keys.len() as i64], data }
    }
}

/// A sequence of maps as two tensors: the values, a row for each map in the order of the keys; and the keys.
fn read_maps<K: MapKey>(name: &str, value: &DynValue, take: &mut Take<'_>) -> Result<(), BackendError> {
    let rows = value.try_extract_sequence::<ort::value::DynMapValueType>().map_err(|error| refused(&error))?;
    let mut keys: Vec<K> = Vec::new();
    let mut data: Vec<f32> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let mut entries = row.try_extract_key_values::<K, f32>().map_err(|error| refused(&error))?;
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        if at == 0 {
            keys = entries.iter().map(|(key, _)| key.clone()).collect();
        } else if !entries.iter().map(|(key, _)| key).eq(keys.iter()) {
            return Err(BackendError::Refused(format!("output `{name}` holds maps of different keys, which make no tensor")));
        }
        data.extend(entries.iter().map(|(_, value)| value));
    }
    let shape = [rows.len() as i64, keys.len() as i64];
    take(View { name, datatype: Datatype::Fp32, shape: &shape, data: Cow::Borrowed(bytemuck::cast_slice(&data)) })?;
    take((&K::keys(name, &keys)).into())
}
