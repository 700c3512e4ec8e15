//! The TUN servers: network namespaces in a user-mode-linux guest.
//!
//! Decapsulation is the kernel's own (`tunl0`, `ip6tnl0`), which many a host kernel is built
//! without; Debian's user-mode-linux has it as modules. One guest holds all TUN servers.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};

use crate::dns;
use crate::lab::Server;
use crate::netns::Netns;
use crate::nginx;
use crate::plan::{self, Family, Method};
use crate::uml;

/// The guest's process 1.
const INIT: &str = include_str!("guest.sh");

/// Boots the guest on the router's `far` interface and gives its servers, which may not answer yet.
pub(crate) fn boot(router: &Netns, dir: &Path) -> Result<Vec<Server>> {
    let servers: Vec<Server> = (1..=plan::SERVERS)
        .map(|number| Server {
            name: format!("{}{number}", Method::Tun),
            method: Method::Tun,
            number,
            netns: None,
        })
        .collect();
    for server in &servers {
        nginx::write_config(&server.name, dir, Path::new("/run/lab"))?;
        dns::write_config(&server.name, dir)?;
    }
    let init = dir.join("guest.sh");
    std::fs::write(&init, INIT)?;
    let console = File::create(dir.join("guest.log"))?;
    let mut linux = router.command("linux.uml");
    uml::boot_from_here(&mut linux, 256, &dir.join("uml"))?;
    linux
        .arg("vec0:transport=tap,ifname=far,depth=128,gro=1")
        .arg(format!("SERVERS={}", list(&servers)))
        .arg(format!("VIP={}", Method::Tun.vip(Family::V4)))
        .arg(format!("VIP6={}", Method::Tun.vip(Family::V6)))
        .arg(format!("GATEWAY={}", plan::far(Family::V4, plan::ROUTER)))
        .arg(format!("GATEWAY6={}", plan::far(Family::V6, plan::ROUTER)))
        .arg(format!("DIR={}", dir.display()))
        .args(["init=/bin/sh", "--"])
        .arg(&init)
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()
        .context("linux.uml (Debian package user-mode-linux)")?;
    Ok(servers)
}

fn list(servers: &[Server]) -> String {
    let entries: Vec<String> = servers
        .iter()
        .map(|server| {
            let (v4, v6) = (server.address(Family::V4), server.address(Family::V6));
            format!("{},{v4},{v6}", server.name)
        })
        .collect();
    entries.join("+")
}
