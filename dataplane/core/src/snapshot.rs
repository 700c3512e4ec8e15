//! All that control publishes to the workers: immutable, with an epoch, swapped between bursts.

use alloc::sync::Arc;

use crate::flow::Timeouts;
use crate::load::Loads;
use crate::next_hop::Network;
use crate::service::Services;
use crate::time::seconds;

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
        }
    }
}

/// Settings that hold for all services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Lifetimes of flows by state.
    pub timeouts: Timeouts,
    /// Path-MTU discovery through tunnels: copy DF to the outer header and tell the client when a
    /// packet is too big (sysctl net.ipv4.vs.pmtu_disc, on by default).
    pub pmtu_disc: bool,
    /// How long `lblc` remembers the server of a destination that nobody asks for, in ticks (sysctl
    /// net.ipv4.vs.lblc_expiration, a day by default).
    pub lblc_expiration: u32,
    /// The same of `lblcr`, which gives a destination's servers up one by one when they have been the
    /// same ones for so long (sysctl net.ipv4.vs.lblcr_expiration, a day by default).
    pub lblcr_expiration: u32,
}

const DAY_SECONDS: u32 = 86_400;

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            pmtu_disc: true,
            lblc_expiration: seconds(DAY_SECONDS),
            lblcr_expiration: seconds(DAY_SECONDS),
        }
    }
}
