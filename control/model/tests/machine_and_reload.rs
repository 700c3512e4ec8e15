//! What the machine lacks, and what a reload cannot change.

use std::path::PathBuf;

use weir_model::{ConfigFile, MachineFacts, parse, restart_needed};

const FILE: &str = r#"
[eal]
plugins = ["/opt/pmd.so", "librte_net_x.so"]
[workers]
cores = [1, 5]
[[port]]
name = "wan"
device = "net_null0"
[[port]]
name = "lan"
device = "net_null1"
[[service]]
protocol = "tcp"
address = "192.0.2.100"
port = 80
[[service.server]]
address = "10.0.0.1"
method = "nat"
"#;

fn file(text: &str) -> ConfigFile {
    parse(text, "w.toml").unwrap_or_else(|faults| panic!("{faults}"))
}

/// A machine that has all that [`FILE`] asks for.
fn enough() -> MachineFacts {
    MachineFacts {
        cores: (0..8).collect(),
        huge_pages_mb: 512,
        memory_mb: 4096,
        paths_missing: Vec::new(),
    }
}

/// Faults of [`FILE`] on a machine that is `enough()` but for what `change` does.
fn lacking(change: impl Fn(&mut MachineFacts)) -> Vec<String> {
    let mut facts = enough();
    change(&mut facts);
    match file(FILE).check_machine(&facts) {
        Ok(()) => Vec::new(),
        Err(faults) => faults.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn a_machine_that_has_all_is_not_complained_about() {
    assert_eq!(lacking(|_| ()), Vec::<String>::new());
}

#[test]
fn a_core_that_does_not_exist_is_told_at_its_place() {
    assert_eq!(
        lacking(|facts| facts.cores = vec![0, 1, 2, 7]),
        ["w.toml:5:13: workers.cores[1]: there is no core 5; this process may use cores 0-2,7"]
    );
}

#[test]
fn missing_huge_pages_are_told_with_the_command_that_reserves_them() {
    let faults = lacking(|facts| facts.huge_pages_mb = 64);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(
        faults[0].contains("eal.memory_mb: 512 MiB are wanted"),
        "{faults:#?}"
    );
    assert!(faults[0].contains("vm.nr_hugepages=256"), "{faults:#?}");
}

#[test]
fn paths_that_must_exist_are_named_and_missing_ones_told() {
    let wanted = ["/opt/pmd.so", "/run/weir"].map(PathBuf::from);
    assert_eq!(file(FILE).paths_needed(), wanted);
    let faults = lacking(|facts| facts.paths_missing = wanted.to_vec());
    assert_eq!(faults.len(), 2, "{faults:#?}");
    assert!(
        faults
            .iter()
            .any(|f| f.contains("eal.plugins[0]: there is no file /opt/pmd.so"))
    );
    assert!(
        faults
            .iter()
            .any(|f| f.contains("control.socket: there is no directory /run/weir"))
    );
}

#[test]
fn services_addresses_and_timeouts_reload() {
    let old = file(FILE);
    let text =
        FILE.replace(
            "address = \"10.0.0.1\"",
            "address = \"10.0.0.2\"\nweight = 0",
        )
        .replace(
            "name = \"wan\"",
            "name = \"wan\"\naddresses = [\"192.0.2.1/24\"]",
        ) + "[timeouts]\nudp = 30\n[log]\nlevel = \"debug\"\n[settings]\npmtu_disc = false\n"
            + "[[route]]\nto = \"0.0.0.0/0\"\nport = \"wan\"\n";
    let new = file(&text);
    assert_ne!(old.config, new.config);
    assert_eq!(
        restart_needed(&old.config, &new.config),
        Vec::<String>::new()
    );
    assert_eq!(new.check_reload(&old.config), Ok(()));
}

#[test]
fn what_needs_a_restart_is_told_with_its_place() {
    let old = file(FILE);
    let new = file(&FILE.replace("cores = [1, 5]", "cores = [1]").replace(
        "\"net_null1\"",
        "\"net_null1\"\nmtu = 9000\n[[port.vlan]]\nid = 5",
    ));
    assert_eq!(
        restart_needed(&old.config, &new.config),
        ["workers.cores", "port[1].mtu", "port[1].vlan"]
    );
    let faults = new.check_reload(&old.config).expect_err("a restart");
    assert_eq!(
        faults.to_string().lines().next(),
        Some(
            "w.toml:5:9: workers.cores: a reload cannot change it; restart weird, or put the \
             old value back"
        )
    );
}

#[test]
fn another_number_of_ports_needs_a_restart() {
    let old = file(FILE);
    let new = file(&format!(
        "{FILE}[[port]]\nname = \"c\"\ndevice = \"net_null2\"\n"
    ));
    assert_eq!(restart_needed(&old.config, &new.config), ["port"]);
    assert_eq!(restart_needed(&new.config, &old.config), ["port"]);
}
