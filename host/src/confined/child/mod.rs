//! The process itself: it locks itself in, and then loads and runs what it is given.

#[cfg(debug_assertions)]
mod hooks;
mod lane;
mod models;
mod seccomp;
mod walls;

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::memory::length;
use super::process::LANES;
use super::socket::{Packet, Socket};
use super::wire::{Hello, Order};
use crate::aside::yield_to_requests;
use crate::engine::Engine;
use crate::tensor::Tensor;
use lane::Serving;
use models::Models;

/// Bytes of the stack of a thread that serves a lane: models run on it, as they do on threads of their own, which have as much.
const LANE_STACK: usize = 2 << 20;

/// How it is to be run.
pub struct ProcessOptions {
    /// ONNX Runtime's library.
    pub library: PathBuf,
    /// Cores that models may use.
    pub cores: usize,
    /// Bytes that may be allocated from now on, besides its threads' stacks.
    pub memory_bytes: u64,
    /// Bytes of tensors that may wait.
    pub max_queued_bytes: usize,
}

/// What ends a run.
type End = Box<dyn Fn() + Send>;

/// What a lane runs just now.
#[derive(Default)]
struct Current {
    /// The run, and what ends it.
    running: Mutex<Option<(u64, End)>>,
    /// All runs up to this one are of no use to anybody.
    unwanted: AtomicU64,
}

impl Current {
    /// Nobody waits for that run any more; it may not have come yet.
    fn end(&self, run: u64) {
        self.unwanted.fetch_max(run, Ordering::SeqCst);
        if let Some((_, end)) = self.running.lock().as_ref().filter(|(running, _)| *running <= run) {
            end();
        }
    }

    /// A run is under way, which is ended like this.
    fn begin(&self, run: u64, end: impl Fn() + Send + 'static) {
        let mut running = self.running.lock();
        let (_, end) = running.insert((run, Box::new(end)));
        if !self.is_wanted(run) {
            end();
        }
    }

    /// Somebody waits for that run.
    fn is_wanted(&self, run: u64) -> bool {
        self.unwanted.load(Ordering::SeqCst) < run
    }

    fn over(&self) {
        *self.running.lock() = None;
    }
}

/// The process: it serves the host at the other end of standard input until that is gone.
///
/// # Errors
/// Where it can't lock itself in, or the runtime can't be loaded.
pub fn run_process(options: &ProcessOptions) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    // What it runs may last, and none of its threads may say so later.
    yield_to_requests();
    let mut lacks = walls::first()?;
    let control = Socket::from(io::stdin().as_fd().try_clone_to_owned().map_err(text)?);
    let usage = walls::Usage::open()?;
    let memory_bytes = options.memory_bytes + (LANES * LANE_STACK) as u64;
    let shut = || {
        lacks.extend(walls::shut(memory_bytes, &usage)?);
        Ok(())
    };
    let engine = Engine::start_shut(&options.library, options.cores, options.max_queued_bytes, shut).map_err(|error| error.to_string())?;
    // For the queues' timers only: lanes have threads of their own, and poll what they run themselves.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().map_err(text)?;
    let models = Arc::new(Models::new(engine, usage)?);
    let mut room = Packet::default();
    control.send(&Hello { lacks }, &mut room).map_err(text)?;
    let mut lanes: HashMap<u32, Arc<Current>> = HashMap::new();
    loop {
        let (order, files) = match control.receive_files(&mut room) {
            Ok(order) => order,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(text(error)),
        };
        match order {
            Order::Lane { lane } => {
                let current = Arc::new(Current::default());
                lanes.retain(|_, current| Arc::strong_count(current) > 1);
                lanes.insert(lane, Arc::clone(&current));
                let serving = Serving::new(files, current, Arc::clone(&models), runtime.handle().clone()).map_err(text)?;
                thread("bulkhead-lane", LANE_STACK, move || serving.serve()).map_err(text)?;
            }
            Order::Unwanted { lane, run } => {
                if let Some(current) = lanes.get(&lane) {
                    current.end(run);
                }
            }
            Order::Close { model } => {
                let models = Arc::clone(&models);
                // Waits for the model's threads.
                thread("bulkhead-close", LANE_STACK, move || models.close(model)).map_err(text)?;
            }
        }
    }
}

fn thread(name: &str, stack: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(stack).spawn(work).map(drop)
}

/// What a test asks of this process by the names of a model's inputs; nothing in a build for release, which lacks `hooks.rs`.
fn tried(inputs: &[Tensor]) -> Option<String> {
    #[cfg(debug_assertions)]
    return hooks::tried(inputs);
    #[cfg(not(debug_assertions))]
    {
        let _ = inputs;
        None
    }
}
