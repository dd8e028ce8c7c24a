//! Work that takes the processor for milliseconds, on threads that others' requests share.

use std::io;
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::JoinHandle;

/// Processors that this program may use.
#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes to work through from which on it is worth to tell the others: they are handed to another thread meanwhile, which
/// costs some tens of microseconds. Arbitrary: about a millisecond of reading JSON.
const LARGE: usize = 512 << 10;

/// Does `work`, which goes through so many bytes, without keeping requests that share this thread waiting.
pub fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let may_block = bytes >= LARGE && Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if may_block { tokio::task::block_in_place(work) } else { work() }
}

/// Of threads that yield to those that requests come in on, on the scale of `nice`: where both want a processor, theirs is a
/// tenth. Arbitrary: enough that whoever wakes is let in at once, and not so much that what takes long never ends.
const NICE: i32 = 10;

/// For so long the system lets a thread go on before it looks who else is there; one that wakes and has a shorter slice, and
/// not had more than its share, goes first at once (Linux 6.12; earlier ones know none). The longest that it takes.
const LONG_SLICE: Duration = Duration::from_millis(100);

/// Of threads that requests come in on. Arbitrary: about what a request takes.
const SHORT_SLICE: Duration = Duration::from_micros(300);

/// Has the system give way to requests where this thread, or one that it starts, wants the same processor.
pub fn yield_to_requests() {
    schedule(|nice| nice.max(NICE), LONG_SLICE);
}

/// Has the system let this thread go on soon once there is something to do for it.
pub fn serve_requests() {
    schedule(|nice| nice, SHORT_SLICE);
}

/// Where the system does not do it, or whoever started the program chose another policy than the usual one, all threads have
/// the same place in the system's line.
fn schedule(nice: impl FnOnce(i32) -> i32, slice: Duration) {
    let Ok(mut attributes) = attributes() else { return };
    if attributes.sched_policy != libc::SCHED_OTHER.unsigned_abs() {
        return;
    }
    attributes.sched_nice = nice(attributes.sched_nice);
    attributes.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or_default();
    #[expect(unsafe_code, reason = "no crate has a call for it")]
    // SAFETY: the system reads as many bytes of the structure as that says it has, and keeps no pointer; zero is this thread.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if outcome != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "a thread keeps its place in the system's line");
    }
}

/// What the system says of this thread.
#[expect(unsafe_code, reason = "no crate has a call for it")]
fn attributes() -> std::io::Result<libc::sched_attr> {
    // SAFETY: all of it is numbers.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the system writes no more bytes than it is told that there are, and keeps no pointer; zero is this thread.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size_of::<libc::sched_attr>(), 0) };
    if outcome == 0 { Ok(attributes) } else { Err(std::io::Error::last_os_error()) }
}

/// Has this thread, and those that it starts from now on, leave one processor to requests; where there is a single one, none is
/// left. For what nobody but who asked for it waits for, and ends.
pub fn leave_a_processor() {
    let left = sched_getaffinity(None).and_then(|processors| sched_setaffinity(None, &all_but_one(processors)));
    if let Err(error) = left {
        tracing::debug!(%error, "a thread leaves no processor to requests");
    }
}

/// Has threads of another process, those whose names `which` takes, leave one processor to requests; or, with `leave` false,
/// take whichever they like again. A thread that they start does as they do.
///
/// # Errors
/// Where the system does not say which threads and processors there are.
pub fn leave_a_processor_of(process: u32, leave: bool, which: impl Fn(&str) -> bool) -> io::Result<()> {
    let processors = sched_getaffinity(None)?;
    let processors = if leave { all_but_one(processors) } else { processors };
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?;
        // One that has ended since has no name.
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let id = task.file_name().to_str().and_then(|id| Pid::from_raw(id.parse().ok()?));
        if let Some(id) = id.filter(|_| which(name.trim_end())) {
            // Nor can it be told.
            let _ = sched_setaffinity(Some(id), &processors);
        }
    }
    Ok(())
}

/// All of these but the last, which is the same one for all that leave one.
fn all_but_one(mut processors: CpuSet) -> CpuSet {
    if processors.count() > 1
        && let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|at| processors.is_set(*at))
    {
        processors.unset(last);
    }
    processors
}

/// Does `work`, which may take long, on a thread of its own that yields to requests; so do those that it starts.
///
/// # Errors
/// Where the system gives no thread, or the work broke off.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<T> {
    let (runtime, (done, outcome)) = (Handle::current(), tokio::sync::oneshot::channel());
    std::thread::Builder::new().name("bulkhead-apart".to_owned()).spawn(move || {
        yield_to_requests();
        let _entered = runtime.enter();
        // Who waited for it may be gone.
        let _ = done.send(work());
    })?;
    outcome.await.map_err(|_| std::io::Error::other("it broke off"))
}

/// Does `work`, which blocks, on one of the runtime's threads for that. A thread that is started for it is started by the
/// runtime's own: one that a thread that yields starts would yield too, and serve requests later.
///
/// # Errors
/// Where the work broke off, or the host is ending.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, tokio::task::JoinError> {
    tokio::spawn(async { tokio::task::spawn_blocking(work).await }).await.and_then(|outcome| outcome)
}

/// A thread with a runtime of its own, for what must go on however busy all others are: sockets and timers that are made
/// there are looked after there.
pub struct Lane(Option<Runtime>);

impl Lane {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system gives none.
    pub fn start(name: &str) -> std::io::Result<Self> {
        Ok(Self(Some(Builder::new_multi_thread().worker_threads(1).max_blocking_threads(1).thread_name(name).enable_all().build()?)))
    }

    /// Runs something there.
    ///
    /// # Errors
    /// Where the thread has ended.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> std::io::Result<JoinHandle<T>> {
        match &self.0 {
            Some(runtime) => Ok(runtime.spawn(work)),
            None => Err(std::io::Error::other("the thread has ended")),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // A runtime may not wait for its threads where others' tasks run.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduled() -> (i32, Duration) {
        let attributes = attributes().unwrap();
        (attributes.sched_nice, Duration::from_nanos(attributes.sched_runtime))
    }

    #[test]
    fn a_thread_steps_back_with_all_that_it_starts() {
        let (nice, before) = scheduled();
        // None where the system has no slices.
        let sliced = move |slice| if before.is_zero() { Duration::ZERO } else { slice };
        std::thread::scope(|scope| {
            scope.spawn(move || {
                yield_to_requests();
                assert_eq!(scheduled(), (nice.max(NICE), sliced(LONG_SLICE)));
                std::thread::spawn(move || assert_eq!(scheduled(), (nice.max(NICE), sliced(LONG_SLICE)))).join().unwrap();
            });
            scope.spawn(move || {
                serve_requests();
                assert_eq!(scheduled(), (nice, sliced(SHORT_SLICE)));
            });
        });
        assert_eq!(scheduled(), (nice, before));
    }

    #[test]
    fn a_thread_leaves_a_processor_with_all_that_it_starts() {
        let count = || sched_getaffinity(None).unwrap().count();
        let all = count();
        let left = std::thread::spawn(move || {
            leave_a_processor();
            (count(), std::thread::spawn(count).join().unwrap())
        });
        assert_eq!(left.join().unwrap(), ((all - 1).max(1), (all - 1).max(1)));
        assert_eq!(count(), all);
    }

    #[test]
    fn one_processor_is_left_and_taken_again() {
        let all = sched_getaffinity(None).unwrap();
        let (say, said) = std::sync::mpsc::channel();
        let (go_on, goes_on) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("long-run".to_owned());
        let thread = thread.spawn(move || {
            while goes_on.recv().is_ok() {
                say.send(sched_getaffinity(None).unwrap()).unwrap();
            }
        });
        let processors = || {
            go_on.send(()).unwrap();
            said.recv().unwrap()
        };
        assert_eq!(processors(), all);
        let leave = |leave| leave_a_processor_of(std::process::id(), leave, |name| name == "long-run").unwrap();
        leave(true);
        assert_eq!(processors().count(), (all.count() - 1).max(1));
        assert_eq!(sched_getaffinity(None).unwrap(), all, "others do as before");
        leave(false);
        assert_eq!(processors(), all);
        drop(go_on);
        thread.unwrap().join().unwrap();
    }
}
