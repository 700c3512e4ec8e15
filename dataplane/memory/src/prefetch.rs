//! Fetching a cache line ahead of its use.

/// Asks for the cache line that `target` begins in, without waiting for it.
///
/// A read that misses all caches costs 100 to 200 ns; asked for a few packets earlier it costs a
/// tenth of that. Nothing happens on machines for which stable Rust has no such instruction.
#[inline(always)]
pub fn prefetch<T>(target: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint: it neither reads into a register nor faults, whatever the
        // address; this one is even valid. SSE, which it belongs to, is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(target).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefetching_changes_nothing() {
        let values = [1u64; 1024];
        for value in &values {
            prefetch(value);
        }
        prefetch(&());
        assert_eq!(values, [1; 1024]);
    }
}
