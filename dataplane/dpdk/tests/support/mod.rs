//! What the tests of this crate share. Each test file is a process of its own.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::path::PathBuf;
use std::process::{Command, Output};

use weir_dpdk::PortConfig;

/// A name that no other run of any test uses at the same time.
pub(crate) fn unique(name: &str) -> String {
    format!("weir-{name}-{}", std::process::id())
}

/// EAL's arguments for a process without huge pages and NICs.
pub(crate) fn no_nic(prefix: &str) -> Vec<String> {
    ["--no-huge", "-m", "64", "--no-pci", "--file-prefix", prefix]
        .map(str::to_string)
        .to_vec()
}

/// Where EAL keeps the files of `prefix` when started by root.
pub(crate) fn runtime_dir(prefix: &str) -> PathBuf {
    PathBuf::from("/var/run/dpdk").join(prefix)
}

/// A port as small as the tests need.
pub(crate) fn port(device: &str) -> PortConfig {
    PortConfig {
        device: device.to_string(),
        rx_descriptors: 256,
        tx_descriptors: 256,
        mtu: 1500,
        mac: None,
        promiscuous: false,
        rss: true,
    }
}

/// How many processors this thread may run on.
pub(crate) fn processors_allowed() -> usize {
    std::thread::available_parallelism()
        .expect("Linux tells")
        .get()
}

/// How many processors the machine lets this process have.
pub(crate) fn processors_online() -> usize {
    // The parent of this process has not been touched by EAL.
    let status = std::fs::read_to_string(format!(
        "/proc/{}/status",
        std::os::unix::process::parent_id()
    ))
    .expect("the parent lives");
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .expect("Linux tells")
        .trim()
        .to_string();
    list.split(',')
        .map(|range| match range.split_once('-') {
            Some((first, last)) => {
                last.parse::<usize>().expect("number") - first.parse::<usize>().expect("number") + 1
            }
            None => 1,
        })
        .sum()
}

/// Runs test `name` of this very binary again, in a process of its own that `wrapper` starts (a
/// command to which the binary and its arguments are appended), with `WEIR_CASE` set to `case`.
pub(crate) fn again(name: &str, case: &str, wrapper: &[&str]) -> Output {
    let binary = std::env::current_exe().expect("Linux tells");
    let binary = binary.to_str().expect("cargo's paths are text");
    let mut words = wrapper.to_vec();
    words.extend([binary, "--exact", name, "--nocapture"]);
    Command::new(words[0])
        .args(&words[1..])
        .env("WEIR_CASE", case)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", words[0]))
}
