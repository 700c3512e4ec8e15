//! Wanted differences about packets that come in fragments.

use weir_conformance::bytes::Bytes;
use weir_conformance::operation::Operation;
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
    let client = joined(client.iter().map(|frame| frame.0.clone()).collect());
    let is_dropped = kernel.out.iter().all(Vec::is_empty)
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
    let is_alike = |kernel: &Counted, weir: &Counted| {
        let ([kc, ki, ko, kbi, kbo], [wc, wi, wo, wbi, wbo]) = (kernel.totals, weir.totals);
        (&kernel.service, kernel.server, kernel.connections)
            == (&weir.service, weir.server, weir.connections)
            && (kc, ki, kbi) == (wc, wi, wbi)
            && ((ko >= wo && kbo >= wbo) || (ko <= wo && kbo <= wbo))
    };
    let has_waited = case.before.iter().any(|operation| match operation {
        Operation::Advance(ticks) => *ticks >= TICKS,
        _ => false,
    });
    let has_fragments = case.before.iter().any(|operation| match operation {
        Operation::Frame { bytes, .. } => is_fragment(&bytes.0),
        _ => false,
    });
    has_waited
        && has_fragments
        && kernel.len() == weir.len()
        && kernel.iter().zip(weir).all(|(k, w)| is_alike(k, w))
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
