//! FTP through NAT: vsftpd on the real servers, curl as the client, data connections of every kind.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use weir_tests::lab::{Server, url};
use weir_tests::netns::wait_for;
use weir_tests::{Config, Family, Lab, Method, Service};

use crate::lab;

/// Data connections of passive FTP come to these ports.
const PASSIVE_PORTS: [u16; 2] = [40_000, 40_099];

/// Bytes of the file that is fetched whole.
const FILE_LEN: usize = 3_000_000;

/// How curl makes its data connections. Without the last word of the second, curl would connect to
/// the control connection's address whatever the 227 says.
const KINDS: [(&str, &str); 4] = [
    ("EPSV", ""),
    ("PASV", "--disable-epsv --no-ftp-skip-pasv-ip"),
    ("EPRT", "--ftp-port -"),
    ("PORT", "--ftp-port - --disable-eprt"),
];

/// Starts vsftpd on each NAT server, once. It serves `name`, which holds the server's name, and
/// `file`.
fn set_up(lab: &Lab) -> Result<()> {
    lab.once("vsftpd", || {
        let jail = lab.dir().join("ftp-jail");
        fs::create_dir_all(&jail)?;
        let mut servers = lab.servers(Method::Nat)?.iter();
        servers.try_for_each(|server| start(server, lab.dir(), &jail))
    })
}

fn start(server: &Server, dir: &Path, jail: &Path) -> Result<()> {
    let netns = server.netns.as_ref().context("it is on this machine")?;
    let root = dir.join(format!("{}.ftp", server.name));
    fs::create_dir_all(&root)?;
    fs::write(root.join("name"), format!("{}\n", server.name))?;
    fs::write(root.join("file"), file())?;
    let [first, last] = PASSIVE_PORTS;
    let config = dir.join(format!("{}.vsftpd.conf", server.name));
    let text = format!(
        "listen=NO\nlisten_ipv6=YES\nbackground=NO\nanonymous_enable=YES\nno_anon_password=YES\n\
         anon_root={}\nsecure_chroot_dir={}\nport_enable=YES\nconnect_from_port_20=YES\n\
         pasv_min_port={first}\npasv_max_port={last}\nseccomp_sandbox=NO\nisolate_network=NO\n\
         isolate=NO\n",
        root.display(),
        jail.display()
    );
    fs::write(&config, text)?;
    netns
        .command("vsftpd")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("vsftpd")?;
    let ask = format!(
        "curl -s -m 2 {}",
        ftp_url(server.address(Family::V4), "name")
    );
    wait_for(
        &format!("vsftpd of {}", server.name),
        Duration::from_secs(20),
        || {
            netns
                .run(&ask)
                .ok()
                .filter(|answer| answer.trim() == server.name)
        },
    )?;
    Ok(())
}

/// No two lines are alike.
fn file() -> String {
    let lines = (0..).map(|n| format!("line {n}\n"));
    let mut text = String::new();
    for line in lines {
        if text.len() > FILE_LEN {
            break;
        }
        text += &line;
    }
    text
}

fn ftp_url(address: IpAddr, path: &str) -> String {
    url(address, path).replace("http://", "ftp://")
}

fn service(lab: &Lab, family: Family) -> Result<Service> {
    let mut service = Service::http(Method::Nat, family, lab.servers(Method::Nat)?);
    service.port = 21;
    Ok(service)
}

/// What curl prints of these files of the virtual server, fetched over one control connection.
fn fetch(lab: &Lab, family: Family, how: &str, paths: &[&str]) -> Result<String> {
    let vip = Method::Nat.vip(family);
    let urls: Vec<String> = paths.iter().map(|path| ftp_url(vip, path)).collect();
    let line = format!("curl -sSf -m 20 {how} {}", urls.join(" "));
    lab.client.netns().run(&line)
}

/// The kinds of data connection that a family has.
fn kinds(family: Family) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_extended = |kind: &str| matches!(kind, "EPSV" | "EPRT");
    let all = KINDS.into_iter();
    all.filter(move |(kind, _)| family == Family::V4 || is_extended(kind))
}

#[test]
fn every_kind_of_data_connection_reaches_the_server_of_its_control_connection() -> Result<()> {
    let lab = lab();
    set_up(&lab)?;
    for family in Family::ALL {
        let director = lab.director(&Config::of(service(&lab, family)?))?;
        for (kind, how) in kinds(family) {
            let names = (0..6).map(|_| fetch(&lab, family, how, &["name"]));
            let names: Vec<String> = names.collect::<Result<_>>().context(kind)?;
            let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
            let turns = ["nat3", "nat2", "nat1", "nat3", "nat2", "nat1"];
            assert_eq!(names, turns, "{kind} over {family:?}");
        }
        let unaided = director.metric("weir_ftp_unaided_total", &[])?;
        assert!(unaided.abs() < 0.5, "{unaided} connections got no help");
    }
    Ok(())
}

#[test]
fn several_files_of_one_control_connection_arrive_whole() -> Result<()> {
    let lab = lab();
    set_up(&lab)?;
    let wanted = file();
    for family in Family::ALL {
        let _director = lab.director(&Config::of(service(&lab, family)?))?;
        for (kind, how) in kinds(family) {
            // A sequence number that is off by one byte would end the second transfer.
            let got = fetch(&lab, family, how, &["name", "file", "name", "file"]).context(kind)?;
            let (name, rest) = got.split_once('\n').context("a name")?;
            ensure!(name.starts_with("nat"), "{kind}: {name}");
            let again = format!("{wanted}{name}\n{wanted}");
            ensure!(
                rest.trim_end() == again.trim_end(),
                "{kind} over {family:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn several_workers_serve_ftp_as_one_does() -> Result<()> {
    let lab = lab();
    set_up(&lab)?;
    for family in Family::ALL {
        let config = Config::of(service(&lab, family)?).on_every_core();
        let _director = lab.director(&config)?;
        for (kind, how) in kinds(family) {
            for _ in 0..4 {
                let got = fetch(&lab, family, how, &["name", "file", "name"]).context(kind)?;
                let name = got.lines().next().context("a name")?;
                assert_eq!(got.lines().last(), Some(name), "{kind} over {family:?}");
                ensure!(got.len() > FILE_LEN, "{kind} over {family:?}");
            }
        }
    }
    Ok(())
}
