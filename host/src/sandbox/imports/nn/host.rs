//! The functions of `wasi:nn`, but for those of tensors.

use wasmtime::Result;
use wasmtime::component::Resource;

use super::compute::{self, ran, taken};
use super::{BROUGHT, Context, Error, ErrorCode, Graph, Tensor};
use crate::runner::Terms;
use crate::sandbox::bindings::predictor::wasi::nn::graph::{ExecutionTarget, GraphEncoding};
use crate::sandbox::bindings::predictor::wasi::nn::{errors, graph, inference};
use crate::sandbox::store::Ctx;

type Answer<T> = Result<std::result::Result<T, Resource<Error>>>;

/// As `wit/` calls it.
fn encoding_name(encoding: GraphEncoding) -> &'static str {
    match encoding {
        GraphEncoding::Openvino => "openvino",
        GraphEncoding::Onnx => "onnx",
        GraphEncoding::Tensorflow => "tensorflow",
        GraphEncoding::Pytorch => "pytorch",
        GraphEncoding::Tensorflowlite => "tensorflowlite",
        GraphEncoding::Ggml => "ggml",
        GraphEncoding::Autodetect => "autodetect",
    }
}

/// As `wit/` calls it.
fn target_name(target: ExecutionTarget) -> &'static str {
    match target {
        ExecutionTarget::Cpu => "cpu",
        ExecutionTarget::Gpu => "gpu",
        ExecutionTarget::Tpu => "tpu",
    }
}

impl graph::Host for Ctx {
    async fn load(&mut self, mut builder: Vec<Vec<u8>>, encoding: GraphEncoding, target: ExecutionTarget) -> Answer<Resource<Graph>> {
        let nn = self.nn()?;
        let (Some(grant), Some(terms)) = (nn.grants.load.clone(), nn.terms) else {
            let message = "this component may not load models from bytes: `load_mb` in the manifest's `[predictor.grants]` would grant it";
            return self.failed(Error::new(ErrorCode::Security, message));
        };
        if !matches!(encoding, GraphEncoding::Onnx | GraphEncoding::Autodetect) {
            return self.failed(Error::new(
                ErrorCode::InvalidEncoding,
                format!("expected a graph in the encoding `onnx`, got `{}`", encoding_name(encoding)),
            ));
        }
        if !matches!(target, ExecutionTarget::Cpu) {
            let message = format!(
                "a graph from bytes runs on the target `cpu`, not on `{}`: grant one by its name, whose manifest has a device",
                target_name(target)
            );
            return self.failed(Error::new(ErrorCode::UnsupportedOperation, message));
        }
        let (Some(model), true) = (builder.pop(), builder.is_empty()) else {
            return self.failed(Error::new(ErrorCode::InvalidArgument, "expected an ONNX model as one piece of bytes"));
        };
        let (count, bytes) = (nn.brought + 1, nn.brought_bytes.saturating_add(model.len()));
        if count > BROUGHT || bytes > grant.max_bytes {
            let message = format!("that makes {count} models of {bytes} bytes; at most {BROUGHT} of {} bytes are granted", grant.max_bytes);
            return self.failed(Error::new(ErrorCode::TooLarge, message));
        }
        (nn.brought, nn.brought_bytes) = (count, bytes);
        let load = async move { tokio::time::timeout_at(terms.deadline.moment().into(), grant.loader.load(model)).await };
        match self.wait(terms, load).await? {
            Ok(Ok(runner)) => Ok(Ok(self.push(Graph(runner))?)),
            Ok(Err(message)) => self.failed(Error::new(ErrorCode::InvalidEncoding, message)),
            Err(_) => self.failed(Error::new(ErrorCode::Timeout, "the model was not loaded in time")),
        }
    }

    fn load_by_name(&mut self, name: String) -> Answer<Resource<Graph>> {
        let nn = self.nn()?;
        match nn.grants.graphs.get(&name).filter(|_| nn.terms.is_some()).cloned() {
            Some(runner) => Ok(Ok(self.push(Graph(runner))?)),
            None => {
                let shown: String = name.chars().take(100).collect();
                let message = format!("no graph `{shown}` is granted; the manifest's `[predictor.grants]` would grant one under `graphs`");
                self.failed(Error::new(ErrorCode::NotFound, message))
            }
        }
    }
}

impl graph::HostGraph for Ctx {
    fn init_execution_context(&mut self, graph: Resource<Graph>) -> Answer<Resource<Context>> {
        let runner = self.nn()?.table.get(&graph)?.0.clone();
        Ok(Ok(self.push(Context(runner))?))
    }

    fn drop(&mut self, graph: Resource<Graph>) -> Result<()> {
        self.nn()?.table.delete(graph)?;
        Ok(())
    }
}

impl inference::Host for Ctx {}

impl inference::HostGraphExecutionContext for Ctx {
    async fn compute(&mut self, context: Resource<Context>, inputs: Vec<(String, Resource<Tensor>)>) -> Answer<Vec<(String, Resource<Tensor>)>> {
        // All of them, whatever comes of it: they are the host's now.
        let mut given = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            given.push((name, self.take_tensor(tensor)?));
        }
        let nn = self.nn()?;
        let runner = nn.table.get(&context)?.0.clone();
        let Some(terms) = nn.terms else {
            return self.failed(Error::new(ErrorCode::UnsupportedOperation, "nothing can be computed while no request is served"));
        };
        let tensors = match taken(runner.signature(), given) {
            Ok(tensors) => tensors,
            Err(error) => return self.failed(error),
        };
        match self.wait(terms, async move { runner.run(tensors, terms).await }).await? {
            Ok(done) => {
                self.nn()?.times += done.times;
                self.give(ran(done.outputs))
            }
            Err(error) => self.failed(compute::refused(&error)),
        }
    }

    fn drop(&mut self, context: Resource<Context>) -> Result<()> {
        self.nn()?.table.delete(context)?;
        Ok(())
    }
}

impl errors::Host for Ctx {}

impl errors::HostError for Ctx {
    fn code(&mut self, error: Resource<Error>) -> Result<ErrorCode> {
        Ok(self.nn()?.table.get(&error)?.code)
    }

    fn data(&mut self, error: Resource<Error>) -> Result<String> {
        Ok(self.nn()?.table.get(&error)?.data.clone())
    }

    fn drop(&mut self, error: Resource<Error>) -> Result<()> {
        self.nn()?.table.delete(error)?;
        Ok(())
    }
}

impl Ctx {
    /// Waits for what the engine does; meanwhile the guest's time stands still.
    async fn wait<T: Send + 'static>(&mut self, terms: Terms, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let errands = self.nn()?.errands.clone();
        let (done, took) = errands.run(work).await;
        self.stood_still(took, terms.deadline.moment());
        Ok(done)
    }

    /// Gives the guest what came out, all of it or nothing.
    fn give(&mut self, outputs: std::result::Result<Vec<(String, Tensor)>, Error>) -> Answer<Vec<(String, Resource<Tensor>)>> {
        let outputs = match outputs {
            Ok(outputs) => outputs,
            Err(error) => return self.failed(error),
        };
        let bytes = outputs.iter().map(|(_, tensor)| super::cost(&tensor.dimensions, tensor.data.len())).fold(0, usize::saturating_add);
        if !self.meter.would_hold(bytes) {
            let message = format!("the outputs take {bytes} bytes, which is more than is left of the component's memory");
            return self.failed(Error::new(ErrorCode::TooLarge, message));
        }
        let mut given = Vec::with_capacity(outputs.len());
        for (name, Tensor { dimensions, ty, data }) in outputs {
            given.push((name, self.new_tensor(dimensions, ty, data)?));
        }
        Ok(Ok(given))
    }
}
