//! The TUN servers: network namespaces in a user-mode-linux guest.
//!
//! Decapsulation is the kernel's own (`tunl0`, `ip6tnl0`), which many a host kernel is built
//! without; Debian's user-mode-linux has it as modules. One guest holds all TUN servers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};

use crate::dns;
use crate::lab::Server;
use crate::netns::Netns;
use crate::nginx;
use crate::plan::{self, Family, Method};

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
    router
        .command("linux.uml")
        .args([
            "mem=256M",
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
        ])
        .args(["con=null", "con0=null,fd:1", "quiet", "loglevel=1"])
        .arg(format!("uml_dir={}", dir.join("uml").display()))
        .arg("vec0:transport=tap,ifname=far,depth=128,gro=1")
        .arg(format!("SERVERS={}", list(&servers)))
        .arg(format!("VIP={}", Method::Tun.vip(Family::V4)))
        .arg(format!("VIP6={}", Method::Tun.vip(Family::V6)))
        .arg(format!("GATEWAY={}", plan::far(Family::V4, plan::ROUTER)))
        .arg(format!("GATEWAY6={}", plan::far(Family::V6, plan::ROUTER)))
        .arg(format!("DIR={}", dir.display()))
        .args(["init=/bin/sh", "--"])
        .arg(&init)
        .env("TMPDIR", memory_dir())
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

/// Where the guest's memory file goes: off the disk, unless programs may not be run from there, which
/// user-mode Linux needs for its memory.
fn memory_dir() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let is_usable = mounts.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some("/dev/shm") && !fields.any(|field| field.contains("noexec"))
    });
    if is_usable {
        PathBuf::from("/dev/shm")
    } else {
        std::env::temp_dir()
    }
}
