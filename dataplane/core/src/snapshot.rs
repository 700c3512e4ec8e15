//! All that control publishes to the workers: immutable, with an epoch, swapped between bursts.

use alloc::sync::Arc;

use crate::flow::Tuple;
use crate::io::PortId;
use crate::load::Loads;
use crate::mark::MarkRules;
use crate::next_hop::Network;
use crate::persist::Templates;
use crate::service::Services;

pub use crate::settings::Settings;

/// What a worker decides by. A new one replaces it whole; the parts that did not change are shared
/// with the one before.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Raised by one with every publication.
    pub epoch: u64,
    /// Raised by one whenever `network` differs from the snapshot before: what workers resolved
    /// under another number is resolved again.
    pub network_epoch: u32,
    /// Services and real servers.
    pub services: Arc<Services>,
    /// Interfaces, local addresses, routes and neighbours.
    pub network: Arc<Network>,
    /// Lifetimes of flows and other settings.
    pub settings: Settings,
    /// The connections of all servers over all workers; the same one for the process's life.
    pub loads: Arc<Loads>,
    /// Which packets belong together by a mark.
    pub marks: Arc<MarkRules>,
    /// Which clients have which servers: the same for the life of the director, shared by all its
    /// workers.
    pub templates: Arc<Templates>,
}

impl Snapshot {
    /// Nothing configured: every packet is Linux's.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            epoch: 0,
            network_epoch: 0,
            services: Arc::default(),
            network: Arc::default(),
            settings: Settings::default(),
            loads: Arc::default(),
            marks: Arc::default(),
            templates: Arc::new(Templates::new(0, 0, [0; 2])),
        }
    }
}

impl Snapshot {
    /// The mark of a client's packet, 0 for none; `port` is where it was received, if it was. What is
    /// not for the director itself, as replies on their way through, is marked only where a rule
    /// says so.
    #[inline]
    #[must_use]
    pub fn mark_of(&self, request: &Tuple, port: Option<PortId>) -> u32 {
        let services = &self.services;
        if !services.has_marks() || self.marks.is_empty() {
            return 0;
        }
        let is_ours = self.network.is_local(request.dst)
            || services.is_virtual(request.dst)
            || services.was_virtual(request.dst);
        match is_ours || self.marks.reach_others() {
            true => self.marks.mark_of(request, is_ours, port),
            false => 0,
        }
    }
}
