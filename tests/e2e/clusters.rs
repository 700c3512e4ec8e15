//! The clusters that books on LVS build, each as a whole: what its network has to have, and what its
//! user then sees. Persistence and marks, ipvsadm and keepalived have modules of their own.

use std::net::IpAddr;

use anyhow::Result;

use weir_tests::client::tally;
use weir_tests::{Config, Family, Lab, Method, Service};

use crate::lab;

/// Which server answers and which client address it sees.
fn seen(lab: &Lab, vip: IpAddr) -> Result<String> {
    let url = weir_tests::lab::url(vip, "client");
    let answer = lab.client.netns().run(&format!("curl -sSf -m 5 {url}"))?;
    Ok(answer.trim().to_owned())
}

/// NAT: the director has two legs, and the real servers have it as their gateway. The client talks
/// to the VIP alone, and the servers see the client itself.
#[test]
fn nat_cluster() -> Result<()> {
    let lab = lab();
    let servers = lab.servers(Method::Nat)?.to_vec();
    let service = Service::http(Method::Nat, Family::V4, &servers);
    let _director = lab.director(&Config::of(service))?;
    for server in &servers {
        let netns = server.netns.as_ref().expect("in a namespace of this host");
        let route = netns.run("ip -4 route show default")?;
        assert!(route.contains("via 10.0.0.254"), "{route}");
    }
    let vip = Method::Nat.vip(Family::V4);
    // curl takes replies from nowhere else than the VIP.
    assert_eq!(lab.client.names(vip, 3)?, ["nat3", "nat2", "nat1"]);
    assert_eq!(seen(&lab, vip)?, "nat3 192.0.2.10");
    Ok(())
}

/// DR: one network; the real servers have the VIP on `lo` and keep still about it, and answer the
/// client straight.
#[test]
fn dr_cluster() -> Result<()> {
    let lab = lab();
    let servers = lab.servers(Method::Dr)?.to_vec();
    let service = Service::http(Method::Dr, Family::V4, &servers);
    let director = lab.director(&Config::of(service))?;
    for server in &servers {
        let netns = server.netns.as_ref().expect("in a namespace of this host");
        assert!(netns.run("ip -4 addr show lo")?.contains("192.0.2.102/32"));
        for (name, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            let path = format!("/proc/sys/net/ipv4/conf/all/{name}");
            assert_eq!(netns.run(&format!("cat {path}"))?.trim(), value);
        }
    }
    let vip = Method::Dr.vip(Family::V4);
    assert_eq!(lab.client.names(vip, 3)?, ["dr3", "dr2", "dr1"]);
    assert_eq!(seen(&lab, vip)?, "dr3 192.0.2.10");
    let told = director.weir(&["services", "--json"])?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    let stats = &told["services"][0]["stats"];
    assert_eq!(stats["connections"], 4);
    assert_eq!(
        stats["packets_out"], 0,
        "replies go past the director: {stats}"
    );
    Ok(())
}

/// TUN: the real servers are in another network, behind a router, and have the VIP on their tunnels.
#[test]
fn tun_cluster() -> Result<()> {
    let lab = lab();
    for family in Family::ALL {
        let service = Service::http(Method::Tun, family, lab.servers(Method::Tun)?);
        let _director = lab.director(&Config::of(service))?;
        let vip = Method::Tun.vip(family);
        assert_eq!(lab.client.names(vip, 3)?, ["tun3", "tun2", "tun1"]);
    }
    Ok(())
}

/// Eight schedulers, each by what it promises, with connections that end before the next begins.
#[test]
fn eight_schedulers() -> Result<()> {
    let lab = lab();
    let (method, family) = (Method::Nat, Family::V4);
    let vip = method.vip(family);
    let turns = ["nat3", "nat2", "nat1", "nat3", "nat2", "nat1"];
    for (scheduler, weights, expected) in [
        ("rr", [1, 1, 1], &turns[..]),
        ("wrr", [2, 1, 1], &["nat3", "nat2", "nat1", "nat1"]),
        // Ended connections count, too, so the one with the fewest has its turn.
        ("lc", [1, 1, 1], &turns),
        ("wlc", [1, 1, 1], &turns),
        (
            "wlc",
            [2, 1, 0],
            &["nat2", "nat1", "nat1", "nat2", "nat1", "nat1"],
        ),
    ] {
        let servers = lab.servers(method)?;
        let mut service = Service::http(method, family, servers).weighted(&weights);
        service.scheduler = scheduler;
        let _director = lab.director(&Config::of(service))?;
        let names = lab.client.names(vip, expected.len() as u32)?;
        assert_eq!(names, expected, "{scheduler} {weights:?}");
    }
    // One client and one VIP: a hash of either is one server, and a cache of the VIP has one.
    for scheduler in ["sh", "dh", "lblc", "lblcr"] {
        let mut service = Service::http(method, family, lab.servers(method)?);
        service.scheduler = scheduler;
        let config = Config::of(service);
        let first = {
            let _director = lab.director(&config)?;
            let shares = tally(&lab.client.names(vip, 6)?);
            assert_eq!(shares.len(), 1, "{scheduler}: {shares:?}");
            shares
        };
        // What is remembered of nothing but addresses outlives a restart.
        let _director = lab.director(&config)?;
        assert_eq!(tally(&lab.client.names(vip, 6)?), first, "{scheduler}");
    }
    Ok(())
}
