//! Shuts in the process that compiles: after [`confine`] it has its three pipes, so much processor time and so much memory,
//! and nothing else. Should a component take over its compiler, it has won this and one thing more, which no wall can take: what
//! comes out of the process is code that the host runs.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

/// Bounds of one process.
pub(super) struct Bounds {
    /// Seconds of processor time, of all its threads together.
    pub(super) cpu_seconds: u64,
    /// Bytes that it may allocate.
    pub(super) data_bytes: u64,
}

/// What the process may ask the kernel for, whatever the arguments: memory, threads' locks, time, and its open pipes. There
/// is no call among them that opens a file, a socket or another process.
const CALLS: [i64; 37] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Names memory, for who reads the process's map.
const PR_SET_VMA: i32 = 0x5356_4d41;

/// Shuts this process in, for good. To be called while it has a single thread.
///
/// # Errors
/// Where a bound can't be set. What merely is not there on this machine is said in the text that comes back, which is empty
/// where nothing is missing.
pub(super) fn confine(bounds: &Bounds) -> Result<String, String> {
    limit(libc::RLIMIT_CPU, bounds.cpu_seconds)?;
    limit(libc::RLIMIT_DATA, bounds.data_bytes)?;
    limit(libc::RLIMIT_CORE, 0)?;
    limit(libc::RLIMIT_FSIZE, 0)?;
    // No file is opened by a compiler; the pipes are there already.
    limit(libc::RLIMIT_NOFILE, 3)?;
    let mut missing = Vec::new();
    missing.extend(close_others().err());
    missing.extend(filter_calls().err());
    Ok(missing.join("; "))
}

/// Closes whatever a library of the host's left open across the start of a process.
#[expect(unsafe_code, reason = "the standard library closes only what it opened")]
fn close_others() -> Result<(), String> {
    // SAFETY: nothing here has a file open but standard input, output and error, which stay.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
    if outcome == 0 { Ok(()) } else { Err(format!("files that it inherits can't be closed: {}", std::io::Error::last_os_error())) }
}

#[expect(unsafe_code, reason = "the standard library can't set limits")]
fn limit(resource: libc::__rlimit_resource_t, value: u64) -> Result<(), String> {
    let limits = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `setrlimit` reads the struct that the reference is valid for, and nothing else.
    let outcome = unsafe { libc::setrlimit(resource, &raw const limits) };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
}

/// Has the kernel refuse all other calls of this thread, and of those that it starts.
fn filter_calls() -> Result<(), String> {
    let missing = |error: &dyn std::fmt::Display| format!("its system calls can't be filtered: {error}");
    let program = program().map_err(|error| missing(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| missing(&error))
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq};
    let when = |conditions: &[(u8, SeccompCmpArgLen, SeccompCmpOp, u64)]| {
        let conditions = conditions.iter().map(|(at, length, operator, value)| SeccompCondition::new(*at, length.clone(), operator.clone(), *value));
        SeccompRule::new(conditions.collect::<Result<_, _>>()?)
    };
    let own = u64::from(std::process::id());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    // Threads and no processes: of these each would have processor time of its own. The newer call for the same hides its
    // arguments from filters; without it the C library takes this one.
    let thread = (libc::CLONE_THREAD | libc::CLONE_VM) as u64;
    rules.insert(libc::SYS_clone, vec![when(&[(0, Qword, MaskedEq(thread), thread)])?]);
    // Memory of its own, which its limit counts: neither what is shared with nobody nor what grows downwards is.
    let uncounted = (libc::MAP_SHARED | libc::MAP_GROWSDOWN) as u64;
    rules.insert(libc::SYS_mmap, vec![when(&[(3, Dword, MaskedEq(uncounted), 0)])?]);
    // Names of threads and of memory.
    let name = |option: i32| when(&[(0, Dword, Eq, option as u64)]);
    rules.insert(libc::SYS_prctl, vec![name(libc::PR_SET_NAME)?, name(PR_SET_VMA)?]);
    // Its own limits may be read.
    rules.insert(libc::SYS_prlimit64, vec![when(&[(0, Dword, Eq, 0), (2, Qword, Eq, 0)])?]);
    // It may end itself, and no other.
    rules.insert(libc::SYS_tgkill, vec![when(&[(0, Dword, Eq, own)])?]);
    // As of a kernel that has no such call: libraries know a way around, or do without.
    let refuse = SeccompAction::Errno(libc::ENOSYS as u32);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::Command;

    use super::*;

    #[expect(unsafe_code, reason = "the standard library does not map memory")]
    fn maps(flags: i32) -> bool {
        // SAFETY: new memory, of which nothing is used.
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, flags | libc::MAP_ANONYMOUS, -1, 0) != libc::MAP_FAILED }
    }

    #[test]
    fn behind_the_filter_there_are_threads_and_memory_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // The filter is this thread's, and that of the threads that it starts.
        let inside = move || {
            filter_calls()?;
            let attempts = [
                ("reads a file", File::open("/etc/hostname").is_ok()),
                ("writes a file", fs::write("/tmp/bulkhead-confined", "x").is_ok()),
                ("lists a folder", fs::read_dir("/").is_ok()),
                (
                    "removes a file",
                    fs::remove_file("/tmp/bulkhead-confined-not-there").is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound),
                ),
                ("connects", TcpStream::connect(address).is_ok()),
                ("listens", TcpListener::bind("127.0.0.1:0").is_ok()),
                ("sends datagrams", UdpSocket::bind("127.0.0.1:0").is_ok()),
                ("connects to a process", UnixStream::connect("/dev/log").is_err_and(|error| error.raw_os_error() != Some(libc::ENOSYS))),
                ("listens for processes", UnixListener::bind("/tmp/bulkhead-confined.sock").is_ok()),
                ("starts a process", Command::new("/bin/true").spawn().is_ok()),
                ("raises a limit", limit(libc::RLIMIT_CORE, 0).is_ok()),
                ("has memory that nothing counts", maps(libc::MAP_SHARED) || maps(libc::MAP_PRIVATE | libc::MAP_GROWSDOWN)),
                ("has none at all", !maps(libc::MAP_PRIVATE)),
            ];
            let did: Vec<_> = attempts.into_iter().filter_map(|(what, did)| did.then_some(what)).collect();
            let sum = std::thread::spawn(|| vec![1u64; 1 << 20].iter().sum::<u64>()).join().map_err(|_| "a thread ends badly")?;
            Ok::<_, String>((did, sum))
        };
        match std::thread::spawn(inside).join().unwrap() {
            Ok((did, sum)) => assert_eq!((did, sum), (Vec::<&str>::new(), 1 << 20)),
            Err(why) => eprintln!("SKIPPED: {why}"),
        }
        // Other threads are none the worse.
        assert!(File::open("/proc/self/status").is_ok());
    }
}
