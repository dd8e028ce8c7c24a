//! Runs that the manifest declares, before a version is ready.

use std::time::Duration;

use bulkhead_registry::{Warmup, WarmupData, WarmupInput};
use serde_json::{Value, json};

use super::backend::{Backend, BackendError};
use super::sample;
use super::watch::Watch;
use crate::clock;
use crate::runner::{Port, Signature};
use crate::tensor::Tensor;
use crate::tensor_json;

/// Time for all of it. Arbitrary: whoever uploads waits for it.
const AT_MOST: Duration = Duration::from_secs(120);

/// Bytes of one run's inputs. Arbitrary, as the bound on those of a trial.
const BYTES: usize = 256 << 20;

/// Runs all of them in each session.
///
/// # Errors
/// Where the inputs are none of the model's, or a run fails.
pub(super) fn run<'a>(
    sessions: impl Iterator<Item = (&'a mut Box<dyn Backend>, &'a Watch)>,
    signature: &Signature,
    warmups: &[Warmup],
) -> Result<(), BackendError> {
    let mut sessions: Vec<_> = sessions.collect();
    let until = clock::now() + AT_MOST;
    for (at, warmup) in warmups.iter().enumerate() {
        let refuse = |message: String| BackendError::Manifest { pointer: format!("/warmup/{at}"), message };
        let inputs = inputs(signature, warmup).map_err(refuse)?;
        for (session, watch) in &mut sessions {
            for _ in 0..warmup.count {
                match watch.run([], Some(until), |stop| session.run(&inputs, stop, &mut |_| Ok(()))) {
                    Ok(()) if clock::now() < until => {}
                    Err(error) if clock::now() < until => return Err(refuse(format!("the run failed: {error}"))),
                    _ => return Err(refuse(format!("all of it may take {} s, and took longer", AT_MOST.as_secs()))),
                }
            }
        }
    }
    Ok(())
}

fn inputs(signature: &Signature, warmup: &Warmup) -> Result<Vec<Tensor>, String> {
    let mut made = Vec::with_capacity(warmup.inputs.len());
    for (name, input) in &warmup.inputs {
        let port = signature.inputs.iter().find(|port| port.name == *name);
        let names: Vec<_> = signature.inputs.iter().map(|port| format!("`{}`", port.name)).collect();
        let port = port.ok_or_else(|| format!("unknown input `{name}`: the model takes {}", names.join(", ")))?;
        made.push(tensor(port, input)?);
    }
    signature.arrange(made).map_err(|error| error.to_string())
}

fn tensor(port: &Port, input: &WarmupInput) -> Result<Tensor, String> {
    let shape: Vec<i64> = input.shape.iter().map(|extent| i64::from(*extent)).collect();
    let elements = crate::tensor::elements(&shape).filter(|elements| elements.saturating_mul(port.datatype.size().unwrap_or(8)) <= BYTES);
    let elements = elements.ok_or_else(|| format!("input `{}` of shape {shape:?} is larger than {BYTES} bytes", port.name))?;
    let seed = match &input.data {
        WarmupData::Zero => None,
        WarmupData::Random => Some(1),
        WarmupData::Recorded(values) => return recorded(port, &shape, values),
    };
    Ok(Tensor { name: port.name.clone(), datatype: port.datatype, data: sample::values(port.datatype, elements, seed), shape })
}

/// Read as a request's would be.
fn recorded(port: &Port, shape: &[i64], values: &[Value]) -> Result<Tensor, String> {
    let input = json!({ "name": port.name, "datatype": port.datatype.name(), "shape": shape, "data": values });
    let mut request = tensor_json::decode(&json!({ "inputs": [input] }).to_string()).map_err(|error| error.message)?;
    Ok(request.inputs.remove(0))
}
