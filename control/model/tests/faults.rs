//! What bad input gets: every fault at once, each with its place and its cure.

use weir_model::parse;

/// A valid file to break.
const GOOD: &str = r#"
[[port]]
name = "wan"
device = "net_null0"
addresses = ["192.0.2.1/24"]

[[port.vlan]]
id = 100

[[service]]
protocol = "tcp"
address = "192.0.2.100"
port = 80
name = "web"

[[service.server]]
address = "10.0.0.1"
method = "nat"
"#;

/// The faults of `text`, one per line.
fn faults(text: &str) -> Vec<String> {
    match parse(text, "w.toml") {
        Ok(_) => Vec::new(),
        Err(faults) => faults.to_string().lines().map(str::to_owned).collect(),
    }
}

/// The only fault of [`GOOD`] with `from` replaced by `to`.
fn fault_of(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} is not in the file");
    let faults = faults(&GOOD.replacen(from, to, 1));
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults[0].clone()
}

#[test]
fn x() {
    assert_eq!(faults(GOOD), Vec::<String>::new());
    let bad = r#"
wrokers = 3
[eal]
hugepages = true
memory_mb = -4
extra_args = ["-l", 3]
[workers]
cores = [1, 1, "2", 99999999999999999999999999]
idle = "bsy"
[limits]
services = 1.5
[[port]]
name = "wan-with-a-name"
device = "net_null0"
addresses = ["192.0.2.0/24", "10.0.0.1"]
[[port]]
name = "lan"
device = "net_null0,x=1"
twin = "weir-wan:"
[[port.vlan]]
id = 5000
[[route]]
to = "10.0.0.1/8"
via = "::1"
port = "wann"
[[service]]
protocol = "sctp"
address = "224.0.0.1"
[[service]]
protocol = "tcp"
address = "192.0.2.100"
port = 80
scheduler = "wlc"
[[service.server]]
address = "2001:db8::1"
method = "nat"
[[service.server]]
address = "10.0.0.1"
port = 81
method = "dr"
weight = 70000
wieght = 3
[[service.server]]
address = "10.0.0.1"
port = 81
[[service]]
protocol = "tcp"
address = "192.0.2.100"
port = 80
"#;
    for f in faults(bad) {
        eprintln!("{f}");
    }
    for f in faults("a = = 3\n[b\nc = 1\nc = 2\n") {
        eprintln!("{f}");
    }
    eprintln!("{}", fault_of("id = 100", "id = 0"));
}
