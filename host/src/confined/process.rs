//! One process of models: how it is started, its lanes, and how it is ended.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::Semaphore;

use super::lane::{Failure, Held, Lane};
use super::socket::{Packet, Socket};
use super::wire::{Ask, Facts, Hello, Order, Told, What};
use super::{Options, SUBCOMMAND};
use crate::aside;
use crate::clock::Deadline;
use crate::engine::{self, BackendError, Budget, BudgetShare};

/// Requests at one time; more wait. Each has a thread there. Arbitrary: twice the crowd of the bench.
pub(super) const LANES: usize = 128;

/// The name of the thread in it that loads a model.
pub(super) const LOAD_THREAD: &str = "bulkhead-load";

/// Lanes that nobody has just now are kept up to so many: each has two files open here, and memory. Arbitrary: a crowd's.
const KEPT_LANES: usize = 32;

/// A process is ready by then, or never. Arbitrary: it takes a tenth of a second.
const START_AT_MOST: Duration = Duration::from_secs(60);

/// A load takes no longer. Arbitrary: trial and warm-up have bounds of their own within it.
const LOAD_AT_MOST: Duration = Duration::from_secs(600);

/// Bytes of what it may say of a model that it has loaded. Arbitrary: the names of some ten thousand inputs.
const FACTS_AT_MOST: usize = 16 << 20;

/// Bytes of its last words that are kept.
const WORDS: usize = 2048;

/// They are there at once when it has ended.
const WORDS_AT_MOST: Duration = Duration::from_secs(1);

/// A process that runs.
pub(super) struct Process {
    id: u32,
    control: Mutex<(Socket, Packet)>,
    /// Stands for it, also when its number is another's.
    handle: OwnedFd,
    /// Those that nobody has just now.
    lanes: Mutex<Vec<Lane>>,
    free: Arc<Semaphore>,
    next_lane: AtomicU32,
    /// For loads, which come one after another.
    loads: Mutex<Lane>,
    is_ended: AtomicBool,
    /// Whether its models' threads are to leave one processor to requests.
    leaves_a_processor: AtomicBool,
    /// Held by who tells them.
    telling: Mutex<()>,
    /// Of the memory of all lanes.
    budget: BudgetShare,
}

/// Why a model was not loaded.
pub(super) enum NotLoaded {
    /// The runtime refuses it.
    Refused(BackendError),
    /// The process ended, or was ended, meanwhile.
    Ended(&'static str),
}

/// Started, and what belongs to whoever waits for its end.
pub(super) struct Started {
    pub(super) process: Arc<Process>,
    pub(super) child: Child,
    pub(super) words: Words,
    pub(super) hello: Hello,
}

impl Process {
    /// Starts one. It ends with the thread that calls this, at the latest. Blocks until it is ready.
    pub(super) fn start(options: &Options) -> io::Result<Started> {
        let (ours, theirs) = Socket::pair()?;
        let mut command = Command::new(&options.program);
        command.arg0("bulkhead").arg(SUBCOMMAND).arg("--library").arg(&options.library);
        command.args(["--cores", &options.cores.to_string(), "--memory-bytes", &options.memory_bytes.to_string()]);
        command.args(["--max-queued-bytes", &options.max_queued_bytes.to_string()]);
        // The allocator would set aside a gigabyte at once, which would count; and the runtime would open a database and start a
        // thread for its telemetry, before anybody can ask it not to.
        let environment = [("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("ORT_DISABLE_TELEMETRY", "1")];
        command.env_clear().envs(environment).current_dir("/").process_group(0);
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        // The command holds the other end, whose closing is to be seen.
        drop(command);
        let words = Words::read(child.stderr.take());
        let greeted = Self::greet(ours, &child, options);
        match (greeted, words) {
            (Ok((process, hello)), Ok(words)) => Ok(Started { process, child, words, hello }),
            (greeted, words) => {
                // It may have ended already.
                let _ = child.kill();
                let how = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                let error = greeted.err().unwrap_or_else(|| io::Error::other("no thread for what it writes"));
                let said = words.map(|words| words.last()).unwrap_or_default();
                Err(io::Error::new(error.kind(), format!("{error} ({how}); its last words: {}", said.trim())))
            }
        }
    }

    fn greet(control: Socket, child: &Child, options: &Options) -> io::Result<(Arc<Self>, Hello)> {
        let handle = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        let mut room = Packet::default();
        control.waits(START_AT_MOST)?;
        let hello: Hello = control.receive(&mut room)?;
        let budget = Budget::new(options.max_queued_bytes).whole();
        let loads = open_lane(&control, &mut room, 0, &budget)?;
        let process = Self {
            id: child.id(),
            control: Mutex::new((control, room)),
            handle,
            lanes: Mutex::default(),
            free: Arc::new(Semaphore::new(LANES)),
            next_lane: AtomicU32::new(1),
            loads: Mutex::new(loads),
            is_ended: AtomicBool::new(false),
            leaves_a_processor: AtomicBool::new(false),
            telling: Mutex::default(),
            budget,
        };
        Ok((Arc::new(process), hello))
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Bytes of one request's tensors, or of its answer's, at most.
    pub(super) fn max_bytes(&self) -> usize {
        self.budget.limit()
    }

    /// Takes note of its end.
    pub(super) fn ended(&self) {
        self.is_ended.store(true, Ordering::SeqCst);
        self.free.close();
        self.lanes.lock().clear();
    }

    pub(super) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::SeqCst)
    }

    /// Requests that it has just now.
    pub(super) fn requests(&self) -> usize {
        LANES - self.free.available_permits().min(LANES)
    }

    /// Ends it at once.
    pub(super) fn kill(&self, why: &str) {
        if !self.is_ended() {
            tracing::warn!(why, "a process of models is ended");
        }
        self.end();
    }

    /// Ends it, since nobody needs it.
    pub(super) fn end(&self) {
        // Who has ended already can't be told.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }

    /// Has its models' threads leave one processor to requests, or no longer; what runs on a lane's thread does not. One that was
    /// taken over can give its threads whichever names it likes: it steps back for requests all the same.
    pub(super) fn leave_a_processor(self: &Arc<Self>, leave: bool) {
        if self.leaves_a_processor.load(Ordering::Relaxed) != leave && self.leaves_a_processor.swap(leave, Ordering::SeqCst) != leave {
            let process = Arc::clone(self);
            tokio::spawn(aside::blocking(move || process.tell_threads()));
        }
    }

    /// Blocks for as long as it takes to look through them.
    fn tell_threads(&self) {
        // Who comes last tells what holds then.
        let _one_by_one = self.telling.lock();
        if self.is_ended() {
            return;
        }
        // Those of the runtime are named after who started them.
        let of_models = |name: &str| [engine::THREAD, LOAD_THREAD].contains(&name);
        if let Err(error) = aside::leave_a_processor_of(self.id, self.leaves_a_processor.load(Ordering::SeqCst), of_models) {
            tracing::debug!(%error, "a process of models leaves no processor to requests");
        }
    }

    /// A lane for a request, as soon as there is one.
    pub(super) async fn lane(self: &Arc<Self>, deadline: Deadline) -> Result<Held, Failure> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let free = Arc::clone(&self.free).acquire_owned();
                let permit = tokio::time::timeout_at(deadline.moment().into(), free).await.map_err(|_| Failure::Late)?;
                // Closed once the process has ended.
                permit.map_err(|_| Failure::Gone)?
            }
        };
        let kept = self.lanes.lock().pop();
        let lane = match kept {
            Some(lane) => lane,
            None => {
                let (control, room) = &mut *self.control.lock();
                let id = self.next_lane.fetch_add(1, Ordering::Relaxed);
                open_lane(control, room, id, &self.budget)?
            }
        };
        Ok(Held::new(Arc::clone(self), lane, permit))
    }

    pub(super) fn give_back(&self, lane: Lane) {
        let mut lanes = self.lanes.lock();
        if !self.is_ended() && lanes.len() < KEPT_LANES {
            lanes.push(lane);
        }
    }

    /// Tells it something that needs no answer.
    pub(super) fn order(&self, order: &Order) {
        let (control, room) = &mut *self.control.lock();
        if let Err(error) = control.send(order, room)
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.kill("it does not listen");
        }
    }

    /// Loads a model. Blocks for as long as that takes.
    pub(super) fn load(&self, what: What, artifact: &File, manifest: &str) -> Result<Facts, NotLoaded> {
        let failure = match self.load_on(&mut self.loads.lock(), what, artifact, manifest) {
            Ok(loaded) => return loaded.map_err(NotLoaded::Refused),
            Err(failure) => failure,
        };
        let why = match &failure {
            Failure::Gone => "it ended",
            Failure::Late => "it took too long, and was ended",
            Failure::Rule(rule) => rule,
            Failure::Full | Failure::Refused(_) => "what it has to say of a model is too much",
        };
        // The next load could not count on its lane.
        self.kill(why);
        Err(match failure {
            Failure::Refused(why) => NotLoaded::Refused(BackendError::Refused(why)),
            _ => NotLoaded::Ended(why),
        })
    }

    fn load_on(&self, lane: &mut Lane, what: What, artifact: &File, manifest: &str) -> Result<Result<Facts, BackendError>, Failure> {
        let ask = Ask::Load { what, manifest_bytes: manifest.len() as u64 };
        lane.load(&ask, manifest.as_bytes(), artifact)?;
        let until = Deadline::after(LOAD_AT_MOST);
        loop {
            match lane.told(FACTS_AT_MOST)? {
                Some(Told::Loaded { facts_bytes }) => {
                    if self.leaves_a_processor.load(Ordering::SeqCst) {
                        self.tell_threads();
                    }
                    let facts = lane.memory().take(0, usize::try_from(facts_bytes).unwrap_or(usize::MAX));
                    let facts = facts.and_then(|facts| serde_json::from_slice::<Facts>(&facts).ok());
                    return facts.map(Ok).ok_or(Failure::Rule("what it says of a model is nothing"));
                }
                Some(Told::Refused(refusal)) => return Ok(Err(refusal.into())),
                Some(_) => return Err(Failure::Rule("it answered a load with something else")),
                None if until.left().is_zero() => return Err(Failure::Late),
                None if self.is_ended() => return Err(Failure::Gone),
                None => {}
            }
        }
    }
}

fn open_lane(control: &Socket, room: &mut Packet, id: u32, budget: &BudgetShare) -> io::Result<Lane> {
    let (lane, theirs) = Lane::new(id, budget)?;
    control.send_files(&Order::Lane { lane: id }, &[theirs.as_fd(), lane.memory().file().as_fd()], room)?;
    Ok(lane)
}

/// What a process writes, the end of which is kept.
pub(super) struct Words(mpsc::Receiver<String>);

impl Words {
    /// Reads it, so that the process never waits for that.
    fn read(stderr: Option<ChildStderr>) -> io::Result<Self> {
        let (sender, words) = mpsc::channel();
        let read = move || {
            let mut kept = Vec::new();
            let mut room = [0; WORDS];
            let mut stderr = stderr;
            while let Some(stderr) = &mut stderr {
                match stderr.read(&mut room) {
                    Ok(0) | Err(_) => break,
                    Ok(bytes) => {
                        kept.extend_from_slice(&room[..bytes]);
                        let surplus = kept.len().saturating_sub(WORDS);
                        kept.drain(..surplus);
                    }
                }
            }
            // Who waited for them may have given up.
            let _ = sender.send(String::from_utf8_lossy(&kept).into_owned());
        };
        std::thread::Builder::new().name("bulkhead-words".to_owned()).spawn(read)?;
        Ok(Self(words))
    }

    /// Its last ones, once it has ended. Where it has handed its end to somebody who lives on there are none.
    pub(super) fn last(&self) -> String {
        self.0.recv_timeout(WORDS_AT_MOST).unwrap_or_default()
    }
}
