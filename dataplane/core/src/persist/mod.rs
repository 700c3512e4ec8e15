//! Persistence: a client that comes again gets the real server it had.
//!
//! What remembers that is a *template*, as in the kernel: it leads from a client (or a part of its
//! address) and a service to a server, and lives for the service's time since the last flow began
//! under it, and in any case as long as such a flow lives. Templates are shared by all workers, in
//! [`Templates`]; workers touch them when a flow begins or ends under one, and not otherwise.

mod bucket;
mod choose;
pub mod sip;
mod table;

use alloc::boxed::Box;
use core::fmt;

use weir_wire::{Addr, Family};

use crate::schedule::Random;
use crate::service::{ServerId, Services};
use crate::sync::{AtomicU64, Ordering};
use crate::time::{TICKS_PER_SECOND, Tick};

pub(crate) use choose::{Begun, Chosen};
pub use table::NAME_MAX;

/// How the clients of a service are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Lifetime of a template after the last flow that began under it, in ticks.
    pub lifetime: u32,
    /// What of a client's address counts: see [`mask_of_v4`] and [`mask_of_len`].
    pub mask: u128,
    /// What tells clients apart besides their addresses (ipvsadm `--pe`).
    pub engine: Option<Engine>,
}

/// A persistence engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The Call-ID of SIP over UDP (RFC 3261 §8.1.1.4).
    Sip,
}

/// What a mask of IPv4 keeps of an address.
#[must_use]
pub const fn mask_of_v4(mask: u32) -> u128 {
    !0 << 32 | mask as u128
}

/// What a prefix of `len` bits keeps of an address of this family.
#[must_use]
pub const fn mask_of_len(family: Family, len: u8) -> u128 {
    let len = match family {
        Family::V4 => 96 + len as u32,
        Family::V6 => len as u32,
    };
    match len {
        0 => 0,
        1..128 => !0 << (128 - len),
        _ => !0,
    }
}

/// The place of a template; it is its own as long as a flow lives under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateId(pub(crate) u32);

/// What a template is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateKey<'a> {
    /// The client's address under the service's mask.
    pub client: Addr,
    /// The virtual address; for a mark see [`addr_of_mark`].
    pub virt: Addr,
    /// The virtual port; 0 for all of them together.
    pub port: u16,
    /// Number of the transport protocol; 0 for all of them together (a mark).
    pub protocol: u8,
    /// What an engine found in the packet.
    pub name: Option<&'a [u8]>,
}

/// A mark in the place of a virtual address, as the kernel lists it.
#[must_use]
pub const fn addr_of_mark(mark: u32, family: Family) -> Addr {
    match family {
        Family::V4 => Addr::from_v4_bytes(mark.to_be_bytes()),
        Family::V6 => Addr((mark as u128) << 96),
    }
}

/// A template as it is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateView {
    /// As the key's.
    pub client: Addr,
    /// As the key's.
    pub virt: Addr,
    /// As the key's; 65535 when no key leads to it any more.
    pub port: u16,
    /// As the key's.
    pub protocol: u8,
    /// The server it leads to.
    pub server: ServerId,
    /// That server's port; 0 where the packet's port stays, 65535 when no key leads to it any more.
    pub dest_port: u16,
    /// Flows that live under it.
    pub children: u32,
    /// One of them has been answered.
    pub is_assured: bool,
    /// False once it was found to lead to a server that may not be used.
    pub is_valid: bool,
    /// Ticks until it is forgotten, or looked at again if flows live under it.
    pub ticks_left: u32,
}

impl TemplateView {
    /// The state that ipvsadm lists.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        if self.is_assured { "ASSURED" } else { "NONE" }
    }
}

/// A template that a new flow lives under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Which.
    pub id: TemplateId,
    /// The server it leads to.
    pub server: ServerId,
}

/// How a flow ends that lives under a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As if its time were over.
    InTime,
    /// By a defence: the last one takes a template with it that no answer has vouched for.
    Forced,
    /// With its server: the last one takes the template with it.
    Homeless,
}

/// Why there is no template: the flow goes to the scheduler's server, and the client's next one
/// perhaps to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// There are as many as there may be.
    Full,
    /// Another worker had the place for too long.
    Contended,
}

impl Refusal {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 2] = [Self::Full, Self::Contended];

    /// The value of the `cause` label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Contended => "contended",
        }
    }
}

/// The templates of a director. All memory is taken when it is made: 122 bytes for each, and 107 more
/// for the names that one in four may have.
pub struct Templates {
    buckets: Box<[bucket::Bucket]>,
    /// Of the slots of the first quarter of buckets.
    names: Box<[table::Name]>,
    /// Templates that lead to each real server.
    of_server: Box<[AtomicU64]>,
    used: AtomicU64,
    most: u64,
    seed: [u64; 2],
}

impl Templates {
    /// For up to `most` templates that lead to real servers in so many slots. `seed` is random: it
    /// keeps strangers from choosing addresses that crowd one place.
    #[must_use]
    pub fn new(most: usize, servers: usize, seed: [u64; 2]) -> Self {
        let (buckets, names, of_server) = table::allocate(most, servers);
        Self {
            buckets,
            names,
            of_server,
            used: AtomicU64::new(0),
            most: most as u64,
            seed,
        }
    }

    /// Templates there are. Those whose time is up count until they are swept.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most that there can be.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.most
    }

    /// Templates that lead to the server in this slot (ipvsadm's PersistConn).
    #[must_use]
    pub fn of_server(&self, server: ServerId) -> u64 {
        let count = self.of_server.get(server.0 as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates")
            .field("used", &self.used)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

/// How far one worker has swept its part of the templates.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sweep {
    at: usize,
    /// Buckets to be looked at by now.
    due: usize,
    since: Tick,
    /// Buckets to be looked at for templates that lost their server; more than there are: all.
    homeless: usize,
}

/// Buckets that one worker looks at in one turn at least, if so many are due.
const SWEPT_A_TURN: usize = 64;

/// One template in so many that no answer has vouched for ends each second by `drop_entry`.
const THINNED_PART: u64 = 32;

/// By what templates end before their time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Culling<'a> {
    pub(crate) services: &'a Services,
    /// What no answer has vouched for is thinned out.
    pub(crate) thins: bool,
    pub(crate) random: &'a Random,
}

impl Sweep {
    /// Has this worker's templates ended at once that have no flow and whose server was removed.
    pub(crate) fn look_for_homeless(&mut self) {
        self.homeless = usize::MAX;
    }

    /// True until they are.
    pub(crate) fn is_looking(&self) -> bool {
        self.homeless > 0
    }

    /// Looks at this worker's buckets, each once a second; at most so many now.
    pub(crate) fn go_on(
        &mut self,
        now: Tick,
        (worker, workers): (u16, u16),
        most: usize,
        templates: &Templates,
        culling: Culling<'_>,
    ) {
        const ROUND: usize = TICKS_PER_SECOND as usize;
        let (worker, workers) = (usize::from(worker), usize::from(workers.max(1)));
        let own = templates.buckets().div_ceil(workers);
        let passed = (now.since(self.since) as usize).min(ROUND);
        let more = own * passed / ROUND;
        if more > 0 || templates.is_empty() {
            self.since = now;
        }
        if templates.is_empty() {
            (self.due, self.homeless) = (0, 0);
            return;
        }
        self.homeless = self.homeless.min(own);
        self.due = (self.due + more).max(self.homeless).min(own);
        let looked = self.due.min(most.max(SWEPT_A_TURN));
        self.due -= looked;
        for _ in 0..looked {
            self.at = if self.at + 1 < own { self.at + 1 } else { 0 };
            let are_homeless_gone = self.homeless > 0;
            self.homeless = self.homeless.saturating_sub(1);
            let is_thinned = culling.thins && culling.random.below(THINNED_PART) == 0;
            let is_there = |id| culling.services.server(id).is_some_and(|s| s.is_available);
            let is_gone = |id, is_assured: bool| {
                (are_homeless_gone && !is_there(id)) || (is_thinned && !is_assured)
            };
            templates.sweep(now, self.at * workers + worker, is_gone);
        }
    }
}

#[cfg(test)]
mod tests;
