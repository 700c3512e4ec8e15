//! Stock `keepalived` drives the director while curl asks it.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};

use weir_tests::netns::wait_for;
use weir_tests::{Config, Family, Keepalived, Lab, Method, Server};

use crate::lab;
use crate::transcript::Transcript;

const VIP: &str = "192.0.2.101";

/// How long a change of `keepalived`'s mind may take to reach the traffic.
const PATIENCE: Duration = Duration::from_secs(20);

fn nothing() -> Config {
    Config::with([])
}

/// Two servers of these weights, a third for when both are down; by IPv6 a server that is down stays,
/// with weight 0.
fn keepalived_conf(weights: [u32; 2]) -> String {
    let real = |address: &str, weight: u32, more: &str| {
        format!(
            "    real_server {address} 80 {{\n        weight {weight}\n{more}        TCP_CHECK {{\n\
             \x20           connect_timeout 1\n            retry 0\n            delay_before_retry 1\n\
             \x20       }}\n    }}\n"
        )
    };
    let inhibit = "        inhibit_on_failure\n";
    let [one, two] = weights;
    format!(
        "virtual_server {VIP} 80 {{\n    delay_loop 1\n    lvs_sched wrr\n    lvs_method NAT\n    \
         protocol TCP\n    sorry_server 10.0.0.3 80\n{}{}}}\n\
         virtual_server 2001:db8:1::101 80 {{\n    delay_loop 1\n    lvs_sched rr\n    lvs_method NAT\n    \
         protocol TCP\n{}{}}}\n",
        real("10.0.0.1", one, ""),
        real("10.0.0.2", two, ""),
        real("2001:db8:2::1", 1, inhibit),
        real("2001:db8:2::2", 1, inhibit),
    )
}

/// What is watched of a run.
struct Watch<'l> {
    lab: &'l Lab,
    keepalived: Keepalived<'l>,
    seen: Transcript,
}

impl<'l> Watch<'l> {
    fn of(lab: &'l Lab, keepalived: Keepalived<'l>) -> Self {
        Self {
            lab,
            keepalived,
            seen: Transcript::default(),
        }
    }

    /// Waits until exactly these servers answer.
    fn names(&mut self, family: Family, names: &[&str]) -> Result<()> {
        let vip = Method::Nat.vip(family);
        let wanted: BTreeSet<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let what = format!("answers of {names:?} by {family:?}");
        wait_for(&what, PATIENCE, || {
            let names = self.lab.client.names(vip, 6).ok()?;
            let names: BTreeSet<_> = names.into_iter().collect();
            (names == wanted).then_some(())
        })
        .with_context(|| self.keepalived.log())?;
        let url = match family {
            Family::V4 => format!("http://{vip}/"),
            Family::V6 => format!("http://[{vip}]/"),
        };
        let line = format!("curl {url}: {}", names.join(", "));
        self.seen.line(&self.keepalived.log(), &line);
        Ok(())
    }

    fn done(&mut self, what: &str) {
        self.seen.line(&self.keepalived.log(), &format!("# {what}"));
    }

    fn listing(&mut self) -> Result<String> {
        let listing = self.lab.ipvsadm("-L -n")?;
        self.seen.block("ipvsadm -L -n", &listing);
        Ok(listing)
    }

    /// Fails server one over and back, and both to the one for that case.
    fn fail_over_and_back(&mut self) -> Result<()> {
        let [one, two, _] = servers(self.lab)?;
        self.names(Family::V4, &["nat1", "nat2"])?;
        self.names(Family::V6, &["nat1", "nat2"])?;
        self.done("nat1's web server is stopped");
        self.lab.stop_web(&one)?;
        self.names(Family::V4, &["nat2"])?;
        self.names(Family::V6, &["nat2"])?;
        let listing = self.listing()?;
        let inhibited = listing
            .lines()
            .find(|line| line.contains("[2001:db8:2::1]:80"));
        let weight = inhibited.and_then(|line| line.split_whitespace().nth(3));
        assert_eq!(weight, Some("0"), "{listing}");
        self.done("nat2's, too");
        self.lab.stop_web(&two)?;
        self.names(Family::V4, &["nat3"])?;
        self.done("nat1's is started again");
        self.lab.start_web(&one)?;
        self.names(Family::V4, &["nat1"])?;
        self.done("nat2's, too");
        self.lab.start_web(&two)?;
        self.names(Family::V4, &["nat1", "nat2"])?;
        self.names(Family::V6, &["nat1", "nat2"])
    }
}

fn servers(lab: &Lab) -> Result<[Server; 3]> {
    let servers = lab.servers(Method::Nat)?.to_vec();
    servers.try_into().ok().context("there are three")
}

/// Its transcript is a page: `docs/keepalived.md`.
#[test]
fn keepalived_fails_over_and_back_and_takes_weights_by_sighup() -> Result<()> {
    let lab = lab();
    let _director = lab.director(&nothing())?;
    let config = keepalived_conf([1, 1]);
    let mut watch = Watch::of(&lab, lab.keepalived(&config)?);
    watch.fail_over_and_back()?;
    watch.done("SIGHUP: nat1 has the weight 3");
    watch.keepalived.reload(&keepalived_conf([3, 1]))?;
    let vip = Method::Nat.vip(Family::V4);
    wait_for("three answers of four by nat1", PATIENCE, || {
        let names = lab.client.names(vip, 8).ok()?;
        (names.iter().filter(|name| *name == "nat1").count() == 6).then_some(())
    })
    .with_context(|| watch.keepalived.log())?;
    let line = format!("curl http://{vip}/: nat1 six times of eight");
    watch.seen.line(&watch.keepalived.log(), &line);
    let Watch {
        keepalived,
        mut seen,
        ..
    } = watch;
    seen.line(&keepalived.log(), "# SIGTERM");
    let status = keepalived.stop()?;
    assert!(status.success(), "{status}");
    let left = lab.ipvsadm("-S -n")?;
    assert_eq!(left, "", "keepalived takes along what it made");
    seen.is_page("docs/keepalived.md", PAGE, &config)
}

/// The head of the page.
const PAGE: &str = "# Stock keepalived over Weir

`weird` on two `net_tap` ports, three web servers by NAT, and Debian's `keepalived` with nothing but
`LD_PRELOAD=libweir-ipvs.so` beside its configuration:

";

#[test]
fn keepalived_may_come_before_the_director() -> Result<()> {
    let lab = lab();
    let mut watch = Watch::of(&lab, lab.keepalived(&keepalived_conf([1, 1]))?);
    sleep(Duration::from_secs(1));
    let _director = lab.director(&nothing())?;
    watch.names(Family::V4, &["nat1", "nat2"])
}

#[test]
fn the_director_may_die_and_come_back_under_keepalived() -> Result<()> {
    let lab = lab();
    let director = lab.director(&nothing())?;
    let mut watch = Watch::of(&lab, lab.keepalived(&keepalived_conf([1, 1]))?);
    watch.names(Family::V4, &["nat1", "nat2"])?;
    director.kill()?;
    let [one, ..] = servers(&lab)?;
    // It finds out while nobody answers it, and says so again until somebody does.
    lab.stop_web(&one)?;
    sleep(Duration::from_secs(4));
    let _director = lab.director_again(&nothing())?;
    watch.names(Family::V4, &["nat2"])?;
    lab.start_web(&one)?;
    watch.fail_over_and_back()
}

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
