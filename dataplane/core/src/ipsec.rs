//! AH and ESP: they show no ports, so they follow the key exchange of the same two hosts, which is
//! UDP from port 500 to port 500 (RFC 7296 §2). They never begin a flow, as in the kernel.

use weir_wire::{Headers, protocol};

use crate::classify::punt_class;
use crate::director::Director;
use crate::flow::{Direction, Tuple};
use crate::io::Frame;
use crate::note::Verdict;
use crate::reuse::Known;
use crate::service::Protocol;
use crate::time::Tick;
use crate::track::from_server;

/// The port of the key exchange.
const IKE: u16 = 500;

/// True for AH and ESP. AH before TCP or UDP over IPv6 is one of its extension headers.
pub(crate) const fn is_ipsec(headers: &Headers) -> bool {
    matches!(headers.protocol, protocol::AH | protocol::ESP)
}

impl<F: Frame> Director<F> {
    /// What becomes of such a packet: it goes where the key exchange went, or it is Linux's.
    pub(crate) fn follow(
        &mut self,
        now: Tick,
        headers: &Headers,
        longest: u16,
        is_handed_off: bool,
    ) -> Verdict {
        let exchange = Tuple {
            src: headers.src,
            dst: headers.dst,
            src_port: IKE,
            dst_port: IKE,
            protocol: Protocol::Udp,
        };
        let unrelated = Verdict::Punt(punt_class(headers));
        let Some((id, direction)) = self.flows.find(&exchange, self.flows.hash(&exchange)) else {
            return match is_handed_off {
                true => unrelated,
                false => self.owner_of_exchange(&exchange).unwrap_or(unrelated),
            };
        };
        if direction == Direction::Request {
            match self.judge(&self.flows.get(id), crate::flow::Signal::of(headers)) {
                Known::GoesOn => {}
                Known::Anew => {
                    self.forget(now, &exchange);
                    return unrelated;
                }
                Known::Ends(reason) => return Verdict::Drop(reason),
            }
        } else if self.is_stuck(headers, longest) {
            return Verdict::Reply(from_server(&self.flows.get(id)));
        }
        self.take(now, headers, id, direction)
    }

    /// The other worker that has the flow of a key exchange, if there is one.
    fn owner_of_exchange(&self, exchange: &Tuple) -> Option<Verdict> {
        if let Some(owner) = self.foreign_owner(exchange) {
            return Some(owner);
        }
        let services = &self.snapshot.services;
        let replies = services.is_nat_source(exchange.protocol, exchange.src, exchange.src_port);
        let owner = self.owner_of_reply(exchange);
        (replies && owner != self.id).then_some(Verdict::HandOff(owner))
    }
}
