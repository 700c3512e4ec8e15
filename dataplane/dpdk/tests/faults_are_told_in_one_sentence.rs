//! What an operator reads when DPDK does not start: place and cure, and none of EAL's own lines.
//!
//! EAL starts once per process, so each case runs this binary again, in the test `case`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "how a case tells its parent"
)]

mod support;

use std::process::Output;

use weir_dpdk::{Eal, EalConfig, PortConfig, Ports};

/// Does what `WEIR_CASE` says and prints the error. Without it, this test does nothing.
#[test]
fn case() {
    let Ok(case) = std::env::var("WEIR_CASE") else {
        return;
    };
    let mut words = case.split_whitespace().map(str::to_string);
    let (kind, prefix) = (words.next().expect("kind"), support::unique("fault"));
    let rest: Vec<String> = words.collect();
    let (args, rest) = match kind.as_str() {
        "port" => (support::no_nic(&prefix), rest),
        _ => (
            rest.iter()
                .map(|word| word.replace("PREFIX", &prefix))
                .collect(),
            Vec::new(),
        ),
    };
    let eal = match Eal::init(&EalConfig { args }) {
        Err(error) => return say(&error, &prefix),
        Ok(eal) => eal,
    };
    let workers = rest.get(1).map_or(1, |n| n.parse().expect("a number"));
    let mtu = rest.get(2).map_or(1500, |n| n.parse().expect("a number"));
    let configs: Vec<PortConfig> = rest.first().map_or(Vec::new(), |devices| {
        devices
            .split('+')
            .map(|device| PortConfig {
                mtu,
                ..support::port(device)
            })
            .collect()
    });
    match Ports::bring_up(&eal, &configs, workers, 0) {
        Ok(_) => println!("NO ERROR"),
        Err(error) => {
            drop(eal);
            say(&error, &prefix);
        }
    }
}

fn say(error: &dyn std::error::Error, prefix: &str) {
    assert!(
        !support::runtime_dir(prefix).exists(),
        "nothing is left behind"
    );
    println!("ERROR {error}");
}

/// The sentence that a case ends with, having checked that nothing else was printed.
fn sentence(case: &str, wrapper: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = support::again("case", case, wrapper);
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{case}: {status}\n{stdout}\n{stderr}");
    assert_eq!(stderr, "", "{case}: only the sentence is printed");
    let mut lines = stdout.lines().filter(|line| {
        !line.is_empty() && !line.starts_with("running ") && !line.starts_with("test ")
    });
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("{case}: {stdout}"))
        .to_string();
    assert_eq!(lines.next(), None, "{case}: only the sentence is printed");
    eprintln!("{case}\n    {line}");
    line
}

fn expect(case: &str, texts: &[&str]) {
    let line = sentence(case, &[]);
    for text in texts {
        assert!(line.contains(text), "{case}: `{text}` is not in: {line}");
    }
}

#[test]
fn faults_of_eal_arguments_name_the_argument() {
    expect(
        "eal --no-huge -m 64 --no-pci --file-prefix PREFIX --foo",
        &["--foo"],
    );
    expect(
        "eal --no-huge -m 64 --no-pci --file-prefix PREFIX --vdev",
        &["--vdev"],
    );
    expect(
        "eal --no-huge -m 64 --no-pci --file-prefix PREFIX -l 99",
        &["99"],
    );
    expect(
        "eal --no-huge -m 64 --no-pci --file-prefix PREFIX -l abc",
        &["core list"],
    );
    expect(
        "eal --no-huge -m 64 --no-pci --file-prefix PREFIX stray",
        &["`stray`", "no option"],
    );
    expect("eal -h", &["`-h`", "remove it"]);
    expect(
        "eal --no-huge -m 64 --no-pci --file-prefix PREFIX --vdev net_nope0",
        &["net_nope0"],
    );
    expect(
        "eal --no-huge -m 999999999 --no-pci --file-prefix PREFIX",
        &["memory", "`-m`"],
    );
}

#[test]
fn a_missing_plug_in_is_named() {
    expect(
        "eal --no-huge -m 64 --no-pci --file-prefix PREFIX -d /nonexistent/librte_net_x.so",
        &["/nonexistent/librte_net_x.so", "No such file", "`-d`"],
    );
}

#[test]
fn missing_huge_pages_are_told_with_the_cure() {
    let reserved = std::fs::read_to_string("/proc/sys/vm/nr_hugepages").expect("Linux tells");
    if reserved.trim() != "0" {
        eprintln!("skipped: this machine has huge pages");
        return;
    }
    expect(
        "eal --no-pci --file-prefix PREFIX",
        &["no huge pages", "nr_hugepages", "--no-huge"],
    );
}

#[test]
fn a_file_prefix_in_use_is_told_and_its_owner_not_disturbed() {
    let prefix = support::unique("owner");
    let args = support::no_nic(&prefix);
    let owner = Eal::init(&EalConfig { args }).expect("EAL starts");
    let case = format!("eal --no-huge -m 64 --no-pci --file-prefix {prefix}");
    expect(&case, &["another DPDK process", &prefix, "--file-prefix"]);
    assert!(support::runtime_dir(&prefix).join("config").exists());
    drop(owner);
    assert!(!support::runtime_dir(&prefix).exists());
}

#[test]
fn faults_of_a_port_name_its_device() {
    expect("port net_nope0", &["`net_nope0`", "no driver", "`-d PATH`"]);
    expect("port 0000:99:00.0", &["`0000:99:00.0`", "--no-pci"]);
    expect("port ,iface=x", &["names no device"]);
    expect("port net_null0+net_null0", &["`net_null0`", "two ports"]);
    expect(
        "port net_pcap0,rx_pcap=/nonexistent.pcap",
        &["net_pcap0", "/nonexistent.pcap"],
    );
    expect(
        "port net_af_packet0,iface=nosuch0",
        &["net_af_packet0", "nosuch0"],
    );
    expect("port net_ring0 200", &["`net_ring0`", "200 worker(s)"]);
    expect("port net_tap0,iface=wf0 2 9", &["mtu 9", "it takes"]);
    expect(
        "port net_null0 1 60000",
        &["frame pool needs", "MB", "`-m`"],
    );
}

#[test]
fn a_user_who_may_not_open_a_tap_is_told_so() {
    // Root without capabilities: the files of EAL can be made, the interface cannot.
    let line = sentence(
        "port net_tap0,iface=wf1",
        &["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"],
    );
    assert!(
        line.contains("net_tap0,iface=wf1") && line.contains("CAP_NET_ADMIN"),
        "{line}"
    );
}
