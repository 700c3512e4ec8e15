//! Hands snapshots to all workers, and keeps each old one until no worker decides by it, so that
//! its memory is freed here and never in the packet path.

use std::collections::VecDeque;
use std::sync::Arc;

use weir_core::snapshot::Snapshot;
use weir_worker::Handle;

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
        Self {
            workers,
            newest: Arc::new(Snapshot::empty()),
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

    use weir_core::next_hop::Network;

    use super::*;
    use crate::testing::worker;

    #[test]
    fn an_old_snapshot_lives_until_the_last_worker_let_go() {
        let workers = [worker(0), worker(1)];
        let mut publisher = Publisher::new(workers.to_vec());
        publisher.publish(|_| ());
        let first: Weak<Snapshot> = Arc::downgrade(&publisher.newest);
        for worker in &workers {
            worker.adopt_newest();
        }
        publisher.publish(|_| ());
        workers[0].adopt_newest();
        publisher.free_unused();
        assert!(first.upgrade().is_some());
        workers[1].adopt_newest();
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
