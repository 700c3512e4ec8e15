//! What random scenarios are about. A theme is a row of the conformance page.

use weir_conformance::operation::{GueChecksum, Method, Protocol, Tunnel};

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
    /// How often services are persistent.
    pub(crate) persistence: u32,
    /// How often persistent services are of every port.
    pub(crate) any_port: u32,
    /// How often services are of a firewall mark.
    pub(crate) marks: u32,
    /// How often services schedule each packet.
    pub(crate) one_packet: u32,
    /// How often packets come in fragments.
    pub(crate) fragments: u32,
    /// How often tunnels lead to servers of the other family.
    pub(crate) mixed: u32,
    pub(crate) odd: &'static [Odd],
    /// Settings of `net.ipv4.vs` and the values they may have.
    pub(crate) sysctls: &'static [(&'static str, &'static [i64])],
}

const TCP: &[Protocol] = &[Protocol::Tcp];
const UDP: &[Protocol] = &[Protocol::Udp];
const SCTP: &[Protocol] = &[Protocol::Sctp];
const TCP_UDP: &[Protocol] = &[Protocol::Tcp, Protocol::Udp];
const V4: &[bool] = &[false];
const V6: &[bool] = &[true];
const BOTH: &[bool] = &[false, true];
const NAT: &[Method] = &[Method::Nat];
const DR: &[Method] = &[Method::Dr];
const IPIP: &[Method] = &[Method::Tun(Tunnel::Ipip)];
const GRE: &[Method] = &[
    Method::Tun(Tunnel::Gre(false)),
    Method::Tun(Tunnel::Gre(true)),
];
const GUE: &[Method] = &[
    Method::Tun(Tunnel::Gue(6080, GueChecksum::None)),
    Method::Tun(Tunnel::Gue(6080, GueChecksum::Full)),
    Method::Tun(Tunnel::Gue(6081, GueChecksum::Remote)),
];
const MIXED: &[Method] = &[Method::Nat, Method::Dr, Method::Tun(Tunnel::Ipip)];
const ALL_METHODS: &[Method] = &[
    Method::Nat,
    Method::Nat,
    Method::Dr,
    Method::Tun(Tunnel::Ipip),
    Method::Tun(Tunnel::Gre(true)),
    Method::Tun(Tunnel::Gue(6080, GueChecksum::None)),
];
const TUNNELS: &[Method] = &[
    Method::Tun(Tunnel::Ipip),
    Method::Tun(Tunnel::Gre(false)),
    Method::Tun(Tunnel::Gue(6080, GueChecksum::None)),
];
/// With a port that is FTP's. By NAT the kernel has connections there tracked, and what its tracking
/// takes for no part of a connection, as an ACK before a SYN-ACK, is dropped by that, not by IPVS.
const PORTS_OF_FTP: &[u16] = &[80, 443, 53, 21];
const RR: &[(&str, &[&str])] = &[("rr", &[])];
const RR_WRR: &[(&str, &[&str])] = &[("rr", &[]), ("wrr", &[])];
const COUNTING: &[(&str, &[&str])] = &[
    ("lc", &[]),
    ("wlc", &[]),
    ("sed", &[]),
    ("nq", &[]),
    ("fo", &[]),
    ("ovf", &[]),
];
const HASHING: &[(&str, &[&str])] = &[
    ("sh", &["sh-port", "sh-fallback"]),
    ("dh", &[]),
    ("mh", &["mh-port", "mh-fallback"]),
];
const LOCAL: &[(&str, &[&str])] = &[("lblc", &[]), ("lblcr", &[])];

/// All schedulers that choose the same every time, each with the flags that it may have.
pub(crate) const SCHEDULERS: &[(&str, &[&str])] = &[
    ("rr", &[]),
    ("wrr", &[]),
    ("lc", &[]),
    ("wlc", &[]),
    ("lblc", &[]),
    ("lblcr", &[]),
    ("dh", &[]),
    ("sh", &["sh-port", "sh-fallback"]),
    ("sed", &[]),
    ("nq", &[]),
    ("fo", &[]),
    ("ovf", &[]),
    ("mh", &["mh-port", "mh-fallback"]),
];

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
    persistence: 0,
    any_port: 0,
    marks: 0,
    one_packet: 0,
    fragments: 0,
    mixed: 0,
    odd: &[Odd::Ttl, Odd::Tos, Odd::NoService, Odd::Padding],
    sysctls: &[],
};

const SCHEDULING: Theme = Theme {
    methods: MIXED,
    protocols: TCP,
    families: BOTH,
    weights: 70,
    changes: 80,
    ..BASE
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
        ports: PORTS_OF_FTP,
        families: BOTH,
        ..BASE
    },
    Theme {
        name: "TUN by IP in IP",
        methods: IPIP,
        ports: PORTS_OF_FTP,
        families: BOTH,
        ..BASE
    },
    Theme {
        name: "TUN by GRE",
        methods: GRE,
        families: BOTH,
        ..BASE
    },
    Theme {
        name: "TUN by GUE",
        methods: GUE,
        families: BOTH,
        ..BASE
    },
    Theme {
        name: "TUN to the other family",
        methods: TUNNELS,
        families: BOTH,
        mixed: 60,
        ..BASE
    },
    Theme {
        name: "scheduling by rr and wrr",
        schedulers: RR_WRR,
        ..SCHEDULING
    },
    Theme {
        name: "scheduling by counts",
        schedulers: COUNTING,
        ..SCHEDULING
    },
    Theme {
        name: "scheduling by hashes",
        schedulers: HASHING,
        ..SCHEDULING
    },
    Theme {
        name: "scheduling by locality",
        schedulers: LOCAL,
        ..SCHEDULING
    },
    Theme {
        name: "thresholds",
        schedulers: SCHEDULERS,
        thresholds: 70,
        ..SCHEDULING
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
        name: "switches",
        methods: MIXED,
        families: BOTH,
        changes: 80,
        weights: 40,
        sysctls: &[
            ("conn_reuse_mode", &[0, 1, 2, 3]),
            ("sloppy_tcp", &[0, 1]),
            ("nat_icmp_send", &[0, 1]),
            ("secure_tcp", &[0, 3]),
            ("expire_nodest_conn", &[0, 1]),
        ],
        ..BASE
    },
    Theme {
        name: "one-packet scheduling",
        protocols: UDP,
        methods: MIXED,
        families: BOTH,
        one_packet: 80,
        ..BASE
    },
    Theme {
        name: "persistence",
        timeouts: 100,
        schedulers: RR_WRR,
        methods: MIXED,
        families: BOTH,
        persistence: 100,
        weights: 30,
        changes: 50,
        sysctls: &[
            ("expire_quiescent_template", &[0, 1]),
            ("expire_nodest_conn", &[0, 0, 1]),
        ],
        ..BASE
    },
    Theme {
        name: "persistence over all ports",
        timeouts: 100,
        schedulers: RR_WRR,
        methods: MIXED,
        families: BOTH,
        persistence: 100,
        any_port: 70,
        weights: 30,
        changes: 40,
        ..BASE
    },
    Theme {
        name: "marks",
        timeouts: 100,
        schedulers: RR_WRR,
        methods: MIXED,
        families: BOTH,
        persistence: 40,
        marks: 70,
        changes: 40,
        ..BASE
    },
    Theme {
        name: "SCTP",
        protocols: SCTP,
        methods: MIXED,
        families: BOTH,
        sysctls: &[("sloppy_sctp", &[0, 1])],
        ..BASE
    },
    Theme {
        name: "ICMP errors",
        methods: ALL_METHODS,
        families: BOTH,
        icmp: true,
        mixed: 15,
        one_packet: 15,
        sysctls: &[("schedule_icmp", &[0, 0, 0, 1])],
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
        name: "fragments",
        methods: MIXED,
        families: BOTH,
        fragments: 60,
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
