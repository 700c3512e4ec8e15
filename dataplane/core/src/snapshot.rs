//! All that control publishes to the workers: immutable, with an epoch, swapped between bursts.

use alloc::sync::Arc;

use crate::next_hop::Network;
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
        }
    }
}
