//! A driver that is in no directory EAL knows is loaded by `-d PATH`.
//!
//! EAL loads all of its plug-in directory by itself, so here that directory is hidden, in a mount
//! namespace of its own (needs root), and copies of a few plug-ins lie elsewhere.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "how a case tells its parent"
)]

mod support;

use std::path::{Path, PathBuf};

use weir_dpdk::{Eal, EalConfig, Ports};

#[test]
fn a_driver_given_by_path_takes_its_device() {
    let plug_ins = plug_in_dir();
    // EAL refuses plug-ins below a directory that anybody may write to, and so below /tmp.
    let dir = tempfile::tempdir_in("/run").expect("a directory");
    for name in ["bus_pci", "bus_vdev", "mempool_ring", "net_null"] {
        let file = format!("librte_{name}.so");
        std::fs::copy(plug_ins.join(&file), dir.path().join(&file)).expect("copied");
    }
    let with = run(
        dir.path(),
        &plug_ins,
        "bus_pci bus_vdev mempool_ring net_null",
    );
    assert!(with.contains("UP net_null"), "{with}");
    let without = run(dir.path(), &plug_ins, "bus_pci bus_vdev mempool_ring");
    assert!(
        without.contains("no driver of DPDK has this name"),
        "{without}"
    );
}

/// Brings up `net_null0` with these plug-ins only; what the process said.
fn run(dir: &Path, hidden: &Path, plug_ins: &str) -> String {
    let hide = format!(
        "mount -t tmpfs none {} && exec \"$0\" \"$@\"",
        hidden.display()
    );
    let case = format!("{} {plug_ins}", dir.display());
    let output = support::again(
        "in_a_namespace",
        &case,
        &["unshare", "-m", "sh", "-c", hide.as_str()],
    );
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Does what `WEIR_CASE` says; without it, nothing.
#[test]
fn in_a_namespace() {
    let Ok(case) = std::env::var("WEIR_CASE") else {
        return;
    };
    let mut words = case.split(' ');
    let dir = words.next().expect("a directory");
    let prefix = support::unique("plug");
    let mut args = support::no_nic(&prefix);
    for name in words {
        args.extend(["-d".to_string(), format!("{dir}/librte_{name}.so")]);
    }
    let eal = Eal::init(&EalConfig { args }).expect("EAL starts");
    match Ports::bring_up(&eal, &[support::port("net_null0")], 1, 0) {
        Ok((ports, _)) => println!("UP {}", ports.list()[0].info().driver),
        Err(error) => println!("{error}"),
    }
}

/// Where Debian's DPDK keeps its plug-ins.
fn plug_in_dir() -> PathBuf {
    let all = format!("/usr/lib/{}-linux-gnu/dpdk", std::env::consts::ARCH);
    let mut entries = std::fs::read_dir(all).expect("DPDK's drivers are installed");
    entries
        .next()
        .expect("one version")
        .expect("readable")
        .path()
}
