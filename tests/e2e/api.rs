//! What `weir` changes through the API, with traffic.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use weir_tests::{Config, Family, Lab, Method, Service};

use crate::lab;

const VIP: &str = "192.0.2.101";

/// A service by NAT over three servers.
fn web(lab: &Lab) -> Result<Config> {
    let servers = lab.servers(Method::Nat)?;
    Ok(Config::of(Service::http(Method::Nat, Family::V4, servers)))
}

/// A download that takes its time: bytes a second, of a body of 100 MB.
fn download(lab: &Lab, rate: &str, range: &str) -> Result<Child> {
    let url = format!("http://{VIP}/body");
    let mut curl = lab.client.netns().command("curl");
    let curl = curl.args(["-sSf", "--limit-rate", rate, "-r", range, &url]);
    Ok(curl.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// The name of the server that has the only established flow, by its last number.
fn server_of_flow(weir: &str) -> String {
    let number = (1..=3).find(|number| weir.contains(&format!("10.0.0.{number}:80")));
    format!("nat{}", number.expect("one of the three has it"))
}

#[test]
fn a_service_is_made_at_run_time_and_balances() -> Result<()> {
    let lab = lab();
    let director = lab.director(&web(&lab)?)?;
    director.weir(&["service", "remove", "tcp:192.0.2.101:80"])?;
    assert!(lab.client.names(Method::Nat.vip(Family::V4), 1).is_err());
    director.weir(&[
        "service",
        "add",
        "tcp:192.0.2.101:80",
        "--scheduler",
        "rr",
        "--name",
        "web",
    ])?;
    for number in 1..=3 {
        let (address, name) = (format!("10.0.0.{number}"), format!("nat{number}"));
        director.weir(&[
            "server", "add", "web", &address, "--method", "nat", "--name", &name,
        ])?;
    }
    let vip = Method::Nat.vip(Family::V4);
    assert_eq!(lab.client.names(vip, 3)?, ["nat3", "nat2", "nat1"]);
    director.weir(&["server", "set", "nat2", "--weight", "0"])?;
    director.weir(&["server", "remove", "nat3"])?;
    assert_eq!(lab.client.names(vip, 2)?, ["nat1", "nat1"]);
    Ok(())
}

#[test]
fn a_file_is_applied_whole_and_a_dry_run_changes_nothing() -> Result<()> {
    let lab = lab();
    let director = lab.director(&web(&lab)?)?;
    let vip = Method::Nat.vip(Family::V4);
    let path = lab.dir().join("part.toml");
    let file = path.display().to_string();
    fs::write(
        &path,
        format!(
            "[[service]]\nprotocol = \"tcp\"\naddress = \"{VIP}\"\nport = 80\nscheduler = \"rr\"\n\
             [[service.server]]\naddress = \"10.0.0.2\"\nmethod = \"nat\"\nname = \"nat2\"\n"
        ),
    )?;
    let told = director.weir(&["apply", "--dry-run", &file])?;
    assert!(told.contains("server 10.0.0.1:80 removed"), "{told}");
    assert_eq!(lab.client.names(vip, 3)?.len(), 3);
    let differs = director.weir(&["diff", &file]).expect_err("it differs");
    assert!(differs.to_string().contains("exit status: 3"), "{differs}");
    director.weir(&["apply", &file])?;
    assert_eq!(lab.client.names(vip, 2)?, ["nat2", "nat2"]);
    director.weir(&["diff", &file])?;
    Ok(())
}

#[test]
fn a_drain_waits_for_the_last_flow() -> Result<()> {
    let lab = lab();
    let director = lab.director(&web(&lab)?)?;
    let mut curl = download(&lab, "1M", "0-2999999")?;
    sleep(Duration::from_millis(500));
    let server = server_of_flow(&director.weir(&["flows", "--state", "ESTABLISHED"])?);
    director.weir(&["settings", "set", "timeouts.tcp_fin=2"])?;
    let told = director.weir(&["server", "drain", &server, "--deadline", "5m", "--wait"])?;
    assert!(told.contains("is drained"), "{told}");
    assert!(curl.wait()?.success());
    let names = lab.client.names(Method::Nat.vip(Family::V4), 4)?;
    assert!(!names.contains(&server), "{names:?}");
    director.weir(&["server", "drain", &server, "--stop"])?;
    let names = lab.client.names(Method::Nat.vip(Family::V4), 3)?;
    assert!(names.contains(&server), "{names:?}");
    Ok(())
}

#[test]
fn at_its_deadline_a_drain_resets_both_ends() -> Result<()> {
    let lab = lab();
    let director = lab.director(&web(&lab)?)?;
    let mut curl = download(&lab, "200k", "0-")?;
    sleep(Duration::from_millis(500));
    let server = server_of_flow(&director.weir(&["flows", "--state", "ESTABLISHED"])?);
    let mut servers = lab.servers(Method::Nat)?.iter();
    let netns = servers
        .find(|s| s.name == server)
        .and_then(|s| s.netns.as_ref());
    let netns = netns.expect("it is one of them");
    let connections = || netns.run("ss -Htn state established ( sport = :80 )");
    assert!(connections()?.contains(":80"));
    let forced = director.weir(&["server", "drain", &server, "--deadline", "2s", "--wait"]);
    let forced = forced.expect_err("a flow is left").to_string();
    assert!(forced.contains("exit status: 3"), "{forced}");
    assert!(forced.contains("1 flows were left"), "{forced}");
    // 56: the connection was reset.
    assert_eq!(curl.wait()?.code(), Some(56));
    assert_eq!(connections()?.trim(), "");
    Ok(())
}
