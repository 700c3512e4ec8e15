//! What bad input gets: exit status 2 for the configuration, 1 for the machine, and a sentence with
//! place and cure.

mod support;

use std::net::TcpListener;
use std::process::Command;

use support::{Place, refused, told, weird};

#[test]
fn a_valid_file_is_told_to_be_so() {
    let place = Place::new();
    let file = place.write(&place.config(""));
    let output = weird().arg("check").arg(&file).output().expect("it runs");
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.ends_with("is valid: 1 port, 1 worker, 0 services\n"),
        "{said}"
    );
}

#[test]
fn the_shipped_files_are_valid() {
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conf");
    let examples = std::fs::read_dir(format!("{conf}/examples")).expect("it is there");
    let mut files: Vec<_> = examples.map(|file| file.expect("listed").path()).collect();
    files.push(format!("{conf}/weir.toml").into());
    for file in files {
        let output = weird().arg("check").arg(&file).output().expect("it runs");
        let (status, said) = told(output);
        assert_eq!(status, Some(0), "{said}");
    }
}

#[test]
fn check_tells_every_fault_at_once_with_line_and_cure() {
    let place = Place::new();
    let service = "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.300\"\nport = 80\n\
         shceduler = \"rr\"\n[[service.server]]\naddress = \"10.0.0.1\"\nweight = 7000000000\nmethod = \"nat\"\n";
    let file = place.write(&place.config(service));
    let (status, said) = told(weird().arg("check").arg(&file).output().expect("it runs"));
    assert_eq!(status, Some(2), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    for (line, words) in lines.iter().zip(["192.0.2.300", "shceduler", "7000000000"]) {
        let place = format!("weird: {}:", file.display());
        assert!(line.starts_with(&place) && line.contains(words), "{line}");
    }
    assert_eq!(refused(&file), (Some(2), said), "the daemon says the same");
}

#[test]
fn a_missing_file_is_a_fault_of_the_configuration() {
    let (status, said) = refused(&Place::new().path("none.toml"));
    assert_eq!(status, Some(2));
    assert!(
        said.contains("none.toml cannot be read") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn the_version_names_dpdks() {
    let output = weird().arg("--version").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.starts_with("weird ") && said.contains("DPDK "),
        "{said}"
    );
}

#[test]
fn a_core_that_does_not_exist_is_a_warning_to_check_and_a_fault_to_the_daemon() {
    let place = Place::new();
    let file = place.write(&place.config("").replace("cores = [0]", "cores = [1023]"));
    let (status, said) = told(weird().arg("check").arg(&file).output().expect("it runs"));
    assert_eq!(status, Some(0));
    assert!(
        said.contains("warning") && said.contains("no core 1023"),
        "{said}"
    );
    let (status, said) = refused(&file);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("workers.cores[0]: there is no core 1023"),
        "{said}"
    );
}

#[test]
fn huge_pages_that_are_not_there_are_told_before_dpdk_starts() {
    let place = Place::new();
    let config = place.config("");
    let config = config.replace("huge_pages = false", "huge_pages = true");
    let file = place.write(&config.replace("memory_mb = 64", "memory_mb = 1048576"));
    let (status, said) = refused(&file);
    assert_eq!(status, Some(1));
    assert!(said.contains("huge pages; reserve them"), "{said}");
}

#[test]
fn a_device_that_no_driver_knows_is_told_with_its_name() {
    let place = Place::new();
    let file = place.write(&place.config("").replace("net_null0", "net_nosuch0"));
    let (status, said) = refused(&file);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("net_nosuch0") && said.lines().count() == 1,
        "{said}"
    );
    assert!(
        !place.path("weir.sock").exists(),
        "what was made is removed"
    );
}

#[test]
fn a_metrics_port_in_use_is_told_with_its_cure() {
    let held = TcpListener::bind("127.0.0.1:0").expect("any port");
    let address = held.local_addr().expect("it is bound");
    let place = Place::new();
    let file = place.write(&place.config(&format!("[metrics]\nlisten = \"{address}\"\n")));
    let (status, said) = refused(&file);
    assert_eq!(status, Some(1));
    assert!(
        said.contains(&format!("metrics.listen {address}: another process")),
        "{said}"
    );
}

/// Without CAP_NET_ADMIN there is no twin; the test's own user has it or not.
#[test]
fn a_twin_without_privilege_is_told_with_its_cure() {
    let place = Place::new();
    let config = place.config("[metrics]\nlisten = false\n");
    let file = place.write(&config.replace("twin = false", "twin = \"weir-test\""));
    let output = Command::new("setpriv")
        .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"])
        .arg(env!("CARGO_BIN_EXE_weird"))
        .arg("--config")
        .arg(&file)
        .output();
    let (status, said) =
        told(output.expect("this test needs setpriv (apt-get install util-linux)"));
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("weir-test") && said.contains("CAP_NET_ADMIN"),
        "{said}"
    );
}
