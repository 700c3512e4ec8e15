use std::vec::Vec;

use proptest::prelude::*;
use weir_wire::Addr;
use weir_wire::builder::addr;

use super::device::{DeviceRss, Difference, Fields, Hashed};
use super::toeplitz::{KEY_BYTES, draw_key};
use super::*;

const PORTS: Hashed = Hashed {
    tcp_v4: Fields::AddressesAndPorts,
    udp_v4: Fields::AddressesAndPorts,
    tcp_v6: Fields::AddressesAndPorts,
    udp_v6: Fields::AddressesAndPorts,
};

fn rss(workers: u16, places: u16) -> DeviceRss {
    let mut state = 7_u64;
    DeviceRss {
        key: draw_key(|| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state ^ state >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        }),
        hashed: PORTS,
        table: (0..places).map(|at| at % workers).collect(),
    }
}

fn request(client: Addr, port: u16, vip: Addr) -> Tuple {
    Tuple {
        src: client,
        dst: vip,
        src_port: port,
        dst_port: 80,
        protocol: Protocol::Tcp,
    }
}

/// How many of 64 clients' flows to one service each worker owns.
fn shares(steering: &Steering, by_client: bool) -> Vec<u32> {
    let mut counts = std::vec![0; usize::from(steering.workers())];
    for host in 0..64 {
        for port in (1024..65000).step_by(64) {
            let client = Addr::from_v4_bytes([192, 0, 2, host]);
            let request = request(client, port, addr("203.0.113.1"));
            let owner = steering.owner_of_request(&request, by_client);
            counts[usize::from(owner.0)] += 1;
        }
    }
    counts
}

#[test]
fn flows_spread_evenly() {
    for workers in [1, 2, 3, 8] {
        let rss = Steering::by_device(workers, &rss(workers, 512));
        assert_eq!(rss.is_by_device(), workers > 1);
        for (steering, by_client) in [
            (&Steering::by_client(workers), false),
            (&rss, true),
            (&rss, false),
        ] {
            let counts = shares(steering, by_client);
            let even = counts.iter().sum::<u32>() / u32::from(workers);
            for count in &counts {
                assert!(count.abs_diff(even) < even / 20, "{counts:?}");
            }
        }
    }
}

#[test]
fn both_directions_of_a_client_lead_to_one_worker() {
    let steering = Steering::by_device(3, &rss(3, 128));
    for port in 0..1000 {
        let request = request(addr("2001:db8::7"), port, addr("2001:db8:1::100"));
        let reply = request.reversed();
        let owner = steering.owner_of_request(&request, true);
        assert_eq!(owner, steering.owner_of_client(reply.dst, reply.dst_port));
        assert_eq!(
            owner,
            Steering::by_client(3).owner_of_request(&request, false)
        );
    }
}

#[test]
fn a_device_that_hashes_addresses_only_sends_a_clients_flows_to_one_worker() {
    let mut device = rss(2, 128);
    device.hashed.tcp_v4 = Fields::Addresses;
    device.hashed.tcp_v6 = Fields::Nothing;
    let steering = Steering::by_device(2, &device);
    let vip = addr("192.0.2.100");
    let owner = |host, port| {
        let client = Addr::from_v4_bytes([198, 51, 100, host]);
        steering.owner_of_request(&request(client, port, vip), false)
    };
    assert!((0..200).all(|host| (0..100).all(|port| owner(host, port) == owner(host, 0))));
    assert!((0..200).any(|host| owner(host, 0) != owner(0, 0)));
    // Of IPv6 nothing is known.
    for port in 0..100 {
        let request = request(addr("2001:db8::7"), port, addr("2001:db8:1::100"));
        assert_eq!(
            steering.owner_of_request(&request, false),
            steering.owner_of_client(request.src, port)
        );
    }
    // Neither leaves a choice of local ports, so the port itself decides.
    for (server, local) in [("10.0.0.1", "10.0.0.9"), ("2001:db8::1", "2001:db8::9")] {
        let replies = steering.replies(Protocol::Tcp, addr(server), 80, addr(local));
        assert!((0..100).all(|port| replies.owner(port) == WorkerId(port % 2)));
    }
}

#[test]
fn a_table_that_cannot_be_predicted_by_is_not() {
    for table in [
        std::vec![],
        std::vec![0, 1, 0],
        std::vec![0, 1, 2, 1],
        std::vec![0, 0],
    ] {
        let device = DeviceRss { table, ..rss(2, 2) };
        let steering = Steering::by_device(2, &device);
        assert!(!steering.is_by_device(), "{:?}", device.table);
    }
}

#[test]
fn devices_agree_when_they_put_every_packet_in_the_same_queue() {
    let one = rss(2, 128);
    assert_eq!(one.same_as(&one), Ok(()));
    assert_eq!(
        one.same_as(&rss(2, 512)),
        Ok(()),
        "the longer table repeats the shorter one"
    );
    assert_eq!(rss(3, 128).same_as(&rss(3, 512)), Err(Difference::Table));
    let other_key = DeviceRss {
        key: [1; KEY_BYTES],
        ..one.clone()
    };
    assert_eq!(one.same_as(&other_key), Err(Difference::Key));
    let other_fields = DeviceRss {
        hashed: Hashed::default(),
        ..one.clone()
    };
    assert_eq!(one.same_as(&other_fields), Err(Difference::Hashed));
}

#[test]
fn a_key_that_leaves_no_choice_of_local_ports_does_not_choose_by_them() {
    let device = DeviceRss {
        key: [0; KEY_BYTES],
        ..rss(2, 128)
    };
    let steering = Steering::by_device(2, &device);
    let replies = steering.replies(Protocol::Udp, addr("10.0.0.1"), 53, addr("10.0.0.9"));
    assert_eq!([4, 5].map(|port| replies.owner(port).0), [0, 1]);
}

proptest! {
    /// The port allocator's form and the packet's form are one; and every worker finds local ports
    /// among any 512, as many as every other.
    #[test]
    fn local_ports_of_a_reply_are_shared_out_evenly(
        server in any::<u32>(),
        server_port in any::<u16>(),
        local in any::<u128>(),
        is_v4 in any::<bool>(),
        block in 0..128_u16,
        workers in prop::sample::select(&[2_u16, 4, 8]),
    ) {
        let [server, local] = [u128::from(server), local].map(|bits| match is_v4 {
            true => Addr::from_v4_bytes((bits as u32).to_be_bytes()),
            false => Addr(bits | 1 << 127),
        });
        let steering = Steering::by_device(workers, &rss(workers, 512));
        let replies = steering.replies(Protocol::Tcp, server, server_port, local);
        let mut counts = [0; 8];
        for port in block * 512..=block * 512 + 511 {
            let owner = replies.owner(port);
            let reply = Tuple {
                src: server,
                dst: local,
                src_port: server_port,
                dst_port: port,
                protocol: Protocol::Tcp,
            };
            prop_assert_eq!(steering.owner_of_reply_to_local(&reply), owner);
            // The reply's device does with it what a request's device would.
            prop_assert_eq!(steering.owner_of_request(&reply, false), owner);
            counts[usize::from(owner.0)] += 1;
        }
        for count in &counts[..usize::from(workers)] {
            prop_assert_eq!(*count, 512 / workers);
        }
    }
}
