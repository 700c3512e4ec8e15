//! Wanted differences about servers and services that were removed and came back.

use std::net::{IpAddr, SocketAddr};

use weir_conformance::bytes::Bytes;
use weir_conformance::operation::{Method, Operation};
use weir_conformance::place;
use weir_conformance::seen::{Counted, Seen};
use weir_wire::{Addr, Parsed, tcp_flag};

use super::Case;
use super::icmp::Told;
use crate::compare::frames;

/// True when the kernel sends nothing and Weir a packet, by DR, to a server that is or was one by another
/// method, too; and when the kernel tells clients, some seconds later, that nobody answers.
pub(super) fn is_by_dr_to_other_server(case: &Case<'_>) -> bool {
    let Some((kernel, weir)) = case.frames() else {
        return false;
    };
    let mut untold = kernel.clone();
    untold.out[0].retain(|frame| !is_virtual_unreachable(frame));
    if untold != *kernel {
        return others_by_dr(case).next().is_some() && frames(&untold, weir).is_none();
    }
    let [client, server] = &weir.out;
    kernel.out.iter().all(Vec::is_empty)
        && client.is_empty()
        && matches!(&server[..], [only] if goes_by_dr_to_other_server(case, only))
}

/// True for a packet that leaves for a virtual address, by the MAC address of a server that was one by
/// DR and by another method.
fn goes_by_dr_to_other_server(case: &Case<'_>, frame: &Bytes) -> bool {
    let v6 = place::vips_v6().map(IpAddr::V6);
    let v4 = place::VIPS_V4.map(IpAddr::V4);
    let mut vips = v4.into_iter().chain(v6).map(Addr::from);
    let is_to_virtual = match weir_wire::parse(&frame.0, false) {
        Ok(Parsed::Ip(headers)) => vips.any(|vip| vip == headers.dst),
        _ => false,
    };
    let is_at = |at: IpAddr| {
        let mut neighbours = place::neighbours().into_iter();
        let mac = neighbours.find(|(_, address, _)| *address == at);
        // Others are behind a router.
        mac.is_none_or(|(_, _, mac)| frame.0.starts_with(&mac.0))
    };
    is_to_virtual && others_by_dr(case).any(is_at)
}

/// Servers that were one by DR and by another method.
fn others_by_dr(case: &Case<'_>) -> impl Iterator<Item = IpAddr> {
    let added = |is_by_dr: bool| {
        let added = case
            .before
            .iter()
            .filter_map(move |operation| match operation {
                Operation::AddServer(_, server) | Operation::EditServer(_, server)
                    if (server.method == Method::Dr) == is_by_dr =>
                {
                    Some(server.at.ip())
                }
                _ => None,
            });
        added.collect::<Vec<_>>()
    };
    let otherwise = added(false);
    added(true)
        .into_iter()
        .filter(move |at| otherwise.contains(at))
}

/// True for an error that says that nobody answers for a virtual address.
fn is_virtual_unreachable(frame: &Bytes) -> bool {
    let Some(told) = Told::of(frame) else {
        return false;
    };
    let is_to_virtual = |to: IpAddr| match to {
        IpAddr::V4(to) => place::VIPS_V4.contains(&to),
        IpAddr::V6(to) => place::vips_v6().contains(&to),
    };
    matches!(told.kind(), (3, 1) | (1, 3))
        && told
            .quoted()
            .is_some_and(|quoted| is_to_virtual(quoted.dst.ip()))
}

/// True for what the kernel drops and the host behind Weir resets, and for connections that only the
/// kernel has, each ended and opened again since a service was deleted.
pub(super) fn is_kept_by_a_reset(case: &Case<'_>) -> bool {
    match (case.kernel, case.weir) {
        (Seen::Frame(kernel), Seen::Frame(weir)) => {
            let came = kernel.frame.as_ref().and_then(segment);
            kernel.out.iter().all(Vec::is_empty)
                && weir.out == kernel.host
                && came.is_some_and(|(client, service, _)| began_again(case, client, service))
        }
        (Seen::Entries(kernel), Seen::Entries(weir)) => {
            let mut only = kernel.iter().filter(|entry| !weir.contains(entry));
            weir.iter().all(|entry| kernel.contains(entry))
                && only.all(|e| e.state == "CLOSE" && began_again(case, e.client, e.service))
        }
        _ => false,
    }
}

/// True when a SYN of the connection came after the last service that was deleted.
fn began_again(case: &Case<'_>, client: SocketAddr, service: SocketAddr) -> bool {
    let is_deleted = |op: &Operation| matches!(op, Operation::DeleteService(_) | Operation::Flush);
    let since = case.before.iter().rposition(is_deleted);
    since.is_some_and(|since| {
        case.before[since..]
            .iter()
            .any(|operation| match operation {
                Operation::Frame { bytes, .. } => segment(bytes) == Some((client, service, true)),
                _ => false,
            })
    })
}

/// Both ends of a TCP segment, and whether it opens a connection.
fn segment(frame: &Bytes) -> Option<(SocketAddr, SocketAddr, bool)> {
    match weir_wire::parse(&frame.0, false) {
        Ok(Parsed::Ip(h)) if h.is_tcp() => Some((
            SocketAddr::new(h.src.ip(), h.src_port),
            SocketAddr::new(h.dst.ip(), h.dst_port),
            h.tcp_flags & tcp_flag::SYN != 0,
        )),
        _ => None,
    }
}

/// True when both differ in what servers carried only, of services that were deleted once.
pub(super) fn are_counters_of_another_service(case: &Case<'_>) -> bool {
    let (Seen::Counters(_, kernel), Seen::Counters(_, weir)) = (case.kernel, case.weir) else {
        return false;
    };
    let deleted = case.before.iter().filter_map(|operation| match operation {
        Operation::DeleteService(key) => Some(key.to_string()),
        _ => None,
    });
    let deleted: Vec<_> = deleted.collect();
    let are_alike = |kernel: &Counted, weir: &Counted| {
        kernel == weir
            || (kernel.server.is_some()
                && (&kernel.service, kernel.server, kernel.connections)
                    == (&weir.service, weir.server, weir.connections)
                && kernel.totals.iter().zip(weir.totals).all(|(k, w)| *k >= w)
                && deleted.contains(&kernel.service))
    };
    kernel.len() == weir.len() && kernel.iter().zip(weir).all(|(k, w)| are_alike(k, w))
}
