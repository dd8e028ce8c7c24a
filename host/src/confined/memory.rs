//! Memory that a host shares with a process of models. Only the host makes it larger, and nobody can make it smaller: what is
//! mapped stays there.

use std::fs::File;
use std::io;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, memfd_create};

/// Where tensors begin: as the runtime's own allocator has it.
const ALIGNMENT: usize = 64;

/// Bytes that both sides read and write, in turn.
pub(super) struct Memory {
    file: File,
    map: MmapRaw,
}

impl Memory {
    /// New memory of so many bytes.
    pub(super) fn new(bytes: usize) -> io::Result<Self> {
        let file = File::from(memfd_create("bulkhead-tensors", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.set_len(bytes as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK)?;
        Self::of(file)
    }

    /// Memory that another process has made.
    pub(super) fn of(file: File) -> io::Result<Self> {
        let map = map(&file)?;
        Ok(Self { file, map })
    }

    /// What stands for it in another process.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Makes it as large as that at least. What is in it stays there.
    pub(super) fn grow(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > self.len() {
            self.file.set_len(bytes as u64)?;
            self.look()?;
        }
        Ok(())
    }

    /// Gives back to the system what it holds, whoever else has it still.
    pub(super) fn empty(&self) {
        // It is merely given back later, where that can't be done.
        let _ = fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, self.len() as u64);
    }

    /// Bytes that it has when it is grown to so many: a quarter more, at most, so that it does not grow each time.
    pub(super) fn rounded(bytes: usize) -> usize {
        let step = (bytes / 4).checked_next_power_of_two().unwrap_or(1).max(4096);
        bytes.checked_next_multiple_of(step).unwrap_or(bytes)
    }

    /// Takes note of how large the other side has made it.
    pub(super) fn look(&mut self) -> io::Result<()> {
        self.map = map(&self.file)?;
        Ok(())
    }

    /// Where the next tensor begins.
    pub(super) fn next(end: usize) -> usize {
        end.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX)
    }

    /// Bytes that tensors of these lengths take.
    pub(super) fn needs(lengths: impl Iterator<Item = usize>) -> usize {
        lengths.fold(0, |end, length| Self::next(end).saturating_add(length))
    }

    /// Copies bytes into it; false where they have no room.
    #[expect(unsafe_code, reason = "memory that another process may write has no safe face")]
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) -> bool {
        if at.checked_add(bytes.len()).is_none_or(|end| end > self.len()) {
            return false;
        }
        // SAFETY: the range lies within the mapping, as was just checked, and the mapping can't lose bytes: the file is sealed
        // against that. `bytes` is memory of this process alone, so that the two don't overlap. No reference to the mapping
        // exists; a test writes to its very end.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.as_mut_ptr().add(at), bytes.len()) };
        true
    }

    /// A copy of some of its bytes; none where it has not so many. Whatever is to be checked of them is checked of the copy:
    /// the other side may write at any moment.
    #[expect(unsafe_code, reason = "memory that another process may write has no safe face")]
    pub(super) fn take(&self, at: usize, bytes: usize) -> Option<Vec<u8>> {
        at.checked_add(bytes).filter(|end| *end <= self.len())?;
        let mut copy = Vec::with_capacity(bytes);
        // SAFETY: the range lies within the mapping, which can't lose bytes, and the vector has room for it; all of what is
        // claimed as its length was written. Any bytes are valid `u8`, also those that are being written over: none is read
        // but through this copy. A test reads to its very end.
        unsafe {
            std::ptr::copy_nonoverlapping(self.map.as_ptr().add(at), copy.as_mut_ptr(), bytes);
            copy.set_len(bytes);
        }
        Some(copy)
    }
}

fn map(file: &File) -> io::Result<MmapRaw> {
    MmapOptions::new().len(length(file)?).map_raw(file)
}

/// Bytes of a file. The process may ask nothing of files but to go to their end: other calls take paths, too.
pub(super) fn length(file: &File) -> io::Result<usize> {
    let bytes = rustix::fs::seek(file, rustix::fs::SeekFrom::End(0))?;
    usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_and_nobody_goes_beyond_its_end() {
        let mut ours = Memory::new(4096).unwrap();
        let mut theirs = Memory::of(ours.file().try_clone().unwrap()).unwrap();
        assert!(ours.put(4093, b"end") && !ours.put(4094, b"end") && !ours.put(usize::MAX, b"end"));
        assert_eq!(theirs.take(4093, 3).unwrap(), b"end");
        assert!(theirs.take(4094, 3).is_none() && theirs.take(1, usize::MAX).is_none());
        assert!(theirs.file().set_len(1).is_err());
        ours.grow(Memory::rounded(5000)).unwrap();
        assert!(theirs.len() == 4096 && theirs.take(4096, 1).is_none());
        theirs.look().unwrap();
        assert!(theirs.put(8189, b"end"));
        assert_eq!((ours.len(), ours.take(8189, 3).unwrap().as_slice()), (8192, &b"end"[..]));
        ours.empty();
        assert_eq!(theirs.take(8189, 3).unwrap(), [0; 3]);
    }

    #[test]
    fn tensors_begin_where_any_element_may() {
        assert_eq!(Memory::needs([3, 64, 1].into_iter()), 129);
        assert_eq!(Memory::needs([usize::MAX, 1].into_iter()), usize::MAX);
        assert_eq!([1, 5000, 1 << 20, usize::MAX].map(Memory::rounded), [4096, 8192, 1 << 20, usize::MAX]);
    }
}
