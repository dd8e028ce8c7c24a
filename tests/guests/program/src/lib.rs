//! A program for `bulkhead plugin run`, on the bare interfaces: runs the graph that its first argument names on the numbers
//! that follow, and prints what came out; `load:` in place of a name loads a model of no bytes.

wit_bindgen::generate!({
    path: ["../../../wit/deps/nn", "src/program.wit"],
    world: "bulkhead:program/program",
    generate_all,
});

use exports::wasi::cli::run::Guest;
use wasi::cli::{environment, stdout};
use wasi::nn::errors::Error;
use wasi::nn::graph::{ExecutionTarget, GraphEncoding, load, load_by_name};
use wasi::nn::tensor::{Tensor, TensorType};

struct Program;

impl Guest for Program {
    fn run() -> Result<(), ()> {
        let arguments = environment::get_arguments();
        let [_, graph, numbers @ ..] = arguments.as_slice() else { return Err(()) };
        let (text, outcome) = match answer(graph, numbers) {
            Ok(text) => (text, Ok(())),
            Err(error) => (format!("{:?}: {}\n", error.code(), error.data()), Err(())),
        };
        stdout::get_stdout().blocking_write_and_flush(text.as_bytes()).map_err(drop)?;
        outcome
    }
}

fn answer(graph: &str, numbers: &[String]) -> Result<String, Error> {
    let graph = match graph {
        "load:" => load(&[Vec::new()], GraphEncoding::Onnx, ExecutionTarget::Cpu)?,
        name => load_by_name(name)?,
    };
    let context = graph.init_execution_context()?;
    let data: Vec<u8> = numbers.iter().flat_map(|number| number.parse::<f32>().unwrap_or(f32::NAN).to_le_bytes()).collect();
    let extent = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    let outputs = context.compute(vec![("x".to_owned(), Tensor::new(&[1, extent], TensorType::Fp32, &data))])?;
    let mut text = String::new();
    for (name, output) in outputs {
        let data = output.data();
        let values: Vec<f32> = data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        text += &format!("{name} {:?} {values:?}\n", output.dimensions());
    }
    Ok(text)
}

export!(Program);
