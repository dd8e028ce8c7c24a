//! For tests, in builds for development only: a model whose input has one of these names has the process misbehave, as one
//! that had taken it over might.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;

use rustix::thread::{sched_getaffinity, sched_setaffinity};

use crate::tensor::Tensor;

pub(super) fn tried(inputs: &[Tensor]) -> Option<String> {
    let is_there = |name: &str| inputs.iter().any(|tensor| tensor.name == name);
    if is_there("bulkhead.crash") {
        std::process::abort();
    }
    if is_there("bulkhead.hang") {
        loop {
            std::thread::park();
        }
    }
    is_there("bulkhead.escape").then(escape)
}

/// Tries what it may not do, and says what came of it.
fn escape() -> String {
    let tried = [
        ("read a file", File::open("/etc/passwd").map(drop)),
        ("read its own state", File::open("/proc/self/status").map(drop)),
        ("write a file", File::create("/tmp/bulkhead-escaped").map(drop)),
        ("list a folder", std::fs::read_dir("/").map(drop)),
        ("look at a file", std::fs::symlink_metadata("/etc/passwd").map(drop)),
        ("start a program", Command::new("/bin/true").status().map(drop)),
        ("connect", TcpStream::connect((Ipv4Addr::LOCALHOST, 1)).map(drop)),
        ("listen", TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop)),
        // No limit counts it: it belongs to nobody alone.
        ("make a file of memory", rustix::fs::memfd_create("escaped", rustix::fs::MemfdFlags::CLOEXEC).map(drop).map_err(Into::into)),
        // It could as well say so of the host's threads.
        ("choose processors", sched_getaffinity(None).and_then(|all| sched_setaffinity(None, &all)).map_err(Into::into)),
        ("make code", memmap2::MmapMut::map_anon(4096).and_then(memmap2::MmapMut::make_exec).map(drop)),
    ];
    let done: Vec<_> = tried.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(what, _)| *what).collect();
    let refused: Vec<_> = tried.iter().filter_map(|(what, outcome)| Some(format!("{what}: {}", outcome.as_ref().err()?))).collect();
    format!("done: [{}]; refused: [{}]", done.join(", "), refused.join(", "))
}
