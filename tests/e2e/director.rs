//! The director as a host: Linux through its twins, start, stop, metrics.

use std::fs::File;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use weir_tests::plan::{DIRECTOR_WAN, wan};
use weir_tests::{Config, Family, Lab, Method, Service};

use crate::lab;

fn nat_service(lab: &Lab) -> Result<Config> {
    let servers = lab.servers(Method::Nat)?;
    Ok(Config::with(
        Family::ALL.map(|family| Service::http(Method::Nat, family, servers)),
    ))
}

#[test]
fn a_vip_answers_ping_through_linux() -> Result<()> {
    let lab = lab();
    let _director = lab.director(&nat_service(&lab)?)?;
    for family in Family::ALL {
        lab.client.ping(Method::Nat.vip(family), 5)?;
        lab.client.ping(wan(family, DIRECTOR_WAN), 5)?;
    }
    Ok(())
}

#[test]
fn the_directors_own_tcp_server_is_reached_through_the_twin() -> Result<()> {
    let lab = lab();
    let _director = lab.director(&nat_service(&lab)?)?;
    lab.start_directors_own_server()?;
    for family in Family::ALL {
        let names = lab.client.names(wan(family, DIRECTOR_WAN), 3)?;
        assert_eq!(names, ["director"; 3]);
        let digest = lab.client.body_digest(wan(family, DIRECTOR_WAN))?;
        assert_eq!(digest.len(), 64);
    }
    Ok(())
}

/// Linux gets the packets by the twin, and with NAT what it answers is rewritten like any reply.
#[test]
fn the_director_itself_is_a_server() -> Result<()> {
    let lab = lab();
    let mut config = nat_service(&lab)?;
    for service in &mut config.services {
        service.servers.truncate(1);
    }
    let director = lab.director(&config.clone().on_every_core())?;
    lab.start_directors_own_server()?;
    let text = lab.toml(&config.on_every_core());
    let servers = [
        ("10.0.0.1", "2001:db8:2::1"),
        ("10.0.0.254", "2001:db8:2::254"),
    ];
    let with = |v4: &str, v6: &str, method: &str| {
        text.replace(&format!("\"{}\"", servers[0].0), &format!("\"{v4}\""))
            .replace(&format!("\"{}\"", servers[0].1), &format!("\"{v6}\""))
            .replace("method = \"nat\"", &format!("method = \"{method}\""))
    };
    let (v4, v6) = servers[1];
    for config in [with(v4, v6, "nat"), with("127.0.0.1", "::1", "dr")] {
        director.reload_text(&config)?;
        for family in Family::ALL {
            let vip = Method::Nat.vip(family);
            assert_eq!(lab.client.names(vip, 3)?, ["director"; 3]);
            assert_eq!(lab.client.body_digest(vip)?, crate::BODY_SHA256);
        }
    }
    Ok(())
}

#[test]
fn a_vips_port_without_service_refuses_at_once() -> Result<()> {
    let lab = lab();
    let _director = lab.director(&nat_service(&lab)?)?;
    let line = "curl -sS -m 5 http://192.0.2.101:81/";
    let refusal = lab
        .client
        .netns()
        .run(line)
        .expect_err("there is no service");
    // curl's status for a refused connection; waiting in vain would be 28.
    let refusal = refusal.to_string();
    assert!(refusal.contains("exit status: 7"), "{refusal}");
    Ok(())
}

#[test]
fn a_stopped_director_leaves_nothing_and_starts_again() -> Result<()> {
    let lab = lab();
    let config = nat_service(&lab)?;
    let vip = Method::Nat.vip(Family::V4);
    for _ in 0..2 {
        let director = lab.director(&config)?;
        assert_eq!(lab.client.names(vip, 3)?, ["nat3", "nat2", "nat1"]);
        let status = director.stop()?;
        assert!(status.success(), "{status}");
        for device in ["tap-wan", "tap-lan", "weir-wan", "weir-lan"] {
            assert!(!lab.director_netns().has_device(device), "{device}");
        }
        assert!(!lab.dir().join("weir.sock").exists());
    }
    Ok(())
}

#[test]
fn a_hangup_reloads_the_file() -> Result<()> {
    let lab = lab();
    let vip = Method::Nat.vip(Family::V4);
    let all = Service::http(Method::Nat, Family::V4, lab.servers(Method::Nat)?);
    let director = lab.director(&Config::of(all.clone()))?;
    let only_two = Config::of(all.without("nat1").without("nat3"));
    std::fs::write(lab.config_path(), lab.toml(&only_two))?;
    director.signal("HUP")?;
    sleep(Duration::from_millis(500));
    assert_eq!(lab.client.names(vip, 3)?, ["nat2"; 3]);
    Ok(())
}

#[test]
fn promtool_finds_no_fault_in_the_metrics() -> Result<()> {
    let lab = lab();
    let director = lab.director(&nat_service(&lab)?)?;
    lab.client.names(Method::Nat.vip(Family::V4), 6)?;
    let path = lab.dir().join("metrics.txt");
    std::fs::write(&path, director.metrics()?)?;
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::from(File::open(&path)?))
        .output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}");
    Ok(())
}

#[test]
fn the_client_weir_shows_what_was_balanced() -> Result<()> {
    let lab = lab();
    let director = lab.director(&nat_service(&lab)?)?;
    lab.client.names(Method::Nat.vip(Family::V4), 6)?;
    let table = director.weir(&["services"])?;
    for word in ["192.0.2.101", "10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        assert!(table.contains(word), "{word} in\n{table}");
    }
    let flows = director.weir(&["flows"])?;
    assert!(flows.contains("192.0.2.10"), "{flows}");
    Ok(())
}
