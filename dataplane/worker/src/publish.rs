//! Hands snapshots to all workers, and keeps each old one until no worker decides by it, so that
//! its memory is freed here and never in the packet path.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::Handle;
use weir_core::load::Loads;
use weir_core::snapshot::Snapshot;

/// The workers, and what they were given.
#[derive(Debug)]
pub struct Publisher {
    workers: Vec<Handle>,
    newest: Arc<Snapshot>,
    /// Replaced, the oldest first; a worker may still decide by them.
    replaced: VecDeque<Arc<Snapshot>>,
}

impl Publisher {
    /// For workers that have nothing yet.
    #[must_use]
    pub fn new(workers: Vec<Handle>) -> Self {
        let counters = workers.iter().map(|w| Arc::clone(&w.shared.counters));
        let loads = Arc::new(Loads::new(counters));
        let newest = Snapshot {
            loads,
            ..Snapshot::empty()
        };
        Self {
            workers,
            newest: Arc::new(newest),
            replaced: VecDeque::new(),
        }
    }

    /// The workers.
    #[must_use]
    pub fn workers(&self) -> &[Handle] {
        &self.workers
    }

    /// What was published last.
    #[must_use]
    pub fn newest(&self) -> &Snapshot {
        &self.newest
    }

    /// The epoch of the next publication.
    #[must_use]
    pub fn next_epoch(&self) -> u64 {
        self.newest.epoch + 1
    }

    /// Publishes the newest snapshot with `change` applied. A part that `change` leaves alone stays
    /// shared with the one before.
    pub fn publish(&mut self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::clone(&self.newest);
        change(&mut snapshot);
        if !Arc::ptr_eq(&snapshot.network, &self.newest.network) {
            snapshot.network_epoch = self.newest.network_epoch.wrapping_add(1);
        }
        snapshot.epoch = self.next_epoch();
        let snapshot = Arc::new(snapshot);
        for worker in &self.workers {
            worker.publish(Arc::clone(&snapshot));
        }
        let replaced = std::mem::replace(&mut self.newest, snapshot);
        self.replaced.push_back(replaced);
        self.free_unused();
    }

    /// The oldest epoch that a worker still decides by.
    #[must_use]
    pub fn adopted_epoch(&self) -> u64 {
        let adopted = self.workers.iter().map(Handle::adopted_epoch);
        adopted.min().unwrap_or(self.newest.epoch)
    }

    /// Frees what no worker decides by any more.
    pub fn free_unused(&mut self) {
        let adopted = self.adopted_epoch();
        while self.replaced.front().is_some_and(|s| s.epoch < adopted) {
            self.replaced.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use weir_core::io::WorkerId;
    use weir_core::next_hop::Network;

    use super::*;

    fn worker(id: u16) -> Handle {
        Handle::detached(WorkerId(id), 1, 1)
    }

    #[test]
    fn an_old_snapshot_lives_until_the_last_worker_let_go() {
        let workers = [worker(0), worker(1)];
        let mut publisher = Publisher::new(workers.to_vec());
        publisher.publish(|_| ());
        let first: Weak<Snapshot> = Arc::downgrade(&publisher.newest);
        for worker in &workers {
            drop(worker.adopt_newest());
        }
        publisher.publish(|_| ());
        drop(workers[0].adopt_newest());
        publisher.free_unused();
        assert!(first.upgrade().is_some());
        drop(workers[1].adopt_newest());
        publisher.free_unused();
        assert!(first.upgrade().is_none());
        assert_eq!(publisher.adopted_epoch(), 2);
    }

    #[test]
    fn the_network_epoch_rises_only_with_the_network() {
        let mut publisher = Publisher::new(Vec::new());
        publisher.publish(|snapshot| snapshot.services = Arc::default());
        assert_eq!(publisher.newest().network_epoch, 0);
        publisher.publish(|snapshot| snapshot.network = Arc::new(Network::default()));
        assert_eq!(publisher.newest().network_epoch, 1);
        assert_eq!(publisher.newest().epoch, 2);
    }
}

/// Every order of control's and the workers' steps, by loom (`tests/sanitize/run loom`).
#[cfg(all(test, weir_loom))]
mod loom_tests {
    use std::sync::Weak;

    use loom::cell::UnsafeCell;
    use loom::thread;
    use weir_core::io::WorkerId;

    use super::*;

    const EPOCHS: usize = 3;

    /// By epoch: read by a worker that decides by it, written by control when it is freed. loom
    /// fails when the write does not come after all reads.
    type Tables = [UnsafeCell<u64>; EPOCHS + 1];

    /// What a worker does about snapshots, as in `worker.rs`.
    struct Taker {
        handle: Handle,
        tables: Arc<Tables>,
        held: Option<Arc<Snapshot>>,
        epoch: u64,
    }

    impl Taker {
        fn turn(&mut self) {
            let (held, tables, epoch) = (&mut self.held, &self.tables, self.epoch);
            let taken = self.handle.shared.take_newer(epoch, |snapshot| {
                assert!(snapshot.epoch > epoch, "epochs only rise");
                if let Some(old) = held.replace(snapshot) {
                    // The director compares the two.
                    tables[epoch as usize].with(|_| ());
                    assert!(Arc::into_inner(old).is_none(), "a worker freed a table");
                }
            });
            self.epoch = taken.unwrap_or(epoch);
            if self.epoch > 0 {
                self.tables[self.epoch as usize].with(|_| ());
            }
        }
    }

    #[test]
    fn control_frees_what_no_worker_decides_by_and_workers_free_nothing() {
        for (workers, preemptions) in [(1, 5), (2, 2)] {
            let mut model = loom::model::Builder::new();
            // What does not show with so few preemptions is unlikely to show with more; without a
            // bound it takes hours.
            model.preemption_bound = Some(preemptions);
            model.check(move || control(workers));
        }
    }

    fn control(workers: u16) {
        let handles: Vec<Handle> = (0..workers)
            .map(|id| Handle::detached(WorkerId(id), 0, 0))
            .collect();
        let tables: Arc<Tables> = Arc::new(std::array::from_fn(|_| UnsafeCell::new(0)));
        let threads: Vec<_> = handles
            .iter()
            .map(|handle| {
                let mut taker = Taker {
                    handle: handle.clone(),
                    tables: Arc::clone(&tables),
                    held: None,
                    epoch: 0,
                };
                thread::spawn(move || {
                    for _ in 0..EPOCHS {
                        taker.turn();
                    }
                    taker
                })
            })
            .collect();
        let mut publisher = Publisher::new(handles);
        let mut published: Vec<Weak<Snapshot>> = Vec::new();
        for _ in 0..EPOCHS {
            publisher.publish(|_| ());
            published.push(Arc::downgrade(&publisher.newest));
            note_freed(&published, &tables);
        }
        let mut takers: Vec<Taker> = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect();
        takers.iter_mut().for_each(Taker::turn);
        assert!(takers.iter().all(|taker| taker.epoch == EPOCHS as u64));
        publisher.free_unused();
        note_freed(&published, &tables);
        let alive = published.iter().filter(|s| s.upgrade().is_some()).count();
        assert_eq!(alive, 1, "only the newest is left");
    }

    fn note_freed(published: &[Weak<Snapshot>], tables: &Tables) {
        for (epoch, snapshot) in (1..).zip(published) {
            if snapshot.upgrade().is_none() {
                tables[epoch].with_mut(|_| ());
            }
        }
    }
}
