//! Every difference between Weir and the kernel's IPVS that is wanted, with its reason. There is no
//! other place for one: what is not named here fails the tests.

use std::net::SocketAddr;

use weir_conformance::bytes::Bytes;
use weir_conformance::operation::Operation;
use weir_conformance::place::Leg;
use weir_conformance::seen::{Counted, Passed, Seen};
use weir_wire::{Addr, Headers, Parsed, fragment, icmp, parse_embedded, protocol};

use crate::joined::{is_fragment, joined};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aftermath {
    /// Nothing.
    Nothing,
    /// Packets and bytes from servers are counted on one side only.
    CountsOut,
    /// Packets and bytes of both directions are.
    Counts,
    /// One side has counted a packet that the other has not, and its connection has moved on: what
    /// comes after it in the scenario is not compared.
    Everything,
}

/// An operation at which both sides differ.
#[derive(Clone, Copy, Debug)]
struct Case<'c> {
    before: &'c [Operation],
    workers: usize,
    kernel: &'c Seen,
    weir: &'c Seen,
}

/// All of them.
pub(crate) const ALL: &[Named] = &[
    Named {
        name: "where IPv4 packets are cut again",
        reason: "The kernel joins IPv4 fragments for its own addresses as far as their memory lets it, all of them with \
                 most network cards, cuts them anew to the longest that came, and loses DF where it has not joined \
                 them. Weir joins them all and keeps DF. In an IPv6 tunnel the kernel takes DF for the length to cut \
                 to. The packet is the same.",
        aftermath: Aftermath::Nothing,
        explains: |case| {
            let Some((kernel, weir)) = case.frames() else {
                return false;
            };
            let is_v4 = |came: &Bytes| is_fragment(&came.0) && came.0.get(12..14) == Some(&[8, 0]);
            kernel.frame.as_ref().is_some_and(is_v4) && are_alike(kernel, weir, |frame| frame)
        },
    },
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
            let client = joined(client.iter().map(|frame| frame.0.clone()).collect());
            came && kernel.out.iter().all(Vec::is_empty)
                && server.is_empty()
                && matches!(&client[..], [only] if is_icmpv6_error(&Bytes(only.clone())))
        },
    },
    Named {
        name: "counters of removed servers",
        reason: "Replies of a removed NAT server go on to their clients. The kernel counts them nowhere; in \
                 Weir they count for the service, which carries them, and for the server should it come \
                 back. A server that comes back has its old counters in the kernel for two minutes, in \
                 Weir as long as connections remember it.",
        aftermath: Aftermath::Nothing,
        explains: |case| match (case.kernel, case.weir) {
            (Seen::Counters(_, kernel), Seen::Counters(_, weir)) => {
                case.has_removed() && are_alike_but_for_removed(case, kernel, weir)
            }
            _ => false,
        },
    },
    Named {
        name: "connections of a removed service, with several workers",
        reason: "Who owns a connection is told by its service. Without that, a packet that comes to another \
                 worker than the connection's is Linux's, which resets it; the kernel, and Weir on the \
                 right worker, say nothing. To hand over every packet of no service would cost all of \
                 Linux's traffic.",
        aftermath: Aftermath::Nothing,
        explains: |case| {
            let Some((kernel, weir)) = case.frames() else {
                return false;
            };
            case.workers > 1
                && case.has_removed()
                && kernel.out.iter().all(Vec::is_empty)
                && weir.out == weir.host
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
    Named {
        name: "replies in IPv4 fragments with DF",
        reason: "The kernel puts them together, finds the whole longer than it may be or not, and tells the server \
                 in either case that it is too big, which it counts as a client's packet. Weir passes on fragments \
                 that fit.",
        aftermath: Aftermath::Counts,
        explains: |case| {
            let Some((kernel, weir)) = case.frames() else {
                return false;
            };
            let ([to_client, to_server], [weir_client, weir_server]) = (&kernel.out, &weir.out);
            let came = kernel
                .frame
                .as_ref()
                .is_some_and(|came| is_fragment(&came.0));
            came && to_client.is_empty()
                && weir_server.is_empty()
                && matches!(&to_server[..], [only] if is_too_big_v4(only))
                && weir_client.iter().all(|frame| is_fragment(&frame.0))
                && !weir_client.is_empty()
        },
    },
    Named {
        name: "first IPv6 fragments without all headers, or of a length that none can follow",
        reason: "Linux refuses to put them together and tells the sender (RFC 8200 §4.5); so it does behind Weir. \
                 IPVS, which sees such a fragment before, takes it for a packet, reads states from its fragment \
                 header, and sends it to a server that will never get the others.",
        aftermath: Aftermath::Everything,
        explains: |case| {
            let Some((kernel, weir)) = case.frames() else {
                return false;
            };
            kernel.frame.as_ref().is_some_and(is_faulty_first) && weir.out == weir.host
        },
    },
    Named {
        name: "errors about missing fragments, with several workers",
        reason: "The kernel counts such an error as a packet of the server, where that answers past the director. \
                 In Weir the worker that waited for the fragments tells the client; the flow may be another's, \
                 which is not asked for a count.",
        aftermath: Aftermath::CountsOut,
        explains: |case| {
            let (Seen::Counters(_, kernel), Seen::Counters(_, weir)) = (case.kernel, case.weir)
            else {
                return false;
            };
            let is_alike = |kernel: &Counted, weir: &Counted| {
                let ([kc, ki, ko, kbi, kbo], [wc, wi, wo, wbi, wbo]) = (kernel.totals, weir.totals);
                (&kernel.service, kernel.server, kernel.connections)
                    == (&weir.service, weir.server, weir.connections)
                    && (kc, ki, kbi) == (wc, wi, wbi)
                    && ko >= wo
                    && kbo >= wbo
            };
            case.workers > 1
                && case.before.iter().any(is_wait_for_fragments)
                && kernel.len() == weir.len()
                && kernel
                    .iter()
                    .zip(weir)
                    .all(|(kernel, weir)| is_alike(kernel, weir))
        },
    },
    Named {
        name: "clients at port 0",
        reason: "The kernel takes a client's port 0 for one that is not known yet (FTP), never finds the connection \
                 again and schedules every packet anew, each with an entry of its own. In Weir port 0 is a port, \
                 and its packets stay together.",
        aftermath: Aftermath::Everything,
        explains: |case| {
            let came = case.frames().and_then(|(kernel, _)| kernel.frame.as_ref());
            let before = case.before.iter().filter_map(|operation| match operation {
                Operation::Frame { bytes, .. } => from_port_0(bytes),
                _ => None,
            });
            let mut all: Vec<_> = before.collect();
            match came {
                Some(came) => from_port_0(came).is_some_and(|came| all.contains(&came)),
                None => {
                    let len = all.len();
                    all.sort();
                    all.dedup();
                    all.len() < len
                }
            }
        },
    },
];

/// Of servers that were never removed all is the same; services carried no less for servers.
fn are_alike_but_for_removed(case: &Case<'_>, kernel: &[Counted], weir: &[Counted]) -> bool {
    let same = |kernel: &Counted, weir: &Counted| {
        let ([kc, ki, ko, kbi, kbo], [wc, wi, wo, wbi, wbo]) = (kernel.totals, weir.totals);
        let is_removed = kernel.server.is_some_and(|server| case.was_removed(server));
        (&kernel.service, kernel.server, kernel.connections)
            == (&weir.service, weir.server, weir.connections)
            && (is_removed || ((kc, ki, kbi) == (wc, wi, wbi) && ko <= wo && kbo <= wbo))
    };
    kernel.len() == weir.len()
        && kernel
            .iter()
            .zip(weir)
            .all(|(kernel, weir)| same(kernel, weir))
}

fn is_too_big_v4(frame: &Bytes) -> bool {
    headers(&frame.0).is_some_and(|headers| {
        (headers.protocol, headers.icmp_type) == (protocol::ICMP, 3) && headers.icmp_code == 4
    })
}

/// True for a time in which the kernel gives up what is not complete.
fn is_wait_for_fragments(operation: &Operation) -> bool {
    const TICKS: u32 = 3000;
    matches!(operation, Operation::Advance(ticks) if *ticks >= TICKS)
}

/// The ends of a packet from port 0.
fn from_port_0(frame: &Bytes) -> Option<(Addr, Addr, u8, u16)> {
    let headers = headers(&frame.0).filter(|headers| headers.src_port == 0)?;
    let has_ports = matches!(
        headers.protocol,
        protocol::TCP | protocol::UDP | protocol::SCTP
    );
    let ends = (headers.src, headers.dst, headers.protocol, headers.dst_port);
    (has_ports && !is_fragment(&frame.0)).then_some(ends)
}

/// True for a first fragment of IPv6 that is not put together with others.
fn is_faulty_first(frame: &Bytes) -> bool {
    headers(&frame.0).is_some_and(|headers| {
        let info = fragment::info(&frame.0, &headers);
        let first = info.filter(|info| info.offset == 0 && info.more);
        first.is_some_and(|info| {
            let len = headers.end - info.at;
            !headers.is_v4() && (!len.is_multiple_of(8) || (headers.is_tcp() && len < 20))
        })
    })
}

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
pub(crate) fn name_of(
    before: &[Operation],
    workers: usize,
    kernel: &Seen,
    weir: &Seen,
) -> Option<Named> {
    let case = Case {
        before,
        workers,
        kernel,
        weir,
    };
    ALL.iter().find(|named| (named.explains)(&case)).copied()
}

impl<'c> Case<'c> {
    /// True when a server or a service was removed before.
    fn has_removed(&self) -> bool {
        let removes = |operation: &Operation| {
            matches!(
                operation,
                Operation::DeleteServer(..) | Operation::DeleteService(_) | Operation::Flush
            )
        };
        self.before.iter().any(removes)
    }

    /// True when this server, or the service of all of them, was removed before.
    fn was_removed(&self, server: SocketAddr) -> bool {
        self.before.iter().any(|operation| match operation {
            Operation::DeleteServer(_, at) => *at == server,
            Operation::DeleteService(_) | Operation::Flush => true,
            _ => false,
        })
    }

    fn frames(&self) -> Option<(&'c Passed, &'c Passed)> {
        match (self.kernel, self.weir) {
            (Seen::Frame(kernel), Seen::Frame(weir)) => Some((kernel, weir)),
            _ => None,
        }
    }
}

/// The same packets leave but for what `without` takes away, whatever fragments they leave in.
fn are_alike(kernel: &Passed, weir: &Passed, without: fn(Vec<u8>) -> Vec<u8>) -> bool {
    let Some(came) = &kernel.frame else {
        return false;
    };
    let packets = |like: &Bytes, frames: &[Bytes]| {
        let frames = frames.iter().map(|frame| masked(came, like, frame));
        let packets = joined(frames.collect()).into_iter().map(without);
        packets.collect::<Vec<_>>()
    };
    Leg::ALL.into_iter().all(|leg| {
        let (kernel, weir) = (&kernel.out[leg.index()], &weir.out[leg.index()]);
        match kernel.first() {
            Some(first) => packets(first, kernel) == packets(first, weir),
            None => weir.is_empty(),
        }
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
