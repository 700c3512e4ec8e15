//! What random scenarios are about. A theme is a row of the conformance page.

use weir_conformance::operation::{Method, Protocol, Tunnel};

use super::packet::Odd;

/// What a scenario of a theme may use. Percentages are chances.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theme {
    /// The feature.
    pub(crate) name: &'static str,
    /// Schedulers, each with the flags that it may have.
    pub(crate) schedulers: &'static [(&'static str, &'static [&'static str])],
    pub(crate) protocols: &'static [Protocol],
    pub(crate) methods: &'static [Method],
    /// IPv6 if true.
    pub(crate) families: &'static [bool],
    /// Ports of services.
    pub(crate) ports: &'static [u16],
    /// Most services at the beginning.
    pub(crate) services: u32,
    /// How often a change is made where one may be.
    pub(crate) changes: u32,
    /// How often weights are not 1.
    pub(crate) weights: u32,
    /// How often servers have thresholds.
    pub(crate) thresholds: u32,
    /// How often servers are behind a router.
    pub(crate) routed: u32,
    /// How often the timeouts are set.
    pub(crate) timeouts: u32,
    /// How often packets are about as big as the MTU.
    pub(crate) big: u32,
    /// How often a leg has a small MTU.
    pub(crate) mtus: u32,
    /// ICMP errors come.
    pub(crate) icmp: bool,
    pub(crate) odd: &'static [Odd],
    /// Settings of `net.ipv4.vs` and the values they may have.
    pub(crate) sysctls: &'static [(&'static str, &'static [i64])],
}

const TCP: &[Protocol] = &[Protocol::Tcp];
const TCP_UDP: &[Protocol] = &[Protocol::Tcp, Protocol::Udp];
const V4: &[bool] = &[false];
const V6: &[bool] = &[true];
const BOTH: &[bool] = &[false, true];
const NAT: &[Method] = &[Method::Nat];
const DR: &[Method] = &[Method::Dr];
const IPIP: &[Method] = &[Method::Tun(Tunnel::Ipip)];
const MIXED: &[Method] = &[Method::Nat, Method::Dr, Method::Tun(Tunnel::Ipip)];
const RR: &[(&str, &[&str])] = &[("rr", &[])];
const RR_WRR: &[(&str, &[&str])] = &[("rr", &[]), ("wrr", &[])];

const BASE: Theme = Theme {
    name: "",
    schedulers: RR,
    protocols: TCP_UDP,
    methods: NAT,
    families: V4,
    ports: &[80, 443, 53],
    services: 2,
    changes: 10,
    weights: 0,
    thresholds: 0,
    routed: 10,
    timeouts: 0,
    big: 0,
    mtus: 0,
    icmp: false,
    odd: &[Odd::Ttl, Odd::Tos, Odd::NoService, Odd::Padding],
    sysctls: &[],
};

/// All of them.
pub(crate) const THEMES: &[Theme] = &[
    Theme {
        name: "NAT, IPv4",
        ..BASE
    },
    Theme {
        name: "NAT, IPv6",
        families: V6,
        ..BASE
    },
    Theme {
        name: "DR",
        methods: DR,
        families: BOTH,
        ..BASE
    },
    Theme {
        name: "TUN, IP in IP",
        methods: IPIP,
        families: BOTH,
        ..BASE
    },
    Theme {
        name: "rr and wrr",
        schedulers: RR_WRR,
        methods: MIXED,
        protocols: TCP,
        families: BOTH,
        weights: 70,
        changes: 80,
        ..BASE
    },
    Theme {
        name: "servers and services that come and go",
        schedulers: RR_WRR,
        methods: MIXED,
        families: BOTH,
        weights: 40,
        changes: 100,
        services: 4,
        ..BASE
    },
    Theme {
        name: "timeouts",
        methods: MIXED,
        families: BOTH,
        timeouts: 100,
        changes: 30,
        ..BASE
    },
    Theme {
        name: "ICMP errors",
        methods: MIXED,
        families: BOTH,
        icmp: true,
        ..BASE
    },
    Theme {
        name: "MTU",
        methods: MIXED,
        families: BOTH,
        big: 60,
        mtus: 40,
        sysctls: &[("pmtu_disc", &[0, 1])],
        ..BASE
    },
    Theme {
        name: "odd packets",
        methods: MIXED,
        families: BOTH,
        odd: &[
            Odd::Ttl,
            Odd::Tos,
            Odd::IpChecksum,
            Odd::Checksum,
            Odd::NoChecksum,
            Odd::NoService,
            Odd::Padding,
            Odd::Echo,
            Odd::Protocol,
            Odd::Options,
            Odd::SourcePortZero,
            Odd::Truncated,
        ],
        ..BASE
    },
];
