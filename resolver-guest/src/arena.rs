//! The component's memory: an allocator that only moves forward.
//!
//! An instance answers one call and is then discarded, so memory is never freed. Allocations start behind the static data
//! and first use the initial memory of the instance. Growing the memory takes a lock on the host's address space, so it
//! should not happen in ordinary cases. The last allocation can grow in place, and a buffer that is being filled is
//! usually the last allocation.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[global_allocator]
static ARENA: Arena = Arena { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

const PAGE: usize = 64 * 1024;
/// Maximum number of pages: one less than 32 bits can address, so that the end of the last page is a valid address.
const MOST_PAGES: usize = 65_535;
/// Minimum number of pages to grow by. Growing rarely is cheaper than growing exactly.
const GROWTH: usize = 16;

/// The address of the next free byte, and the end of the usable memory. Both are 0 before the first allocation.
///
/// The fields are atomics because a `static` requires it. A component has one thread, so they compile to plain loads and
/// stores.
struct Arena {
    next: AtomicUsize,
    end: AtomicUsize,
}

impl Arena {
    /// Extends the usable memory at least to `end`. Returns `None` if the host refuses to grow the memory.
    #[cold]
    fn reach(&self, end: usize) -> Option<()> {
        let have = Self::existing();
        if end > have {
            let pages = (end - have).div_ceil(PAGE).max(GROWTH);
            if memory_grow(0, pages) == usize::MAX {
                return None;
            }
        }
        self.end.store(Self::existing(), Relaxed);
        Some(())
    }

    /// Returns the end of the existing memory.
    fn existing() -> usize {
        memory_size(0).min(MOST_PAGES) * PAGE
    }

    /// Returns the address of the next free byte.
    fn next(&self) -> usize {
        unsafe extern "C" {
            // The linker places this symbol behind the static data and the stack.
            static __heap_base: u8;
        }
        match self.next.load(Relaxed) {
            0 => (&raw const __heap_base).addr(),
            next => next,
        }
    }

    /// Allocates the bytes from the next free byte to `end`.
    fn take(&self, end: usize) -> Option<()> {
        if end > self.end.load(Relaxed) {
            self.reach(end)?;
        }
        self.next.store(end, Relaxed);
        Some(())
    }
}

// SAFETY: every block lies behind all earlier blocks, inside existing memory, at an address rounded up to its alignment.
// Only the last block grows in place. No byte is allocated twice.
unsafe impl GlobalAlloc for Arena {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = || {
            // Rounds up to the alignment, which is a power of two.
            let start = self.next().checked_add(layout.align() - 1)? & !(layout.align() - 1);
            self.take(start.checked_add(layout.size())?)?;
            Some(start as *mut u8)
        };
        block().unwrap_or(null_mut())
    }

    #[inline]
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if new_size <= layout.size() {
            return block;
        }
        if block.addr() + layout.size() == self.next() {
            return match block.addr().checked_add(new_size).and_then(|end| self.take(end)) {
                Some(()) => block,
                None => null_mut(),
            };
        }
        // SAFETY: the caller guarantees that `new_size` with this alignment is a valid layout and that `block` has
        // `layout.size()` bytes. A new block never overlaps an old one.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !moved.is_null() {
                block.copy_to_nonoverlapping(moved, layout.size());
            }
            moved
        }
    }
}
