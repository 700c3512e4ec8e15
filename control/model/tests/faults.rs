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
fn a_good_file_has_no_fault() {
    assert_eq!(faults(GOOD), Vec::<String>::new());
}

#[test]
fn every_fault_is_told_at_once_in_the_order_of_the_file() {
    let bad = r#"
wrokers = 3
[eal]
hugepages = true
memory_mb = -4
[workers]
cores = [1, 1, "2", 99999999999999999999999999]
[[service]]
protocol = "dccp"
address = "224.0.0.1"
"#;
    assert_eq!(
        faults(bad),
        [
            "w.toml:1:1: port: there is no port; give at least one [[port]] with a name and a device",
            "w.toml:2:1: wrokers: is not a known key; did you mean workers?",
            "w.toml:4:1: eal.hugepages: is not a known key; did you mean huge_pages?",
            "w.toml:5:13: eal.memory_mb: -4 is less than 64; give MiB from 64 to 1048576",
            "w.toml:7:13: workers.cores[1]: core 1 is named twice; name each core once: a core carries one worker",
            "w.toml:7:16: workers.cores[2]: is the text \"2\" and not a whole number; give core numbers from 0 to 1023",
            "w.toml:7:21: workers.cores[3]: 99999999999999999999999999 is more than 1023; give core numbers from 0 to 1023",
            "w.toml:8:1: service[0].port: is missing; give a port from 0 to 65535",
            "w.toml:9:12: service[0].protocol: \"dccp\" is not a protocol; give tcp, udp or sctp",
            "w.toml:10:11: service[0].address: 224.0.0.1 is multicast and a service cannot have it; give a unicast address",
        ]
    );
}

#[test]
fn text_that_is_not_toml_is_told_with_its_places() {
    let faults = faults("a = = 3\n[b\n");
    assert!(faults[0].starts_with("w.toml:1:5: "), "{faults:#?}");
    assert!(
        faults.iter().any(|fault| fault.starts_with("w.toml:2:3: ")),
        "{faults:#?}"
    );
}

#[test]
fn a_key_given_twice_is_told() {
    let fault = fault_of("port = 80\n", "port = 80\nport = 81\n");
    assert!(fault.contains("duplicate key"), "{fault}");
}

#[test]
fn columns_count_characters_and_not_bytes() {
    let fault = fault_of("name = \"web\"", "name = \"wéb\" }");
    assert!(fault.starts_with("w.toml:14:14: "), "{fault}");
}

/// Each line: what is replaced, by what, and what the one fault says.
const SINGLE: &[(&str, &str, &str)] = &[
    // Ports.
    (
        "name = \"wan\"",
        "name = \"a-longer-name\"",
        "3:8: port[0].name: its twin would be",
    ),
    ("name = \"wan\"", "name = \"w n\"", "is not a port's name"),
    (
        "name = \"wan\"",
        "name = \"wan\"\ntwin = \"a/b\"",
        "cannot be an interface's name",
    ),
    (
        "name = \"wan\"",
        "name = \"wan\"\ntwin = \"\"",
        "or false for no twin",
    ),
    (
        "name = \"wan\"",
        "name = \"wan\"\ntwin = true",
        "is true and not text in quotes, or false",
    ),
    (
        "name = \"wan\"",
        "name = \"wan\"\ntwin = \"twelve-chars\"",
        "longer than 15 characters; give the port a shorter twin",
    ),
    (
        "name = \"wan\"",
        "name = \"wan\"\nmac = \"03:00:00:00:00:01\"",
        "not the address of one machine",
    ),
    (
        "name = \"wan\"",
        "name = \"wan\"\nmac = \"0200.0000.0001\"",
        "is not a MAC address",
    ),
    (
        "name = \"wan\"",
        "name = \"wan\"\nmtu = 500",
        "500 is less than 576; give bytes from 576 to 9216",
    ),
    (
        "name = \"wan\"",
        "name = \"wan\"\nmtu = 1500.0",
        "is the number 1500.0 and not a whole number",
    ),
    ("\"net_null0\"", "\"\"", "is not a DPDK device"),
    (
        "\"net_null0\"",
        "\"net_tap0,iface=weir-wan\"",
        "interface weir-wan is also at port[0].device",
    ),
    (
        "192.0.2.1/24",
        "192.0.2.1",
        "give its prefix too, such as \"192.0.2.1/24\"",
    ),
    ("192.0.2.1/24", "192.0.2.0/24", "its network's own address"),
    (
        "192.0.2.1/24",
        "192.0.2.255/24",
        "its network's broadcast address",
    ),
    (
        "192.0.2.1/24",
        "192.0.2.1/33",
        "is not an address with a prefix",
    ),
    ("192.0.2.1/24", "127.0.0.1/8", "loopback"),
    (
        "[\"192.0.2.1/24\"]",
        "[\"192.0.2.1/24\", \"192.0.2.1/24\"]",
        "address 192.0.2.1 is also at port[0].addresses",
    ),
    (
        "[\"192.0.2.1/24\"]",
        "\"192.0.2.1/24\"",
        "and not a list in brackets",
    ),
    (
        "[\"192.0.2.1/24\"]",
        "[\"2001:db8::1/64\"]\nmtu = 1000",
        "IPv6 needs an mtu of at least 1280",
    ),
    ("id = 100", "id = 4095", "4095 is more than 4094"),
    (
        "id = 100",
        "id = 100\n[[port.vlan]]\nid = 100",
        "the port has VLAN 100 already",
    ),
    (
        "id = 100",
        "id = 100\naddresses = [\"192.0.2.1/25\"]",
        "address 192.0.2.1 is also at",
    ),
    (
        "[[port]]",
        "[eal]\npci = false\n[[port]]\nname = \"nic\"\ndevice = \"0000:01:00.0\"\n[[port]]",
        "set eal.pci = true",
    ),
    (
        "[[port]]",
        "[[port]]\nname = \"b\"\ndevice = \"net_null0,size=64\"\n[[port]]",
        "device net_null0 is also at port[0].device",
    ),
    (
        "[[port]]",
        "[[port]]\nname = \"wan\"\ndevice = \"net_null1\"\ntwin = false\n[[port]]",
        "port wan is also at port[0].name",
    ),
    // Routes and neighbours.
    (
        "[[service]]",
        "[[route]]\nto = \"10.0.0.1/8\"\nport = \"wan\"\n[[service]]",
        "bits set beyond its prefix; give \"10.0.0.0/8\"",
    ),
    (
        "[[service]]",
        "[[route]]\nto = \"10.0.0.0/8\"\nport = \"wna\"\n[[service]]",
        "there is no port \"wna\"; give one of: wan",
    ),
    (
        "[[service]]",
        "[[route]]\nto = \"10.0.0.0/8\"\nvia = \"fe80::1\"\nport = \"wan\"\n[[service]]",
        "not of the same family",
    ),
    (
        "[[service]]",
        "[[route]]\nto = \"10.0.0.0/8\"\nport = \"wan\"\nvlan = 5\n[[service]]",
        "port \"wan\" has no VLAN 5",
    ),
    (
        "[[service]]",
        "[[route]]\nto = \"10.0.0.0/8\"\nport = \"wan\"\n[[route]]\nto = \"10.0.0.0/8\"\nport = \"wan\"\n[[service]]",
        "route 10.0.0.0/8 is also at route[0].to",
    ),
    (
        "[[service]]",
        "[[neighbour]]\naddress = \"10.0.0.9\"\nmac = \"00:00:00:00:00:00\"\nport = \"wan\"\n[[service]]",
        "not the address of one machine",
    ),
    // Services and servers.
    (
        "address = \"192.0.2.100\"",
        "address = \"0.0.0.0\"",
        "the unspecified address",
    ),
    (
        "address = \"192.0.2.100\"",
        "address = \"255.255.255.255\"",
        "broadcast",
    ),
    (
        "address = \"192.0.2.100\"",
        "address = \"fe80::1\"",
        "is link-local",
    ),
    (
        "address = \"192.0.2.100\"",
        "address = \"192.0.2.100/32\"",
        "give \"192.0.2.100\"",
    ),
    (
        "address = \"192.0.2.100\"",
        "address = \"2001:db8::1\"",
        "10.0.0.1 is IPv4 and the service's address 2001:db8::1 is IPv6",
    ),
    (
        "10.0.0.1\"",
        "127.0.0.1\"",
        "127.0.0.1 is the director itself, and nat cannot rewrite to it; give method = \"dr\"",
    ),
    (
        "port = 80",
        "port = 0",
        "port 0, every port, needs persistence; give persistence_timeout, or a port from 1 to 65535",
    ),
    (
        "protocol = \"tcp\"",
        "mark = 10",
        "service[0].mark: a service goes by mark or by protocol, address and port; leave one out",
    ),
    ("port = 80", "port = 80\nmark = 0", "0 is less than 1"),
    (
        "port = 80",
        "port = 80\nfamily = \"ipv6\"",
        "ipv6 is not the family of 192.0.2.100",
    ),
    (
        "port = 80",
        "port = 80\nscheduler = \"sh\"\nscheduler_flags = [\"mh-port\"]",
        "\"mh-port\" is no flag of sh; give sh-fallback, sh-port, flag-3",
    ),
    (
        "port = 80",
        "port = 80\none_packet = true",
        "one_packet is for UDP",
    ),
    (
        "port = 80",
        "port = 80\npersistence_timeout = 0",
        "0 is less than 1",
    ),
    (
        "port = 80",
        "port = 80\npersistence_mask = \"64\"",
        "\"64\" is no mask of IPv4; give a mask such as \"255.255.255.0\"",
    ),
    (
        "port = 80",
        "port = 80\npersistence_engine = \"rtp\"",
        "\"rtp\" is not a persistence engine; give sip",
    ),
    (
        "method = \"nat\"",
        "method = \"nat\"\nlower_threshold = 2",
        "2 is more than the upper threshold 0",
    ),
    (
        "method = \"nat\"",
        "method = \"nat\"\ntunnel = \"gre\"",
        "server[0].tunnel: is for method tun, and this is nat; leave it out",
    ),
    (
        "method = \"nat\"",
        "method = \"tun\"\ntunnel = \"gue\"",
        "tunnel_port: gue needs the UDP port",
    ),
    (
        "method = \"nat\"",
        "method = \"tun\"\ntunnel_checksum = \"full\"",
        "ipip has no checksum \"full\"; give \"none\"",
    ),
    (
        "[[service]]",
        "[[mark]]\nmark = 1\nprotocol = \"tcp\"\ndestination_ports = \"0-9\"\n[[service]]",
        "mark[0].destination_ports: \"0-9\" is not a range of ports",
    ),
    (
        "[[service]]",
        "[[mark]]\nmark = 1\ndestination_ports = \"80\"\n[[service]]",
        "mark[0].destination_ports: without a protocol there are no ports",
    ),
    (
        "[[service]]",
        "[[mark]]\nmark = 1\nsource = \"::/0\"\ndestination = \"192.0.2.1\"\n[[service]]",
        "mark[0].destination: is of another family than source, IPv6",
    ),
    (
        "[[service]]",
        "[[mark]]\nmark = 1\nsource = \"192.0.2.1/24\"\n[[service]]",
        "192.0.2.1/24 has bits beyond its prefix; give 192.0.2.0/24",
    ),
    (
        "[[service]]",
        "[[mark]]\nmark = 1\ninterface = \"lan\"\n[[service]]",
        "mark[0].interface: there is no port \"lan\"; give one of: wan",
    ),
    (
        "[[port]]",
        "[ipvs]\nsecure_tcp = 4\n[[port]]",
        "ipvs.secure_tcp: 4 is more than 3",
    ),
    (
        "port = 80",
        "port = 80\nscheduler = \"wlcc\"",
        "\"wlcc\" is not a scheduler; give rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos, maglev or none",
    ),
    (
        "port = 80",
        "port = 80\nshceduler = \"rr\"",
        "is not a known key; did you mean scheduler?",
    ),
    ("name = \"web\"", "name = \"\"", "is not a name"),
    (
        "address = \"10.0.0.1\"",
        "address = \"192.0.2.100\"",
        "is the service's own address",
    ),
    (
        "method = \"nat\"",
        "",
        "server[0].method: is missing; give a forwarding method: nat, dr, tun or fullnat",
    ),
    (
        "method = \"nat\"",
        "method = \"dr\"\nport = 81",
        "81 is not the service's port 80, and dr cannot map ports; give 80, or method = \"nat\" or \"fullnat\"",
    ),
    (
        "method = \"nat\"",
        "method = \"nat\"\nweight = 2147483648",
        "server[0].weight: 2147483648 is more than 2147483647; give a weight from 0 to 2147483647",
    ),
    (
        "method = \"nat\"",
        "method = \"nat\"\n[[service.server]]\naddress = \"10.0.0.1\"\nmethod = \"tun\"",
        "10.0.0.1:80 is the same server as service[0].server[0]",
    ),
    (
        "method = \"nat\"",
        "method = \"nat\"\n[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.100\"\nport = 80",
        "service[1]: tcp 192.0.2.100:80 is the same service as service[0]",
    ),
    (
        "method = \"nat\"",
        "method = \"nat\"\n[limits]\nservers = 0",
        "0 is less than 1",
    ),
    // FullNAT.
    (
        "method = \"nat\"",
        "method = \"fullnat\"",
        "10:1: service[0].local_addresses: is missing, and server 10.0.0.1:80 has method fullnat; give addresses",
    ),
    (
        "port = 80",
        "port = 80\nlocal_addresses = [\"2001:db8::1\"]",
        "14:20: service[0].local_addresses[0]: 2001:db8::1 is IPv6 and the service is IPv4; give an IPv4 address",
    ),
    (
        "port = 80",
        "port = 80\nlocal_addresses = [\"10.0.0.200\", \"10.0.0.200\"]",
        "local_addresses[1]: 10.0.0.200 is also at service[0].local_addresses[0]; give each address once",
    ),
    (
        "port = 80",
        "port = 80\nlocal_addresses = [\"224.0.0.1\"]",
        "224.0.0.1 is multicast and a local end cannot have it; give a unicast address",
    ),
    (
        "port = 80",
        "port = 80\nlocal_addresses = [\"192.0.2.100\"]",
        "local_addresses[0]: 192.0.2.100 is a service's address, at service[0]; give an address that nobody else has",
    ),
    (
        "port = 80",
        "port = 80\nlocal_addresses = [\"10.0.0.1\"]",
        "local_addresses[0]: 10.0.0.1 is a real server's address, at service[0].server[0]",
    ),
    (
        "port = 80",
        "port = 80\nlocal_addresses = \"10.0.0.200\"",
        "and not a list in brackets",
    ),
    (
        "port = 80",
        "port = 80\nlocal_ports = \"2000-1000\"",
        "14:15: service[0].local_ports: \"2000-1000\" is not a range of ports; give the first and the last from 1 to 65535, such as \"1024-65535\"",
    ),
    (
        "port = 80",
        "port = 80\nlocal_ports = \"0-65535\"",
        "is not a range of ports",
    ),
    (
        "port = 80",
        "port = 80\nlocal_ports = 1024",
        "is the number 1024 and not text in quotes",
    ),
    // The rest.
    (
        "[[port]]",
        "[eal]\nextra_args = [\"--file-prefix=x\"]\n[[port]]",
        "use eal.file_prefix",
    ),
    (
        "[[port]]",
        "[workers]\ncores = []\n[[port]]",
        "no core is named",
    ),
    (
        "[[port]]",
        "[workers]\nidle = \"lazy\"\n[[port]]",
        "give busy or adaptive",
    ),
    (
        "[[port]]",
        "[metrics]\nlisten = \"localhost\"\n[[port]]",
        "is not an address with a port",
    ),
    (
        "[[port]]",
        "[control]\nsocket = \"weir.sock\"\n[[port]]",
        "give an absolute path",
    ),
    (
        "[[port]]",
        "[control]\nsocket_mode = \"0888\"\n[[port]]",
        "is not a file mode",
    ),
    (
        "[[port]]",
        "[log]\nlevel = \"loud\"\n[[port]]",
        "give error, warn, info, debug or trace",
    ),
    (
        "[[port]]",
        "log = 3\n[[port]]",
        "w.toml:2:7: log: is the number 3 and not a table, [log]",
    ),
    (
        "[[service]]",
        "[[service]]\nport = 81\n[[service]]",
        "service[0].protocol: is missing",
    ),
];

#[test]
fn each_fault_has_its_key_problem_and_cure() {
    for (from, to, wanted) in SINGLE {
        assert!(GOOD.contains(from), "{from:?} is not in the file");
        let faults = faults(&GOOD.replacen(from, to, 1));
        assert!(
            faults.iter().any(|fault| fault.contains(wanted)),
            "{to:?} should give {wanted:?} and gives {faults:#?}"
        );
    }
}

#[test]
fn one_mistake_is_one_fault() {
    for (from, to, _) in SINGLE
        .iter()
        .filter(|(_, to, _)| !to.contains("[[service]]\nport"))
    {
        fault_of(from, to);
    }
}

#[test]
fn more_than_the_limits_is_a_fault_at_the_limit() {
    let mut text = format!("[limits]\nservices = 1\n{GOOD}");
    text += "[[service]]\nprotocol = \"udp\"\naddress = \"192.0.2.100\"\nport = 53\n";
    assert_eq!(
        faults(&text),
        [
            "w.toml:2:12: limits.services: the file has 2 services, and the limit is 1; give 2 or more"
        ]
    );
}

#[test]
fn methods_have_the_names_of_the_lvs_world_too() {
    use weir_model::Method;
    for (word, method) in [
        ("masq", Method::Nat),
        ("gate", Method::Dr),
        ("route", Method::Dr),
        ("ipip", Method::Tun),
        ("tunnel", Method::Tun),
        ("fullnat", Method::FullNat),
        ("fnat", Method::FullNat),
    ] {
        let text = GOOD.replace("\"nat\"", &format!("{word:?}"));
        let text = text.replace("port = 80", "port = 80\nlocal_addresses = [\"10.0.0.200\"]");
        let config = parse(&text, "w.toml").expect("valid").config;
        assert_eq!(config.services[0].servers[0].method, method);
    }
}

/// [`GOOD`] with a FullNAT server and these keys in its service.
fn fullnat(keys: &str) -> String {
    GOOD.replace("\"nat\"", "\"fullnat\"\nport = 8080")
        .replace("port = 80\n", &format!("port = 80\n{keys}\n"))
}

#[test]
fn a_service_has_its_local_ends_and_maps_ports() {
    let text = fullnat("local_addresses = [\"10.0.0.200\", \"10.0.0.201\"]");
    let config = parse(&text, "w.toml").expect("valid").config;
    let service = &config.services[0];
    let addresses: Vec<String> = service
        .local_addresses
        .iter()
        .map(|a| a.to_string())
        .collect();
    assert_eq!(addresses, ["10.0.0.200", "10.0.0.201"]);
    assert_eq!(service.local_ports.to_string(), "1024-65535");
    assert_eq!(service.servers[0].port, 8080);
}

#[test]
fn services_may_share_local_addresses() {
    let one = fullnat("local_addresses = [\"10.0.0.200\"]");
    let service = &one[one.find("[[service]]").expect("one")..];
    let other = service.replacen("port = 80\n", "port = 81\n", 1);
    let other = other.replace("\"web\"", "\"other\"");
    assert_eq!(faults(&format!("{one}{other}")), Vec::<String>::new());
}

#[test]
fn a_local_address_that_another_service_or_its_server_has_is_told() {
    let one = fullnat("local_addresses = [\"192.0.2.101\", \"10.0.0.9\"]");
    let other = "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.101\"\nport = 80\n\
         [[service.server]]\naddress = \"10.0.0.9\"\nmethod = \"dr\"\n";
    let faults = faults(&format!("{one}{other}"));
    assert_eq!(faults.len(), 2, "{faults:#?}");
    assert!(
        faults[0].contains("a service's address, at service[1];"),
        "{faults:#?}"
    );
    assert!(
        faults[1].contains("a real server's address, at service[1].server[0];"),
        "{faults:#?}"
    );
}

#[test]
fn more_than_64_local_addresses_is_a_fault_and_64_are_not() {
    let keys = |count| {
        let addresses: Vec<String> = (0..count).map(|n| format!("10.0.1.{n}")).collect();
        format!("local_addresses = {addresses:?}")
    };
    assert_eq!(faults(&fullnat(&keys(64))), Vec::<String>::new());
    let faults = faults(&fullnat(&keys(65)));
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(
        faults[0].ends_with("has 65 addresses; give at most 64"),
        "{faults:#?}"
    );
}

#[test]
fn fewer_local_ports_than_workers_is_a_fault() {
    let keys = "local_addresses = [\"10.0.0.200\"]\nlocal_ports = \"5000-5002\"";
    let text = format!("[workers]\ncores = [1, 2, 3, 4]\n{}", fullnat(keys));
    assert_eq!(
        faults(&text),
        [
            "w.toml:17:15: service[0].local_ports: 5000-5002 is too few for 4 workers; give 4 ports or more: no two workers use the same"
        ]
    );
}

#[test]
fn false_means_none() {
    let text = GOOD.replace("name = \"wan\"", "name = \"wan\"\ntwin = false");
    let text = format!("[metrics]\nlisten = false\n{text}");
    let config = parse(&text, "w.toml").expect("valid").config;
    assert_eq!(config.ports[0].twin, None);
    assert_eq!(config.metrics.listen, None);
}

#[test]
fn any_cut_of_a_file_is_read_without_a_panic() {
    let text = include_str!("../../../conf/weir.toml");
    for (at, _) in text.char_indices().step_by(7) {
        let _ = parse(&text[..at], "w.toml");
    }
}

#[test]
fn a_file_of_many_faults_is_read_in_linear_time() {
    let mut text = GOOD.to_owned();
    for server in 0..20_000 {
        let (high, low) = (server / 250, server % 250 + 1);
        text += "[[service.server]]\nmethod = \"nta\"\n";
        text += &format!("address = \"10.1.{high}.{low}\"\n");
    }
    // Of 65 536 faults, each counting the lines before it, the places took 220 s; now 0.9 s for all.
    let start = std::time::Instant::now();
    assert_eq!(faults(&text).len(), 20_000);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn the_whole_vocabulary_of_ipvs_is_read() {
    let more = r#"
[[mark]]
mark = 10
protocol = "tcp"
source = "198.51.100.0/24"
destination = "192.0.2.100"
destination_ports = ["80", "440-443"]
interface = "wan"

[[service]]
mark = 10
scheduler = "sh"
scheduler_flags = ["sh-port", "flag-1"]
persistence_timeout = 600
persistence_mask = "255.255.255.0"

[[service.server]]
address = "2001:db8::1"
method = "tun"
tunnel = "gue"
tunnel_port = 6080
tunnel_checksum = "remote"
upper_threshold = 10
lower_threshold = 5

[[service]]
protocol = "sctp"
address = "2001:db8::100"
port = 0
persistence_timeout = 1
persistence_mask = "64"
"#;
    let file = parse(&(GOOD.to_owned() + more), "w.toml").expect("valid");
    let services = &file.config.services;
    assert_eq!(
        file.config.marks[0].to_string(),
        "mark 10: tcp from 198.51.100.0/24 to 192.0.2.100/32 ports 80,440-443 by wan"
    );
    assert_eq!(services[1].key.to_string(), "mark 10");
    let words = services[1].scheduler_flags.words(services[1].scheduler);
    assert_eq!(words, ["sh-fallback", "sh-port"]);
    assert_eq!(services[1].persistence_mask.to_string(), "255.255.255.0");
    let server = &services[1].servers[0];
    assert_eq!((server.port, server.tunnel_port), (0, 6080));
    assert_eq!((server.upper_threshold, server.lower_threshold), (10, 5));
    assert_eq!(services[2].key.to_string(), "sctp [2001:db8::100]:0");
    assert_eq!(services[2].persistence_mask.to_string(), "64");
}
