//! What threads share through this crate: the processor's atomics and crossbeam's queues, or, in a
//! build with `--cfg weir_loom`, those of the model checker loom. crossbeam's queue cannot be
//! checked by loom; a queue behind loom's mutex stands in for it.

#[cfg(not(weir_loom))]
pub(crate) use {
    crossbeam::queue::ArrayQueue,
    std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
#[cfg(weir_loom)]
pub(crate) use {
    loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
    model::ArrayQueue,
};

#[cfg(weir_loom)]
mod model {
    use std::collections::VecDeque;

    use loom::sync::Mutex;

    #[derive(Debug)]
    pub(crate) struct ArrayQueue<T> {
        capacity: usize,
        waiting: Mutex<VecDeque<T>>,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            Self {
                capacity,
                waiting: Mutex::new(VecDeque::new()),
            }
        }

        fn with<R>(&self, act: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
            act(&mut self.waiting.lock().expect("no panic under the lock"))
        }

        pub(crate) fn push(&self, value: T) -> Result<(), T> {
            self.with(|waiting| {
                if waiting.len() == self.capacity {
                    return Err(value);
                }
                waiting.push_back(value);
                Ok(())
            })
        }

        pub(crate) fn force_push(&self, value: T) -> Option<T> {
            self.with(|waiting| {
                let oldest = (waiting.len() == self.capacity).then(|| waiting.pop_front());
                waiting.push_back(value);
                oldest.flatten()
            })
        }

        pub(crate) fn pop(&self) -> Option<T> {
            self.with(VecDeque::pop_front)
        }

        pub(crate) fn len(&self) -> usize {
            self.with(|waiting| waiting.len())
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }

        pub(crate) fn capacity(&self) -> usize {
            self.capacity
        }
    }
}
