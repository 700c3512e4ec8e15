//! Changes at run time: services, servers, timeouts, switches and rules for marks, without a file.

mod plan;
mod wanted;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::fault::FieldFault;
use crate::ipvs::Ipvs;
use crate::limits::{Settings, Timeouts};
use crate::mark::MarkRule;
use crate::service::{Server, ServerKey, Service, ServiceKey};

pub use plan::Planned;
pub use wanted::Wanted;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A service comes, with its servers.
    AddService(Service),
    /// A service that is there becomes this one; its servers stay as they are, whatever is said of
    /// them here.
    EditService(Service),
    /// A service comes, or one that is there becomes this one, with these servers.
    PutService(Service),
    /// A service leaves, with its servers.
    RemoveService(ServiceKey),
    /// A server comes.
    AddServer(ServiceKey, Server),
    /// A server that is there becomes this one.
    EditServer(ServiceKey, Server),
    /// A server leaves.
    RemoveServer(ServiceKey, ServerKey),
    /// All services leave.
    RemoveServices,
    /// The timeouts become these.
    SetTimeouts(Timeouts),
    /// The rules for marks become these.
    SetMarks(Vec<MarkRule>),
    /// The switches of `[ipvs]` become these, which were read by the rules of the file.
    SetIpvs(Ipvs),
    /// `[settings]` become these.
    SetSettings(Settings),
}

/// Who vouches for what a change says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// It has to be right as in a file: [`Service::faults`].
    File,
    /// It was checked as the kernel's IPVS checks it, which takes some of what is a fault in a file,
    /// such as a server with the service's own address.
    Ipvs,
}

/// Why a change was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeFault {
    /// It is there already.
    ServiceExists(ServiceKey),
    /// It is not there.
    NoService(ServiceKey),
    /// It is there already.
    ServerExists(ServiceKey, ServerKey),
    /// It is not there.
    NoServer(ServiceKey, ServerKey),
    /// What the service would be then is not valid.
    Invalid(ServiceKey, Vec<FieldFault>),
    /// What else would be then is not valid: timeouts, marks.
    InvalidSettings(Vec<FieldFault>),
    /// There would be too many.
    Limit {
        /// The key of `[limits]`.
        key: &'static str,
        /// How many there would be.
        count: usize,
        /// How many there may be.
        limit: u32,
    },
}

impl fmt::Display for ChangeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceExists(key) => write!(f, "service {key} is there already"),
            Self::NoService(key) => write!(f, "there is no service {key}"),
            Self::ServerExists(key, server) => {
                write!(f, "service {key} has server {server} already")
            }
            Self::NoServer(key, server) => write!(f, "service {key} has no server {server}"),
            Self::Invalid(key, faults) => {
                write!(f, "service {key}: ")?;
                sentences(f, faults)
            }
            Self::InvalidSettings(faults) => sentences(f, faults),
            Self::Limit { key, count, limit } => {
                write!(
                    f,
                    "there would be {count} {key}, and limits.{key} is {limit}"
                )
            }
        }
    }
}

fn sentences(f: &mut fmt::Formatter<'_>, faults: &[FieldFault]) -> fmt::Result {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    f.write_str(&faults.join(". "))
}

impl std::error::Error for ChangeFault {}

/// What of a configuration can change at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changeable {
    /// `[[service]]`
    pub services: Vec<Service>,
    /// `[[mark]]`
    pub marks: Vec<MarkRule>,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[ipvs]`
    pub ipvs: Ipvs,
    /// `[settings]`
    pub settings: Settings,
}

impl Changeable {
    /// True when `config` says the same.
    #[must_use]
    pub fn is_of(&self, config: &Config) -> bool {
        self.timeouts == config.timeouts
            && self.ipvs == config.ipvs
            && self.settings == config.settings
            && self.marks == config.marks
            && self.services == config.services
    }
}

impl Config {
    /// What of it can change at run time, as a copy.
    #[must_use]
    pub fn changeable(&self) -> Changeable {
        Changeable {
            services: self.services.clone(),
            marks: self.marks.clone(),
            timeouts: self.timeouts.clone(),
            ipvs: self.ipvs.clone(),
            settings: self.settings.clone(),
        }
    }
}
