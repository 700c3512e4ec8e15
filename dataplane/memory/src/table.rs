//! A large table in huge pages where there are any.
//!
//! With pages of 4 KiB nearly every look-up in a table of hundreds of megabytes also misses the
//! TLB and walks the page tables, which are then not cached either.

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::{ffi::c_void, slice};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// The size of a huge page: 2 MiB, the one that every x86-64 and most arm64 kernels have.
const HUGE: usize = 2 << 20;

/// What a table's memory came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Huge pages that the operator reserved (`vm.nr_hugepages`).
    Reserved,
    /// Plain memory; the kernel was asked to make huge pages of it
    /// (`/sys/kernel/mm/transparent_hugepage`).
    Transparent,
    /// Plain pages: the table is smaller than a huge page.
    Small,
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reserved => "reserved 2 MiB pages",
            Self::Transparent => "transparent 2 MiB pages",
            Self::Small => "4 KiB pages",
        })
    }
}

/// A slice in memory of its own, all of it touched when it is made.
pub struct TableMemory<T> {
    start: NonNull<T>,
    len: usize,
    mapped: usize,
    pages: Pages,
}

// SAFETY: it owns its memory as a Vec does.
unsafe impl<T: Send> Send for TableMemory<T> {}
// SAFETY: as a Vec: `&TableMemory` only reads.
unsafe impl<T: Sync> Sync for TableMemory<T> {}

impl<T: Copy> TableMemory<T> {
    /// `len` times `value`. Huge pages are tried first.
    ///
    /// # Panics
    /// When the machine has not that much memory, as `Vec` does.
    #[must_use]
    pub fn filled(len: usize, value: T) -> Self {
        assert!(align_of::<T>() <= 4096 && size_of::<T>() > 0);
        let bytes = len.checked_mul(size_of::<T>()).expect("a table's size");
        let (memory, mapped, pages) = take(bytes.max(1));
        let start: NonNull<T> = memory.cast();
        for at in 0..len {
            // SAFETY: `at` lies in the mapping, which is writable, aligned for T and ours alone.
            unsafe { start.add(at).write(value) };
        }
        Self {
            start,
            len,
            mapped,
            pages,
        }
    }
}

impl<T> TableMemory<T> {
    /// What the memory came from.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.pages
    }

    /// Bytes taken, whole pages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.mapped
    }
}

/// At least `bytes` of memory, its size and its kind.
fn take(bytes: usize) -> (NonNull<c_void>, usize, Pages) {
    let round = |to: usize| bytes.checked_next_multiple_of(to).expect("a table's size");
    if bytes < HUGE {
        let size = round(4096);
        return (
            map(size, MapFlags::PRIVATE).expect("memory"),
            size,
            Pages::Small,
        );
    }
    let size = round(HUGE);
    if let Some(memory) = map(size, MapFlags::PRIVATE | MapFlags::HUGETLB) {
        return (memory, size, Pages::Reserved);
    }
    // A huge page wants its alignment: what is too much before and behind goes back.
    let memory = map(size + HUGE, MapFlags::PRIVATE).expect("memory for a table");
    let before = memory.align_offset(HUGE);
    // SAFETY: `before` is less than HUGE, and the mapping is HUGE longer than `size`.
    let aligned = unsafe { memory.byte_add(before) };
    give_back(memory, before);
    // SAFETY: as above: this is where the aligned part ends.
    give_back(unsafe { aligned.byte_add(size) }, HUGE - before);
    // SAFETY: the range is mapped and nobody else's; the advice changes no content. A kernel
    // without transparent huge pages refuses it, which only costs speed.
    let _ = unsafe { madvise(aligned.as_ptr(), size, Advice::LinuxHugepage) };
    (aligned, size, Pages::Transparent)
}

/// Maps `size` bytes, a multiple of the page size; none when the kernel has not got them.
fn map(size: usize, flags: MapFlags) -> Option<NonNull<c_void>> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new private mapping at a place of the kernel's choice aliases nothing.
    let start = unsafe { mmap_anonymous(core::ptr::null_mut(), size, access, flags) };
    start.ok().and_then(NonNull::new)
}

fn give_back(start: NonNull<c_void>, size: usize) {
    if size > 0 {
        // SAFETY: the range was mapped by `map`, whole pages of it, and nothing points into it.
        let _ = unsafe { munmap(start.as_ptr(), size) };
    }
}

impl<T> Deref for TableMemory<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `filled` wrote `len` values to the mapping, which are borrowed with `self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for TableMemory<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` is the only way to them.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for TableMemory<T> {
    fn drop(&mut self) {
        give_back(self.start.cast(), self.mapped);
    }
}

impl<T> fmt::Debug for TableMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableMemory")
            .field("len", &self.len)
            .field("pages", &self.pages)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A cache line.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C, align(64))]
    struct Line([u64; 8]);

    #[test]
    fn a_table_is_filled_and_writable_to_its_last_value() {
        for len in [
            0,
            1,
            63,
            64,
            65,
            HUGE / 64 - 1,
            HUGE / 64,
            HUGE / 64 * 3 + 7,
        ] {
            let mut table = TableMemory::filled(len, Line([7; 8]));
            assert_eq!(table.len(), len);
            assert!(table.iter().all(|line| *line == Line([7; 8])));
            for (n, line) in table.iter_mut().enumerate() {
                line.0 = [n as u64; 8];
            }
            assert!(
                table
                    .iter()
                    .enumerate()
                    .all(|(n, line)| line.0[7] == n as u64)
            );
            assert!(table.bytes() >= len * 64);
        }
    }

    #[test]
    fn a_large_table_begins_at_a_huge_page() {
        let table = TableMemory::filled(HUGE / 64 + 1, Line([0; 8]));
        assert_eq!(table.as_ptr() as usize % HUGE, 0);
        assert_ne!(table.pages(), Pages::Small);
        assert_eq!(table.bytes(), 2 * HUGE);
    }

    #[test]
    fn tables_come_and_go_without_end() {
        for _ in 0..200 {
            let table = TableMemory::filled(5 * HUGE / 64, Line([1; 8]));
            assert_eq!(table[table.len() - 1], Line([1; 8]));
        }
    }
}
