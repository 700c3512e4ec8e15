//! The language of scenarios: service commands, packets from both sides, and time.
//!
//! A scenario is text, one operation a line (see [`Operation`]'s `Display`), so that a person can
//! read what failed and play it again from a file.

use std::net::{IpAddr, SocketAddr};

use crate::answer::Answer;
use crate::bytes::Bytes;
use crate::place::Leg;

/// Operations in order, and what they are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scenario {
    /// The feature under test and, after a slash, the case.
    pub name: String,
    /// From first to last.
    pub operations: Vec<Operation>,
}

/// A transport protocol of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// What tells services apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// By protocol, address and port.
    Address(Protocol, SocketAddr),
    /// By firewall mark; IPv6 if true.
    Mark(u32, bool),
}

impl Key {
    /// True for a service of IPv6.
    #[must_use]
    pub fn is_v6(&self) -> bool {
        match self {
            Self::Address(_, at) => at.is_ipv6(),
            Self::Mark(_, is_v6) => *is_v6,
        }
    }
}

/// A service without its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which.
    pub key: Key,
    /// ipvsadm's name of the scheduler.
    pub scheduler: String,
    /// ipvsadm's names of the scheduler's flags.
    pub flags: Vec<String>,
    /// One-packet scheduling.
    pub one_packet: bool,
    /// Seconds of persistence; none: not persistent.
    pub persistence: Option<u32>,
    /// Length of the persistence mask in bits; none: the whole address.
    pub mask: Option<u8>,
    /// The persistence engine.
    pub engine: Option<String>,
}

/// How packets reach a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Addresses rewritten.
    Nat,
    /// The MAC address only.
    Dr,
    /// In a tunnel of this kind.
    Tun(Tunnel),
}

/// The kinds of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// IP in IP.
    Ipip,
    /// GRE, with checksums if true.
    Gre(bool),
    /// GUE to this port.
    Gue(u16, GueChecksum),
}

/// Checksums of GUE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GueChecksum {
    /// None.
    None,
    /// Of UDP.
    Full,
    /// Remote checksum offload.
    Remote,
}

/// A real server of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address and port.
    pub at: SocketAddr,
    /// How packets reach it.
    pub method: Method,
    /// Its share.
    pub weight: u32,
    /// Connections above which it is overloaded; 0: none.
    pub upper: u32,
    /// Connections below which it no longer is; 0: three quarters of `upper`.
    pub lower: u32,
}

/// A rule that sets a firewall mark; the first that matches wins. What is none matches all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRule {
    /// The mark it sets.
    pub mark: u32,
    /// Of this protocol.
    pub protocol: Option<Protocol>,
    /// From this prefix.
    pub source: Option<(IpAddr, u8)>,
    /// To this prefix.
    pub destination: Option<(IpAddr, u8)>,
    /// From one of these ports.
    pub source_ports: Option<(u16, u16)>,
    /// To one of these ports.
    pub destination_ports: Option<(u16, u16)>,
    /// Received here.
    pub leg: Option<Leg>,
}

/// One step of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `ipvsadm -A`.
    AddService(Service),
    /// `ipvsadm -E`.
    EditService(Service),
    /// `ipvsadm -D`.
    DeleteService(Key),
    /// `ipvsadm -a`.
    AddServer(Key, Server),
    /// `ipvsadm -e`.
    EditServer(Key, Server),
    /// `ipvsadm -d`.
    DeleteServer(Key, SocketAddr),
    /// `ipvsadm -C`.
    Flush,
    /// `ipvsadm -Z`, of one service and its servers or of all.
    Zero(Option<Key>),
    /// `ipvsadm --set`: seconds for TCP, TCP after a FIN, UDP; 0 keeps a value.
    Timeouts([u32; 3]),
    /// A value of `net.ipv4.vs`.
    Sysctl(String, i64),
    /// The MTU of the director's interface on a leg.
    Mtu(Leg, u16),
    /// One more mark rule, after those there are.
    Mark(MarkRule),
    /// A frame reaches the director.
    Frame {
        /// The number by which answers name it.
        id: u32,
        /// Where it arrives.
        leg: Leg,
        /// The frame.
        bytes: Bytes,
    },
    /// Somebody answers the last frame that left the director by `from` because of frame `to`. It is
    /// no operation when none did.
    Answer {
        /// The number by which answers name it.
        id: u32,
        /// The frame, or answer, that made the director send.
        to: u32,
        /// Where it sent it; the answer arrives there too.
        from: Leg,
        /// What is answered.
        answer: Answer,
    },
    /// Nothing happens for so many hundredths of a second.
    Advance(u32),
    /// The connection entries are compared.
    Entries,
    /// The counters of all services and servers are compared, after some seconds in which nothing
    /// happens, for the kernel brings them up to date every two seconds.
    Counters,
}

impl Operation {
    /// Hundredths of a second that it takes: what moves something takes one, so that what the kernel
    /// does "at once" by a timer is done before the next operation, and what removes something a few,
    /// since the kernel's timer for what ends with it wakes another thread.
    #[must_use]
    pub fn ticks(&self) -> u32 {
        match self {
            Self::Advance(_) | Self::Entries | Self::Counters => 0,
            Self::DeleteServer(..) | Self::DeleteService(_) | Self::Flush => 4,
            _ => 1,
        }
    }
}
