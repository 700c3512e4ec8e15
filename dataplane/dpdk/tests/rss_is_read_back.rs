//! What devices are told of RSS is what they tell, and what they cannot tell is not made up.
//! `net_null` keeps key, kinds of packet and indirection table as a NIC does, and hashes nothing.

mod support;

use weir_core::steer::Steering;
use weir_core::steer::device::{DeviceRss, Fields, Hashed};
use weir_dpdk::{Eal, EalConfig, Ports, Rss};

/// The key that `net_null` starts with.
const OF_THE_DRIVER: [u8; 4] = [0x6d, 0x5a, 0x56, 0xda];

/// Magic, version 2.4, link type Ethernet, no packet.
const EMPTY_PCAP: [u8; 24] = [
    0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0,
];

fn rss(eal: &Eal, devices: &[&str], workers: u16) -> Vec<Rss> {
    let configs: Vec<_> = devices.iter().map(|device| support::port(device)).collect();
    let (ports, _queues) = Ports::bring_up(eal, &configs, workers, 0).expect("they come up");
    let ports = ports.list().iter();
    ports.map(|port| port.info().rss.clone()).collect()
}

fn known(rss: &Rss) -> &DeviceRss {
    match rss {
        Rss::Known(known) => known,
        other => panic!("{other:?}"),
    }
}

#[test]
fn devices_do_what_they_are_told_or_count_as_unknown() {
    let prefix = support::unique("rss");
    let eal = Eal::init(&EalConfig {
        args: support::no_nic(&prefix),
    })
    .expect("EAL starts");

    let mut keys = Vec::new();
    for workers in [2, 3, 8] {
        let both = rss(&eal, &["net_null0", "net_null1"], workers);
        let [first, second] = [&both[0], &both[1]].map(known);
        assert_eq!(first, second, "all ports are told the same");
        let ports = Fields::AddressesAndPorts;
        let all = Hashed {
            tcp_v4: ports,
            udp_v4: ports,
            tcp_v6: ports,
            udp_v6: ports,
        };
        assert_eq!(first.hashed, all);
        let even: Vec<u16> = (0..128).map(|at| at % workers).collect();
        assert_eq!(first.table, even);
        assert_ne!(first.key[..4], OF_THE_DRIVER);
        assert_eq!(first.same_as(second), Ok(()));
        assert!(Steering::by_device(workers, first).is_by_device());
        keys.push(first.key);
    }
    assert!(keys[0] != keys[1] && keys[1] != keys[2], "keys are random");

    assert_eq!(rss(&eal, &["net_null0"], 1), [Rss::Off]);
    let mut unasked = support::port("net_null0");
    unasked.rss = false;
    let (ports, _queues) = Ports::bring_up(&eal, &[unasked], 2, 0).expect("it comes up");
    assert_eq!(ports.list()[0].info().rss, Rss::Off);
    drop((ports, _queues));

    // A device without RSS takes nothing from one that has it.
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("in"), EMPTY_PCAP).expect("the directory is ours");
    let (from, to) = (path("in"), path("out"));
    let files = format!("net_pcap0,rx_pcap={from},rx_pcap={from},tx_pcap={to}0,tx_pcap={to}1");
    let mixed = rss(&eal, &["net_null0", &files], 2);
    assert_eq!(mixed[1], Rss::Unsupported);
    assert_eq!(known(&mixed[0]).table.len(), 128);
}
