//! Stock `ipvsadm` and `keepalived` drive the director while curl asks it.

// What it prints is a transcript.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};

use weir_tests::netns::wait_for;
use weir_tests::{Config, Family, Keepalived, Lab, Method, Server};

use crate::lab;

const VIP: &str = "192.0.2.101";

/// How long a change of `keepalived`'s mind may take to reach the traffic.
const PATIENCE: Duration = Duration::from_secs(20);

fn nothing() -> Config {
    Config::with([])
}

/// Sets up the NAT service by `ipvsadm`, over all three servers.
fn set_up(lab: &Lab) -> Result<()> {
    lab.ipvsadm(&format!("-A -t {VIP}:80 -s rr"))?;
    for server in lab.servers(Method::Nat)? {
        let address = server.address(Family::V4);
        lab.ipvsadm(&format!("-a -t {VIP}:80 -r {address}:80 -m"))?;
    }
    Ok(())
}

#[test]
fn ipvsadm_sets_up_changes_and_clears_under_traffic() -> Result<()> {
    let lab = lab();
    let _director = lab.director(&nothing())?;
    let vip = Method::Nat.vip(Family::V4);
    set_up(&lab)?;
    assert_eq!(lab.client.names(vip, 3)?, ["nat3", "nat2", "nat1"]);
    lab.ipvsadm(&format!("-e -t {VIP}:80 -r 10.0.0.2:80 -m -w 0"))?;
    let names: BTreeSet<_> = lab.client.names(vip, 4)?.into_iter().collect();
    assert_eq!(
        names,
        BTreeSet::from(["nat1".to_owned(), "nat3".to_owned()])
    );
    lab.ipvsadm(&format!("-d -t {VIP}:80 -r 10.0.0.3:80"))?;
    assert_eq!(lab.client.names(vip, 2)?, ["nat1"; 2]);

    let stats = lab.ipvsadm("-L -n --stats --exact")?;
    let of_service = stats.lines().find(|line| line.contains(VIP));
    let conns = of_service.and_then(|line| line.split_whitespace().nth(2));
    assert_eq!(conns, Some("9"), "{stats}");
    let connections = lab.ipvsadm("-L -n -c")?;
    let ended = connections
        .lines()
        .filter(|line| line.contains("TIME_WAIT"));
    assert!(ended.count() > 0, "{connections}");
    let listing = lab.ipvsadm("-L -n")?;
    let inactive = listing.lines().find(|line| line.contains("10.0.0.1:80"));
    assert!(
        inactive.is_some_and(|line| !line.trim_end().ends_with(" 0")),
        "{listing}"
    );

    lab.ipvsadm("-Z")?;
    let stats = lab.ipvsadm("-L -n --stats --exact")?;
    let of_service = stats.lines().find(|line| line.contains(VIP));
    let conns = of_service.and_then(|line| line.split_whitespace().nth(2));
    assert_eq!(conns, Some("0"), "{stats}");

    lab.ipvsadm("-C")?;
    // Without a service the VIP's packets are Linux's, on whose port 80 another test may have started
    // the director's own server.
    match lab.client.names(vip, 1) {
        Ok(names) => assert_eq!(names, ["director"]),
        Err(refusal) => {
            let refusal = format!("{refusal:#}");
            assert!(refusal.contains("exit status: 7"), "{refusal}");
        }
    }
    Ok(())
}

#[test]
fn what_ipvsadm_set_up_survives_sigkill() -> Result<()> {
    let lab = lab();
    let director = lab.director(&nothing())?;
    let vip = Method::Nat.vip(Family::V4);
    set_up(&lab)?;
    lab.ipvsadm(&format!("-e -t {VIP}:80 -r 10.0.0.1:80 -m -w 0"))?;
    let saved = lab.ipvsadm("-S -n")?;
    director.kill()?;
    let _director = lab.director_again(&nothing())?;
    assert_eq!(lab.ipvsadm("-S -n")?, saved);
    assert_eq!(lab.client.names(vip, 4)?, ["nat3", "nat2", "nat3", "nat2"]);
    Ok(())
}

/// As the documents of LVS have it: the rules were saved, the machine boots, and what is in the file is
/// served; also when the director itself remembers something else.
#[test]
fn a_saved_rules_file_is_served_after_a_boot() -> Result<()> {
    let lab = lab();
    let vip = Method::Nat.vip(Family::V4);
    let director = lab.director(&nothing())?;
    set_up(&lab)?;
    lab.ipvsadm(&format!("-e -t {VIP}:80 -r 10.0.0.2:80 -m -w 0"))?;
    let saved = lab.ipvsadm("-S -n")?;
    director.kill()?;
    for is_ours in [true, false] {
        let director = lab.director(&nothing())?;
        assert_eq!(lab.ipvsadm("-S -n")?, "", "nothing is served yet");
        lab.load_rules_at_boot(&saved, is_ours)?;
        assert_eq!(lab.ipvsadm("-S -n")?, saved, "ours: {is_ours}");
        assert_eq!(lab.client.names(vip, 4)?, ["nat3", "nat1", "nat3", "nat1"]);
        lab.ipvsadm(&format!("-d -t {VIP}:80 -r 10.0.0.3:80"))?;
        lab.ipvsadm("-A -u 192.0.2.102:53 -s rr")?;
        director.kill()?;
        let _director = lab.director_again(&nothing())?;
        lab.load_rules_at_boot(&saved, is_ours)?;
        assert_eq!(lab.ipvsadm("-S -n")?, saved, "ours: {is_ours}");
        let names: BTreeSet<_> = lab.client.names(vip, 4)?.into_iter().collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
    Ok(())
}

/// Two servers of these weights, a third for when both are down; by IPv6 a server that is down stays,
/// with weight 0.
fn keepalived_conf(weights: [u32; 2]) -> String {
    let check = "TCP_CHECK { connect_timeout 1\n retry 0\n delay_before_retry 1 }";
    let real = |address: &str, weight: u32, more: &str| {
        format!(" real_server {address} 80 {{\n  weight {weight}\n  {more}\n  {check}\n }}\n")
    };
    let [one, two] = weights;
    format!(
        "virtual_server {VIP} 80 {{\n delay_loop 1\n lvs_sched wrr\n lvs_method NAT\n protocol TCP\n \
         sorry_server 10.0.0.3 80\n{}{}}}\n\
         virtual_server 2001:db8:1::101 80 {{\n delay_loop 1\n lvs_sched rr\n lvs_method NAT\n \
         protocol TCP\n{}{}}}\n",
        real("10.0.0.1", one, ""),
        real("10.0.0.2", two, ""),
        real("2001:db8:2::1", 1, "inhibit_on_failure"),
        real("2001:db8:2::2", 1, "inhibit_on_failure"),
    )
}

/// Waits until exactly these servers answer.
fn wait_for_names(
    lab: &Lab,
    keepalived: &Keepalived<'_>,
    family: Family,
    names: &[&str],
) -> Result<()> {
    let vip = Method::Nat.vip(family);
    let wanted: BTreeSet<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let what = format!("answers of {names:?} by {family:?}");
    wait_for(&what, PATIENCE, || {
        let names = lab.client.names(vip, 6).ok()?;
        let names: BTreeSet<_> = names.into_iter().collect();
        (names == wanted).then_some(())
    })
    .with_context(|| keepalived.log())?;
    // With --nocapture: what the operator sees.
    println!("curl http://{vip}/: {}", names.join(", "));
    Ok(())
}

fn servers(lab: &Lab) -> Result<[Server; 3]> {
    let servers = lab.servers(Method::Nat)?.to_vec();
    servers.try_into().ok().context("there are three")
}

/// Fails server one over and back, and both to the one for that case.
fn fail_over_and_back(lab: &Lab, keepalived: &Keepalived<'_>) -> Result<()> {
    let [one, two, _] = servers(lab)?;
    wait_for_names(lab, keepalived, Family::V4, &["nat1", "nat2"])?;
    wait_for_names(lab, keepalived, Family::V6, &["nat1", "nat2"])?;
    lab.stop_web(&one)?;
    wait_for_names(lab, keepalived, Family::V4, &["nat2"])?;
    wait_for_names(lab, keepalived, Family::V6, &["nat2"])?;
    let listing = lab.ipvsadm("-L -n")?;
    let inhibited = listing
        .lines()
        .find(|line| line.contains("[2001:db8:2::1]:80"));
    let weight = inhibited.and_then(|line| line.split_whitespace().nth(3));
    assert_eq!(weight, Some("0"), "{listing}");
    lab.stop_web(&two)?;
    wait_for_names(lab, keepalived, Family::V4, &["nat3"])?;
    lab.start_web(&one)?;
    wait_for_names(lab, keepalived, Family::V4, &["nat1"])?;
    lab.start_web(&two)?;
    wait_for_names(lab, keepalived, Family::V4, &["nat1", "nat2"])?;
    wait_for_names(lab, keepalived, Family::V6, &["nat1", "nat2"])
}

#[test]
fn keepalived_fails_over_and_back_and_takes_weights_by_sighup() -> Result<()> {
    let lab = lab();
    let _director = lab.director(&nothing())?;
    let keepalived = lab.keepalived(&keepalived_conf([1, 1]))?;
    fail_over_and_back(&lab, &keepalived)?;
    keepalived.reload(&keepalived_conf([3, 1]))?;
    let vip = Method::Nat.vip(Family::V4);
    wait_for("three answers of four by nat1", PATIENCE, || {
        let names = lab.client.names(vip, 8).ok()?;
        (names.iter().filter(|name| *name == "nat1").count() == 6).then_some(())
    })
    .with_context(|| keepalived.log())?;
    println!("{}", keepalived.log());
    let status = keepalived.stop()?;
    assert!(status.success(), "{status}");
    let left = lab.ipvsadm("-S -n")?;
    assert_eq!(left, "", "keepalived takes along what it made");
    Ok(())
}

#[test]
fn keepalived_may_come_before_the_director() -> Result<()> {
    let lab = lab();
    let keepalived = lab.keepalived(&keepalived_conf([1, 1]))?;
    sleep(Duration::from_secs(1));
    let _director = lab.director(&nothing())?;
    wait_for_names(&lab, &keepalived, Family::V4, &["nat1", "nat2"])
}

#[test]
fn the_director_may_die_and_come_back_under_keepalived() -> Result<()> {
    let lab = lab();
    let director = lab.director(&nothing())?;
    let keepalived = lab.keepalived(&keepalived_conf([1, 1]))?;
    wait_for_names(&lab, &keepalived, Family::V4, &["nat1", "nat2"])?;
    director.kill()?;
    let [one, ..] = servers(&lab)?;
    // It finds out while nobody answers it, and says so again until somebody does.
    lab.stop_web(&one)?;
    sleep(Duration::from_secs(4));
    let _director = lab.director_again(&nothing())?;
    wait_for_names(&lab, &keepalived, Family::V4, &["nat2"])?;
    lab.start_web(&one)?;
    fail_over_and_back(&lab, &keepalived)
}

/// The director's old watchman, with `weir` in the place of `ipvsadm`, and then with Debian's own.
#[test]
fn ldirectord_takes_a_server_out_and_in_with_either_ipvsadm() -> Result<()> {
    let lab = lab();
    let _director = lab.director(&nothing())?;
    let [one, ..] = servers(&lab)?;
    let names = |names: &[&str]| -> Result<()> {
        let wanted: BTreeSet<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let vip = Method::Nat.vip(Family::V4);
        wait_for(&format!("answers of {names:?}"), PATIENCE, || {
            let names = lab.client.names(vip, 6).ok()?;
            let names: BTreeSet<_> = names.into_iter().collect();
            (names == wanted).then_some(())
        })
    };
    for is_ours in [true, false] {
        let ldirectord = lab.ldirectord(LDIRECTORD, is_ours)?;
        names(&["nat1", "nat2"]).with_context(|| ldirectord.log())?;
        lab.stop_web(&one)?;
        names(&["nat2"]).with_context(|| ldirectord.log())?;
        lab.start_web(&one)?;
        names(&["nat1", "nat2"]).with_context(|| ldirectord.log())?;
        ldirectord.stop()?;
        let left = lab.ipvsadm("-S -n")?;
        assert_eq!(left, "", "ldirectord takes along what it made");
    }
    Ok(())
}

const LDIRECTORD: &str = "checktimeout = 2\ncheckinterval = 1\nautoreload = no\nquiescent = no\n\
virtual = 192.0.2.101:80\n\
\treal = 10.0.0.1:80 masq 2\n\
\treal = 10.0.0.2:80 masq 3\n\
\tfallback = 10.0.0.3:80 masq\n\
\tservice = http\n\
\tscheduler = wrr\n\
\tprotocol = tcp\n\
\tchecktype = negotiate\n\
\tcheckport = 80\n\
\trequest = \"index\"\n\
\treceive = \"nat\"\n";

#[test]
fn keepalived_has_groups_and_marks() -> Result<()> {
    let lab = lab();
    let director = lab.director(&nothing())?;
    let marks = "\n[[mark]]\nmark = 7\nprotocol = \"tcp\"\ndestination = \"192.0.2.102\"\n\
        destination_ports = [\"80\"]\n";
    director.reload_text(&(lab.toml(&nothing()) + marks))?;
    let check = "TCP_CHECK { connect_timeout 1\n retry 0\n delay_before_retry 1 }";
    let reals = [1, 2].map(|number| format!(" real_server 10.0.0.{number} 80 {{ {check} }}\n"));
    let reals = reals.concat();
    let rest = "delay_loop 1\n lvs_sched rr\n lvs_method NAT\n protocol TCP";
    let config = format!(
        "virtual_server_group web {{\n {VIP} 80\n 192.0.2.103 80\n}}\n\
         virtual_server group web {{\n {rest}\n{reals}}}\n\
         virtual_server fwmark 7 {{\n {rest}\n persistence_timeout 60\n{reals}}}\n"
    );
    let keepalived = lab.keepalived(&config)?;
    for vip in [VIP, "192.0.2.103"] {
        wait_for(vip, PATIENCE, || {
            let names = lab.client.names(vip.parse().ok()?, 6).ok()?;
            let names: BTreeSet<_> = names.into_iter().collect();
            (names.len() == 2).then_some(())
        })
        .with_context(|| keepalived.log())?;
    }
    let by_mark = "192.0.2.102".parse()?;
    wait_for("an answer by the mark", PATIENCE, || {
        lab.client.names(by_mark, 1).ok()
    })
    .with_context(|| keepalived.log())?;
    let names: BTreeSet<_> = lab.client.names(by_mark, 6)?.into_iter().collect();
    assert_eq!(
        names.len(),
        1,
        "one client stays with one server: {names:?}"
    );
    let listing = lab.ipvsadm("-L -n --persistent-conn")?;
    let marked: Vec<_> = listing
        .lines()
        .skip_while(|line| !line.starts_with("FWM"))
        .collect();
    assert!(marked[0].contains("FWM  7 rr persistent 60"), "{listing}");
    let templates = marked[1..]
        .iter()
        .map(|line| line.split_whitespace().nth(3));
    let templates: BTreeSet<_> = templates.take(2).flatten().collect();
    assert_eq!(templates, BTreeSet::from(["0", "1"]), "{listing}");
    let connections = lab.ipvsadm("-L -n -c")?;
    assert!(connections.contains("ASSURED"), "{connections}");
    Ok(())
}
