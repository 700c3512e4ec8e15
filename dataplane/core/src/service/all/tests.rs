use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use weir_wire::Family;
use weir_wire::builder::addr;

use super::*;
use crate::load::Thresholds;
use crate::schedule::SchedulerName;
use crate::service::{Candidate, Method, Tunnel};
use crate::sync::{AtomicU64, Ordering};

/// Some slots, in three chunks.
const SLOTS: [u32; 6] = [0, 1, 255, 256, 257, 700];

fn key(n: u8) -> ServiceKey {
    ServiceKey {
        protocol: if n.is_multiple_of(2) {
            Protocol::Tcp
        } else {
            Protocol::Udp
        },
        addr: addr("192.0.2.100"),
        port: 80 + u16::from(n / 2),
        mark: 0,
    }
}

/// Two servers may have the same address: in two services.
fn server(n: u8) -> Server {
    Server {
        addr: addr(["10.0.0.1", "10.0.0.2", "2001:db8::1"][usize::from(n % 3)]),
        port: 80,
        method: if n < 3 { Method::Nat } else { Method::Dr },
        tunnel: Tunnel::Ipip,
        weight: u32::from(n % 2),
        protocol: Protocol::Tcp,
        is_available: n < 5,
        position: 0,
        service: ServiceId(0),
        thresholds: Thresholds::default(),
        has_any_port: false,
        was_nat: false,
    }
}

fn service(key: ServiceKey, slots: &[u32], name: SchedulerName) -> Service {
    let candidate = |slot: &u32| Candidate {
        server: ServerId(*slot),
        weight: slot % 3,
    };
    let servers: Vec<Candidate> = slots.iter().map(candidate).collect();
    Service {
        key,
        scheduler: crate::testing::scheduler(name, &servers),
        cursor: Arc::default(),
        generation: 1,
        servers: servers.into(),
        departed: [].into(),
        by_client: false,
        consistent: Arc::default(),
        new_flows_max: 0,
        one_packet: false,
        persistence: None,
        local: (slots.len() % 2 == 1).then(|| {
            let addrs = [addr("10.9.0.1"), addr("10.9.0.2")];
            let count = usize::from(slots[0] > 200) + 1;
            Arc::new(LocalPool::new(&addrs[..count], 1..=2))
        }),
    }
}

/// What can be asked, with all answers. Places of services are told by their keys.
fn answers(all: &Services) -> std::string::String {
    let mut told = std::string::String::new();
    let mut tell = |what: &dyn core::fmt::Debug| told += &std::format!("{what:?}\n");
    tell(&all.len());
    assert_eq!(all.server_count(), all.servers().count());
    for n in 0..8 {
        let found = all.find(key(n));
        tell(&found.map(|(_, service)| (service.key, &service.servers)));
        assert!(found.is_none_or(|(id, s)| std::ptr::eq(all.service(id).expect("its place"), s)));
    }
    let mut listed: Vec<_> = all.iter().map(|(_, service)| service.key).collect();
    listed.sort_unstable();
    tell(&listed);
    for (id, server) in all.servers() {
        assert_eq!(all.server(id), Some(server));
        let service = all.service(server.service);
        let at = service.and_then(|s| s.servers.get(server.position as usize));
        let is_listed = at.is_some_and(|candidate| candidate.server == id);
        let listed = is_listed.then_some((server.position, service.map(|s| s.key)));
        let plain = Server {
            position: 0,
            service: ServiceId(0),
            has_any_port: false,
            was_nat: false,
            ..*server
        };
        tell(&(id, listed, plain));
    }
    for slot in SLOTS.into_iter().chain([2, 254, 512, 100_000]) {
        let id = ServerId(slot);
        assert_eq!(
            all.server(id).is_some(),
            all.servers().any(|(i, _)| i == id)
        );
    }
    for n in 0..3 {
        let server = server(n);
        tell(&all.is_nat_addr(server.addr));
        tell(&[Protocol::Tcp, Protocol::Udp].map(|p| all.is_nat_source(p, server.addr, 80)));
        tell(&all.is_nat_source(Protocol::Tcp, server.addr, 81));
    }
    tell(&["10.9.0.1", "10.9.0.2", "10.9.0.3"].map(|a| all.is_local(addr(a))));
    tell(&(
        all.is_virtual(addr("192.0.2.100")),
        all.is_virtual(addr("192.0.2.101")),
    ));
    told
}

/// The next servers of every service, from where its cursor stands, which is left there.
fn picks(all: &Services) -> Vec<(ServiceKey, Vec<Option<ServerId>>)> {
    let mut keys: Vec<_> = all.iter().map(|(_, service)| service.key).collect();
    keys.sort_unstable();
    let pick = |key| {
        let (_, service) = all.find(key).expect("it is listed");
        let service = Service {
            cursor: Arc::new(AtomicU64::new(service.cursor.load(Ordering::Relaxed))),
            ..service.clone()
        };
        (
            key,
            (0..7)
                .map(|_| crate::testing::pick(&service, all))
                .collect(),
        )
    };
    keys.into_iter().map(pick).collect()
}

#[derive(Clone, Debug)]
enum Step {
    /// A service with servers in these of [`SLOTS`].
    Put(u8, Vec<usize>, bool),
    Remove(u8),
    /// Another server in one of [`SLOTS`], or none if no service has it.
    Set(usize, Option<u8>),
    /// New flows of a service.
    Pick(u8, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let some = proptest::sample::subsequence((0..SLOTS.len()).collect::<Vec<_>>(), 0..4);
    prop_oneof![
        (0..8u8, some, any::<bool>()).prop_map(|(n, slots, rr)| Step::Put(n, slots, rr)),
        (0..8u8).prop_map(Step::Remove),
        (0..SLOTS.len(), proptest::option::of(0..6u8)).prop_map(|(at, n)| Step::Set(at, n)),
        (0..8u8, 0..5usize).prop_map(|(n, count)| Step::Pick(n, count)),
    ]
}

proptest! {
    /// And what was published before answers as it did.
    #[test]
    fn changed_step_by_step_is_as_made_from_nothing(steps in proptest::collection::vec(step(), 1..40)) {
        let mut all = Services::default();
        let mut services: BTreeMap<ServiceKey, Service> = BTreeMap::new();
        let mut servers: BTreeMap<u32, Server> = BTreeMap::new();
        for step in steps {
            let published = all.clone();
            let before = answers(&published);
            match step {
                Step::Put(n, slots, is_rr) => {
                    let free: Vec<u32> = slots.iter().map(|at| SLOTS[*at]).filter(|slot| {
                        servers.contains_key(slot)
                            && !services.values().any(|s| {
                                s.key != key(n) && s.servers.iter().any(|c| c.server.0 == *slot)
                            })
                    }).collect();
                    let name = if is_rr { SchedulerName::Rr } else { SchedulerName::Wrr };
                    let service = service(key(n), &free, name);
                    services.insert(key(n), service.clone());
                    all.put(service);
                }
                Step::Remove(n) => {
                    services.remove(&key(n));
                    all.remove(key(n));
                }
                Step::Set(at, n) => {
                    let slot = SLOTS[at];
                    let owner = services
                        .values()
                        .find(|s| s.servers.iter().any(|c| c.server.0 == slot));
                    if owner.is_some() && n.is_none() {
                        continue;
                    }
                    let server = n.map(server);
                    all.set_server(ServerId(slot), server);
                    match server {
                        Some(server) => servers.insert(slot, server),
                        None => servers.remove(&slot),
                    };
                    if let Some(owner) = owner {
                        all.put(owner.clone());
                    }
                }
                Step::Pick(n, count) => {
                    if let Some((_, service)) = all.find(key(n)) {
                        for _ in 0..count {
                            let _ = crate::testing::pick(service, &all);
                        }
                    }
                }
            }
            prop_assert_eq!(answers(&published), before);
            let slots = (0..1000).map(|slot| servers.get(&slot).copied());
            let anew = Services::new(services.values().cloned().collect(), slots.collect());
            prop_assert_eq!(answers(&all), answers(&anew));
            prop_assert_eq!(picks(&all), picks(&anew));
        }
    }
}

#[test]
fn a_change_shares_what_it_does_not_touch() {
    let slots = vec![Some(server(0)), Some(server(3))];
    let one = service(key(0), &[0], SchedulerName::Rr);
    let two = service(key(2), &[1], SchedulerName::Rr);
    let all = Services::new(vec![one, two], slots);
    let mut next = all.clone();
    next.put(service(key(0), &[0], SchedulerName::Wrr));
    let of = |all: &Services, n| all.find(key(n)).expect("it is there").1 as *const Service;
    assert_eq!(of(&all, 2), of(&next, 2));
    assert_ne!(of(&all, 0), of(&next, 0));
}

#[test]
fn a_service_keeps_its_place_and_leaves_it_to_another() {
    let mut all = Services::default();
    let mut put = |n| all.put(service(key(n), &[], SchedulerName::Rr));
    assert_eq!([put(0), put(1), put(0)], [0, 1, 0].map(ServiceId));
    all.remove(key(0));
    assert_eq!(all.service(ServiceId(0)).map(|s| s.key), None);
    assert_eq!(
        all.put(service(key(5), &[], SchedulerName::Rr)),
        ServiceId(0)
    );
    assert_eq!(all.len(), 2);
}

/// As the kernel looks: mark, address and port, FTP's port 21, port 0.
#[test]
fn the_service_of_a_packet_is_looked_for_in_the_kernels_order() {
    let at = |protocol, port| ServiceKey {
        protocol,
        addr: addr("192.0.2.100"),
        port,
        mark: 0,
    };
    let mark = ServiceKey::of_mark(7, Family::V4);
    let all = [
        at(Protocol::Tcp, 80),
        at(Protocol::Tcp, 21),
        at(Protocol::Tcp, 0),
        mark,
        ServiceKey::of_mark(7, Family::V6),
    ];
    let request = |protocol, dst_port| Tuple {
        src: addr("198.51.100.7"),
        dst: addr("192.0.2.100"),
        src_port: 4000,
        dst_port,
        protocol,
    };
    let mut services = Services::default();
    let found = |services: &Services, protocol, port, mark| {
        let found = services.find_for(&request(protocol, port), mark);
        found.map(|(_, service)| service.key)
    };
    assert_eq!(found(&services, Protocol::Tcp, 80, 7), None);
    for key in all {
        services.put(service(key, &[], SchedulerName::Rr));
    }
    assert!(services.has_marks() && !services.has_engines());
    let [web, ftp, any, mark, _] = all;
    for (protocol, port, given, wanted) in [
        (Protocol::Tcp, 80, 7, Some(mark)),
        (Protocol::Udp, 53, 7, Some(mark)),
        (Protocol::Tcp, 80, 8, Some(web)),
        (Protocol::Tcp, 80, 0, Some(web)),
        (Protocol::Tcp, 21, 0, Some(ftp)),
        (Protocol::Tcp, 20, 0, Some(ftp)),
        (Protocol::Tcp, 1024, 0, Some(ftp)),
        (Protocol::Tcp, 1023, 0, Some(any)),
        (Protocol::Tcp, 0, 0, Some(any)),
        (Protocol::Udp, 1024, 0, None),
        (Protocol::Udp, 20, 8, None),
    ] {
        assert_eq!(
            found(&services, protocol, port, given),
            wanted,
            "{protocol:?} {port} {given}"
        );
    }
    services.remove(ftp);
    assert_eq!(found(&services, Protocol::Tcp, 1024, 0), Some(any));
    services.remove(any);
    assert_eq!(found(&services, Protocol::Tcp, 1024, 0), None);
    services.remove(mark);
    assert_eq!(found(&services, Protocol::Tcp, 80, 7), Some(web));
    assert!(services.has_marks(), "of the other family");
    assert!(services.is_virtual(addr("192.0.2.100")));
    services.remove(web);
    assert!(
        !services.is_virtual(addr("192.0.2.100")),
        "marks have no address"
    );
}

#[test]
fn replies_of_a_server_of_any_port_may_come_from_any() {
    let mut services = Services::default();
    let server = Server {
        addr: addr("10.0.0.1"),
        port: 0,
        method: Method::Nat,
        has_any_port: true,
        was_nat: false,
        ..server(0)
    };
    let other = addr("10.0.0.9");
    let is_source = |all: &Services, addr| all.is_nat_source(Protocol::Udp, addr, 1234);
    services.set_server(ServerId(1), Some(server));
    services.set_server(ServerId(2), Some(server));
    assert!(is_source(&services, server.addr) && !is_source(&services, other));
    services.set_server(ServerId(1), None);
    assert!(is_source(&services, server.addr));
    let by_dr = Server {
        method: Method::Dr,
        ..server
    };
    services.set_server(ServerId(2), Some(by_dr));
    assert!(!is_source(&services, server.addr));
}

#[test]
fn a_removed_service_is_found_for_what_it_took_until_it_is_forgotten() {
    let addr_of = addr("192.0.2.100");
    let of = |port, mark| match mark {
        0 => ServiceKey {
            protocol: Protocol::Tcp,
            addr: addr_of,
            port,
            mark,
        },
        mark => ServiceKey::of_mark(mark, Family::V4),
    };
    let request = |dst_port| crate::flow::Tuple {
        src: addr("198.51.100.7"),
        dst: addr_of,
        src_port: 1024,
        dst_port,
        protocol: Protocol::Tcp,
    };
    let mut all = Services::default();
    assert!(!all.has_formers() && !all.was_virtual(addr_of));
    assert_eq!(all.find_former(&request(80), 0), None);
    let keys = [of(80, 0), of(21, 0), of(0, 0), of(0, 7)];
    for key in keys {
        let by_client = key.port == 80;
        all.put_former(Former { key, by_client });
        // Once is enough.
        all.put_former(Former { key, by_client });
    }
    assert!(all.has_formers() && all.was_virtual(addr_of) && all.has_marks());
    assert!(all.has_tcp_at(21), "FTP's connections are still watched");
    let found = |all: &Services, port, mark| all.find_former(&request(port), mark).map(|f| f.key);
    for (port, mark, key) in [
        (80, 0, keys[0]),
        (80, 7, keys[3]),
        (80, 8, keys[0]),
        (5000, 0, keys[1]),
        (443, 0, keys[2]),
    ] {
        assert_eq!(found(&all, port, mark), Some(key), "{port} {mark}");
    }
    assert!(all.former(keys[0]).is_some_and(|former| former.by_client));
    for key in keys {
        all.remove_former(key);
    }
    all.remove_former(keys[0]);
    assert!(!all.has_formers() && !all.was_virtual(addr_of) && !all.has_marks());
    assert!(!all.has_tcp_at(21));
    assert_eq!(found(&all, 80, 7), None);
}

#[test]
fn removals_are_counted_and_removed_servers_are_no_nat_servers() {
    let mut all = Services::default();
    let there = Server {
        is_available: true,
        ..server(0)
    };
    let gone = Server {
        is_available: false,
        ..there
    };
    let knows = |all: &Services| {
        let at = (there.protocol, there.addr, there.port);
        let is_source = all.is_nat_source(at.0, at.1, at.2);
        (is_source, all.has_nat_server(at.0, at.1, at.2))
    };
    let id = ServerId(3);
    all.set_server(id, Some(there));
    assert_eq!((all.removals(), knows(&all)), (0, (true, true)));
    all.set_server(id, Some(gone));
    assert_eq!((all.removals(), knows(&all)), (1, (true, false)));
    all.set_server(id, Some(Server { weight: 9, ..gone }));
    assert_eq!(all.removals(), 1);
    all.set_server(id, Some(there));
    assert_eq!((all.removals(), knows(&all)), (1, (true, true)));
    all.set_server(id, None);
    assert_eq!((all.removals(), knows(&all)), (1, (false, false)));
}
