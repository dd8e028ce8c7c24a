//! The calls that the process may make of the system; all others look as if this kernel had none of them.
//!
//! They are those of memory, threads, time, and of the sockets that are open already. It takes no path and no address, and
//! starts nothing. Memory can't become code, and can't be made that belongs to nobody: no limit would count it.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

const FREE: &[c_long] = &[
    // Files that are open: messages, the log, lengths.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    // Signals to itself.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Time and what it uses.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
];

/// Restricts this thread, and all that it starts, for good.
pub(super) fn apply() -> Result<(), String> {
    let program = program().map_err(|error| error.to_string())?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = FREE.iter().map(|call| (*call, Vec::new())).collect();
    let no_code = || bits(2, libc::PROT_EXEC, 0);
    // What may grow downwards is not counted as data.
    let no_stack = || bits(3, libc::MAP_GROWSDOWN, 0);
    rules.insert(
        libc::SYS_mmap,
        vec![
            SeccompRule::new(vec![no_code()?, no_stack()?, bits(3, libc::MAP_ANONYMOUS, 0)?])?,
            // The bit of both ways to share.
            SeccompRule::new(vec![no_code()?, no_stack()?, bits(3, libc::MAP_SHARED, 0)?])?,
        ],
    );
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![no_code()?])?]);
    // Threads, and no processes. The newer call takes its flags in memory, where they can't be seen: the C library does without.
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![bits(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?])?]);
    // A thread's name.
    rules.insert(libc::SYS_prctl, vec![SeccompRule::new(vec![is(0, u64::from(libc::PR_SET_NAME.unsigned_abs()))?])?]);
    // What `abort` does.
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![is(0, u64::from(std::process::id()))?])?]);
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let here: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, absent, SeccompAction::Allow, here)?.try_into()
}

/// An argument has these bits of a mask.
fn bits(argument: u8, mask: i32, bits: i32) -> Result<SeccompCondition, seccompiler::BackendError> {
    let word = |value: i32| u64::from(value.unsigned_abs());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(word(mask)), word(bits))
}

/// An argument is this.
fn is(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_program_for_this_machine() {
        assert!(program().unwrap().len() > FREE.len());
    }
}
