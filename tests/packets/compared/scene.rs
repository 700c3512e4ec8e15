//! What is compared: services of every kind, few enough servers and little enough room.

use weir_core::director::Limits;
use weir_core::mark::MarkRule;
use weir_core::persist::{Engine, Persistence, mask_of_len, mask_of_v4};
use weir_core::schedule::SchedulerName;
use weir_core::service::{Method, Protocol, ServiceKey, Tunnel};
use weir_core::settings::{Defence, FtpPorts, Ipvs};
use weir_wire::Family;
use weir_wire::builder::addr;

use super::input::Bytes;
use crate::world::{Described, Net, WAN};

/// Slots of the servers that changes are about; the last has no neighbour.
pub(super) const SLOTS: [u8; 20] = [
    1, 2, 3, 4, 5, 6, 7, 8, 17, 20, 21, 23, 24, 25, 33, 35, 36, 37, 40, 26,
];

/// The same of those of IPv6.
pub(super) const SLOTS_V6: [u8; 13] = [9, 49, 44, 45, 46, 47, 50, 51, 52, 54, 56, 60, 10];

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
            service.key = ServiceKey::of_mark(MARK, Family::V4);
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
    all.extend(services_v6());
    all
}

/// The same kinds of services of IPv6, by fewer servers; those of slots 10 and 27 have no neighbour.
fn services_v6() -> Vec<Described> {
    use Method::{Dr, FullNat, Nat, Tun};
    use Protocol::{Tcp, Udp};
    let service = |method, protocol, port, servers: &[(u8, u16, u32)]| {
        let mut service = Described::web(&Net::v6(), method);
        (service.key.protocol, service.key.port) = (protocol, port);
        service.servers = servers.to_vec();
        service.local = (1, 5000, 5007);
        service
    };
    let mut all = vec![
        service(Nat, Tcp, 80, &[(9, 80, 1), (49, 8080, 1)]),
        service(Nat, Udp, 80, &[(44, 53, 1)]),
        service(Dr, Tcp, 81, &[(45, 81, 1), (46, 81, 1)]),
        service(Dr, Udp, 81, &[(47, 81, 1)]),
        service(Tun, Tcp, 82, &[(50, 82, 1), (10, 82, 1)]),
        service(Tun, Udp, 82, &[(51, 82, 1)]),
        service(FullNat, Tcp, 83, &[(52, 80, 1), (53, 80, 1), (27, 80, 1)]),
        service(FullNat, Udp, 83, &[(54, 53, 1)]),
        service(Nat, Tcp, 85, &[(57, 80, 1)]),
        service(Nat, Udp, 86, &[(55, 53, 1)]),
        service(Tun, Tcp, 87, &[(56, 87, 1)]),
        service(Tun, Udp, 87, &[(41, 87, 1)]),
        service(Nat, Tcp, 86, &[(60, 8080, 1), (61, 80, 1)]),
        service(Tun, Tcp, 89, &[(62, 89, 1)]),
    ];
    all[9].one_packet = true;
    all[10].tunnel = Tunnel::Gue {
        port: 6080,
        checksum: true,
    };
    all[11].tunnel = Tunnel::Gre { checksum: false };
    all[12].persistence = Some(Persistence {
        lifetime: weir_core::time::seconds(2),
        mask: mask_of_len(Family::V6, 127),
        engine: None,
    });
    // IPv6 inside of IPv4.
    all[13].servers_of = Net::v4();
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
    flows_v6: 67,
    half_open: 30,
    services: 48,
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
        ftp_ports: [FtpPorts::new(&[80]), FtpPorts::NONE][usize::from(input.once_in(2))],
        ..Ipvs::default()
    }
}
