//! Packets in tunnels, as they leave: whole or in fragments.

use weir_conformance::bytes::Bytes;
use weir_conformance::operation::Operation;
use weir_conformance::place::Leg;
use weir_wire::{Family, Headers, Parsed, checksum, fragment, parse_embedded, rewrite, tunnel};

use super::Case;
use super::icmp::{Told, is_told_too_big, only_to_client};

/// What every path of IPv6 carries.
const LEAST_V6: usize = 1280;
/// GUE in IPv6.
const MOST_OVERHEAD: usize = 52;

/// A packet that left in a tunnel.
pub(super) struct Tunnelled {
    /// The packet inside.
    pub(super) inner: Vec<u8>,
    /// IPv6 outside or inside.
    pub(super) has_v6: bool,
    is_v6_outside: bool,
    /// Bytes that the tunnel takes.
    overhead: usize,
    /// Frames that it left in.
    pub(super) frames: usize,
}

impl PartialEq for Tunnelled {
    fn eq(&self, other: &Self) -> bool {
        (&self.inner, self.is_v6_outside) == (&other.inner, other.is_v6_outside)
    }
}

impl Tunnelled {
    /// What all frames to the servers make together; none when any goes to the client.
    pub(super) fn of(out: &[Vec<Bytes>; 2]) -> Option<Self> {
        let [client, server] = out;
        if !client.is_empty() {
            return None;
        }
        let outer = joined(server)?;
        let quoted = parse_embedded(&outer, 0, outer.len())?;
        let (_, at) = tunnel::in_quoted(&outer, &quoted)?;
        let inner = parse_embedded(&outer, at, outer.len())?;
        Some(Self {
            inner: outer[at..].to_vec(),
            has_v6: [quoted.family(), inner.family()].contains(&Family::V6),
            is_v6_outside: quoted.family() == Family::V6,
            overhead: at,
            frames: server.len(),
        })
    }
}

fn ip(frame: &Bytes) -> Option<Headers> {
    match weir_wire::parse(&frame.0, true) {
        Ok(Parsed::Ip(headers)) => Some(headers),
        _ => None,
    }
}

fn packet(frame: &[u8], h: &Headers) -> Option<Vec<u8>> {
    frame
        .get(usize::from(h.l3)..usize::from(h.end))
        .map(<[u8]>::to_vec)
}

/// The packet of fragments that came in order, from its IP header on, without fragment header.
pub(super) fn joined(frames: &[Bytes]) -> Option<Vec<u8>> {
    let first = frames.first()?;
    let h = ip(first)?;
    let Some(info) = fragment::info(&first.0, &h) else {
        return (frames.len() == 1).then(|| packet(&first.0, &h))?;
    };
    let header = first.0.get(usize::from(h.l3)..usize::from(info.at))?;
    let mut whole = match h.family() {
        Family::V4 => header.to_vec(),
        Family::V6 => {
            let mut header = header[..40].to_vec();
            header[6] = first.0[usize::from(info.at) - 8];
            header
        }
    };
    let start = whole.len();
    for frame in frames {
        let h = ip(frame)?;
        let info = fragment::info(&frame.0, &h)?;
        if whole.len() - start != usize::from(info.offset) {
            return None;
        }
        whole.extend(frame.0.get(usize::from(info.at)..usize::from(h.end))?);
    }
    let len = whole.len() as u16;
    match h.family() {
        Family::V4 => {
            whole[2..4].copy_from_slice(&len.to_be_bytes());
            whole[6..8].fill(0);
            whole[10..12].fill(0);
            let check = checksum::finish(checksum::sum(&whole[..start], 0));
            whole[10..12].copy_from_slice(&check.to_be_bytes());
        }
        Family::V6 => whole[4..6].copy_from_slice(&(len - 40).to_be_bytes()),
    }
    Some(whole)
}

/// The packet of a frame as it is after one hop.
pub(super) fn less_one_hop(frame: &Bytes) -> Option<Vec<u8>> {
    let h = ip(frame)?;
    let mut bytes = frame.0.clone();
    rewrite::decrement_ttl(&mut bytes, &h);
    packet(&bytes, &h)
}

/// The packet that came last, after one hop; of IPv6, if it came in fragments, in order.
fn came_less_one_hop(case: &Case<'_>, last: &Bytes) -> Option<Vec<u8>> {
    let id = |frame: &Bytes| Some(fragment::info(&frame.0, &ip(frame)?)?.id);
    let Some(wanted) = id(last) else {
        return less_one_hop(last);
    };
    let before = case.before.iter().filter_map(|operation| match operation {
        Operation::Frame { bytes, .. } => (bytes != last).then_some(bytes),
        _ => None,
    });
    let mut all: Vec<_> = before
        .filter(|frame| id(frame) == Some(wanted))
        .cloned()
        .collect();
    all.push(last.clone());
    let mut whole = joined(&all)?;
    let is_v6 = whole[0] >> 4 == 6;
    whole[7] = whole[7].checked_sub(1)?;
    is_v6.then_some(whole)
}

/// A tunnel in which a link leaves less than IPv6 asks of every path: the kernel sends nothing to the
/// server and tells the client of too small an MTU or of nothing. Weir sends what it can, in
/// fragments where it must, and tells of the rest.
pub(super) fn is_too_narrow(case: &Case<'_>) -> bool {
    let link = case
        .before
        .iter()
        .rev()
        .find_map(|operation| match operation {
            Operation::Mtu(Leg::Server, mtu) => Some(usize::from(*mtu)),
            _ => None,
        });
    let check = || {
        let (kernel, weir) = case.frames()?;
        let came = came_less_one_hop(case, kernel.frame.as_ref()?)?;
        let is_kernels_way = match only_to_client(kernel) {
            None => kernel.out.iter().all(Vec::is_empty),
            Some(told) => Told::of(told)?
                .too_big()
                .is_some_and(|mtu| (mtu as usize) < LEAST_V6),
        };
        let does_right = match Tunnelled::of(&weir.out) {
            Some(sent) => sent.has_v6 && sent.inner == came && link? < LEAST_V6 + sent.overhead,
            None => {
                let told = Told::of(only_to_client(weir)?)?;
                let least = if came[0] >> 4 == 6 { 1280 } else { 68 };
                link? < LEAST_V6 + MOST_OVERHEAD
                    && told.too_big().is_some_and(|mtu| mtu >= least)
                    && is_told_too_big(&came, &told)
            }
        };
        Some(is_kernels_way && does_right)
    };
    check().unwrap_or(false)
}
