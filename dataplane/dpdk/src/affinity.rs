//! The processors that the calling thread may run on: EAL pins it, we put it back.

use std::fmt::Write as _;

/// The processors of a thread.
pub(crate) struct Affinity(libc::cpu_set_t);

impl Affinity {
    pub(crate) fn of_this_thread() -> Self {
        // SAFETY: a set is plain integers, for which all zeroes is a value (the empty set).
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: 0 is the calling thread; the set is ours and as long as said. On failure (more
        // than 1024 processors) it stays empty, and `list` then says processor 0.
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
        Self(set)
    }

    pub(crate) fn put_back(&self) {
        // SAFETY: as above. Failure leaves the thread where EAL put it, which is harmless.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.0) };
    }

    /// As EAL writes sets: `0-3,8-11`.
    pub(crate) fn list(&self) -> String {
        let mut text = String::new();
        let mut next = 0;
        while let Some(first) = (next..Self::MAX).find(|&n| self.has(n)) {
            let end = (first..Self::MAX)
                .find(|&n| !self.has(n))
                .unwrap_or(Self::MAX);
            let comma = if text.is_empty() { "" } else { "," };
            write!(text, "{comma}{first}-{}", end - 1).expect("a String takes all");
            next = end;
        }
        if text.is_empty() {
            "0".to_string()
        } else {
            text
        }
    }

    const MAX: usize = libc::CPU_SETSIZE as usize;

    fn has(&self, processor: usize) -> bool {
        // SAFETY: reads a bit of a set that is as long as MAX says.
        processor < Self::MAX && unsafe { libc::CPU_ISSET(processor, &self.0) }
    }
}
