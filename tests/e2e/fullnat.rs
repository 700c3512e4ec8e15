//! FullNAT: on one arm, what operators see of it, and what happens when local ports run out.

use anyhow::{Result, ensure};

use weir_tests::plan::{LOCAL, lan, wan};
use weir_tests::{Config, Family, Method, Service};

use crate::{BODY_SHA256, lab};

/// Client and servers are on the director's one port; the servers have no default route at all.
#[test]
fn one_arm_carries_both_ways() -> Result<()> {
    let lab = lab();
    for family in Family::ALL {
        let service = Service::http(Method::FullNat, family, lab.servers(Method::Dr)?);
        let service = service.with_local(LOCAL.map(|host| wan(family, host)));
        let director = lab.director(&Config::of(service))?;
        let vip = Method::FullNat.vip(family);
        assert_eq!(lab.client.names(vip, 3)?, ["dr3", "dr2", "dr1"]);
        assert_eq!(lab.client.body_digest(vip)?, BODY_SHA256);
        assert_eq!(lab.client.upload(vip, 1_000_000)?, 1_000_000);
        let out = ["method=\"fullnat\"", "direction=\"out\""];
        ensure!(director.metric("weir_server_packets_total", &out)? > 0.0);
    }
    Ok(())
}

#[test]
fn flows_and_services_show_the_local_ends() -> Result<()> {
    let lab = lab();
    let family = Family::V4;
    let service = Service::http(Method::FullNat, family, lab.servers(Method::FullNat)?);
    let director = lab.director(&Config::of(service))?;
    lab.client.names(Method::FullNat.vip(family), 6)?;
    let flows = director.weir(&["flows"])?;
    ensure!(
        flows.contains(&format!(" {}:", lan(family, LOCAL[0]))),
        "{flows}"
    );
    ensure!(flows.contains("FullNat"), "{flows}");
    let services = director.weir(&["services"])?;
    ensure!(
        services.contains("local 10.0.0.200 10.0.0.201 ports 1024-65535, "),
        "{services}"
    );
    let used = director.metric("weir_server_local_ports_used_ratio", &[])?;
    ensure!(used > 0.0, "{used}");
    Ok(())
}

/// Each of three servers can have four flows; ended ones count while the server may be in TIME-WAIT.
#[test]
fn local_ports_that_run_out_are_counted_and_warned_of() -> Result<()> {
    let lab = lab();
    let family = Family::V4;
    let vip = Method::FullNat.vip(family);
    let service = Service::http(Method::FullNat, family, lab.servers(Method::FullNat)?);
    let text = lab.toml(&Config::of(service.clone()));
    let few = "local_ports = \"5000-5001\"\nlocal_addresses";
    let director = lab.director(&Config::of(service))?;
    director.reload_text(&text.replace("local_addresses", few))?;
    lab.client.names(vip, 12)?;
    let line = format!("curl -sS --connect-timeout 1 http://{vip}/");
    let refusal = lab.client.netns().run(&line).expect_err("none is free");
    // curl's status for waiting in vain.
    ensure!(refusal.to_string().contains("exit status: 28"), "{refusal}");
    let reason = ["reason=\"local_ports_exhausted\""];
    ensure!(director.metric("weir_dropped_packets_total", &reason)? >= 1.0);
    let used = director.metric("weir_server_local_ports_used_ratio", &[])?;
    assert_eq!(used, 3.0, "all of each of three servers");
    // The log is looked at once a second.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let log = director.log();
    ensure!(
        log.contains("the local ports towards tcp server 10.0.0.3"),
        "{log}"
    );
    director.reload_text(&text)?;
    assert_eq!(lab.client.names(vip, 3)?.len(), 3, "more ports, more flows");
    Ok(())
}
