//! Models that the manifest grants, through `wasi:nn`.

use std::borrow::Borrow;

use crate::{Error, Result, Tensor, Tensors};

/// A model that the host runs.
#[derive(Debug)]
pub struct Graph {
    /// For messages.
    name: String,
    inner: Inner,
}

impl Graph {
    /// The model that the manifest grants under that name.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] where it grants none.
    pub fn named(name: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), inner: Inner::named(name)? })
    }

    /// An ONNX model that the component brings along, which the manifest must grant by `load_mb`. The host loads it anew for
    /// each request: a model of its own, granted by name, is far cheaper.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] where the manifest does not grant it, or the host can't load it.
    pub fn from_onnx(model: impl Into<Vec<u8>>) -> Result<Self> {
        Ok(Self { name: "from bytes".to_owned(), inner: Inner::from_onnx(model.into())? })
    }

    /// Runs the model, by the names of its own inputs; gives all of its outputs. A type that WebAssembly's interface lacks
    /// comes as the one of its width: BOOL and INT8 as UINT8, UINT32 as INT32, UINT64 as INT64; of BYTES, INT16 and UINT16
    /// it has none.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`] where it may go well another time; [`crate::Error::Internal`] where the inputs are not
    /// what the model takes, or it can't be run on them.
    pub fn compute(&self, inputs: impl IntoIterator<Item = impl Borrow<Tensor>>) -> Result<Tensors> {
        Ok(self.inner.compute(&self.name, inputs)?)
    }

    /// The same with tensors that the caller sent: what the model refuses of them, such as an index that it has no row for,
    /// is the caller's fault.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] where the inputs are not what the model takes; otherwise as [`Graph::compute`].
    pub fn forward(&self, inputs: impl IntoIterator<Item = impl Borrow<Tensor>>) -> Result<Tensors> {
        self.inner.compute(&self.name, inputs).map_err(|failed| match failed {
            Failed::Input(message) => Error::invalid("", message),
            Failed::Other(error) => error,
        })
    }
}

/// Why a run gave nothing.
enum Failed {
    /// The model does not take these inputs.
    Input(String),
    Other(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Input(message) => Self::internal(message),
            Failed::Other(error) => error,
        }
    }
}

#[cfg(target_family = "wasm")]
use host::Inner;

#[cfg(target_family = "wasm")]
mod host {
    use std::borrow::Borrow;

    use super::Failed;
    use crate::bindings::predictor::wasi::nn::errors::{self, ErrorCode};
    use crate::bindings::predictor::wasi::nn::graph::{self, ExecutionTarget, GraphEncoding};
    use crate::bindings::predictor::wasi::nn::tensor::{self, TensorType};
    use crate::{Datatype, Error, Result, Tensor, Tensors};

    #[derive(Debug)]
    pub(super) struct Inner(graph::Graph);

    impl Inner {
        pub(super) fn named(name: &str) -> Result<Self> {
            Ok(graph::load_by_name(name).map(Self).map_err(|error| failed(name, &error))?)
        }

        pub(super) fn from_onnx(model: Vec<u8>) -> Result<Self> {
            let loaded = graph::load(&[model], GraphEncoding::Onnx, ExecutionTarget::Cpu);
            Ok(loaded.map(Self).map_err(|error| failed("from bytes", &error))?)
        }

        pub(super) fn compute(&self, name: &str, inputs: impl IntoIterator<Item = impl Borrow<Tensor>>) -> Result<Tensors, Failed> {
            let failed = |error| failed(name, &error);
            let context = self.0.init_execution_context().map_err(failed)?;
            let inputs = inputs.into_iter().map(|input| given(input.borrow())).collect::<Result<Vec<_>>>()?;
            let outputs = context.compute(inputs).map_err(failed)?;
            Ok(outputs.into_iter().map(|(name, output)| taken(name, &output)).collect::<Result<_>>()?)
        }
    }

    fn given(input: &Tensor) -> Result<(String, tensor::Tensor)> {
        let name = input.name();
        let ty = match input.datatype() {
            Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => TensorType::U8,
            Datatype::Int32 | Datatype::Uint32 => TensorType::I32,
            Datatype::Int64 | Datatype::Uint64 => TensorType::I64,
            Datatype::Fp16 => TensorType::Fp16,
            Datatype::Bf16 => TensorType::Bf16,
            Datatype::Fp32 => TensorType::Fp32,
            Datatype::Fp64 => TensorType::Fp64,
            other => return Err(Error::internal(format!("tensor `{name}` of type {other:?} can't be given to a graph: wasi:nn has no such type"))),
        };
        let extent = |extent: &i64| u32::try_from(*extent).map_err(|_| Error::internal(format!("tensor `{name}` has the extent {extent}")));
        let dimensions = input.shape().iter().map(extent).collect::<Result<Vec<u32>>>()?;
        Ok((name.to_owned(), tensor::Tensor::new(&dimensions, ty, input.bytes())))
    }

    fn taken(name: String, output: &tensor::Tensor) -> Result<Tensor> {
        let datatype = match output.ty() {
            TensorType::Fp16 => Datatype::Fp16,
            TensorType::Fp32 => Datatype::Fp32,
            TensorType::Fp64 => Datatype::Fp64,
            TensorType::Bf16 => Datatype::Bf16,
            TensorType::U8 => Datatype::Uint8,
            TensorType::I32 => Datatype::Int32,
            TensorType::I64 => Datatype::Int64,
        };
        let shape: Vec<i64> = output.dimensions().into_iter().map(i64::from).collect();
        Tensor::from_bytes(name, datatype, &shape, output.data())
    }

    fn failed(graph: &str, error: &errors::Error) -> Failed {
        let message = format!("graph `{graph}`: {}", error.data());
        match error.code() {
            // The latter is what the runtime says of inputs that have the right names, types and shapes.
            ErrorCode::InvalidArgument | ErrorCode::RuntimeError => Failed::Input(message),
            ErrorCode::Timeout => Error::unavailable(message).into(),
            _ => Error::internal(message).into(),
        }
    }
}

#[cfg(not(target_family = "wasm"))]
use native::Inner;

/// In native tests there is no host: [`crate::testing::grant`] says what a graph answers.
#[cfg(not(target_family = "wasm"))]
pub(crate) mod native {
    use std::borrow::Borrow;
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::rc::Rc;

    use super::Failed;
    use crate::{Error, Result, Tensor, Tensors};

    /// What stands for a graph.
    pub(crate) type Stand = Rc<dyn Fn(&Tensors) -> Result<Tensors>>;

    thread_local! {
        pub(crate) static GRANTED: RefCell<HashMap<String, Stand>> = RefCell::default();
    }

    pub(super) struct Inner(Stand);

    impl std::fmt::Debug for Inner {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Inner")
        }
    }

    impl Inner {
        pub(super) fn named(name: &str) -> Result<Self> {
            let granted = GRANTED.with_borrow(|granted| granted.get(name).cloned());
            granted.map(Self).ok_or_else(|| Error::internal(format!("graph `{name}`: no graph of that name is granted: see `testing::grant`")))
        }

        pub(super) fn from_onnx(_: Vec<u8>) -> Result<Self> {
            Err(Error::internal("there is no host that could load a model: see `testing::grant`"))
        }

        pub(super) fn compute(&self, _: &str, inputs: impl IntoIterator<Item = impl Borrow<Tensor>>) -> Result<Tensors, Failed> {
            let answer = (self.0)(&inputs.into_iter().map(|input| input.borrow().clone()).collect());
            answer.map_err(|error| match error {
                Error::Invalid { message, .. } => Failed::Input(message),
                error => Failed::Other(error),
            })
        }
    }
}
