//! Stock `ldirectord` in its debug mode drives the director while curl asks it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};

use weir_tests::netns::wait_for;
use weir_tests::stock::Ldirectord;
use weir_tests::{Config, Family, Lab, Method, Server};

use crate::lab;

/// How long a change of its mind may take to reach the traffic.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until exactly these servers answer.
fn wait_for_names(lab: &Lab, ldirectord: &Ldirectord<'_>, names: &[&str]) -> Result<()> {
    let wanted: BTreeSet<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let vip = Method::Nat.vip(Family::V4);
    wait_for(&format!("answers of {names:?}"), PATIENCE, || {
        let names = lab.client.names(vip, 6).ok()?;
        let names: BTreeSet<_> = names.into_iter().collect();
        (names == wanted).then_some(())
    })
    .with_context(|| ldirectord.log())
}

fn servers(lab: &Lab) -> Result<[Server; 3]> {
    let servers = lab.servers(Method::Nat)?.to_vec();
    servers.try_into().ok().context("there are three")
}

/// The director's old watchman, with `weir` in the place of `ipvsadm`, and then with Debian's own.
#[test]
fn ldirectord_takes_a_server_out_and_in_with_either_ipvsadm() -> Result<()> {
    let lab = lab();
    let _director = lab.director(&Config::with([]))?;
    let [one, two, _] = servers(&lab)?;
    for is_ours in [true, false] {
        let ldirectord = lab.ldirectord(&config("no"), is_ours)?;
        let names = |names: &[&str]| wait_for_names(&lab, &ldirectord, names);
        names(&["nat1", "nat2"])?;
        lab.stop_web(&one)?;
        names(&["nat2"])?;
        lab.stop_web(&two)?;
        names(&["nat3"])?;
        lab.start_web(&two)?;
        names(&["nat2"])?;
        lab.start_web(&one)?;
        names(&["nat1", "nat2"])?;
        ldirectord.stop()?;
        let left = lab.ipvsadm("-S -n")?;
        assert_eq!(left, "", "ldirectord takes along what it made");
    }
    Ok(())
}

/// With `quiescent` a server that fails stays, with weight 0, and so it does over a director that dies.
#[test]
fn ldirectord_quiesces_servers_over_a_director_that_dies() -> Result<()> {
    let lab = lab();
    let director = lab.director(&Config::with([]))?;
    let [one, ..] = servers(&lab)?;
    let ldirectord = lab.ldirectord(&config("yes"), true)?;
    wait_for_names(&lab, &ldirectord, &["nat1", "nat2"])?;
    lab.stop_web(&one)?;
    wait_for_names(&lab, &ldirectord, &["nat2"])?;
    let weight = || -> Result<String> {
        let listing = lab.ipvsadm("-L -n")?;
        let line = listing.lines().find(|line| line.contains("10.0.0.1:80"));
        let weight = line.and_then(|line| line.split_whitespace().nth(3));
        Ok(weight.with_context(|| listing.clone())?.to_owned())
    };
    assert_eq!(weight()?, "0");
    director.kill()?;
    let _director = lab.director_again(&Config::with([]))?;
    assert_eq!(weight()?, "0");
    wait_for_names(&lab, &ldirectord, &["nat2"])?;
    lab.start_web(&one)?;
    wait_for_names(&lab, &ldirectord, &["nat1", "nat2"])?;
    assert_eq!(weight()?, "2");
    Ok(())
}

/// Two servers of other weights, and one for when both are down.
fn config(quiescent: &str) -> String {
    LDIRECTORD.replace("quiescent = no", &format!("quiescent = {quiescent}"))
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
