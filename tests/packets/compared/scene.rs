//! What is compared: services of every kind, few enough servers and little enough room.

use weir_core::director::Limits;
use weir_core::mark::MarkRule;
use weir_core::persist::{Engine, Persistence, mask_of_v4};
use weir_core::schedule::SchedulerName;
use weir_core::service::{Method, Protocol, ServiceKey, Tunnel};
use weir_core::settings::{Defence, FtpPorts, Ipvs};
use weir_wire::builder::addr;

use super::input::Bytes;
use crate::world::{Described, Net, WAN};

/// Slots of the servers that changes are about; the last has no neighbour.
pub(super) const SLOTS: [u8; 20] = [
    1, 2, 3, 4, 5, 6, 7, 8, 17, 20, 21, 23, 24, 25, 33, 35, 36, 37, 40, 26,
];

pub(super) fn services() -> Vec<Described> {
    use Method::{Dr, FullNat, Nat, Tun};
    use Protocol::{Tcp, Udp};
    use SchedulerName::{Rr, Wrr};
    let net = Net::v4();
    let service = |method, protocol, port, scheduler, servers: &[(u8, u16, u32)]| {
        let mut service = Described::web(&net, method);
        (service.key.protocol, service.key.port) = (protocol, port);
        service.scheduler = scheduler;
        service.servers = servers.to_vec();
        // Few enough to run out.
        service.local = (1, 5000, 5003);
        service
    };
    let mut all = vec![
        service(Nat, Tcp, 80, Rr, &[(1, 80, 1), (2, 8080, 1), (3, 80, 1)]),
        service(Nat, Udp, 80, Wrr, &[(4, 80, 1), (5, 53, 3)]),
        service(Dr, Tcp, 81, Rr, &[(6, 81, 1), (7, 81, 0)]),
        service(Dr, Udp, 81, Rr, &[(8, 81, 1)]),
        service(Tun, Tcp, 82, Wrr, &[(20, 82, 2), (21, 82, 1)]),
        service(Tun, Udp, 82, Rr, &[(22, 82, 1)]),
        service(
            FullNat,
            Tcp,
            83,
            Rr,
            &[(23, 80, 1), (24, 80, 1), (26, 80, 1)],
        ),
        service(FullNat, Udp, 83, Rr, &[(25, 53, 1)]),
        service(Nat, Tcp, 84, Wrr, &[]),
        service(FullNat, Udp, 84, Rr, &[]),
        // The same server as that of port 80: flows of both may have the same replies.
        service(Nat, Tcp, 85, Rr, &[(17, 80, 1)]),
        service(Nat, Udp, 85, Rr, &[(18, 53, 0)]),
        service(Nat, Udp, 86, Rr, &[(19, 53, 1), (28, 53, 1)]),
        service(Tun, Tcp, 87, Rr, &[(29, 87, 1)]),
        service(Tun, Udp, 87, Rr, &[(30, 87, 1)]),
    ];
    let persistent = [
        service(Nat, Tcp, 86, Rr, &[(33, 8080, 1), (34, 80, 1)]),
        service(Dr, Tcp, 0, Wrr, &[(35, 0, 1), (36, 0, 1)]),
        service(Nat, Udp, 88, Rr, &[(37, 53, 1), (38, 53, 1)]),
        // Of every port that is not named here.
        service(Nat, Tcp, 0, Rr, &[(39, 0, 1), (40, 8080, 1)]),
    ];
    for (mut service, seconds) in persistent.into_iter().zip([2, 3, 60, 5]) {
        service.persistence = Some(Persistence {
            lifetime: weir_core::time::seconds(seconds),
            mask: mask_of_v4(0xffff_fffe),
            engine: (service.key.port == 88).then_some(Engine::Sip),
        });
        if service.method == Dr {
            service.key = ServiceKey::of_mark(MARK, weir_wire::Family::V4);
        }
        all.push(service);
    }
    // The datagrams of port 86 are scheduled one by one.
    all[12].one_packet = true;
    all[13].tunnel = Tunnel::Gue {
        port: 6080,
        checksum: true,
    };
    all[14].tunnel = Tunnel::Gre { checksum: false };
    // Of the datagrams by DR.
    all[3].new_flows_max = 8;
    let v6 = Net::v6();
    for (method, port, slot) in [(Nat, 80, 9), (FullNat, 83, 27), (Tun, 82, 10)] {
        let mut service = Described::web(&v6, method);
        service.key.port = port;
        service.servers = vec![(slot, 80, 1)];
        service.local = (1, 5000, 5007);
        all.push(service);
    }
    all
}

/// What packets of the last client to some ports carry.
const MARK: u32 = 5;

pub(super) fn marks() -> Vec<MarkRule> {
    vec![MarkRule {
        mark: MARK,
        family: None,
        protocol: Some(Protocol::Tcp),
        source: Some((addr("198.51.100.10"), 32)),
        destination: None,
        source_ports: Vec::new(),
        destination_ports: vec![80..=81, 86..=86],
        interface: Some(WAN),
        any_destination: false,
    }]
}

/// Small, so that everything runs out. Of so many flows the lines of the table are as full as they
/// may be, so that entries are pushed around under a burst's feet.
pub(super) const LIMITS: Limits = Limits {
    flows: 61,
    flows_v6: 16,
    half_open: 30,
    services: 32,
    servers: 64,
    punt_per_second: 200,
    punt_reserved_percent: 25,
    icmp_per_second: 100,
    parked: 6,
    parked_per_neighbour: 2,
    fragments: 12,
};

/// Settings of connections. Which half-open flows `drop_entry` ends depends on where their entries
/// stand, which is not the same by both ways.
pub(super) fn rules(input: &mut Bytes<'_>) -> Ipvs {
    let defence = |level: u8| Defence::from_level(level & 3);
    Ipvs {
        conn_reuse_mode: input.next() & 3,
        expire_nodest_conn: input.once_in(2),
        expire_quiescent_template: input.once_in(2),
        sloppy_tcp: input.once_in(3),
        nat_icmp_send: input.once_in(2),
        schedule_icmp: input.once_in(2),
        secure_tcp: defence(input.next()),
        drop_packet: defence(input.next()),
        am_droprate: u32::from(input.next() % 5),
        amemthresh: u32::from(input.next() & 31),
        ftp_ports: [FtpPorts::new(&[80]), FtpPorts::NONE][usize::from(input.once_in(4))],
        ..Ipvs::default()
    }
}
