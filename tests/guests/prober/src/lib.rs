//! A predictor that asks `wasi:nn` for whatever a request says, and answers with what it was told. It calls the raw
//! functions: the SDK would refuse much of it.

use std::hint::black_box;

use bulkhead_sdk::bindings::predictor::wasi::nn::errors;
use bulkhead_sdk::bindings::predictor::wasi::nn::graph::{self, ExecutionTarget, Graph as RawGraph, GraphEncoding};
use bulkhead_sdk::bindings::predictor::wasi::nn::tensor::{Tensor as RawTensor, TensorType};
use bulkhead_sdk::prelude::*;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prober {
    /// Graphs that it says it runs.
    #[serde(default)]
    graphs: Vec<String>,
    /// The graph whose tensors it says it takes and gives; else it takes a body.
    #[serde(default)]
    like: Option<String>,
    /// Loads this graph when it is configured.
    #[serde(default)]
    early: Option<String>,
    #[serde(skip)]
    request: Option<Request>,
}

/// The body of a request.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Wish {
    /// Runs a graph, and then perhaps does something else.
    Compute {
        graph: String,
        inputs: Vec<Input>,
        #[serde(default)]
        times: Option<usize>,
        #[serde(default)]
        then: Then,
    },
    /// Loads so many pieces of so many zeros.
    Load { pieces: usize, bytes: usize, encoding: String, target: String },
    /// Brings the same small model along so often, and keeps each.
    Bring { times: usize },
    /// Keeps so many tensors of so many bytes.
    Hoard { tensors: usize, bytes: usize },
    /// Keeps so many graphs of this name.
    Graphs { graph: String, count: usize },
    /// Asks for so many graphs that there are not, and keeps the errors.
    Errors { count: usize },
    /// Uses a tensor after it was given away.
    Reuse { graph: String, input: Input },
    /// What it knows of the request.
    Tell,
    /// Answers with a tensor whose data is too short.
    Malformed,
    /// Never ends.
    Loop,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Then {
    #[default]
    Answer,
    Loop,
    Trap,
    Fail,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
    shape: Vec<u32>,
    #[serde(rename = "type")]
    ty: String,
    /// As FP32, or of the integer type; else `bytes` zeros.
    #[serde(default)]
    data: Vec<f64>,
    #[serde(default)]
    bytes: usize,
}

impl Open for Prober {
    fn open(&mut self, request: Request) -> Result<()> {
        self.request = Some(request);
        Ok(())
    }
}

impl Predictor for Prober {
    fn predict(&mut self, payload: Payload) -> Result<Payload> {
        let answer = match payload {
            // Tensors pass through the graph.
            Payload::Tensors(tensors) => {
                let graph = self.like.as_deref().ok_or_else(|| Error::internal("it takes no tensors"))?;
                return Ok(Graph::named(graph)?.compute(&tensors)?.into());
            }
            // Bytes are a model, which is run on a row of `x`.
            Payload::Blob(blob) => load(&[blob.data], GraphEncoding::Autodetect, ExecutionTarget::Cpu).and_then(|graph| {
                let x = RawTensor::new(&[1, 2], TensorType::Fp32, &[1.5_f32, 2.5].map(f32::to_le_bytes).concat());
                compute(&graph, vec![("x".to_owned(), x)])
            }),
            json @ Payload::Json(_) => match json.json::<Wish>()? {
                Wish::Malformed => {
                    let wit = bulkhead_sdk::bindings::bulkhead::plugin::types::Tensor { name: "y".to_owned(), datatype: Datatype::Fp32, shape: vec![1, 2], data: vec![0; 7] };
                    return Ok(Tensor::from(wit).into());
                }
                wish => self.grant(wish),
            },
        };
        Payload::from_json(&answer.unwrap_or_else(|error| json!({ "error": { "code": format!("{:?}", error.0), "message": error.1 } })))
    }

    fn describe(&self) -> PredictorDescription {
        let mut description = PredictorDescription::new("Asks for whatever a request says").accepts("application/octet-stream").accepts("application/json");
        if let Some(graph) = &self.like {
            description = description.takes_as(graph).gives_as(graph);
        }
        self.graphs.iter().fold(description, |description, graph| description.graph(graph))
    }

    fn check(&self) -> Result<()> {
        match &self.early {
            Some(name) => Graph::named(name).map(drop),
            None => Ok(()),
        }
    }
}

/// A model with a graph of nothing: that it can't be run makes no difference to how often it is brought.
const EMPTY_GRAPH: &[u8] = &[0x08, 0x08, 0x3a, 0x00];

type Told<T> = std::result::Result<T, (errors::ErrorCode, String)>;

impl Prober {
    fn grant(&self, wish: Wish) -> Told<serde_json::Value> {
        match wish {
            Wish::Compute { graph, inputs, times, then } => {
                let graph = by_name(&graph)?;
                let mut answer = json!(null);
                for _ in 0..times.unwrap_or(1) {
                    answer = compute(&graph, inputs.iter().map(|input| (input.name.clone(), tensor(input))).collect())?;
                }
                match then {
                    Then::Answer => Ok(answer),
                    Then::Loop => forever(),
                    Then::Trap => std::process::abort(),
                    Then::Fail => Err((errors::ErrorCode::Unknown, "it went wrong in here".to_owned())),
                }
            }
            Wish::Load { pieces, bytes, encoding, target } => {
                let encoding = if encoding == "onnx" { GraphEncoding::Onnx } else { GraphEncoding::Pytorch };
                let target = if target == "cpu" { ExecutionTarget::Cpu } else { ExecutionTarget::Gpu };
                load(&vec![vec![0; bytes]; pieces], encoding, target).map(|_| json!("loaded"))
            }
            Wish::Bring { times } => {
                let mut hoard = Vec::new();
                for _ in 0..times {
                    hoard.push(load(&[EMPTY_GRAPH.to_vec()], GraphEncoding::Onnx, ExecutionTarget::Cpu));
                }
                hoard.pop().unwrap_or_else(|| Err((errors::ErrorCode::Unknown, "none".to_owned()))).map(|_| json!("loaded"))
            }
            Wish::Hoard { tensors, bytes } => {
                let data = vec![0; bytes];
                let hoard: Vec<_> = (0..tensors).map(|_| RawTensor::new(&[bytes as u32], TensorType::U8, &data)).collect();
                Ok(json!({ "kept": hoard.len() }))
            }
            Wish::Graphs { graph, count } => {
                let mut hoard = Vec::new();
                for _ in 0..count {
                    let graph = by_name(&graph)?;
                    let context = graph.init_execution_context().map_err(told)?;
                    hoard.push((graph, context));
                }
                Ok(json!({ "kept": hoard.len() }))
            }
            Wish::Errors { count } => {
                let hoard: Vec<_> = (0..count).map(|_| graph::load_by_name("no such")).collect();
                Ok(json!({ "kept": hoard.len() }))
            }
            Wish::Reuse { graph, input } => {
                let graph = by_name(&graph)?;
                let tensor = tensor(&input);
                let handle = tensor.handle();
                compute(&graph, vec![(input.name.clone(), tensor)])?;
                // SAFETY: none: the host must catch it.
                let gone = std::mem::ManuallyDrop::new(unsafe { RawTensor::from_handle(handle) });
                Ok(json!({ "ghost": gone.dimensions() }))
            }
            Wish::Tell => {
                let request = self.request.as_ref();
                Ok(json!({ "model": request.map(|request| request.model.clone()), "headers": request.map(|request| request.headers.clone()) }))
            }
            Wish::Malformed => Ok(json!(null)),
            Wish::Loop => forever(),
        }
    }
}

fn forever() -> ! {
    loop {
        black_box(());
    }
}

fn tensor(input: &Input) -> RawTensor {
    let (ty, elements): (_, Vec<Vec<u8>>) = match input.ty.as_str() {
        "I64" => (TensorType::I64, input.data.iter().map(|value| (*value as i64).to_le_bytes().to_vec()).collect()),
        "I32" => (TensorType::I32, input.data.iter().map(|value| (*value as i32).to_le_bytes().to_vec()).collect()),
        "U8" => (TensorType::U8, input.data.iter().map(|value| vec![*value as u8]).collect()),
        "FP64" => (TensorType::Fp64, input.data.iter().map(|value| value.to_le_bytes().to_vec()).collect()),
        _ => (TensorType::Fp32, input.data.iter().map(|value| (*value as f32).to_le_bytes().to_vec()).collect()),
    };
    let data = if input.bytes > 0 { vec![0; input.bytes] } else { elements.concat() };
    RawTensor::new(&input.shape, ty, &data)
}

fn by_name(name: &str) -> Told<RawGraph> {
    graph::load_by_name(name).map_err(told)
}

fn load(pieces: &[Vec<u8>], encoding: GraphEncoding, target: ExecutionTarget) -> Told<RawGraph> {
    graph::load(pieces, encoding, target).map_err(told)
}

fn compute(graph: &RawGraph, inputs: Vec<(String, RawTensor)>) -> Told<serde_json::Value> {
    let outputs = graph.init_execution_context().map_err(told)?.compute(inputs).map_err(told)?;
    let outputs: serde_json::Map<_, _> = outputs
        .into_iter()
        .map(|(name, tensor)| {
            let data = tensor.data();
            assert_eq!(data, tensor.data(), "it may be read twice");
            let values: Vec<f64> = match tensor.ty() {
                TensorType::Fp32 => data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()).into()).collect(),
                TensorType::I64 => data.chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as f64).collect(),
                TensorType::I32 => data.chunks_exact(4).map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap()).into()).collect(),
                TensorType::U8 => data.iter().map(|byte| (*byte).into()).collect(),
                _ => Vec::new(),
            };
            (name, json!({ "shape": tensor.dimensions(), "type": format!("{:?}", tensor.ty()), "bytes": data.len(), "data": &values[..values.len().min(16)] }))
        })
        .collect();
    Ok(outputs.into())
}

fn told(error: errors::Error) -> (errors::ErrorCode, String) {
    (error.code(), error.data())
}

bulkhead_sdk::predictor!(Prober);
