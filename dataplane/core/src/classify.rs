//! Stages 1 and 2: bytes to headers, and whose packet it is as far as the headers tell.

use weir_wire::{Headers, Mac, ParseError, Parsed, icmp, protocol};

use crate::counters::DropReason;
use crate::gather::is_to_be_gathered;
use crate::io::{Frame, PortId, RxChecksum};
use crate::ipsec::is_ipsec;
use crate::note::{Note, PuntClass, Verdict};
use crate::service::Protocol;
use crate::snapshot::Snapshot;

pub(crate) const BGP: u16 = 179;
const OSPF: u8 = 89;

/// Reads the frame and says what can be said without the flow table.
pub(crate) fn classify<F: Frame>(frame: &F, port: PortId, snapshot: &Snapshot) -> Note {
    let undecided = |verdict| Note {
        headers: None,
        verdict,
    };
    if !frame.is_linear() {
        return undecided(Verdict::Drop(DropReason::NotLinear));
    }
    let verify = match frame.rx_checksum() {
        RxChecksum::Good => false,
        RxChecksum::Unknown => true,
        RxChecksum::Bad => return undecided(Verdict::Drop(DropReason::IpChecksum)),
    };
    let parsed = match weir_wire::parse(frame.bytes(), verify) {
        Ok(parsed) => parsed,
        Err(error) => return undecided(Verdict::Drop(reason_of(error))),
    };
    let vlan = match &parsed {
        Parsed::Ip(headers) => headers.vlan,
        Parsed::Other(other) => other.vlan,
    };
    let to = frame
        .bytes()
        .first_chunk()
        .map_or(Mac::ZERO, |mac| Mac(*mac));
    match parsed {
        Parsed::Other(_) if is_for(to, port, vlan, snapshot) => {
            undecided(Verdict::Punt(PuntClass::Vital))
        }
        Parsed::Ip(headers) if is_for(to, port, vlan, snapshot) => Note {
            headers: Some(headers),
            verdict: of_headers(&headers, frame.bytes(), to, snapshot),
        },
        _ => undecided(Verdict::Drop(DropReason::OtherMac)),
    }
}

/// True for a frame to this port's MAC address or to many.
fn is_for(to: Mac, port: PortId, vlan: u16, snapshot: &Snapshot) -> bool {
    to.is_multicast()
        || snapshot
            .network
            .interface_of(port, vlan)
            .is_none_or(|interface| interface.mac == to)
}

fn of_headers(headers: &Headers, bytes: &[u8], to: Mac, snapshot: &Snapshot) -> Verdict {
    let services = &snapshot.services;
    if to.is_multicast() || headers.dst.is_multicast() || headers.dst.is_broadcast() {
        return Verdict::Punt(punt_class(headers));
    }
    if headers.bits.double_tagged() {
        // Frames leave with one tag at most: a second one would be lost.
        return Verdict::Drop(DropReason::VlanTags);
    }
    if !services.has_family(headers.family()) {
        // Then IPVS is off for the family, and what it remembers stays untouched.
        return Verdict::Punt(punt_class(headers));
    }
    if headers.bits.odd_options() {
        // Linux tells the sender, as in front of IPVS.
        return Verdict::Punt(punt_class(headers));
    }
    if is_to_be_gathered(headers, bytes) {
        return of_fragment(headers, snapshot);
    }
    if Protocol::from_number(headers.protocol).is_some() || is_ipsec(headers) {
        Verdict::LookUp
    } else if headers.is_icmp() && icmp::is_related_error(headers.family(), headers.icmp_type) {
        Verdict::Related
    } else {
        Verdict::Punt(punt_class(headers))
    }
}

fn of_fragment(headers: &Headers, snapshot: &Snapshot) -> Verdict {
    let services = &snapshot.services;
    if headers.is_icmp() {
        // Whose error it is only the whole tells.
        return Verdict::Fragment;
    }
    let is_to_us = services.is_local(headers.dst) || snapshot.network.is_local(headers.dst);
    let may_be_reply = services.is_local(headers.dst) || !snapshot.network.is_local(headers.dst);
    let is_marked = services.has_marks()
        && (snapshot.network.is_local(headers.dst) || snapshot.marks.reach_others());
    let ours = services.is_virtual(headers.dst)
        || services.was_virtual(headers.dst)
        || is_marked
        || (services.is_nat_addr(headers.src) && may_be_reply);
    if !ours || !may_have_flow(headers) {
        Verdict::Punt(PuntClass::Ordinary)
    } else if is_ipsec(headers) && headers.is_v4() && !is_to_us {
        // On its way through Linux looks at each by itself, since it needs no ports.
        Verdict::LookUp
    } else {
        Verdict::Fragment
    }
}

/// Of IPv6 only the first fragment tells its packet's protocol, if there are headers behind the fragment header.
fn may_have_flow(headers: &Headers) -> bool {
    !headers.is_v4() || Protocol::from_number(headers.protocol).is_some() || is_ipsec(headers)
}

/// How urgently Linux needs this packet.
pub(crate) fn punt_class(headers: &Headers) -> PuntClass {
    let vital = match headers.protocol {
        protocol::VRRP | OSPF => true,
        protocol::ICMPV6 => (133..=137).contains(&headers.icmp_type),
        protocol::TCP => headers.src_port == BGP || headers.dst_port == BGP,
        _ => false,
    };
    if vital {
        PuntClass::Vital
    } else {
        PuntClass::Ordinary
    }
}

fn reason_of(error: ParseError) -> DropReason {
    match error {
        ParseError::Truncated => DropReason::Truncated,
        ParseError::BadIpVersion | ParseError::BadHeaderLength | ParseError::BadTotalLength => {
            DropReason::IpHeader
        }
        ParseError::BadIpChecksum => DropReason::IpChecksum,
        ParseError::ExtensionChain => DropReason::ExtensionChain,
        ParseError::SourceRoute => DropReason::SourceRoute,
        ParseError::BadTransport => DropReason::TransportHeader,
        ParseError::Martian => DropReason::Martian,
        ParseError::TooManyTags => DropReason::VlanTags,
    }
}
