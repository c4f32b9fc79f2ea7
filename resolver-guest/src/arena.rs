//! The component's memory: an allocator that only moves forward.
//!
//! An instance answers one call and is thrown away, so giving memory back would be work for nothing. Memory is handed out
//! from the end of the static data to the end of what the instance began with; only then is the memory grown, which
//! takes a lock on the host's address space and therefore should not happen in ordinary cases. Growing in place is
//! cheap for the last allocation, which is what a buffer that is being filled usually is.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[global_allocator]
static ARENA: Arena = Arena { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

const PAGE: usize = 64 * 1024;
/// One page less than 32 bits can address, so that the end of the last one is an address too.
const MOST_PAGES: usize = 65_535;
/// Pages to grow by at least: growing seldom is cheaper than growing exactly.
const GROWTH: usize = 16;

/// The addresses of the next free byte and of the first that is not ours; both 0 before the first allocation.
///
/// Atomics because a `static` needs them; a component has one thread, where they are plain loads and stores.
struct Arena {
    next: AtomicUsize,
    end: AtomicUsize,
}

impl Arena {
    /// Makes memory up to `end` ours, if there is that much.
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

    /// The end of the memory that there is.
    fn existing() -> usize {
        memory_size(0).min(MOST_PAGES) * PAGE
    }

    /// The address at which the free memory begins.
    fn next(&self) -> usize {
        unsafe extern "C" {
            // Placed by the linker behind the static data and the stack.
            static __heap_base: u8;
        }
        match self.next.load(Relaxed) {
            0 => (&raw const __heap_base).addr(),
            next => next,
        }
    }

    /// Takes what lies between the next free byte and `end`.
    fn take(&self, end: usize) -> Option<()> {
        if end > self.end.load(Relaxed) {
            self.reach(end)?;
        }
        self.next.store(end, Relaxed);
        Some(())
    }
}

// SAFETY: every block lies behind all earlier ones, inside memory that exists, at an address rounded up to its
// alignment; a block that grows in place is the last one. Nothing is ever handed out twice.
unsafe impl GlobalAlloc for Arena {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = || {
            // An alignment is a power of two.
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
        // SAFETY: the caller promises that `new_size` with this alignment is a layout, and that `block` has
        // `layout.size()` bytes; a new block never overlaps an old one.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !moved.is_null() {
                block.copy_to_nonoverlapping(moved, layout.size());
            }
            moved
        }
    }
}
