//! Wanted differences about packets that come in fragments.

use weir_conformance::bytes::Bytes;
use weir_conformance::operation::{Method, Operation};
use weir_conformance::place::Leg;
use weir_conformance::seen::{Counted, Passed, Seen};
use weir_wire::{Addr, Headers, Parsed, fragment, icmp, parse_embedded, protocol};

use super::Case;
use crate::joined::{is_fragment, joined};
use crate::mask::masked;

/// The same packets of IPv4, or of IPv6 with options before the fragment header, in other fragments.
pub(super) fn are_cut_again(case: &Case<'_>) -> bool {
    let is_v4 = |frame: &Bytes| frame.0.get(12..14) == Some(&[8, 0]);
    case.frames().is_some_and(|(kernel, weir)| {
        // DF of IPv4 around IPv6 is by the same mistake.
        let is_any_v4 = kernel
            .frame
            .iter()
            .chain(kernel.out.iter().flatten())
            .any(is_v4);
        let has_options = kernel.out.iter().flatten().any(has_v6_options);
        let came = kernel.frame.as_ref();
        came.is_some_and(|came| is_fragment(&came.0))
            && (is_any_v4 || has_options)
            && are_alike(kernel, weir, |frame| frame)
            && are_as_long_as_they_may_be(case.before, weir)
    })
}

/// No frame of Weir's is longer than its link carries.
fn are_as_long_as_they_may_be(before: &[Operation], weir: &Passed) -> bool {
    const ETHERNET: usize = 14;
    Leg::ALL.into_iter().all(|leg| {
        let set = before.iter().rev().find_map(|operation| match operation {
            Operation::Mtu(of, mtu) if *of == leg => Some(usize::from(*mtu)),
            _ => None,
        });
        let most = ETHERNET + set.unwrap_or(1500);
        weir.out[leg.index()]
            .iter()
            .all(|frame| frame.0.len() <= most)
    })
}

fn has_v6_options(frame: &Bytes) -> bool {
    let next = frame.0.get(20).copied();
    frame.0.get(12..14) == Some(&[0x86, 0xdd])
        && matches!(next, Some(protocol::HOPOPTS | protocol::DSTOPTS))
}

/// An ICMP error in fragments is the same but for the checksum in what it quotes, or is of IPv6 and from a NAT
/// server, so that the kernel drops it.
pub(super) fn is_error(case: &Case<'_>) -> bool {
    let Some((kernel, weir)) = case.frames() else {
        return false;
    };
    let came = kernel.frame.as_ref();
    let is_icmp = came.is_some_and(|came| {
        is_fragment(&came.0) && headers(&came.0).is_some_and(|headers| headers.is_icmp())
    });
    let [client, server] = &weir.out;
    let is_from_server = case.leg() == Some(Leg::Server);
    let client = joined(client.iter().map(|frame| frame.0.clone()).collect());
    let is_dropped = is_from_server
        && kernel.out.iter().all(Vec::is_empty)
        && server.is_empty()
        && matches!(&client[..], [only] if is_icmpv6_error(only));
    is_icmp && (is_dropped || are_alike(kernel, weir, without_inner_checksum))
}

/// The kernel tells the server that its reply is too big; Weir passes the fragments on.
pub(super) fn are_replies_with_df(case: &Case<'_>) -> bool {
    let Some((kernel, weir)) = case.frames() else {
        return false;
    };
    let ([to_client, to_server], [weir_client, weir_server]) = (&kernel.out, &weir.out);
    let came = kernel.frame.as_ref();
    came.is_some_and(|came| is_fragment(&came.0))
        && to_client.is_empty()
        && weir_server.is_empty()
        && matches!(&to_server[..], [only] if is_too_big_v4(only))
        && !weir_client.is_empty()
        && weir_client.iter().all(|frame| is_fragment(&frame.0))
        && are_as_long_as_they_may_be(case.before, weir)
        && joined(weir_client.iter().map(|frame| frame.0.clone()).collect()).len() == 1
}

/// A first fragment of IPv6 that is not put together with others; behind Weir it is Linux's.
pub(super) fn is_refused(case: &Case<'_>) -> bool {
    case.frames().is_some_and(|(kernel, weir)| {
        kernel.frame.as_ref().is_some_and(is_faulty_first) && weir.out == weir.host
    })
}

/// One side has counted more packets from servers, after a time in which fragments were given up.
pub(super) fn are_errors_uncounted(case: &Case<'_>) -> bool {
    // With the time in which counters come up to date.
    const TICKS: u32 = 2500;
    let (Seen::Counters(_, kernel), Seen::Counters(_, weir)) = (case.kernel, case.weir) else {
        return false;
    };
    let has_waited = case.before.iter().any(|operation| match operation {
        Operation::Advance(ticks) => *ticks >= TICKS,
        _ => false,
    });
    let errors = fragmented(case.before);
    has_waited
        && sees_no_replies(case.before)
        && kernel.len() == weir.len()
        && kernel
            .iter()
            .zip(weir)
            .all(|(k, w)| k == w || are_alike_but_for_errors(errors, k, w))
}

/// How many packets have come in fragments, as their addresses and numbers tell.
fn fragmented(before: &[Operation]) -> u64 {
    let numbers = before.iter().filter_map(|operation| match operation {
        Operation::Frame { bytes, .. } => {
            let headers = headers(&bytes.0)?;
            let info = fragment::info(&bytes.0, &headers)?;
            Some((headers.src, headers.dst, info.id))
        }
        _ => None,
    });
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort();
    numbers.dedup();
    numbers.len() as u64
}

/// Some server answers past the director.
fn sees_no_replies(before: &[Operation]) -> bool {
    before.iter().any(|operation| match operation {
        Operation::AddServer(_, server) => server.method != Method::Nat,
        _ => false,
    })
}

/// At most so many packets out are one side's only, each of an ICMP error's length.
fn are_alike_but_for_errors(errors: u64, kernel: &Counted, weir: &Counted) -> bool {
    let ([kc, ki, ko, kbi, kbo], [wc, wi, wo, wbi, wbo]) = (kernel.totals, weir.totals);
    let packets = ko.abs_diff(wo);
    let rates = |counted: &Counted| {
        let [connections, packets_in, _, bytes_in, _] = counted.rates;
        [connections, packets_in, bytes_in]
    };
    (&kernel.service, kernel.server, kernel.connections)
        == (&weir.service, weir.server, weir.connections)
        && (kc, ki, kbi) == (wc, wi, wbi)
        && rates(kernel) == rates(weir)
        && packets <= errors
        && ko.cmp(&wo) == kbo.cmp(&wbo)
        && (packets * 56..=packets * 1280).contains(&kbo.abs_diff(wbo))
}

/// A client at port 0 has sent more than one packet: the kernel has scheduled each, if by luck to the same
/// server.
pub(super) fn is_from_port_0_again(case: &Case<'_>) -> bool {
    let came = case.frames().and_then(|(kernel, _)| kernel.frame.as_ref());
    let before = case.before.iter().filter_map(|operation| match operation {
        Operation::Frame { bytes, .. } => from_port_0(bytes),
        _ => None,
    });
    let mut all: Vec<_> = before.chain(came.and_then(from_port_0)).collect();
    let len = all.len();
    all.sort();
    all.dedup();
    all.len() < len
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

fn is_too_big_v4(frame: &Bytes) -> bool {
    headers(&frame.0).is_some_and(|headers| {
        (headers.protocol, headers.icmp_type) == (protocol::ICMP, 3) && headers.icmp_code == 4
    })
}

fn is_icmpv6_error(frame: &[u8]) -> bool {
    headers(frame)
        .is_some_and(|headers| headers.protocol == protocol::ICMPV6 && headers.icmp_type < 128)
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

fn headers(frame: &[u8]) -> Option<Headers> {
    match weir_wire::parse(frame, false) {
        Ok(Parsed::Ip(headers)) => Some(headers),
        _ => None,
    }
}
