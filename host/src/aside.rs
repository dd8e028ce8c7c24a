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
