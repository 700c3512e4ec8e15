//! Mark rules as a firewall in front of the kernel's IPVS would apply them.

use std::net::IpAddr;

use weir_wire::{Addr, Parsed, protocol};

use crate::operation::{MarkRule, Protocol};
use crate::place::Leg;

/// The mark that `rules` give to a frame that arrives at `leg`; 0 when none matches.
#[must_use]
pub fn of(rules: &[MarkRule], leg: Leg, frame: &[u8]) -> u32 {
    let Ok(Parsed::Ip(headers)) = weir_wire::parse(frame, false) else {
        return 0;
    };
    let has_ports = |protocol| matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let matches = |rule: &&MarkRule| {
        let in_range = |range: Option<(u16, u16)>, port: u16| {
            range.is_none_or(|(first, last)| {
                has_ports(headers.protocol) && (first..=last).contains(&port)
            })
        };
        rule.leg.is_none_or(|wanted| wanted == leg)
            && rule
                .protocol
                .is_none_or(|wanted| number(wanted) == headers.protocol)
            && rule.source.is_none_or(|prefix| covers(prefix, headers.src))
            && rule
                .destination
                .is_none_or(|prefix| covers(prefix, headers.dst))
            && in_range(rule.source_ports, headers.src_port)
            && in_range(rule.destination_ports, headers.dst_port)
    };
    rules.iter().find(matches).map_or(0, |rule| rule.mark)
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => protocol::SCTP,
    }
}

fn covers((prefix, len): (IpAddr, u8), address: Addr) -> bool {
    let bits = if prefix.is_ipv4() { 32 } else { 128 };
    let shift = u32::from(bits - len.min(bits));
    let cut = |addr: Addr| addr.0.checked_shr(shift).unwrap_or(0);
    let prefix = Addr::from(prefix);
    prefix.family() == address.family() && cut(prefix) == cut(address)
}
