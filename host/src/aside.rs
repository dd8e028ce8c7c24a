//! Work that takes the processor for milliseconds, on threads that others' requests share.

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::JoinHandle;

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

/// Has the system give way to requests where this thread, or one that it starts, wants the same processor.
pub fn yield_to_requests() {
    // Of a thread that the system does not let step back, others have the same share as before.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a thread can't yield to requests");
    }
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
