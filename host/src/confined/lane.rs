//! One request at a time: a socket, a piece of shared memory, and at the other end a thread of the process.
//!
//! Whatever comes from there may be anything: it is copied, and only then checked and used.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::memory::Memory;
use super::process::Process;
use super::socket::{Packet, Socket};
use super::wire::{Ask, Order, Piece, Run, Since, Told};
use crate::engine::{BudgetShare, Held as Bytes};
use crate::runner::{Ran, RunError, RunTimes, Signature, Terms};
use crate::tensor::{Datatype, Tensor};

/// Bytes of a new lane's memory: those of a small request.
const NEW_BYTES: usize = 64 << 10;

/// A lane whose memory has grown beyond this is not kept. Arbitrary: the largest requests are few.
const KEPT_BYTES: usize = 1 << 20;

/// A thread that waits for a tiny model does not wait longer: as long as an inline run may last.
pub(super) const BLOCKED_AT_MOST: Duration = Duration::from_millis(20);

/// A run that nobody waits for any more ends within this time, or the process with it. Arbitrary: the runtime gives up between
/// two kernels, of which the largest take seconds.
const UNWANTED_AT_MOST: Duration = Duration::from_secs(30);

/// The host's end.
pub(super) struct Lane {
    id: u32,
    socket: Socket,
    memory: Memory,
    /// Of what all lanes of the process may have.
    budget: BudgetShare,
    held: Vec<Bytes>,
    room: Packet,
    runs: u64,
}

/// Why a lane gave nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The process has ended.
    Gone,
    /// There was no lane in time.
    Late,
    /// The tensors of all its requests hold too much memory.
    Full,
    /// It said what it may not.
    Rule(&'static str),
    /// The tensors don't fit what may be shared, or can't be told of.
    Refused(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Rule("it said something that is no message"),
            io::ErrorKind::Other | io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull => {
                Self::Refused(format!("it can't be handed over: {error}"))
            }
            _ => Self::Gone,
        }
    }
}

impl Lane {
    /// A lane, and what the process needs of it.
    pub(super) fn new(id: u32, budget: &BudgetShare) -> io::Result<(Self, Socket)> {
        let (ours, theirs) = Socket::pair()?;
        ours.waits(BLOCKED_AT_MOST)?;
        let memory = Memory::new(NEW_BYTES)?;
        Ok((Self { id, socket: ours, memory, budget: budget.clone(), held: Vec::new(), room: Packet::default(), runs: 0 }, theirs))
    }

    /// What the process shares.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Sends what is to be loaded.
    pub(super) fn load(&mut self, ask: &Ask, manifest: &[u8], artifact: &std::fs::File) -> io::Result<()> {
        self.memory.grow(manifest.len())?;
        self.memory.put(0, manifest);
        self.socket.send_files(ask, &[artifact.as_fd()], &mut self.room)
    }

    /// What was said, waiting for it no longer than [`BLOCKED_AT_MOST`]; none where nothing was.
    pub(super) fn told(&mut self, most: usize) -> Result<Option<Told>, Failure> {
        loop {
            match self.socket.receive(&mut self.room) {
                Ok(Told::Grow { bytes }) => self.grow(bytes, most)?,
                Ok(told) => return Ok(Some(told)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The same, without holding a thread.
    async fn told_later(&mut self, most: usize) -> Result<Told, Failure> {
        loop {
            match Self::next(&self.socket, &mut self.room).await? {
                Told::Grow { bytes } => self.grow(bytes, most)?,
                told => return Ok(told),
            }
        }
    }

    async fn next(socket: &Socket, room: &mut Packet) -> Result<Told, Failure> {
        // Made for one wait: it costs two calls, and what was registered would be told of each answer to a thread that blocks.
        #[expect(unsafe_code, reason = "a socket that is registered must stay open")]
        // SAFETY: the socket is borrowed for longer than what is registered lives, which is dropped at the end of this function
        // or with its future; a borrowed descriptor is always the same one. Each run that is longer than a blink tests it.
        let ready =
            unsafe { AsyncFd::register_with_interest(socket.as_fd(), Interest::READABLE) }.map_err(|error| io::Error::other(error.to_string()))?;
        loop {
            let mut guard = ready.readable().await?;
            match socket.received(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                told => return Ok(told?),
            }
        }
    }

    async fn answer(&mut self, signature: &Signature, most: usize, block: bool) -> Result<Answer, Failure> {
        let at_once = if block { self.told(most)? } else { None };
        let blocked_out = block && at_once.is_none();
        let told = match at_once {
            Some(told) => told,
            None => self.told_later(most).await?,
        };
        let (outcome, since) = match told {
            Told::Ran { outputs, times, since } => (Ok(ran(&self.memory, signature, outputs, times)?), since),
            Told::Failed { error, since } => (Err(error), since),
            _ => return Err(Failure::Rule("it answered a run with something else")),
        };
        Ok(Answer { outcome, since, blocked_out })
    }

    fn grow(&mut self, bytes: u64, most: usize) -> Result<(), Failure> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        // Were it to ask without an end, a thread would be held as long.
        if bytes <= self.memory.len() {
            return Err(Failure::Rule("it asks for memory that it has"));
        }
        if bytes > most {
            return Err(Failure::Refused(format!("what it has to say holds {bytes} bytes, and at most {most} are taken")));
        }
        self.enlarge(bytes)?;
        Ok(self.socket.send(&Ask::Grown, &mut self.room)?)
    }

    fn enlarge(&mut self, bytes: usize) -> Result<(), Failure> {
        let before = self.memory.len();
        if bytes <= before {
            return Ok(());
        }
        let bytes = Memory::rounded(bytes);
        self.held.push(self.budget.hold(bytes - before).ok_or(Failure::Full)?);
        Ok(self.memory.grow(bytes)?)
    }

    fn begin(&mut self, model: u32, inputs: &[Tensor], terms: Terms, signature: &Signature, here: bool) -> Result<(), Failure> {
        self.enlarge(Memory::needs(inputs.iter().map(|tensor| tensor.data.len())))?;
        let mut end = 0;
        let mut pieces = Vec::with_capacity(inputs.len());
        for tensor in inputs {
            let at = Memory::next(end);
            let port = signature.inputs.iter().position(|port| port.name == tensor.name);
            let piece = port.filter(|_| self.memory.put(at, &tensor.data)).and_then(|port| Piece::of(port, tensor));
            pieces.push(piece.ok_or_else(|| Failure::Refused(format!("input `{}` can't be handed over", tensor.name)))?);
            end = at + tensor.data.len();
        }
        self.runs += 1;
        let run = Run {
            run: self.runs,
            model,
            left_us: micros(terms.deadline.left()),
            priority: terms.priority,
            timeout_us: terms.timeout.map(micros),
            here,
            inputs: pieces,
        };
        Ok(self.socket.send(&Ask::Run(run), &mut self.room)?)
    }
}

/// A lane that one request has.
pub(super) struct Held {
    process: Arc<Process>,
    /// There until this is dropped.
    lane: Option<Lane>,
    /// Something was asked that is not answered yet.
    pending: bool,
    /// Nobody waits for that any more.
    is_unwanted: bool,
    permit: Option<OwnedSemaphorePermit>,
}

/// How a model runs.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// The thread waits for it, for a while: one that is blocked is woken sooner than one that is told of a socket.
    pub(super) blocks: bool,
    /// In the process, on the lane's thread, however long it takes.
    pub(super) here: bool,
}

/// What became of a run.
pub(super) struct Answer {
    pub(super) outcome: Result<Ran, RunError>,
    pub(super) since: Since,
    /// A thread was blocked for as long as it may be.
    pub(super) blocked_out: bool,
}

impl Held {
    pub(super) fn new(process: Arc<Process>, lane: Lane, permit: OwnedSemaphorePermit) -> Self {
        Self { process, lane: Some(lane), pending: false, is_unwanted: false, permit: Some(permit) }
    }

    /// Runs a model.
    pub(super) async fn run(&mut self, model: u32, signature: &Signature, inputs: &[Tensor], terms: Terms, how: How) -> Result<Answer, Failure> {
        let most = self.process.max_bytes();
        let lane = self.lane.as_mut().ok_or(Failure::Gone)?;
        lane.begin(model, inputs, terms, signature, how.here)?;
        self.pending = true;
        let answered = lane.answer(signature, most, how.blocks).await;
        self.pending = false;
        if answered.is_err() {
            // Who is at its other end goes with it.
            self.lane = None;
        }
        answered
    }

    /// Waits for the end of a run that nobody waits for any more.
    async fn recover(mut self) {
        let most = self.process.max_bytes();
        let Some(lane) = &mut self.lane else { return };
        match tokio::time::timeout(UNWANTED_AT_MOST, lane.told_later(most)).await {
            Ok(Ok(_)) => self.pending = false,
            Ok(Err(Failure::Gone)) => self.lane = None,
            _ => {
                self.process.kill("a run that nobody waits for does not end");
                self.lane = None;
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(lane) = self.lane.take() else { return };
        if !self.pending {
            if lane.memory.len() <= KEPT_BYTES {
                self.process.give_back(lane);
            } else {
                // What the process may have kept of it holds nothing.
                lane.memory.empty();
            }
            return;
        }
        // Where there is no runtime any more the host is ending, and the process with it.
        if let Ok(runtime) = Handle::try_current()
            && !self.is_unwanted
        {
            self.process.order(&Order::Unwanted { lane: lane.id, run: lane.runs });
            let process = Arc::clone(&self.process);
            let left = Self { process, lane: Some(lane), pending: true, is_unwanted: true, permit: self.permit.take() };
            runtime.spawn(left.recover());
        }
    }
}

/// Outputs out of the memory, checked.
fn ran(memory: &Memory, signature: &Signature, pieces: Vec<Piece>, times: RunTimes) -> Result<Ran, Failure> {
    if pieces.len() > signature.outputs.len() {
        return Err(Failure::Rule("it gave more outputs than the model has"));
    }
    let mut outputs = Vec::with_capacity(pieces.len());
    let mut end = 0;
    for piece in pieces {
        let port = signature.outputs.get(usize::from(piece.port)).ok_or(Failure::Rule("it gave an output that the model has not"))?;
        let at = Memory::next(end);
        let bytes = usize::try_from(piece.bytes).unwrap_or(usize::MAX);
        let data = memory.take(at, bytes).ok_or(Failure::Rule("it gave an output beyond the shared memory"))?;
        end = at + bytes;
        let tensor = Tensor { name: port.name.clone(), datatype: piece.datatype, shape: piece.shape, data };
        let is_bool = tensor.datatype == Datatype::Bool;
        if tensor.check().is_err() || (is_bool && tensor.data.iter().any(|byte| *byte > 1)) {
            return Err(Failure::Rule("it gave an output that is no tensor"));
        }
        outputs.push(tensor);
    }
    Ok(Ran { outputs, times })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::Port;

    fn signature() -> Signature {
        let port = |name: &str| Port { name: name.to_owned(), datatype: Datatype::Fp32, shape: None, optional: false, symbols: Vec::new() };
        Signature { inputs: Vec::new(), outputs: vec![port("a"), port("b")] }
    }

    fn piece(port: u16, datatype: Datatype, shape: &[i64], bytes: u64) -> Piece {
        Piece { port, datatype, shape: shape.to_vec(), bytes }
    }

    #[test]
    fn whatever_a_process_says_of_its_outputs_is_checked() {
        let mut memory = Memory::new(4096).unwrap();
        memory.put(0, &1f32.to_le_bytes());
        memory.put(64, &[1, 2]);
        let good = ran(&memory, &signature(), vec![piece(1, Datatype::Fp32, &[1], 4), piece(0, Datatype::Uint8, &[2], 2)], RunTimes::default());
        let outputs = good.unwrap().outputs;
        assert_eq!((outputs[0].name.as_str(), outputs[1].data.as_slice()), ("b", &[1, 2][..]));
        for (name, pieces) in [
            ("no such output", vec![piece(2, Datatype::Fp32, &[1], 4)]),
            ("too many", (0..3).map(|_| piece(0, Datatype::Fp32, &[0], 0)).collect()),
            ("beyond the end", vec![piece(0, Datatype::Uint8, &[4097], 4097)]),
            ("beyond any end", vec![piece(0, Datatype::Uint8, &[i64::MAX], u64::MAX)]),
            ("the same memory twice", vec![piece(0, Datatype::Uint8, &[4096], 4096), piece(1, Datatype::Uint8, &[4096], 4096)]),
            ("another length", vec![piece(0, Datatype::Fp32, &[2], 4)]),
            ("a shape that is none", vec![piece(0, Datatype::Fp32, &[-1], 4)]),
            ("strings that end within one", vec![piece(0, Datatype::Bytes, &[1], 3)]),
            ("truth of two", vec![piece(0, Datatype::Fp32, &[1], 4), piece(1, Datatype::Bool, &[2], 2)]),
        ] {
            assert!(matches!(ran(&memory, &signature(), pieces, RunTimes::default()), Err(Failure::Rule(_))), "{name}");
        }
    }
}
