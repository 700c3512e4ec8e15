//! The three kinds of LVS persistence as the documents on LVS practice have them: a client over all
//! ports (PCC), a client at a service (PPC), a client in a group of ports by a mark (PNMPP).
//!
//! Addresses, schedulers, weights and times are those of the documents: the virtual address
//! 10.0.5.150, real servers 10.0.5.151 to .154 by NAT, `-p 600`. Where these say `iptables … MARK`,
//! Weir has rules of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;

use weir_tests::plan::{DIRECTOR_WAN, wan};
use weir_tests::{Config, Family, Lab};

use crate::lab;

const VIP: &str = "10.0.5.150";

/// Web, its other port, FTP's control port.
const PORTS: [u16; 4] = [80, 443, 21, 8080];

/// A director with these services in front of the documents' servers.
fn config(services: &str) -> Config {
    Config {
        more_addresses: [vec![format!("{VIP}/32")], vec!["10.0.5.1/24".to_owned()]],
        more: services.to_owned(),
        ..Config::default()
    }
}

/// Real servers 10.0.5.151 to .154, and the clients' way to the virtual address.
fn set_up(lab: &Lab) -> Result<()> {
    lab.once("the servers of persistence", || start(lab))
}

fn start(lab: &Lab) -> Result<()> {
    let gateway: IpAddr = "10.0.5.1".parse()?;
    for n in 151..=154 {
        lab.add_server(
            &format!("rs{n}"),
            &format!("10.0.5.{n}/24"),
            gateway,
            &PORTS,
        )?;
    }
    let director = wan(Family::V4, DIRECTOR_WAN);
    let mut lines = format!("route add {VIP} via {director}\n");
    for n in CLIENTS {
        lines += &format!("addr add 192.0.2.{n}/24 dev wan\n");
    }
    lab.client.netns().ip(&lines)
}

/// Host numbers of clients besides the lab's own.
const CLIENTS: std::ops::RangeInclusive<u8> = 31..=40;

/// Who answers a client, by its host number, on a port.
fn ask(lab: &Lab, client: u8, port: u16) -> Result<String> {
    let line = format!("curl -sSf -m 5 --interface 192.0.2.{client} http://{VIP}:{port}/");
    Ok(lab.client.netns().run(&line)?.trim().to_owned())
}

fn servers(lines: &[(u8, Option<u16>, u32)]) -> String {
    let server = |(host, port, weight): &(u8, Option<u16>, u32)| {
        let port = port.map_or(String::new(), |port| format!("port = {port}\n"));
        format!(
            "[[service.server]]\naddress = \"10.0.5.{host}\"\n{port}weight = {weight}\nmethod = \"nat\"\n"
        )
    };
    lines.iter().map(server).collect()
}

fn by_address(port: u16) -> String {
    let head = format!(
        "\n[[service]]\nprotocol = \"tcp\"\naddress = \"{VIP}\"\nport = {port}\n\
         scheduler = \"rr\"\npersistence_timeout = 600\n"
    );
    head + &servers(&[(151, None, 1), (152, None, 1)])
}

fn by_mark(mark: u32, ports: &str, lines: &[(u8, Option<u16>, u32)]) -> String {
    let head = format!(
        "\n[[mark]]\nmark = {mark}\nprotocol = \"tcp\"\ndestination = \"{VIP}\"\n\
         destination_ports = [{ports}]\n\
         [[service]]\nmark = {mark}\nscheduler = \"wrr\"\npersistence_timeout = 600\n"
    );
    head + &servers(lines)
}

/// `-A -t 10.0.5.150:0 -s rr -p 600`
#[test]
fn a_client_has_the_same_server_on_all_ports() -> Result<()> {
    let lab = lab();
    set_up(&lab)?;
    let director = lab.director(&config(&by_address(0)))?;
    // The server added last is the first one's.
    for port in PORTS.repeat(2) {
        assert_eq!(ask(&lab, 31, port)?, "rs152", "port {port}");
        assert_eq!(ask(&lab, 32, port)?, "rs151", "port {port}");
    }
    let flows = director.weir(&["flows", "--state", "assured"])?;
    for words in [
        ["192.0.2.31:0", "10.0.5.152:0"],
        ["192.0.2.32:0", "10.0.5.151:0"],
    ] {
        let line = flows
            .lines()
            .find(|line| words.iter().all(|word| line.contains(word)));
        assert!(
            line.is_some_and(|l| l.contains("10.0.5.150:0")),
            "{words:?} in\n{flows}"
        );
    }
    let services = director.weir(&["services"])?;
    assert!(
        services.contains("TCP  10.0.5.150:0 rr persistent 600"),
        "{services}"
    );
    assert!((director.metric("weir_persistence_templates", &[])? - 2.0).abs() < 0.5);
    Ok(())
}

/// `-A -t 10.0.5.150:80 -s rr -p 600`
#[test]
fn a_client_has_the_same_server_of_a_service() -> Result<()> {
    let lab = lab();
    set_up(&lab)?;
    let both = by_address(80) + &by_address(443);
    let director = lab.director(&config(&both))?;
    for _ in 0..4 {
        assert_eq!(ask(&lab, 31, 80)?, "rs152");
        assert_eq!(ask(&lab, 32, 80)?, "rs151");
        assert_eq!(ask(&lab, 33, 80)?, "rs152");
    }
    // Each service remembers for itself.
    assert_eq!(ask(&lab, 32, 443)?, "rs152");
    assert_eq!(ask(&lab, 31, 443)?, "rs151");
    // Drained, a server keeps its clients and gets no new ones; removed, it loses them.
    let of_80 = |weight: u32| {
        let head = by_address(80)
            .split("[[service.server]]")
            .next()
            .unwrap_or("")
            .to_owned();
        head + &servers(&[(151, None, 1), (152, None, weight)])
    };
    director.reload(&config(&of_80(0)))?;
    assert_eq!(ask(&lab, 31, 80)?, "rs152");
    assert_eq!(ask(&lab, 34, 80)?, "rs151");
    director.reload(&config(&of_80(0).replace("10.0.5.152", "10.0.5.153")))?;
    assert_eq!(ask(&lab, 31, 80)?, "rs151");
    Ok(())
}

/// Mark 10 for ports 80 and 443, mark 20 for ports 21 and 20; `-A -f 10 -s wrr -p 600`, and `-f 20`.
#[test]
fn a_client_has_the_same_server_for_all_ports_of_a_mark() -> Result<()> {
    let lab = lab();
    set_up(&lab)?;
    let marks = by_mark(10, "\"80\", \"443\"", &[(151, None, 2), (152, None, 3)])
        + &by_mark(20, "\"21\", \"20\"", &[(153, None, 2), (154, None, 3)]);
    let director = lab.director(&config(&marks))?;
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    for client in CLIENTS {
        let web = ask(&lab, client, 80)?;
        let ftp = ask(&lab, client, 21)?;
        for _ in 0..2 {
            assert_eq!(ask(&lab, client, 443)?, web, "client {client}");
            assert_eq!(ask(&lab, client, 21)?, ftp, "client {client}");
        }
        for name in [web, ftp] {
            *shares.entry(name).or_default() += 1;
        }
    }
    let shares: Vec<_> = shares
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(
        shares,
        [("rs151", 4), ("rs152", 6), ("rs153", 4), ("rs154", 6)]
    );
    let flows = director.weir(&["flows", "--client", "192.0.2.31", "--state", "assured"])?;
    for mark in ["0.0.0.10:0", "0.0.0.20:0"] {
        let line = flows.lines().find(|line| line.contains(mark));
        assert!(line.is_some_and(|line| line.starts_with("IP ")), "{flows}");
    }
    // Rules can change while it runs: port 8080 joins, port 443 has to leave.
    assert!(ask(&lab, 31, 8080).is_err(), "no rule marks it");
    let other = marks.replace("\"443\"", "\"8080\"");
    director.reload(&config(&other))?;
    assert_eq!(ask(&lab, 31, 8080)?, ask(&lab, 31, 80)?);
    assert!(ask(&lab, 31, 443).is_err(), "no rule marks it any more");
    Ok(())
}
