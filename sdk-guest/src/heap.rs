//! The guest's heap: it begins in the memory that an instance starts with.
//!
//! Rust's own allocator for WebAssembly asks for more memory at the very first allocation. Each growth costs the host
//! two changes of a mapping, and other cores an interruption, in every fresh instance. `bulkhead plugin build` links a
//! heap into the initial memory instead, and this allocator hands that out first.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use dlmalloc::Dlmalloc;

/// Memory of one page, by WebAssembly's definition.
const PAGE_BYTES: usize = 64 * 1024;

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Dlmalloc::new_with_allocator(Memory { started: AtomicBool::new(false) })));

struct Heap(UnsafeCell<Dlmalloc<Memory>>);

// SAFETY: a component has one thread: threads are a proposal that the host switches off.
unsafe impl Sync for Heap {}

// SAFETY: each call goes to dlmalloc with the layout as it came; nothing else borrows the cell, since dlmalloc calls
// nothing that allocates.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see the implementation.
        unsafe { (*self.0.get()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see the implementation.
        unsafe { (*self.0.get()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: see the implementation.
        unsafe { (*self.0.get()).free(pointer, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: see the implementation.
        unsafe { (*self.0.get()).realloc(pointer, layout.size(), layout.align(), size) }
    }
}

/// Where dlmalloc gets memory from.
struct Memory {
    /// The initial heap was handed out.
    started: AtomicBool,
}

unsafe extern "C" {
    /// Both are set by the linker, and only their addresses mean anything.
    static __heap_base: u8;
    static __heap_end: u8;
}

// SAFETY: a region is handed out once: the initial heap, which the linker reserved and nobody else uses, and then what
// `memory.grow` added.
unsafe impl dlmalloc::Allocator for Memory {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if !self.started.swap(true, Ordering::Relaxed) {
            let (start, end) = (&raw const __heap_base as usize, &raw const __heap_end as usize);
            if end.saturating_sub(start) >= size {
                return (start as *mut u8, end - start, 0);
            }
        }
        let pages = size.div_ceil(PAGE_BYTES);
        let before = core::arch::wasm32::memory_grow(0, pages);
        if before == usize::MAX {
            return (core::ptr::null_mut(), 0, 0);
        }
        ((before * PAGE_BYTES) as *mut u8, pages * PAGE_BYTES, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        core::ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE_BYTES
    }
}
