//! One session of a model, and a run of it.

use std::borrow::Cow;

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session, SessionOutputs};
use ort::value::Outlet;

use super::ports::{output_ports, port};
use super::refused;
use super::values::{copy, read, view};
use crate::engine::backend::{Backend, BackendError, Stop, Take, Terminate};
use crate::runner::Signature;
use crate::tensor::Tensor;

/// One session of a model.
pub(in crate::engine) struct OnnxSession {
    session: Session,
    signature: Signature,
    binding: Option<Binding>,
}

/// Where a session's memory is not the host's: what takes the inputs of a run there at once, and brings its outputs back.
struct Binding {
    inner: IoBinding,
    outputs: Vec<String>,
    /// The host's memory.
    here: MemoryInfo<'static>,
}

impl OnnxSession {
    /// A session that works in the host's memory.
    pub(super) fn new(session: Session) -> Result<Self, BackendError> {
        let mut inputs = session.inputs().iter().map(|outlet| port(outlet, false)).collect::<Result<Vec<_>, _>>()?;
        for initializer in session.overridable_initializers() {
            if let Ok(port) = port(&Outlet::new(initializer.name(), initializer.dtype().clone()), true) {
                inputs.push(port);
            }
        }
        let outputs = session.outputs().iter().map(output_ports).collect::<Result<Vec<_>, _>>()?.concat();
        Ok(Self { session, signature: Signature { inputs, outputs }, binding: None })
    }

    /// A session whose memory is a device's. Each input crosses once, whoever reads it there; each output once, when all
    /// are there.
    pub(super) fn bound(session: Session) -> Result<Self, BackendError> {
        let mut made = Self::new(session)?;
        let inner = made.session.create_binding().map_err(|error| refused(&error))?;
        let here = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput).map_err(|error| refused(&error))?;
        let outputs = made.session.outputs().iter().map(|output| output.name().to_owned()).collect();
        made.binding = Some(Binding { inner, outputs, here });
        Ok(made)
    }
}

impl Backend for OnnxSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[Tensor], stop: &Stop, take: &mut Take<'_>) -> Result<(), BackendError> {
        let options = &stop.inner::<OnnxStop>().ok_or_else(|| BackendError::Refused("a stop handle of another runtime".to_owned()))?.0;
        let Some(binding) = &mut self.binding else {
            let mut values = Vec::with_capacity(inputs.len());
            for input in inputs {
                values.push((Cow::Borrowed(input.name.as_str()), view(input)?));
            }
            return hand_on(self.session.run_with_options(values, options), take);
        };
        let ran = binding.run(&mut self.session, inputs, options, take);
        // What the request did not give, the next may not find; and what it got would be written over by the next, whatever
        // its size.
        binding.inner.clear();
        ran
    }

    fn stop(&self) -> Result<Stop, BackendError> {
        Ok(Stop::new(OnnxStop(RunOptions::new().map_err(|error| refused(&error))?)))
    }
}

impl Binding {
    fn run(
        &mut self,
        session: &mut Session,
        inputs: &[Tensor],
        options: &RunOptions<NoSelectedOutputs>,
        take: &mut Take<'_>,
    ) -> Result<(), BackendError> {
        let Self { inner, outputs, here } = self;
        for input in inputs {
            // Of a view `ort` 2.0.0-rc.15 makes a copy itself where the session wants it in the host's memory, and waits
            // for ever then.
            let value = copy(input)?;
            inner.bind_input(&input.name, &*value).map_err(|error| refused(&error))?;
        }
        for output in outputs {
            inner.bind_output_to_device(output.as_str(), here).map_err(|error| refused(&error))?;
        }
        inner.synchronize_inputs().map_err(|error| refused(&error))?;
        let ran = session.run_binding_with_options(inner, options);
        if ran.is_ok() {
            inner.synchronize_outputs().map_err(|error| refused(&error))?;
        }
        hand_on(ran, take)
    }
}

fn hand_on(ran: ort::Result<SessionOutputs<'_>>, take: &mut Take<'_>) -> Result<(), BackendError> {
    let outputs = ran.map_err(|error| {
        // ONNX Runtime has no code of its own for a run that was ended.
        if error.message().contains("terminate flag") { BackendError::Stopped } else { refused(&error) }
    })?;
    for (name, value) in outputs.iter() {
        read(name, &value, take)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use ort::session::Session;

    use super::super::{Onnx, SessionOptions};
    use super::OnnxSession;
    use crate::config;
    use crate::engine::Source;
    use crate::engine::backend::{Backend as _, BackendError};
    use crate::tensor::{Datatype, Tensor};

    fn onnx() -> Onnx {
        Onnx::load(&config::find_onnxruntime(None).expect("ONNX Runtime's library: `make setup` fetches it")).unwrap()
    }

    fn model(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/tests-models").join(name)
    }

    /// The device is the host itself here: the way is that of another.
    fn bound(onnx: &Onnx, name: &str) -> OnnxSession {
        let session: Session = onnx.builder(SessionOptions { threads: 1, cuda: None }).unwrap().commit_from_file(model(name)).unwrap();
        OnnxSession::bound(session).unwrap()
    }

    fn floats(name: &str, shape: &[i64], values: &[f32]) -> Tensor {
        Tensor { name: name.to_owned(), datatype: Datatype::Fp32, shape: shape.to_vec(), data: bytemuck::cast_slice(values).to_vec() }
    }

    #[test]
    fn a_bound_session_gives_what_another_gives() {
        let onnx = onnx();
        let mut string = Vec::new();
        crate::tensor::push_byte_string(&mut string, b"abc").unwrap();
        let strings = Tensor { name: "s".to_owned(), datatype: Datatype::Bytes, shape: vec![1], data: string };
        for (name, inputs) in [
            ("add_one.onnx", vec![floats("x", &[2, 4], &[1.0; 8])]),
            ("add_one.onnx", vec![floats("x", &[0, 4], &[])]),
            ("string_identity.onnx", vec![strings]),
        ] {
            let (mut bound, mut plain) =
                (bound(&onnx, name), onnx.session(Source::File(&model(name)), SessionOptions { threads: 1, cuda: None }).unwrap());
            let mut inputs = inputs;
            inputs[0].name = plain.signature().inputs[0].name.clone();
            let (first, second) = (bound.stop().unwrap(), plain.stop().unwrap());
            let expected = plain.outputs(&inputs, &second).unwrap();
            // Twice: nothing is left of the first run.
            for _ in 0..2 {
                assert_eq!(bound.outputs(&inputs, &first).unwrap(), expected, "{name}");
            }
            inputs[0].shape = vec![1, 1, 1, 1, 1];
            assert!(bound.outputs(&inputs, &first).is_err(), "{name}");
            inputs[0].name = "nobody".to_owned();
            assert!(bound.outputs(&inputs, &first).is_err(), "{name}");
        }
    }

    #[test]
    fn batches_of_any_size_follow_each_other() {
        let onnx = onnx();
        let mut bound = bound(&onnx, "add_one.onnx");
        let stop = bound.stop().unwrap();
        let name = bound.signature().inputs[0].name.clone();
        for rows in [2, 3, 1, 64, 2] {
            let outputs = bound.outputs(&[floats(&name, &[rows, 4], &vec![rows as f32; 4 * rows as usize])], &stop).unwrap();
            assert_eq!(outputs[0].shape, [rows, 4]);
            assert_eq!(outputs[0].data, (rows as f32 + 1.0).to_le_bytes().repeat(4 * rows as usize));
            // One that fails in between leaves nothing either.
            assert!(bound.outputs(&[floats(&name, &[rows, 3], &vec![0.0; 3 * rows as usize])], &stop).is_err());
        }
    }

    #[test]
    fn what_a_request_does_not_give_the_next_does_not_find() {
        let onnx = onnx();
        let mut bound = bound(&onnx, "default_rank0.onnx");
        let stop = bound.stop().unwrap();
        let inputs = bound.signature().inputs.clone();
        let optional = inputs.iter().find(|input| input.optional).expect("an input that may be missing");
        let required = inputs.iter().find(|input| !input.optional).unwrap();
        let given = vec![floats(&required.name, &[1, 2], &[1.0; 2])];
        let without = bound.outputs(&given, &stop).unwrap();
        let with = bound.outputs(&[given[0].clone(), floats(&optional.name, &[], &[7.0])], &stop).unwrap();
        assert_ne!(with, without);
        assert_eq!(bound.outputs(&given, &stop).unwrap(), without);
    }

    #[test]
    fn a_bound_run_can_be_ended() {
        let onnx = onnx();
        let mut bound = bound(&onnx, "add_one.onnx");
        let stop = bound.stop().unwrap();
        let inputs = [floats(&bound.signature().inputs[0].name.clone(), &[1, 4], &[1.0; 4])];
        stop.set();
        assert!(matches!(bound.outputs(&inputs, &stop), Err(BackendError::Stopped)));
        stop.clear();
        bound.outputs(&inputs, &stop).unwrap();
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let Err(error) = onnx().session(Source::File(&model("add_one.onnx")), SessionOptions { threads: 1, cuda: Some(0) }) else {
            // A machine that has one, with a library for it.
            return;
        };
        assert!(matches!(&error, BackendError::Device { device, .. } if device == "cuda:0"), "{error}");
    }
}
