//! Choosing a real server for a new flow, exactly as the kernel's IPVS does.
//!
//! Three things hold for all: a server of weight 0 or an overloaded one is not chosen (but see
//! `lblc`), and lists are walked from the server added last. What a scheduler needs to remember is
//! shared by all workers, so that the sequence is the kernel's whichever worker a flow meets: `rr`
//! and `wrr` keep where they stand in one atomic word, `lblc` and `lblcr` which destination has which
//! servers; all others remember nothing.

pub mod consistent;
mod hashed;
mod least;
mod locality;
mod random;
mod rr;
pub(crate) mod siphash;
mod wrr;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use weir_wire::{Addr, Family};

use crate::flow::Tuple;
use crate::load::Loads;
use crate::service::{Candidate, ServerId, Service, Services};
use crate::snapshot::Settings;
use crate::time::Tick;
use consistent::Consistent;

pub use hashed::{HashFlags, Places};
pub use locality::Cache;
pub use random::Random;
pub use wrr::Weights;

/// The kinds of scheduler, by ipvsadm's names, with what control prepares for each.
#[derive(Clone, Debug)]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin, interleaved.
    Wrr(Weights),
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
    /// By locality: one server for each destination.
    Lblc(Arc<Cache>),
    /// By locality: some servers for each destination.
    Lblcr(Arc<Cache>),
    /// Hash of the destination.
    Dh(Places),
    /// Hash of the source.
    Sh(Places, HashFlags),
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Weighted failover.
    Fo,
    /// Weighted overflow.
    Ovf,
    /// Maglev hash of the source, with the kernel's table.
    Mh(Places, HashFlags),
    /// The power of two choices.
    Twos,
    /// Maglev hash of client address and port, with a table that is even to within a percent.
    Maglev(Arc<Consistent>),
    /// Nothing new is scheduled.
    None,
}

/// What a scheduler is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Which one.
    pub name: SchedulerName,
    /// For `sh` and `mh`.
    pub flags: HashFlags,
    /// The service's family.
    pub family: Family,
    /// Packets for many addresses belong to the service: it is one for a mark.
    pub has_many_addrs: bool,
}

impl Recipe {
    /// Of an IPv4 service for one address, without flags.
    #[must_use]
    pub const fn plain(name: SchedulerName) -> Self {
        Self {
            name,
            flags: HashFlags {
                port: false,
                fallback: false,
            },
            family: Family::V4,
            has_many_addrs: false,
        }
    }
}

/// A server of a service, as schedulers are prepared from it, in the order of the service's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its address.
    pub addr: Addr,
    /// Its port as configured.
    pub port: u16,
    /// Its weight.
    pub weight: u32,
    /// The last weight since it was added that was not 0, or 0.
    pub last_weight: u32,
}

/// A flow that begins, and by what a server is chosen for it besides the service.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// From whom to whom.
    pub request: &'a Tuple,
    /// When.
    pub now: Tick,
    /// The connections of all servers.
    pub loads: &'a Loads,
    /// How long `lblc` and `lblcr` remember.
    pub settings: &'a Settings,
    /// The worker's lots.
    pub random: &'a Random,
}

/// Destinations that `lblc` and `lblcr` remember where there are many.
const DESTINATIONS: usize = 1 << 15;
/// Servers for each of them on average.
const SERVERS_EACH: usize = 4;
/// Places of `maglev` that are tried.
const STAND_INS: usize = 256;
/// Servers of a single destination.
const SERVERS_OF_ONE: usize = 1024;

impl Scheduler {
    /// Prepares the scheduler of this recipe for this list of servers. Runs on the control thread at
    /// each change of the list; [`pick`](Self::pick) only indexes. `before` is what the service had
    /// until now, if it is of the same name: what that remembers is kept.
    #[must_use]
    pub fn build(recipe: &Recipe, members: &[Member], before: Option<&Self>) -> Self {
        let flags = recipe.flags;
        match (recipe.name, before) {
            (SchedulerName::Lblc, Some(Self::Lblc(cache))) => Self::Lblc(Arc::clone(cache)),
            (SchedulerName::Lblcr, Some(Self::Lblcr(cache))) => Self::Lblcr(Arc::clone(cache)),
            (SchedulerName::Rr, _) => Self::Rr,
            (SchedulerName::Wrr, _) => {
                let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
                Self::Wrr(Weights::of(&weights))
            }
            (SchedulerName::Lc, _) => Self::Lc,
            (SchedulerName::Wlc, _) => Self::Wlc,
            (SchedulerName::Lblc, _) => Self::Lblc(Arc::new(match recipe.has_many_addrs {
                true => Cache::new(DESTINATIONS, 1),
                false => Cache::new(1, 1),
            })),
            (SchedulerName::Lblcr, _) => Self::Lblcr(Arc::new(match recipe.has_many_addrs {
                true => Cache::new(DESTINATIONS, SERVERS_EACH),
                false => Cache::new(1, SERVERS_OF_ONE),
            })),
            (SchedulerName::Dh, _) => Self::Dh(hashed::fill_dh(members)),
            (SchedulerName::Sh, _) => Self::Sh(hashed::fill_sh(members), flags),
            (SchedulerName::Sed, _) => Self::Sed,
            (SchedulerName::Nq, _) => Self::Nq,
            (SchedulerName::Fo, _) => Self::Fo,
            (SchedulerName::Ovf, _) => Self::Ovf,
            (SchedulerName::Mh, _) => Self::Mh(hashed::fill_mh(members, recipe.family), flags),
            (SchedulerName::Twos, _) => Self::Twos,
            (SchedulerName::Maglev, _) => {
                let servers: Vec<_> = members.iter().map(|m| (m.addr, m.port, m.weight)).collect();
                Self::Maglev(Arc::new(Consistent::even(&servers)))
            }
            (SchedulerName::None, _) => Self::None,
        }
    }

    /// What destinations have which servers, where that is remembered.
    #[must_use]
    pub fn cache(&self) -> Option<&Cache> {
        match self {
            Self::Lblc(cache) | Self::Lblcr(cache) => Some(cache),
            _ => None,
        }
    }

    /// The server of the next flow of `service`, or none when there is no usable one.
    ///
    /// Takes time in proportion to the list with the schedulers that look at loads and weights, and a
    /// look or a few with those that go round or hash, as long as servers are usable.
    #[must_use]
    pub fn pick(service: &Service, services: &Services, arrival: &Arrival<'_>) -> Option<ServerId> {
        let loads = arrival.loads;
        match &service.scheduler {
            Self::Rr => rr::pick(service, services, loads),
            Self::Wrr(weights) => wrr::pick(service, weights, loads),
            Self::Lc => least::lc(service, loads),
            Self::Wlc => least::wlc(service, loads),
            Self::Lblc(cache) => locality::lblc(service, services, cache, arrival),
            Self::Lblcr(cache) => locality::lblcr(service, services, cache, arrival),
            Self::Dh(places) => hashed::dh(service, places, arrival),
            Self::Sh(places, flags) => hashed::sh(service, places, *flags, arrival),
            Self::Sed => least::sed(service, loads),
            Self::Nq => least::nq(service, loads),
            Self::Fo => least::fo(service, loads),
            Self::Ovf => least::ovf(service, loads),
            Self::Mh(places, flags) => hashed::mh(service, places, *flags, arrival),
            Self::Twos => least::twos(service, arrival),
            Self::Maglev(table) => {
                // The next in the table stands in for one that is overloaded.
                let servers = table.from(arrival.request).take(STAND_INS);
                let mut servers = servers.filter_map(|position| service.servers.get(position));
                let found = servers.find(|candidate| is_usable(candidate, loads));
                found.map(|candidate| candidate.server)
            }
            Self::None => None,
        }
    }
}

/// True when the server may be chosen.
#[inline]
fn is_usable(candidate: &Candidate, loads: &Loads) -> bool {
    candidate.weight > 0 && !loads.is_overloaded(candidate.server)
}

/// The place of the server in slot `id` in the service's list; none when it is not of it (any more).
fn position_of(service: &Service, services: &Services, id: ServerId) -> Option<usize> {
    let position = services.server(id)?.position as usize;
    let candidate = service.servers.get(position)?;
    (candidate.server == id).then_some(position)
}

/// The server in slot `id`, if it is in the service's list.
fn candidate_of<'a>(
    service: &'a Service,
    services: &Services,
    id: ServerId,
) -> Option<&'a Candidate> {
    let position = position_of(service, services, id)?;
    service.servers.get(position)
}

macro_rules! names {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)*) => {
        /// The name of a scheduler.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum SchedulerName { $($(#[doc = $doc])+ $name,)* }

        impl SchedulerName {
            /// Every scheduler there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As ipvsadm has it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

names! {
    /// Round robin.
    Rr = "rr",
    /// Weighted round robin.
    Wrr = "wrr",
    /// Least connections.
    Lc = "lc",
    /// Weighted least connections.
    Wlc = "wlc",
    /// Locality-based least connections.
    Lblc = "lblc",
    /// The same with replication.
    Lblcr = "lblcr",
    /// Destination hashing.
    Dh = "dh",
    /// Source hashing.
    Sh = "sh",
    /// Shortest expected delay.
    Sed = "sed",
    /// Never queue.
    Nq = "nq",
    /// Weighted failover.
    Fo = "fo",
    /// Weighted overflow.
    Ovf = "ovf",
    /// Maglev hashing.
    Mh = "mh",
    /// The power of two choices.
    Twos = "twos",
    /// Maglev hashing with a big table; not the kernel's.
    Maglev = "maglev",
    /// No scheduler.
    None = "none",
}

impl fmt::Display for SchedulerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// There is no scheduler of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownScheduler;

impl FromStr for SchedulerName {
    type Err = UnknownScheduler;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| name == known.word())
            .ok_or(UnknownScheduler)
    }
}

#[cfg(test)]
mod tests;
