//! Work that takes the processor for milliseconds, on threads that others' requests share.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Bytes to work through from which on it is worth to tell the others: they are handed to another thread meanwhile, which
/// costs some tens of microseconds. Arbitrary: about a millisecond of reading JSON.
const LARGE: usize = 512 << 10;

/// Does `work`, which goes through so many bytes, without keeping requests that share this thread waiting.
pub fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let may_block = bytes >= LARGE && Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if may_block { tokio::task::block_in_place(work) } else { work() }
}
