//! `[limits]`, `[timeouts]` and `[settings]`: the numbers the data plane works by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::{FieldFault, Problem};
use crate::reader::Section;

/// IPVS's own bound for a persistence timeout, which is the longest it knows: 31 days.
const TIMEOUT_MAX: u32 = 31 * 86_400;

/// `[limits]`: every table is allocated at start, so none of it changes on a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// IPv4 flows one worker can hold, 100 bytes each; 1 024 to 67 108 864, default 1 000 000.
    pub flows_per_worker: u32,
    /// IPv6 flows one worker can hold besides, 183 bytes each; 1 024 to 67 108 864, default a
    /// quarter of `flows_per_worker`.
    pub flows_v6_per_worker: u32,
    /// TCP flows whose handshake is not complete that one worker keeps; 1 to 67 108 864, default a
    /// quarter of `flows_per_worker`. More of them are forwarded and not kept. When raised, a SYN
    /// flood takes more of the table.
    pub half_open_per_worker: u32,
    /// Services; 1 to 65 535, default 4 096.
    pub services: u32,
    /// Real servers of all services together; 1 to 1 048 576, default 65 536.
    pub servers: u32,
    /// Packets a second that one worker gives to Linux; 100 to 10 000 000, default 20 000. When
    /// raised, a flood costs Linux more.
    pub punt_packets_per_second: u32,
    /// Share of those kept for ARP, neighbour discovery, VRRP and BGP, in percent; 0 to 90,
    /// default 25.
    pub punt_reserved_percent: u8,
    /// ICMP errors and TCP resets a second that one worker makes itself; 0 to 10 000 000,
    /// default 1 000. 0 makes none.
    pub icmp_per_second: u32,
    /// Frames of one worker that wait for neighbours; 0 to 65 535, default 256. 0 drops them.
    pub parked_frames: u32,
    /// Frames of one worker that wait for the same neighbour; 0 to 1 024, default 4. The oldest
    /// gives way to a newer one.
    pub parked_per_neighbour: u32,
    /// Persistence templates of all workers together, 230 bytes each: one for each client of each
    /// persistent service; 0 to 16 777 216, default 65 536. A quarter of them can be of calls (SIP).
    /// More clients are served without being remembered.
    pub persistence_templates: u32,
    /// IP fragments of one worker that wait for the others of their packet, each in its packet
    /// buffer; 0 to 65 534, default 1 024: some 22 datagrams of 64 KiB. The packet that has waited
    /// longest gives way to a newer one. 0 drops fragments for services.
    pub fragments_per_worker: u32,
    /// Packet buffers of all ports and workers; up to 67 108 864, default 0: computed from queues,
    /// workers, parked frames and fragments.
    pub packet_buffers: u32,
}

/// `[timeouts]`: idle time after which a flow is forgotten, in seconds. These are the three of
/// `ipvsadm --set`. Flows alive at a reload take a new value with their next packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timeouts {
    /// Established TCP; 1 to 2 678 400 (31 days), default 900.
    pub tcp: u32,
    /// TCP after a FIN; 1 to 2 678 400, default 120.
    pub tcp_fin: u32,
    /// UDP; 1 to 2 678 400, default 300.
    pub udp: u32,
}

/// `[settings]`: switches of the kernel's director (`net.ipv4.vs.*`), under the kernel's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// A packet too big for the tunnel is answered with ICMP fragmentation needed and the outer
    /// header carries the inner one's DF; `false`: it is tunnelled anyway and the outer packet may
    /// be fragmented. Default `true`.
    pub pmtu_disc: bool,
}

impl Limits {
    pub(crate) fn read(s: Section<'_>) -> Self {
        let flows = 1024..=67_108_864;
        let rate = "packets a second";
        let flows_v4 = s.number("flows_per_worker", "flows", 1_000_000, flows.clone());
        let quarter = (flows_v4 / 4).max(*flows.start());
        let limits = Limits {
            flows_per_worker: flows_v4,
            flows_v6_per_worker: s.number("flows_v6_per_worker", "flows", quarter, flows),
            half_open_per_worker: s.number(
                "half_open_per_worker",
                "flows",
                quarter,
                1..=67_108_864,
            ),
            services: s.number("services", "services", 4096, 1..=65_535),
            servers: s.number("servers", "real servers", 65_536, 1..=1_048_576),
            punt_packets_per_second: s.number(
                "punt_packets_per_second",
                rate,
                20_000,
                100..=10_000_000,
            ),
            punt_reserved_percent: s.number("punt_reserved_percent", "percent", 25, 0..=90),
            icmp_per_second: s.number("icmp_per_second", rate, 1000, 0..=10_000_000),
            parked_frames: s.number("parked_frames", "frames", 256, 0..=65_535),
            parked_per_neighbour: s.number("parked_per_neighbour", "frames", 4, 0..=1024),
            persistence_templates: s.number(
                "persistence_templates",
                "templates",
                65_536,
                0..=16_777_216,
            ),
            fragments_per_worker: s.number("fragments_per_worker", "fragments", 1024, 0..=65_534),
            packet_buffers: s.number("packet_buffers", "buffers", 0, 0..=67_108_864),
        };
        s.finish();
        limits
    }
}

impl Timeouts {
    pub(crate) fn read(s: Section<'_>) -> Self {
        let range = 1..=TIMEOUT_MAX;
        let timeouts = Timeouts {
            tcp: s.number("tcp", "seconds", 900, range.clone()),
            tcp_fin: s.number("tcp_fin", "seconds", 120, range.clone()),
            udp: s.number("udp", "seconds", 300, range),
        };
        s.finish();
        timeouts
    }

    /// Those that are out of their range.
    #[must_use]
    pub fn faults(&self) -> Vec<FieldFault> {
        let all = [
            ("tcp", self.tcp),
            ("tcp_fin", self.tcp_fin),
            ("udp", self.udp),
        ];
        let wrong = all
            .into_iter()
            .filter(|(_, s)| !(1..=TIMEOUT_MAX).contains(s));
        let fault = wrong.map(|(key, seconds)| {
            let cure = format!("give seconds from 1 to {TIMEOUT_MAX}");
            let problem = Problem::new(format!("{seconds} is out of range"), cure);
            FieldFault::new(format!("timeouts.{key}"), problem)
        });
        fault.collect()
    }
}

impl Settings {
    pub(crate) fn read(s: Section<'_>) -> Self {
        let settings = Settings {
            pmtu_disc: s.bool("pmtu_disc", true),
        };
        s.finish();
        settings
    }
}
