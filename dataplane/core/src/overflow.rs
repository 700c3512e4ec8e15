//! What happens when a flow cannot be kept: state is bounded, and running out is a designed state.
//!
//! A new flow is not kept when the table is full, when too many handshakes are open (a SYN flood
//! must not take the place of connections that live), or when its service begins more a second than
//! it may. Its packets are forwarded all the same, to the server that a consistent hash of the client
//! gives; so are later packets of such connections, of which nobody knows how many there are, for as
//! long as one may live after the last that was not kept. As soon as there is room again, a
//! connection that goes on becomes a flow.
//!
//! Replies of NAT servers get their service's address back by the server's own, which serves while
//! the server is in one service only. FullNAT cannot do without a flow: its packets end.

use alloc::vec;
use alloc::vec::Vec;

use weir_wire::Addr;

use crate::counters::{DropReason, Overflow};
use crate::director::Director;
use crate::flow::{FlowId, Tuple};
use crate::io::Frame;
use crate::limiter::Limiter;
use crate::note::{FromServer, ToServer, Verdict};
use crate::persist::Chosen;
use crate::service::{Method, Protocol, ServiceId};
use crate::time::Tick;

/// What one worker remembers of it.
#[derive(Debug)]
pub(crate) struct Overflowing {
    /// Connections that are no flows may be alive until then.
    until: Option<Tick>,
    half_open_max: usize,
    /// By service: what is left of its new flows for this second.
    rates: Vec<Rate>,
}

#[derive(Debug)]
struct Rate {
    /// The cap that `limiter` was made for.
    max: u32,
    limiter: Limiter,
}

impl Overflowing {
    pub(crate) fn new(half_open_max: usize, services: usize) -> Self {
        let rate = || Rate {
            max: 0,
            limiter: Limiter::new(0, 0),
        };
        let mut rates = vec![];
        rates.resize_with(services, rate);
        Self {
            until: None,
            half_open_max,
            rates,
        }
    }

    /// True while connections that are no flows may be alive.
    pub(crate) fn is_on(&self, now: Tick) -> bool {
        self.until.is_some_and(|until| !now.has_reached(until))
    }

    pub(crate) fn turn_on(&mut self, until: Tick) {
        self.until = Some(until);
    }

    /// Forgets what is over, before the ticks come round.
    pub(crate) fn keep_house(&mut self, now: Tick) {
        if !self.is_on(now) {
            self.until = None;
        }
    }

    /// True when the service has used up its new flows.
    fn is_over_rate(&mut self, now: Tick, id: ServiceId, max: u32) -> bool {
        if max == 0 {
            return false;
        }
        let Some(rate) = self.rates.get_mut(id.0 as usize) else {
            return false;
        };
        if rate.max != max {
            *rate = Rate {
                max,
                limiter: Limiter::new(max, 0),
            };
        }
        !rate.limiter.allow(now, false)
    }
}

impl<F: Frame> Director<F> {
    /// Why a new flow is not to be kept, as far as is known before it is tried.
    #[inline]
    pub(crate) fn has_no_room(
        &mut self,
        now: Tick,
        tuple: &Tuple,
        service: ServiceId,
        new_flows_max: u32,
    ) -> Option<Overflow> {
        if tuple.protocol != Protocol::Udp && self.is_flooded() {
            return Some(Overflow::HalfOpen);
        }
        let is_over = self.overflow.is_over_rate(now, service, new_flows_max);
        is_over.then_some(Overflow::Rate)
    }

    #[inline]
    fn is_flooded(&self) -> bool {
        self.flows.half_open() >= self.overflow.half_open_max
    }

    /// What becomes of the packet that would have begun a flow.
    pub(crate) fn not_kept(
        &mut self,
        now: Tick,
        tuple: &Tuple,
        service: ServiceId,
        cause: Overflow,
    ) -> Verdict {
        self.counters.count_not_kept(cause);
        self.stateless(now, tuple, service)
    }

    /// A packet of a client's connection that is no flow.
    fn stateless(&mut self, now: Tick, tuple: &Tuple, service: ServiceId) -> Verdict {
        let Some(Chosen {
            id, server, port, ..
        }) = self.chosen(now, tuple, service)
        else {
            let service = self.snapshot.services.service(service);
            let service = service.filter(|service| self.bypasses(tuple, service));
            let to = service.and_then(|_| self.to_destination(tuple, false));
            return to.map_or(Verdict::Refuse(DropReason::NoServer), |to| {
                self.turn_overflow_on(now);
                Verdict::StatelessRequest(to)
            });
        };
        if server.method == Method::FullNat {
            return Verdict::Drop(DropReason::FlowTableFull);
        }
        self.turn_overflow_on(now);
        Verdict::StatelessRequest(ToServer {
            has_flow: false,
            server: id,
            method: server.method,
            addr: server.addr,
            port,
            tunnel: server.tunnel,
            local: None,
        })
    }

    fn turn_overflow_on(&mut self, now: Tick) {
        let lifetime = self.snapshot.settings.timeouts.longest();
        self.overflow.turn_on(now.after(lifetime));
    }

    /// A packet in the middle of a connection that is no flow, while there may be such. It becomes
    /// one when there is room, on the server that it has been on.
    pub(crate) fn adopt_flow(
        &mut self,
        now: Tick,
        tuple: &Tuple,
        service: ServiceId,
    ) -> Result<FlowId, Verdict> {
        if let Some(chosen) = self.chosen(now, tuple, service)
            && chosen.server.method != Method::FullNat
            && !self.is_flooded()
            && let Ok(kept) = self.keep(now, tuple, &chosen, (tuple.src, tuple.src_port))
        {
            self.counters.adopted.add(1);
            return Ok(kept);
        }
        Err(self.stateless(now, tuple, service))
    }

    /// The server that the client's address and port lead to; of a persistent service, the one it
    /// is known to have or else that of its address.
    fn chosen(&self, now: Tick, tuple: &Tuple, service: ServiceId) -> Option<Chosen> {
        let services = &self.snapshot.services;
        let service = services.service(service)?;
        let hashed = |tuple: &Tuple| {
            let candidate = service.servers.get(service.consistent.pick(tuple)?)?;
            Some(candidate.server)
        };
        let id = match &service.persistence {
            None => hashed(tuple)?,
            Some(persistence) => match self.remembered(now, tuple, service) {
                Some(id) => id,
                None => hashed(&Tuple {
                    src: Addr(tuple.src.0 & persistence.mask),
                    src_port: 0,
                    ..*tuple
                })?,
            },
        };
        let server = *services.server(id)?;
        Some(Chosen {
            id,
            server,
            port: service.dest_port(&server, tuple),
            template: None,
        })
    }

    /// In whose name a NAT server's packet goes on that belongs to no flow, while there may be such
    /// connections.
    pub(crate) fn stateless_reply(&self, now: Tick, tuple: &Tuple) -> Option<FromServer> {
        let services = &self.snapshot.services;
        let (_, server) = services.nat_server(tuple.protocol, tuple.src, tuple.src_port)?;
        let service = services.service(server.service)?;
        let is_known = server.is_available && server.method == Method::Nat && service.key.mark == 0;
        (is_known && self.overflow.is_on(now)).then_some(FromServer {
            virt: service.key.addr,
            virt_port: match service.key.port {
                0 => tuple.src_port,
                port => port,
            },
            client: None,
        })
    }
}
