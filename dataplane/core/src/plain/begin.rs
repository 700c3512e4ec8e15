//! A plain packet that begins a flow, for a service that asks nothing special of new flows, while
//! nothing special is going on: no marks, templates, caps, FTP or defences have to be asked. It does what
//! `open.rs` does for such a packet, and leaves all others to it.

use weir_wire::plain::Ip;
use weir_wire::tcp_flag;

use super::{Found, Side};
use crate::counters::{DropReason, Overflow};
use crate::director::Director;
use crate::flow::entry::Key;
use crate::flow::table::{Full, PlainFlow};
use crate::flow::{FlowId, Tuple};
use crate::io::Frame;
use crate::note::Verdict;
use crate::persist::Chosen;
use crate::schedule::{Arrival, Scheduler};
use crate::service::{FTP_DATA_PORT, Method, Protocol, ServiceId};
use crate::time::Tick;

/// A service, as plain packets to one address and port of it find it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<I: Ip> {
    /// The publication it is of.
    epoch: u64,
    to: To<I>,
    service: ServiceId,
    /// As the service's.
    by_client: bool,
}

/// How many of them are remembered.
pub(super) const OPENINGS: usize = 256;

impl<I: Ip> Opening<I> {
    /// Of no publication.
    pub(super) const UNSET: Self = Self {
        epoch: u64::MAX,
        to: To {
            addr: I::NOBODY,
            port_and_protocol: 0,
        },
        service: ServiceId(u32::MAX),
        by_client: false,
    };
}

/// Where a packet goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct To<I: Ip> {
    addr: I::Addr,
    port_and_protocol: u32,
}

impl<I: Ip> To<I> {
    #[inline(always)]
    fn of(key: &Key<I>) -> Self {
        let ([_, addr], [_, port]) = (key.ends(), key.ports());
        Self {
            addr,
            port_and_protocol: u32::from(port) | (key.protocol() as u32) << 16,
        }
    }

    /// The place of its opening, below [`OPENINGS`].
    #[inline(always)]
    fn place(&self) -> usize {
        let folded = u64::from(I::folded(self.addr)) | u64::from(self.port_and_protocol) << 32;
        (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
    }
}

impl<F: Frame> Director<F> {
    /// Begins a flow for a plain packet that has none, and returns its place, or what becomes of
    /// the packet instead; none, and nothing has changed, when `open.rs` has to see to it.
    #[inline]
    pub(super) fn begin_plain<E: Side>(
        &mut self,
        now: Tick,
        found: &Found<E>,
        is_handed_off: bool,
    ) -> Option<Result<u32, Verdict>> {
        let key = &found.key;
        let ([src, _], [src_port, _]) = (key.ends(), key.ports());
        let protocol = key.protocol();
        let is_asked_more = !self.opens_short
            || self.flows.awaits_clients()
            || self.defences.is_dropping()
            || E::Ip::is_martian_source(src)
            || src_port == FTP_DATA_PORT.to_be()
            || self.snapshot.network.may_be_local::<E::Ip>(src)
            || self.snapshot.services.may_be_pooled::<E::Ip>(src);
        if is_asked_more {
            return None;
        }
        if protocol != Protocol::Udp {
            const OPENS_OR_ENDS: u8 = tcp_flag::SYN | tcp_flag::RST;
            if found.tcp_flags & OPENS_OR_ENDS != tcp_flag::SYN || self.is_flooded() {
                return None;
            }
        }
        let to = To::of(key);
        let opening = E::short(&self.shorts).openings.get(to.place())?;
        if opening.epoch != self.snapshot.epoch || opening.to != to {
            return None;
        }
        let (service, by_client) = (opening.service, opening.by_client);
        let tuple = key.tuple();
        if !is_handed_off && self.steering.workers() > 1 {
            let owner = self.steering.owner_of_request(&tuple, by_client);
            if owner != self.id {
                return Some(Err(Verdict::HandOff(owner)));
            }
        }
        Some(self.begin_at(now, found, &tuple, service))
    }

    /// The same of a service that is known.
    #[inline]
    fn begin_at<E: Side>(
        &mut self,
        now: Tick,
        found: &Found<E>,
        tuple: &Tuple,
        service_id: ServiceId,
    ) -> Result<u32, Verdict> {
        const NONE: Verdict = Verdict::Refuse(DropReason::NoServer);
        let snapshot = &self.snapshot;
        let services = &snapshot.services;
        let service = services.service(service_id).ok_or(NONE)?;
        let arrival = Arrival {
            request: tuple,
            now,
            loads: &snapshot.loads,
            settings: &snapshot.settings,
            random: &self.random,
        };
        let Some(id) = Scheduler::pick(service, services, &arrival) else {
            let begun = self.without_server(now, tuple, service_id, NONE);
            return begun.map(FlowId::place);
        };
        let server = services.server(id).ok_or(NONE)?;
        let ([src, _], [src_port, dst_port]) = (found.key.ends(), found.key.ports());
        let method = server.method;
        let reply = match method {
            Method::Dr | Method::Tun => None,
            Method::Nat | Method::FullNat => {
                let port = match server.port {
                    0 => dst_port,
                    port => port.to_be(),
                };
                let addr = E::Ip::addr_of(server.addr);
                let to = match method {
                    Method::FullNat => {
                        let chosen = Chosen {
                            id,
                            server: *server,
                            port: u16::from_be(port),
                            template: None,
                        };
                        let local = self.take_local(tuple, &chosen);
                        let (addr, port) =
                            local.ok_or(Verdict::Drop(DropReason::LocalPortsExhausted))?;
                        (E::Ip::addr_of(addr), port.to_be())
                    }
                    _ => (src, src_port),
                };
                let protocol = found.key.protocol();
                Some(Key::new([addr, to.0], [port, to.1], protocol))
            }
        };
        let begun = self.flows.begin(&PlainFlow::<E> {
            request: found.key,
            home: found.home,
            reply,
            server: id,
            method,
            expires: now.after(self.snapshot.settings.timeouts.new),
        });
        match begun {
            Ok(place) => {
                if let Some(server) = self.snapshot.services.server(id) {
                    self.count_flow(id, server);
                }
                self.make_target::<E>(now, id);
                Ok(place)
            }
            Err(Full) => Err(self.not_kept(now, tuple, service_id, Overflow::Table)),
        }
    }

    /// Lets later plain packets to where `key` goes begin their flows the short way, when the service
    /// there asks nothing special of them.
    pub(super) fn make_opening<E: Side>(&mut self, key: &Key<E::Ip>) {
        let tuple = key.tuple();
        let Some((id, service)) = self.snapshot.services.find_for(&tuple, 0) else {
            return;
        };
        let is_special = service.persistence.is_some()
            || service.one_packet
            || service.new_flows_max != 0
            || service.is_beside(&tuple);
        if is_special || !self.opens_short {
            return;
        }
        let epoch = self.snapshot.epoch;
        let to = To::of(key);
        let openings = &mut E::short_mut(&mut self.shorts).openings;
        if let Some(opening) = openings.get_mut(to.place()) {
            *opening = Opening {
                epoch,
                to,
                service: id,
                by_client: service.by_client,
            };
        }
    }

    /// Whether flows may begin the short way at all under the snapshot in force.
    pub(crate) fn look_for_openings(&mut self) {
        let snapshot = &self.snapshot;
        let has_marks = snapshot.services.has_marks() && !snapshot.marks.is_empty();
        self.opens_short =
            !has_marks && !snapshot.settings.ipvs.nat_icmp_send && self.ftp_ports.is_empty();
    }
}
