//! Every difference between Weir and the kernel's IPVS that is wanted, with its reason. There is no
//! other place for one: what is not named here fails the tests.

mod fragments;
mod ftp;
mod gone;
mod icmp;
mod late;
mod malformed;
#[cfg(test)]
mod tests;
mod tunnelled;

use weir_conformance::operation::Operation;
use weir_conformance::place::Leg;
use weir_conformance::seen::{Passed, Seen};

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
        explains: icmp::has_checksum_inside,
    },
    Named {
        name: "ICMPv6 errors of NAT servers",
        reason: "The kernel checks their checksum without the pseudo-header, finds it wrong and drops \
                 them, unless the network card has vouched for it. Weir passes them on in the name of \
                 the service, as the kernel does with IPv4's.",
        aftermath: Aftermath::CountsOut,
        explains: icmp::is_of_nat_server,
    },
    Named {
        name: "damaged ICMPv6 errors",
        reason: "The kernel does not check an ICMPv6 error from a client's side and gives it a right checksum \
                 when it rewrites it for a NAT server. Weir counts it likewise, and drops it (RFC 4443 §2.3).",
        aftermath: Aftermath::Nothing,
        explains: icmp::is_damaged,
    },
    Named {
        name: "the MTU of a tunnel's path, at once",
        reason: "When a router tells of a smaller MTU on the way to a server, the kernel tells the client the MTU \
                 it knew before, less 20 whatever the tunnel; the client, which believes it, sends in vain \
                 once more. Weir tells what holds from now on. What comes next fares alike.",
        aftermath: Aftermath::Nothing,
        explains: icmp::is_told_at_once,
    },
    Named {
        name: "connections by DR of a server that is one by another method, too",
        reason: "The kernel remembers the way to a server from its first packet after a change, and by NAT and by \
                 tunnels without the server as the next hop. Connections by DR then look for the virtual \
                 address on the servers' network, where nobody answers, and it tells the client. Weir sends them to the server.",
        aftermath: Aftermath::CountsOut,
        explains: gone::is_by_dr_to_other_server,
    },
    Named {
        name: "counters of servers whose service was made again",
        reason: "The kernel has a server that comes back count from zero where its service is another one, which it \
                 tells by the place in memory: a service that was made where the deleted one was finds the old \
                 counters. In Weir they begin at zero.",
        aftermath: Aftermath::Nothing,
        explains: gone::are_counters_of_another_service,
    },
    Named {
        name: "a host's answer to what began again without a service",
        reason: "A SYN on a connection past the director that has ended, and whose service was deleted, is the \
                 host's, who resets it. The kernel takes that reset for a packet of the connection, which \
                 lives for another ten seconds, and drops what comes for it. Weir has forgotten it.",
        aftermath: Aftermath::Nothing,
        explains: gone::is_kept_by_a_reset,
    },
    Named {
        name: "errors about tunnels of IPv6",
        reason: "The kernel listens to errors about IPv4 in IPv4 only. Weir tells the client of the others, too, \
                 in its own terms (RFC 2473 §8).",
        aftermath: Aftermath::CountsOut,
        explains: icmp::is_about_v6_tunnel,
    },
    Named {
        name: "the path's MTU of tunnels of IPv6",
        reason: "As it does not listen, the kernel goes on sending what the path does not carry. Weir tells the \
                 client, or cuts the outer packet of what every path of IPv6 has to carry (RFC 2473 §7.1).",
        aftermath: Aftermath::CountsOut,
        explains: icmp::is_longer_than_v6_tunnel,
    },
    Named {
        name: "a tunnel too narrow for IPv6",
        reason: "Where the link to a server leaves less than 1280 bytes inside of a tunnel, the kernel drops \
                 everything for a tunnel whose outside is IPv6, in silence, and tells of an MTU that no \
                 sender of IPv6 heeds otherwise. Weir cuts the outer packet, and tells of what it need not \
                 cut (RFC 2473 §7.1, RFC 4213 §3.2.2).",
        aftermath: Aftermath::CountsOut,
        explains: tunnelled::is_too_narrow,
    },
    Named {
        name: "how late a template begins again",
        reason: "A template whose time is up while it has connections lives for another minute. The kernel's \
                 timers end up to an eighth of their time late, and the minute begins then; Weir's begins in \
                 time.",
        aftermath: Aftermath::Nothing,
        explains: late::is_late,
    },
    Named {
        name: "counters while rates are not estimated",
        reason: "The kernel brings its counters up to date when it estimates: with run_estimation=0 they stand \
                 still, and what came meanwhile is a burst when it is 1 again. Weir counts on.",
        aftermath: Aftermath::Nothing,
        explains: late::are_counters_old,
    },
    Named {
        name: "which words of FTP are helped",
        reason: "The kernel takes numbers modulo 256, port 0, ports of services, addresses of third hosts \
                 (RFC 2577 §3) and words that only begin as FTP's do, puts what it does not understand in \
                 order, and sees a word only at the beginning of a segment. Weir helps with what RFC 959 and \
                 RFC 2428 allow, in any line, where the client names itself and the server the connection's \
                 own address, and leaves the rest alone.",
        aftermath: Aftermath::Nothing,
        explains: ftp::are_other_words_helped,
    },
    Named {
        name: "FTP over IPv6",
        reason: "The kernel's helper lets no control connection of IPv6 through once the kernel tracks \
                 connections, which port 21 makes it do, and no reply to EPSV without. Weir helps as with IPv4.",
        aftermath: Aftermath::CountsOut,
        explains: |case| {
            case.frames()
                .is_some_and(|(kernel, weir)| ftp::is_control_of_ipv6(kernel, weir))
        },
    },
    Named {
        name: "a reply of FTP that becomes too big",
        reason: "Of a reply that is too big with the service's address in it the kernel tells the server in the \
                 service's name and quotes what it made of the reply. Weir quotes what the server sent.",
        aftermath: Aftermath::CountsOut,
        explains: |case| {
            case.frames()
                .is_some_and(|(kernel, weir)| ftp::is_reply_too_big(kernel, weir))
        },
    },
    Named {
        name: "where packets are cut again",
        reason: "The kernel joins IPv4 fragments for its own addresses as far as their memory lets it, all of them with \
                 most network cards, cuts them anew to the longest that came, and loses DF where it has not joined \
                 them. Weir joins them all and keeps DF. In an IPv6 tunnel the kernel takes DF for the length to \
                 cut to; IPv6 fragments whose first has options before, which the others have no room for, it \
                 cuts anew. The packet is the same.",
        aftermath: Aftermath::Nothing,
        explains: fragments::are_cut_again,
    },
    Named {
        name: "ICMP errors in fragments",
        reason: "As of whole ones: the checksum in what they quote is right, and those from IPv6 NAT servers pass.",
        aftermath: Aftermath::CountsOut,
        explains: fragments::is_error,
    },
    Named {
        name: "replies in IPv4 fragments with DF",
        reason: "The kernel puts them together, finds the whole longer than it may be or not, and tells the server in \
                 either case that it is too big, which it counts as a client's packet. Weir passes on fragments \
                 that fit.",
        aftermath: Aftermath::Counts,
        explains: fragments::are_replies_with_df,
    },
    Named {
        name: "first IPv6 fragments without all headers, or of a length that none can follow",
        reason: "Linux refuses to put them together and tells the sender (RFC 8200 §4.5); so it does behind Weir. IPVS, \
                 which sees such a fragment before, takes it for a packet, reads states from its fragment header, \
                 and sends it to a server that will never get the others.",
        aftermath: Aftermath::Everything,
        explains: fragments::is_refused,
    },
    Named {
        name: "counts of errors about missing fragments",
        reason: "The kernel counts such an error as a packet of the server, where that answers past the director. In Weir \
                 the worker that waited for the fragments tells the client; the flow may be another's, which is \
                 not asked for a count. And the kernel's timers are up to an eighth late.",
        aftermath: Aftermath::CountsOut,
        explains: fragments::are_errors_uncounted,
    },
    Named {
        name: "headers that make no sense",
        reason: "TCP and UDP headers that are cut or lie about their length, more than eight extension headers of \
                 IPv6, hop-by-hop options that are not the first, routing headers that have somewhere to go \
                 (RFC 5095): the kernel sends to a server what has ports and lets Linux speak of the rest. Weir drops \
                 them, each under a reason of its own.",
        aftermath: Aftermath::Counts,
        explains: malformed::is_malformed,
    },
    Named {
        name: "clients at port 0",
        reason: "The kernel takes a client's port 0 for one that is not known yet (FTP), never finds the connection \
                 again and schedules every packet anew, each with an entry of its own. In Weir port 0 is a port, \
                 and its packets stay together.",
        aftermath: Aftermath::Everything,
        explains: fragments::is_from_port_0_again,
    },
];

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
    /// Where the frame came in: the kernel was sent it there, by the director's address of the leg.
    fn leg(&self) -> Option<Leg> {
        let (kernel, _) = self.frames()?;
        let came = kernel.frame.as_ref()?;
        Leg::ALL
            .into_iter()
            .find(|leg| came.0.starts_with(&leg.director().0))
    }

    fn frames(&self) -> Option<(&'c Passed, &'c Passed)> {
        match (self.kernel, self.weir) {
            (Seen::Frame(kernel), Seen::Frame(weir)) => Some((kernel, weir)),
            _ => None,
        }
    }
}
