//! Wanted differences about ICMP errors. Each is held against what it says to the last byte, so that
//! it explains nothing else.

use weir_conformance::answer::Answer;
use weir_conformance::bytes::Bytes;
use weir_conformance::operation::Operation;
use weir_conformance::place;
use weir_conformance::seen::Passed;
use weir_wire::{Addr, Embedded, Family, Headers, Parsed, icmp, parse_embedded, protocol, tunnel};

use super::Case;
use super::tunnelled::{Tunnelled, joined, less_one_hop};

/// Linux takes no smaller path MTU from an IPv4 router than this.
const PATH_MTU_MIN_V4: u32 = 552;
/// The least that every path of IPv6 carries.
const PATH_MTU_MIN_V6: u32 = 1280;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// An ICMP error in a frame.
pub(super) struct Told<'f> {
    frame: &'f [u8],
    headers: Headers,
}

impl<'f> Told<'f> {
    /// None for anything else.
    pub(super) fn of(frame: &'f Bytes) -> Option<Self> {
        let frame = &frame.0;
        let Ok(Parsed::Ip(headers)) = weir_wire::parse(frame, true) else {
            return None;
        };
        let is_error = headers.is_icmp() && icmp::is_error(headers.family(), headers.icmp_type);
        is_error.then_some(Self { frame, headers })
    }

    pub(super) fn kind(&self) -> (u8, u8) {
        (self.headers.icmp_type, self.headers.icmp_code)
    }

    fn is_v6(&self) -> bool {
        !self.headers.is_v4()
    }

    fn has_right_checksum(&self) -> bool {
        icmp::checksum_ok(self.frame, &self.headers)
    }

    /// What is quoted, with all that follows it.
    pub(super) fn quote(&self) -> &'f [u8] {
        let range = icmp::quoted_at(&self.headers)..usize::from(self.headers.end);
        self.frame.get(range).unwrap_or_default()
    }

    pub(super) fn quoted(&self) -> Option<Embedded> {
        let at = icmp::quoted_at(&self.headers);
        parse_embedded(self.frame, at, usize::from(self.headers.end))
    }

    pub(super) fn too_big(&self) -> Option<u32> {
        icmp::too_big_mtu(self.frame, &self.headers)
    }

    /// Where the quoted transport header has its checksum, when it is quoted.
    fn checksum_inside(&self) -> Option<usize> {
        let quoted = self.quoted()?;
        let at = usize::from(quoted.l4)
            + match quoted.protocol {
                protocol::TCP => 16,
                protocol::UDP => 6,
                _ => return None,
            };
        (at + 2 <= usize::from(quoted.end)).then_some(at)
    }

    /// The sum of what of the quote a NAT changes: while the checksum in it is kept up to date it
    /// stays the same.
    fn sum_inside(&self) -> Option<u32> {
        let (quoted, check) = (self.quoted()?, self.checksum_inside()?);
        let (l3, l4) = (usize::from(quoted.l3), usize::from(quoted.l4));
        let addresses = match quoted.family() {
            Family::V4 => l3 + 12..l3 + 20,
            Family::V6 => l3 + 8..l3 + 40,
        };
        let words = [addresses, l4..l4 + 4, check..check + 2]
            .into_iter()
            .flat_map(|range| self.frame[range].chunks_exact(2))
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        Some(words.sum::<u32>() % 0xffff)
    }

    /// The frame with these ranges of another in their places.
    fn with(&self, other: &[u8], ranges: &[std::ops::Range<usize>]) -> Option<Vec<u8>> {
        let mut frame = self.frame[..usize::from(self.headers.end)].to_vec();
        for range in ranges {
            let to = frame.get_mut(range.clone())?;
            to.copy_from_slice(other.get(range.clone())?);
        }
        Some(frame)
    }

    fn checksum_at(&self) -> std::ops::Range<usize> {
        let at = usize::from(self.headers.l4) + 2;
        at..at + 2
    }
}

/// What left where one frame did, on one side.
fn only(frames: &[Vec<Bytes>; 2]) -> Option<(usize, &Bytes)> {
    match [&frames[0][..], &frames[1][..]] {
        [[only], []] => Some((0, only)),
        [[], [only]] => Some((1, only)),
        _ => None,
    }
}

/// The only frame, and it went to the client.
pub(super) fn only_to_client(passed: &Passed) -> Option<&Bytes> {
    only(&passed.out).and_then(|(leg, frame)| (leg == 0).then_some(frame))
}

pub(super) fn is_silent(passed: &Passed) -> bool {
    passed.out.iter().all(Vec::is_empty)
}

/// The same error leaves, with the checksum in the quote kept up to date by Weir and left as it came by
/// the kernel. Both may have cut it, and at the same places.
pub(super) fn has_checksum_inside(case: &Case<'_>) -> bool {
    let check = || {
        let (kernel, weir) = case.frames()?;
        let came = Told::of(kernel.frame.as_ref()?)?;
        let lengths = |out: &[Vec<Bytes>; 2]| {
            let of_leg = |leg: &Vec<Bytes>| leg.iter().map(|f| f.0.len()).collect::<Vec<_>>();
            [of_leg(&out[0]), of_leg(&out[1])]
        };
        let is_same_shape = lengths(&kernel.out) == lengths(&weir.out);
        let (kernel, weir) = (whole_frame(&kernel.out)?, whole_frame(&weir.out)?);
        let (kernel, weir) = (Told::of(&kernel)?, Told::of(&weir)?);
        let (at, came_at) = (kernel.checksum_inside()?, came.checksum_inside()?);
        let rest = weir.with(kernel.frame, &[at..at + 2, kernel.checksum_at()])?;
        Some(
            is_same_shape
                && rest == kernel.frame
                && kernel.frame[at..at + 2] == came.frame[came_at..came_at + 2]
                && weir.sum_inside() == came.sum_inside()
                && weir.has_right_checksum()
                && kernel.has_right_checksum(),
        )
    };
    check().unwrap_or(false)
}

/// What left by one leg, put together.
fn whole_frame(out: &[Vec<Bytes>; 2]) -> Option<Bytes> {
    let frames = match out {
        [frames, none] | [none, frames] if none.is_empty() => frames,
        _ => return None,
    };
    let link = frames.first()?.0.get(..ETHERNET)?;
    Some(Bytes([link, &joined(frames)?].concat()))
}

/// An ICMPv6 error of a NAT server's side, which the kernel drops, goes to the client in the name of the
/// service, and nothing else of it is changed.
pub(super) fn is_of_nat_server(case: &Case<'_>) -> bool {
    let check = || {
        let (kernel, weir) = case.frames()?;
        let came = Told::of(kernel.frame.as_ref()?)?;
        let sent = Told::of(only_to_client(weir)?)?;
        let quoted = sent.quoted()?;
        let (l3, l4) = (usize::from(sent.headers.l3), usize::from(quoted.l4));
        let in_quote = usize::from(quoted.l3);
        let mut changed = vec![
            0..12,
            l3 + 7..l3 + 8,
            l3 + 8..l3 + 24,
            sent.checksum_at(),
            in_quote + 24..in_quote + 40,
            l4 + 2..l4 + 4,
        ];
        changed.extend(sent.checksum_inside().map(|at| at..at + 2));
        Some(
            came.is_v6()
                && came.has_right_checksum()
                && is_silent(kernel)
                && sent.with(came.frame, &changed)? == came.frame[..usize::from(came.headers.end)]
                && sent.headers.ttl + 1 == came.headers.ttl
                && sent.headers.src == quoted.dst
                && place::vips_v6().map(Addr::from_v6).contains(&quoted.dst)
                && sent.sum_inside() == came.sum_inside()
                && sent.has_right_checksum(),
        )
    };
    check().unwrap_or(false)
}

/// A damaged ICMPv6 error, which the kernel sends to a NAT server with a right checksum.
pub(super) fn is_damaged(case: &Case<'_>) -> bool {
    let check = || {
        let (kernel, weir) = case.frames()?;
        let came = Told::of(kernel.frame.as_ref()?)?;
        let (leg, sent) = only(&kernel.out)?;
        let sent = Told::of(sent)?;
        Some(
            came.is_v6()
                && !came.has_right_checksum()
                && is_silent(weir)
                && leg == 1
                && sent.kind() == came.kind()
                && sent.has_right_checksum()
                && sent.headers.dst != came.headers.dst,
        )
    };
    check().unwrap_or(false)
}

/// Both tell a client of the path of an IPv4 tunnel; Weir tells the MTU that a router has just told, less
/// what the tunnel takes, the kernel what it knew before, less 20.
pub(super) fn is_told_at_once(case: &Case<'_>) -> bool {
    const IPIP: u32 = 20;
    let check = || {
        let (kernel, weir) = case.frames()?;
        let came = Told::of(kernel.frame.as_ref()?)?;
        let kernel = Told::of(only_to_client(kernel)?)?;
        let weir = Told::of(only_to_client(weir)?)?;
        let word = usize::from(kernel.headers.l4) + 4;
        // The identification of what the director makes is drawn at random, and its checksum with it.
        let l3 = usize::from(kernel.headers.l3);
        let other = [
            l3 + 4..l3 + 6,
            l3 + 10..l3 + 12,
            kernel.checksum_at(),
            word..word + 4,
        ];
        let (_, overhead) = tunnel_of(&came)?;
        let told = came.too_big()?.max(PATH_MTU_MIN_V4).checked_sub(overhead)?;
        let known = (kernel.too_big()? + IPIP).checked_sub(overhead)?;
        Some(
            weir.with(kernel.frame, &other)? == kernel.frame
                && weir.too_big()? == told.min(known)
                && weir.has_right_checksum(),
        )
    };
    check().unwrap_or(false)
}

/// The packet in the tunnel that an error is about, and what the tunnel takes.
fn tunnel_of(came: &Told<'_>) -> Option<(Embedded, u32)> {
    let outer = came.quoted()?;
    let (tunnel, at) = tunnel::in_quoted(came.frame, &outer)?;
    let inner = parse_embedded(came.frame, at, usize::from(outer.end))?;
    Some((inner, tunnel.overhead(outer.family()) as u32))
}

/// An error about a tunnel with IPv6 outside or inside, to which the kernel does not listen, is told to
/// the client in the terms of the packet inside.
pub(super) fn is_about_v6_tunnel(case: &Case<'_>) -> bool {
    let check = || {
        let (kernel, weir) = case.frames()?;
        let came = Told::of(kernel.frame.as_ref()?)?;
        let sent = Told::of(only_to_client(weir)?)?;
        let (inner, overhead) = tunnel_of(&came)?;
        let original = &came.frame[usize::from(inner.l3)..usize::from(came.headers.end)];
        let (least_path, least, longest) = match (came.is_v6(), inner.family()) {
            (false, Family::V6) => (PATH_MTU_MIN_V4, PATH_MTU_MIN_V6, 1280 - 48),
            (true, Family::V6) => (PATH_MTU_MIN_V6, PATH_MTU_MIN_V6, 1280 - 48),
            (true, Family::V4) => (PATH_MTU_MIN_V6, 68, 576 - 28),
            (false, Family::V4) => return None,
        };
        let kind = match (came.too_big(), came.kind(), sent.is_v6()) {
            (Some(told), _, is_v6) => {
                let most = (told.max(least_path) - overhead).max(least);
                let may_be = sent
                    .too_big()
                    .is_some_and(|mtu| (least..=most).contains(&mtu));
                if !may_be {
                    return None;
                }
                if is_v6 { (2, 0) } else { (3, 4) }
            }
            (None, (4, _), true) if came.is_v6() => (1, 3),
            (None, kind, is_v6) if is_v6 == came.is_v6() => kind,
            (None, (11, _), true) => (3, 0),
            (None, (3, _), false) => (11, 0),
            (None, _, true) => (1, 3),
            (None, _, false) => (3, 1),
        };
        Some(
            is_silent(kernel)
                && came.has_right_checksum()
                && sent.kind() == kind
                && sent.quote() == &original[..original.len().min(longest)]
                && (sent.headers.src, sent.headers.dst) == (inner.dst, inner.src)
                && sent.has_right_checksum(),
        )
    };
    check().unwrap_or(false)
}

/// What is longer than such a tunnel's path carries, as a router told: the kernel sends it all the same,
/// Weir tells the client, or cuts the outer packet of what every path of IPv6 must carry.
pub(super) fn is_longer_than_v6_tunnel(case: &Case<'_>) -> bool {
    let was_told = case.before.iter().any(|operation| match operation {
        Operation::Answer {
            answer: Answer::Icmp {
                icmp_type, code, ..
            },
            ..
        } => matches!((icmp_type, code), (2, 0) | (3, 4)),
        Operation::Frame { bytes, .. } => Told::of(bytes).is_some_and(|t| t.too_big().is_some()),
        _ => false,
    });
    let check = || {
        let (kernel, weir) = case.frames()?;
        let came = less_one_hop(kernel.frame.as_ref()?)?;
        let told = only_to_client(weir).and_then(Told::of);
        let Some(whole) = Tunnelled::of(&kernel.out) else {
            // The kernel tells as well, but of the link's MTU.
            let link = Told::of(only_to_client(kernel)?)?;
            let is_less = told.as_ref()?.too_big()? < link.too_big()?;
            return Some(
                is_less
                    && link.is_v6()
                    && is_told_too_big(&came, &link)
                    && is_told_too_big(&came, &told?),
            );
        };
        let does_right = match Tunnelled::of(&weir.out) {
            Some(cut) => cut == whole && cut.frames > whole.frames,
            None => is_told_too_big(&came, &told?),
        };
        Some(whole.has_v6 && whole.inner == came && does_right)
    };
    was_told && check().unwrap_or(false)
}

/// True for a "too big" about this packet, which is longer than it tells of.
pub(super) fn is_told_too_big(packet: &[u8], told: &Told<'_>) -> bool {
    let quote = told.quote();
    told.too_big()
        .is_some_and(|mtu| packet.len() > mtu as usize)
        && quote.len() >= 500.min(packet.len())
        && packet.starts_with(quote)
        && told.has_right_checksum()
}
