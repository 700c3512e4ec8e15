//! Stock `ipvsadm` drives the director while curl asks it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, ensure};

use weir_tests::netns::run;
use weir_tests::{Config, Family, Lab, Method};

use crate::lab;

const VIP: &str = "192.0.2.101";

fn nothing() -> Config {
    Config::with([])
}

/// Sets up the NAT service by `ipvsadm`, over all three servers.
fn set_up(lab: &Lab) -> Result<()> {
    lab.ipvsadm(&format!("-A -t {VIP}:80 -s rr"))?;
    for server in lab.servers(Method::Nat)? {
        let address = server.address(Family::V4);
        lab.ipvsadm(&format!("-a -t {VIP}:80 -r {address}:80 -m"))?;
    }
    Ok(())
}

#[test]
fn ipvsadm_sets_up_changes_and_clears_under_traffic() -> Result<()> {
    let lab = lab();
    let _director = lab.director(&nothing())?;
    let vip = Method::Nat.vip(Family::V4);
    set_up(&lab)?;
    assert_eq!(lab.client.names(vip, 3)?, ["nat3", "nat2", "nat1"]);
    lab.ipvsadm(&format!("-e -t {VIP}:80 -r 10.0.0.2:80 -m -w 0"))?;
    let names: BTreeSet<_> = lab.client.names(vip, 4)?.into_iter().collect();
    assert_eq!(
        names,
        BTreeSet::from(["nat1".to_owned(), "nat3".to_owned()])
    );
    lab.ipvsadm(&format!("-d -t {VIP}:80 -r 10.0.0.3:80"))?;
    assert_eq!(lab.client.names(vip, 2)?, ["nat1"; 2]);

    let stats = lab.ipvsadm("-L -n --stats --exact")?;
    let of_service = stats.lines().find(|line| line.contains(VIP));
    let conns = of_service.and_then(|line| line.split_whitespace().nth(2));
    assert_eq!(conns, Some("9"), "{stats}");
    let connections = lab.ipvsadm("-L -n -c")?;
    let ended = connections
        .lines()
        .filter(|line| line.contains("TIME_WAIT"));
    assert!(ended.count() > 0, "{connections}");
    let listing = lab.ipvsadm("-L -n")?;
    let inactive = listing.lines().find(|line| line.contains("10.0.0.1:80"));
    assert!(
        inactive.is_some_and(|line| !line.trim_end().ends_with(" 0")),
        "{listing}"
    );

    lab.ipvsadm("-Z")?;
    let stats = lab.ipvsadm("-L -n --stats --exact")?;
    let of_service = stats.lines().find(|line| line.contains(VIP));
    let conns = of_service.and_then(|line| line.split_whitespace().nth(2));
    assert_eq!(conns, Some("0"), "{stats}");

    lab.ipvsadm("-C")?;
    // Without a service the VIP's packets are Linux's, on whose port 80 another test may have started
    // the director's own server.
    match lab.client.names(vip, 1) {
        Ok(names) => assert_eq!(names, ["director"]),
        Err(refusal) => {
            let refusal = format!("{refusal:#}");
            assert!(refusal.contains("exit status: 7"), "{refusal}");
        }
    }
    Ok(())
}

#[test]
fn what_ipvsadm_set_up_survives_sigkill() -> Result<()> {
    let lab = lab();
    let director = lab.director(&nothing())?;
    let vip = Method::Nat.vip(Family::V4);
    set_up(&lab)?;
    lab.ipvsadm(&format!("-e -t {VIP}:80 -r 10.0.0.1:80 -m -w 0"))?;
    let saved = lab.ipvsadm("-S -n")?;
    director.kill()?;
    let _director = lab.director_again(&nothing())?;
    assert_eq!(lab.ipvsadm("-S -n")?, saved);
    assert_eq!(lab.client.names(vip, 4)?, ["nat3", "nat2", "nat3", "nat2"]);
    Ok(())
}

/// As the documents of LVS have it: the rules were saved, the machine boots, and what is in the file is
/// served; also when the director itself remembers something else.
#[test]
fn a_saved_rules_file_is_served_after_a_boot() -> Result<()> {
    let lab = lab();
    let vip = Method::Nat.vip(Family::V4);
    let director = lab.director(&nothing())?;
    set_up(&lab)?;
    lab.ipvsadm(&format!("-e -t {VIP}:80 -r 10.0.0.2:80 -m -w 0"))?;
    let saved = lab.ipvsadm("-S -n")?;
    director.kill()?;
    for is_ours in [true, false] {
        let director = lab.director(&nothing())?;
        assert_eq!(lab.ipvsadm("-S -n")?, "", "nothing is served yet");
        lab.load_rules_at_boot(&saved, is_ours)?;
        assert_eq!(lab.ipvsadm("-S -n")?, saved, "ours: {is_ours}");
        assert_eq!(lab.client.names(vip, 4)?, ["nat3", "nat1", "nat3", "nat1"]);
        lab.ipvsadm(&format!("-d -t {VIP}:80 -r 10.0.0.3:80"))?;
        lab.ipvsadm("-A -u 192.0.2.102:53 -s rr")?;
        director.kill()?;
        let _director = lab.director_again(&nothing())?;
        lab.load_rules_at_boot(&saved, is_ours)?;
        assert_eq!(lab.ipvsadm("-S -n")?, saved, "ours: {is_ours}");
        let names: BTreeSet<_> = lab.client.names(vip, 4)?.into_iter().collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
    Ok(())
}

/// Whole tables by `weir` under the name `ipvsadm-restore`: no request finds a table without its service, and
/// who saves the table meanwhile saves one or the other.
#[test]
fn tables_are_put_back_whole_under_traffic() -> Result<()> {
    let lab = lab();
    let _director = lab.director(&nothing())?;
    // Another weight of a server that stays, and another service: a server that leaves takes its connections along.
    let table = |weight: u8, other: u16| {
        format!(
            "-A -t {VIP}:80 -s rr\n-a -t {VIP}:80 -r 10.0.0.1:80 -m -w {weight}\n\
             -a -t {VIP}:80 -r 10.0.0.2:80 -m -w 1\n\
             -A -t {VIP}:{other} -s wlc\n-a -t {VIP}:{other} -r 10.0.0.9:80 -m -w 5\n"
        )
    };
    let tables = [table(1, 1001), table(7, 1002)];
    let put_back = |table: &str| -> Result<()> {
        let file = lab.dir().join("rules");
        fs::write(&file, table)?;
        let input = fs::File::open(file)?;
        let ended = lab.weir_as("ipvsadm-restore")?.stdin(input).output()?;
        ensure!(ended.status.success(), "{ended:?}");
        Ok(())
    };
    put_back(&tables[0])?;
    let is_over = AtomicBool::new(false);
    let (client, mut save) = (&lab.client, lab.weir_as("ipvsadm-save -n")?);
    let (answers, saved) = thread::scope(|scope| -> Result<_> {
        let traffic = scope.spawn(|| -> Result<Vec<String>> {
            let mut answers = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                answers.extend(client.names(Method::Nat.vip(Family::V4), 4)?);
            }
            Ok(answers)
        });
        let saving = scope.spawn(|| -> Result<Vec<String>> {
            let mut saved = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                saved.push(run(&mut save)?);
            }
            Ok(saved)
        });
        let restored = tables
            .iter()
            .cycle()
            .skip(1)
            .take(100)
            .try_for_each(|table| put_back(table));
        is_over.store(true, Ordering::Relaxed);
        let both = (traffic.join(), saving.join());
        restored?;
        Ok((both.0.expect("no panic")?, both.1.expect("no panic")?))
    })?;
    let saved: BTreeSet<_> = saved.into_iter().collect();
    assert_eq!(saved, BTreeSet::from(tables));
    let names: BTreeSet<_> = answers.iter().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["nat1", "nat2"]));
    Ok(())
}

/// Who is not root may not, even where somebody opened the socket's file to all.
#[test]
fn another_user_is_not_answered() -> Result<()> {
    let lab = lab();
    let _director = lab.director(&nothing())?;
    let as_nobody = |line: &str| -> Result<String> {
        let nobody = "--reuid=65534 --regid=65534 --clear-groups sh -c";
        let mut command = lab.stock("setpriv")?;
        let output = command.args(nobody.split(' ')).arg(line).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (ask, read) = ("ipvsadm -L -n; echo $?", "cat /proc/net/ip_vs");
    let told = as_nobody(ask)?;
    assert!(told.contains("Permission denied (os error 13)"), "{told}");
    for name in ["ipvs.sock", "ipvs-proc.sock"] {
        let socket = lab.dir().join(name);
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666))?;
    }
    let told = as_nobody(ask)?;
    assert!(told.contains("Can't initialize ipvs"), "{told}");
    assert!(told.starts_with("2\n"), "{told}");
    let told = as_nobody(read)?;
    assert!(!told.contains("IP Virtual Server"), "{told}");
    assert!(lab.ipvsadm("-L -n")?.starts_with("IP Virtual Server"));
    Ok(())
}
