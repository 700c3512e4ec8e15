//! What holds beside the configuration and is kept with it: drains under way and IPVS's
//! synchronisation daemons.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use weir_ipvs::{Daemon, DaemonState};
use weir_model::{ServerKey, ServiceKey};

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beside {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) drains: Vec<KeptDrain>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sync_daemons: Vec<KeptDaemon>,
}

/// A drain that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptDrain {
    pub(crate) service: ServiceKey,
    pub(crate) server: ServerKey,
    pub(crate) weight_before: u32,
    pub(crate) flows_at_start: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deadline: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forced: Option<u64>,
}

/// A synchronisation daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct KeptDaemon(#[serde(with = "DaemonFields")] pub(crate) Daemon);

/// How it is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Daemon")]
struct DaemonFields {
    #[serde(with = "DaemonStates")]
    state: DaemonState,
    interface: String,
    sync_id: u32,
    max_length: u16,
    group: Option<IpAddr>,
    port: u16,
    ttl: u8,
}

/// How what it does is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "DaemonState", rename_all = "lowercase")]
enum DaemonStates {
    Master,
    Backup,
}

/// A moment of the wall clock, which goes on while no daemon runs: milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Moment(u64);

impl Moment {
    fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(since.map_or(0, |since| since.as_millis() as u64))
    }

    /// So much later than now.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Self::now().0.saturating_add(time.as_millis() as u64))
    }

    /// The same by the clock of this run, at which it is `now`; what has passed is `now`.
    pub(crate) fn as_instant(self, now: Instant) -> Instant {
        now + Duration::from_millis(self.0.saturating_sub(Self::now().0))
    }
}

impl Beside {
    pub(crate) fn is_empty(&self) -> bool {
        self.drains.is_empty() && self.sync_daemons.is_empty()
    }
}
