//! The process's end of a lane: a thread that runs one request after another.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable};
use tokio::runtime::Handle;

use super::Current;
use super::models::{Entry, Models};
use crate::clock::Deadline;
use crate::confined::memory::Memory;
use crate::confined::process::LOAD_THREAD;
use crate::confined::socket::{Packet, Socket};
use crate::confined::wire::{Ask, Piece, Run, Since, Told, What, cut};
use crate::runner::{Ran, RunError, Runner as _, Terms};
use crate::tensor::Tensor;

/// Bytes of the stack of a thread that loads: the runtime walks graphs within graphs.
const LOAD_STACK: usize = 8 << 20;

/// What a lane's thread works with.
pub(super) struct Serving {
    socket: Socket,
    memory: Memory,
    room: Packet,
    current: Arc<Current>,
    models: Arc<Models>,
    runtime: Handle,
}

impl Serving {
    /// Of a socket and a memory.
    pub(super) fn new(files: Vec<File>, current: Arc<Current>, models: Arc<Models>, runtime: Handle) -> io::Result<Self> {
        let [socket, memory] = <[File; 2]>::try_from(files).map_err(|_| io::Error::other("a lane without its files"))?;
        Ok(Self { socket: Socket::from(OwnedFd::from(socket)), memory: Memory::of(memory)?, room: Packet::default(), current, models, runtime })
    }

    /// Serves until the host lets go of the lane.
    pub(super) fn serve(mut self) {
        // What goes wrong here is seen at the other end: the lane is closed.
        while self.one().is_ok() {}
    }

    fn one(&mut self) -> io::Result<()> {
        let (ask, files) = self.socket.receive_files(&mut self.room)?;
        match ask {
            Ask::Run(run) => self.run(run),
            Ask::Load { what, manifest_bytes } => {
                self.memory.look()?;
                let manifest = usize::try_from(manifest_bytes).ok().and_then(|bytes| self.memory.take(0, bytes));
                let (Some(manifest), Some(file)) = (manifest, files.into_iter().next()) else { return Err(io::ErrorKind::InvalidData.into()) };
                self.load(what, file, manifest)
            }
            Ask::Grown => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn load(&mut self, what: What, file: File, manifest: Vec<u8>) -> io::Result<()> {
        let models = Arc::clone(&self.models);
        let load = move || models.load(what, &file, &String::from_utf8_lossy(&manifest));
        let thread = std::thread::Builder::new().name(LOAD_THREAD.to_owned()).stack_size(LOAD_STACK).spawn(load)?;
        let loaded = thread.join().map_err(|_| io::Error::other("a load broke off"))?;
        let told = match loaded {
            Ok(facts) => {
                let facts = serde_json::to_vec(&facts).map_err(io::Error::other)?;
                self.make_room(facts.len())?;
                self.memory.put(0, &facts);
                Told::Loaded { facts_bytes: facts.len() as u64 }
            }
            Err(error) => Told::Refused(error.into()),
        };
        self.socket.send(&told, &mut self.room)
    }

    fn run(&mut self, run: Run) -> io::Result<()> {
        let Some(entry) = self.models.get(run.model) else {
            return self.socket.send(&Told::Failed { error: RunError::Stopped, since: Since::default() }, &mut self.room);
        };
        let (id, here, terms) = (run.run, run.here, terms(&run));
        let inputs = self.inputs(&entry, run.inputs).ok_or(io::ErrorKind::InvalidData)?;
        let outcome = match super::tried(&inputs) {
            Some(how) => Some(Err(RunError::Failed(how))),
            None => self.outcome(&entry, id, inputs, terms, here),
        };
        let told = match outcome {
            Some(Ok(ran)) => {
                let outputs = self.hand_over(&ran)?;
                Told::Ran { outputs, times: ran.times, since: entry.since() }
            }
            Some(Err(error)) => Told::Failed { error: short(error), since: entry.since() },
            // Nobody reads it, and what is told of here would be told of to nobody.
            None => Told::Failed { error: RunError::Deadline, since: Since::default() },
        };
        self.socket.send(&told, &mut self.room)
    }

    /// None where it was ended because nobody waits for it.
    fn outcome(&self, entry: &Entry, run: u64, inputs: Vec<Tensor>, terms: Terms, here: bool) -> Option<Result<Ran, RunError>> {
        let current = &self.current;
        // Without a hand-over to a thread of the model's and back.
        let run_here = |inputs| {
            entry.model.run_here(inputs, terms.deadline, |at| {
                let model = Arc::clone(&entry.model);
                current.begin(run, move || model.end(at));
            })
        };
        let ran = if here { run_here(inputs) } else { Err(inputs) };
        let outcome = ran.map_or_else(
            |inputs| {
                let (handle, registration) = AbortHandle::new_pair();
                current.begin(run, move || handle.abort());
                self.runtime.block_on(Abortable::new(entry.model.run(inputs, terms), registration)).ok()
            },
            |ran| current.is_wanted(run).then_some(ran),
        );
        current.over();
        outcome
    }

    /// The tensors in the memory; none where the host is at odds with itself.
    fn inputs(&mut self, entry: &Entry, pieces: Vec<Piece>) -> Option<Vec<Tensor>> {
        let needs = Memory::needs(pieces.iter().map(|piece| usize::try_from(piece.bytes).unwrap_or(usize::MAX)));
        if needs > self.memory.len() {
            self.memory.look().ok()?;
        }
        let signature = entry.model.signature();
        let mut end = 0;
        let mut inputs = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let (at, bytes) = (Memory::next(end), usize::try_from(piece.bytes).ok()?);
            let data = self.memory.take(at, bytes)?;
            end = at + bytes;
            let name = signature.inputs.get(usize::from(piece.port))?.name.clone();
            inputs.push(Tensor { name, datatype: piece.datatype, shape: piece.shape, data });
        }
        Some(inputs)
    }

    fn hand_over(&mut self, ran: &Ran) -> io::Result<Vec<Piece>> {
        self.make_room(Memory::needs(ran.outputs.iter().map(|tensor| tensor.data.len())))?;
        let mut end = 0;
        let mut pieces = Vec::with_capacity(ran.outputs.len());
        for (port, tensor) in ran.outputs.iter().enumerate() {
            let at = Memory::next(end);
            self.memory.put(at, &tensor.data);
            end = at + tensor.data.len();
            pieces.push(Piece::of(port, tensor).ok_or_else(|| io::Error::other("too many outputs"))?);
        }
        Ok(pieces)
    }

    /// Has the host make the memory larger.
    fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        if bytes <= self.memory.len() {
            return Ok(());
        }
        self.memory.look()?;
        if bytes > self.memory.len() {
            self.socket.send(&Told::Grow { bytes: bytes as u64 }, &mut self.room)?;
            match self.socket.receive(&mut self.room)? {
                Ask::Grown => self.memory.look()?,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }
}

fn short(error: RunError) -> RunError {
    match error {
        RunError::Failed(text) => RunError::Failed(cut(text)),
        RunError::Invalid { input, message } => RunError::Invalid { input: input.map(cut), message: cut(message) },
        other => other,
    }
}

fn terms(run: &Run) -> Terms {
    Terms {
        deadline: Deadline::after(Duration::from_micros(run.left_us)),
        priority: run.priority,
        timeout: run.timeout_us.map(Duration::from_micros),
    }
}
