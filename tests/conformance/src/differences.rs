//! Every difference between Weir and the kernel's IPVS that is wanted, with its reason. There is no
//! other place for one: what is not named here fails the tests.

use std::net::{IpAddr, SocketAddr};

use weir_conformance::bytes::Bytes;
use weir_conformance::operation::{Method, Operation};
use weir_conformance::place::{self, Leg};
use weir_conformance::seen::{Passed, Seen};
use weir_wire::{Addr, Headers, Parsed, icmp, parse_embedded, protocol};

use crate::mask::masked;

/// A difference that is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    /// In a few words.
    pub(crate) name: &'static str,
    /// Why it is wanted.
    pub(crate) reason: &'static str,
    /// What is not the same from then on in the scenario where it was seen.
    pub(crate) aftermath: Aftermath,
    /// True when it explains what was seen.
    explains: fn(&Case<'_>) -> bool,
}

/// What a difference leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aftermath {
    /// Nothing.
    Nothing,
    /// Packets and bytes from servers are counted on one side only.
    CountsOut,
}

/// An operation at which both sides differ.
#[derive(Clone, Copy, Debug)]
struct Case<'c> {
    before: &'c [Operation],
    kernel: &'c Seen,
    weir: &'c Seen,
}

/// All of them.
pub(crate) const ALL: &[Named] = &[
    Named {
        name: "the checksum inside of an ICMP error",
        reason: "The kernel rewrites address and port of the packet that an ICMP error quotes and leaves \
                 its TCP or UDP checksum as it was, wrong. Weir makes it right, as RFC 5508 §4.2 wants \
                 it of NATs.",
        aftermath: Aftermath::Nothing,
        explains: |case| {
            case.frames()
                .is_some_and(|(kernel, weir)| are_alike(kernel, weir, without_inner_checksum))
        },
    },
    Named {
        name: "ICMPv6 errors of NAT servers",
        reason: "The kernel checks their checksum without the pseudo-header, finds it wrong and drops \
                 them, unless the network card has vouched for it. Weir passes them on in the name of \
                 the service, as the kernel does with IPv4's.",
        aftermath: Aftermath::CountsOut,
        explains: |case| {
            let Some((kernel, weir)) = case.frames() else {
                return false;
            };
            let [client, server] = &weir.out;
            let came = kernel.frame.as_ref().is_some_and(is_icmpv6_error);
            came && kernel.out.iter().all(Vec::is_empty)
                && server.is_empty()
                && matches!(&client[..], [only] if is_icmpv6_error(only))
        },
    },
    Named {
        name: "connections by DR of a server that is a NAT server now",
        reason: "The kernel remembers the way to a server from its first packet after a change, and by NAT \
                 without the server as the next hop. IPv6 connections by DR then look for the virtual \
                 address on the servers' network, where nobody answers. Weir sends them to the server.",
        aftermath: Aftermath::Nothing,
        explains: |case| {
            let Some((kernel, weir)) = case.frames() else {
                return false;
            };
            let [client, server] = &weir.out;
            kernel.out.iter().all(Vec::is_empty)
                && client.is_empty()
                && matches!(&server[..], [only] if case.goes_by_dr_to_nat_server(only))
        },
    },
    Named {
        name: "Packet Too Big about IPv6 tunnels",
        reason: "The kernel does not heed it and sends on what the path cannot carry. Weir remembers the \
                 path's MTU and tells the client (RFC 2473 §7.1).",
        aftermath: Aftermath::CountsOut,
        explains: |case| {
            let Some((kernel, weir)) = case.frames() else {
                return false;
            };
            let ([kernel, _], [weir, server]) = (&kernel.out, &weir.out);
            kernel.is_empty()
                && server.is_empty()
                && matches!(&weir[..], [only] if is_too_big_v6(only))
        },
    },
    Named {
        name: "a tunnel too narrow for IPv6",
        reason: "Where the way to a server leaves a tunnel less than 1280 bytes, the kernel drops IPv6 packets \
                 in silence. Weir tells the client that its destination is unreachable (RFC 4443 §3.1).",
        aftermath: Aftermath::CountsOut,
        explains: |case| {
            let Some((kernel, weir)) = case.frames() else {
                return false;
            };
            let [client, server] = &weir.out;
            kernel.out.iter().all(Vec::is_empty)
                && server.is_empty()
                && kernel
                    .frame
                    .as_ref()
                    .is_some_and(|came| !is_icmpv6_error(came))
                && matches!(&client[..], [only] if is_unreachable_v6(only))
        },
    },
];

fn is_too_big_v6(frame: &Bytes) -> bool {
    headers(&frame.0)
        .is_some_and(|headers| (headers.protocol, headers.icmp_type) == (protocol::ICMPV6, 2))
}

fn is_unreachable_v6(frame: &Bytes) -> bool {
    headers(&frame.0).is_some_and(|headers| {
        (headers.protocol, headers.icmp_type) == (protocol::ICMPV6, 1) && headers.icmp_code == 3
    })
}

/// The wanted difference that explains what was seen, if any does.
pub(crate) fn name_of(before: &[Operation], kernel: &Seen, weir: &Seen) -> Option<Named> {
    let case = Case {
        before,
        kernel,
        weir,
    };
    ALL.iter().find(|named| (named.explains)(&case)).copied()
}

impl<'c> Case<'c> {
    /// True for a packet of IPv6 that leaves for a virtual address, by the MAC address of a server that
    /// was added by DR and by NAT.
    fn goes_by_dr_to_nat_server(&self, frame: &Bytes) -> bool {
        let vips = place::vips_v6().map(|vip| Addr::from(IpAddr::V6(vip)));
        let is_to_virtual = headers(&frame.0).is_some_and(|headers| vips.contains(&headers.dst));
        let added = |wanted: Method| {
            self.before
                .iter()
                .filter_map(move |operation| match operation {
                    Operation::AddServer(_, server) if server.method == wanted => Some(server.at),
                    _ => None,
                })
        };
        let mut both = added(Method::Dr).filter(|at| added(Method::Nat).any(|nat| nat == *at));
        let is_at = |at: SocketAddr| {
            let mut neighbours = place::neighbours().into_iter();
            let mac = neighbours.find(|(_, address, _)| *address == at.ip());
            mac.is_none_or(|(_, _, mac)| frame.0.starts_with(&mac.0))
        };
        is_to_virtual && both.any(is_at)
    }

    fn frames(&self) -> Option<(&'c Passed, &'c Passed)> {
        match (self.kernel, self.weir) {
            (Seen::Frame(kernel), Seen::Frame(weir)) => Some((kernel, weir)),
            _ => None,
        }
    }
}

/// The same frames leave but for what `without` takes away.
fn are_alike(kernel: &Passed, weir: &Passed, without: fn(Vec<u8>) -> Vec<u8>) -> bool {
    let Some(came) = &kernel.frame else {
        return false;
    };
    let same = |kernel: &Bytes, weir: &Bytes| {
        without(masked(came, kernel, kernel)) == without(masked(came, kernel, weir))
    };
    Leg::ALL.into_iter().all(|leg| {
        let (kernel, weir) = (&kernel.out[leg.index()], &weir.out[leg.index()]);
        kernel.len() == weir.len() && kernel.iter().zip(weir).all(|(k, w)| same(k, w))
    })
}

fn headers(frame: &[u8]) -> Option<Headers> {
    match weir_wire::parse(frame, false) {
        Ok(Parsed::Ip(headers)) => Some(headers),
        _ => None,
    }
}

fn is_icmpv6_error(frame: &Bytes) -> bool {
    headers(&frame.0)
        .is_some_and(|headers| headers.protocol == protocol::ICMPV6 && headers.icmp_type < 128)
}

/// An ICMP error with the checksum of the quoted packet's transport header, and so its own, blanked.
fn without_inner_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let Some(headers) = headers(&frame).filter(Headers::is_icmp) else {
        return frame;
    };
    let at = icmp::quoted_at(&headers);
    let Some(quoted) = parse_embedded(&frame, at, usize::from(headers.end)) else {
        return frame;
    };
    let inner = usize::from(quoted.l4)
        + match quoted.protocol {
            protocol::TCP => 16,
            protocol::UDP => 6,
            _ => return frame,
        };
    for at in [inner, usize::from(headers.l4) + 2] {
        if let Some(checksum) = frame.get_mut(at..at + 2) {
            checksum.fill(0);
        }
    }
    frame
}
