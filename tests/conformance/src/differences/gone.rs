//! A wanted difference about servers that were removed and came back another way.

use std::net::{IpAddr, SocketAddr};

use weir_conformance::bytes::Bytes;
use weir_conformance::operation::{Method, Operation};
use weir_conformance::place;
use weir_wire::{Addr, Parsed};

use super::Case;

/// True when the kernel sends nothing and Weir a packet of IPv6, by DR, to a server that is or was
/// one by NAT, too.
pub(super) fn is_by_dr_to_nat_server(case: &Case<'_>) -> bool {
    let Some((kernel, weir)) = case.frames() else {
        return false;
    };
    let [client, server] = &weir.out;
    kernel.out.iter().all(Vec::is_empty)
        && client.is_empty()
        && matches!(&server[..], [only] if goes_by_dr_to_nat_server(case, only))
}

/// True for a packet that leaves for a virtual address, by the MAC address of a server that was added
/// by DR and by NAT.
fn goes_by_dr_to_nat_server(case: &Case<'_>, frame: &Bytes) -> bool {
    let vips = place::vips_v6().map(|vip| Addr::from(IpAddr::V6(vip)));
    let is_to_virtual = match weir_wire::parse(&frame.0, false) {
        Ok(Parsed::Ip(headers)) => vips.contains(&headers.dst),
        _ => false,
    };
    let added = |wanted: Method| {
        let added = case
            .before
            .iter()
            .filter_map(move |operation| match operation {
                Operation::AddServer(_, server) if server.method == wanted => Some(server.at),
                _ => None,
            });
        added.collect::<Vec<_>>()
    };
    let by_nat = added(Method::Nat);
    let is_at = |at: SocketAddr| {
        let mut neighbours = place::neighbours().into_iter();
        let mac = neighbours.find(|(_, address, _)| *address == at.ip());
        // Others are behind a router.
        mac.is_none_or(|(_, _, mac)| frame.0.starts_with(&mac.0))
    };
    let mut both = added(Method::Dr)
        .into_iter()
        .filter(|at| by_nat.contains(at));
    is_to_virtual && both.any(is_at)
}
