//! What the process can't do any more, once it has locked itself in.
//!
//! Memory is bounded by what is allocated (`RLIMIT_DATA`), counted from when the runtime is there: address space alone
//! (`RLIMIT_AS`) would count what the C library sets aside for each thread and never uses. Processor time has no limit of its own:
//! a process that serves for weeks uses any amount; each load and each run has one (`process.rs`, `lane.rs`).

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};

use landlock::{ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetStatus, Scope};
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::LANES;
use super::seccomp;

/// Files that may be open: a socket and a memory for each lane, and what is being loaded.
const FILES: u64 = 2 * LANES as u64 + 64;

/// How much sooner than others the system ends it when memory runs out; of 1000.
const SACRIFICE: &str = "500";

/// First of all: whatever happens from here on, it ends with the host, and leaves nothing. Says what this kernel lacks.
pub(super) fn first() -> Result<Vec<String>, String> {
    let lacks = close_inherited().err().into_iter().collect();
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
    // A system that has no such file needs none.
    let _ = fs::write("/proc/self/oom_score_adj", SACRIFICE);
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, FILES)?;
    limit(Resource::Fsize, 0)?;
    Ok(lacks)
}

/// What whoever started the host left open has nothing to do here.
#[expect(unsafe_code, reason = "closing what others may own has no safe face")]
fn close_inherited() -> Result<(), String> {
    const BEYOND_STDERR: libc::c_uint = 3;
    // SAFETY: this is the first that the process does: it has opened nothing yet, so that nothing of it owns any of these. A
    // test looks at what is open.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, BEYOND_STDERR, libc::c_uint::MAX, 0) };
    if outcome == 0 { Ok(()) } else { Err(format!("what was inherited can't be closed: {}", std::io::Error::last_os_error())) }
}

/// The rest, once the runtime has opened what it needs. Says what it could not have.
pub(super) fn shut(memory_bytes: u64, usage: &Usage) -> Result<Vec<String>, String> {
    let held = usage.bytes("VmData:").ok_or("the system does not say what is allocated")?;
    limit(Resource::Data, held.saturating_add(memory_bytes))?;
    // Landlock is for the thread that asks for it, and for those that it starts.
    let alone = match usage.number("Threads:") {
        Some(1) => Ok(()),
        threads => Err(format!("the runtime has {threads:?} threads already")),
    };
    let walls = [("Landlock", landlock()), ("Landlock", alone), ("seccomp", seccomp::apply())];
    Ok(walls.into_iter().filter_map(|(wall, outcome)| Some(format!("{wall}: {}", outcome.err()?))).collect())
}

fn limit(resource: Resource, most: u64) -> Result<(), String> {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(|error| format!("the limit {resource:?} can't be set: {error}"))
}

/// What the process uses, as the system tells it: the file stays open.
pub(super) struct Usage(Mutex<File>);

impl Usage {
    pub(super) fn open() -> Result<Self, String> {
        File::open("/proc/self/status").map(|file| Self(Mutex::new(file))).map_err(|error| format!("the system does not say what is used: {error}"))
    }

    /// The number of one of its lines.
    fn number(&self, line: &str) -> Option<u64> {
        let mut file = self.0.lock();
        let mut status = String::new();
        file.rewind().ok()?;
        file.read_to_string(&mut status).ok()?;
        status.lines().find_map(|found| found.strip_prefix(line))?.split_whitespace().next()?.parse().ok()
    }

    /// The same, of a line of kilobytes.
    fn bytes(&self, line: &str) -> Option<u64> {
        self.number(line).map(|kilobytes| kilobytes << 10)
    }

    /// Bytes that it has held at most.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.bytes("VmHWM:").unwrap_or(0)
    }
}

/// No file, no port, no signal to others: nothing is allowed.
fn landlock() -> Result<(), String> {
    let text = |error: landlock::RulesetError| error.to_string();
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(ABI::V6)).map_err(text)?;
    let ruleset = ruleset.handle_access(AccessNet::from_all(ABI::V6)).map_err(text)?.scope(Scope::from_all(ABI::V6)).map_err(text)?;
    let status = ruleset.create().map_err(text)?.restrict_self().map_err(text)?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => Err("not all of it is there".to_owned()),
        RulesetStatus::NotEnforced => Err("it is not there".to_owned()),
    }
}
