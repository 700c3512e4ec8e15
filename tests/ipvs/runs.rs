//! The recorded runs of `ipvsadm`, again, by the real program through the library.

// What it prints is the list of runs.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::Path;

use crate::Door;

/// What a kernel was seen to print.
struct Recorded {
    id: String,
    command: String,
    seen: Seen,
}

/// What a run shows.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: i64,
    stdout: String,
    stderr: String,
}

fn recorded() -> Vec<Recorded> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/ipvs/ipvsadm-runs.jsonl");
    let text = std::fs::read_to_string(path).expect("the recordings are there");
    let runs = text.lines().map(|line| {
        let run: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = |key: &str| run[key].as_str().expect("a text").to_owned();
        Recorded {
            id: text("id"),
            command: text("command"),
            seen: Seen {
                status: run["status"].as_i64().expect("a number"),
                stdout: text("stdout"),
                stderr: text("stderr"),
            },
        }
    });
    runs.collect()
}

fn run(door: &Door, line: &str) -> Seen {
    let output = door.shell(line).output().expect("there is a shell");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("plain text");
    Seen {
        status: i64::from(output.status.code().expect("it ended by itself")),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The runs that show something else than the kernel's, each with its reason.
fn known_differences() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([(
        "020_add_tcp4_twos",
        "the recorded kernel was built without twos, which Weir has",
    )])
}

#[test]
fn every_recorded_run_of_ipvsadm_shows_the_same() {
    let door = Door::open();
    let known = known_differences();
    let (mut runs, mut different) = (0, Vec::new());
    for Recorded { id, command, seen } in recorded() {
        let mut shown = run(&door, &command);
        let mut wanted = seen;
        if command.contains("--nosort") {
            // In the order of the kernel's hash table.
            for seen in [&mut shown, &mut wanted] {
                seen.stdout = sorted_services(&seen.stdout);
            }
        }
        runs += 1;
        match known.get(id.as_str()) {
            Some(reason) => {
                assert_ne!(shown, wanted, "{id} is no difference any more");
                println!("{id}: {reason}");
            }
            None if shown != wanted => {
                println!("{id}: {command}\n  here     {shown:?}\n  recorded {wanted:?}");
                different.push(id.clone());
            }
            None => println!("{id}: the same"),
        }
        if id == "020_add_tcp4_twos" {
            assert_eq!(shown.status, 0, "{shown:?}");
            assert_eq!(run(&door, "ipvsadm -D -t 10.0.0.1:8013").status, 0);
        }
    }
    assert_eq!(runs, 183);
    assert!(different.is_empty(), "{different:?}");
}

/// The listing with its services in the order of their names.
fn sorted_services(listing: &str) -> String {
    let mut services: Vec<String> = Vec::new();
    for line in listing.lines() {
        match services.last_mut() {
            Some(service) if line.starts_with("  ->") => *service += &format!("\n{line}"),
            _ => services.push(line.to_owned()),
        }
    }
    services.sort();
    services.join("\n")
}

#[test]
fn what_ipvsadm_did_is_there_after_the_director_was_started_again() {
    let door = Door::open();
    let dir = door.dir();
    let lines = "-A -t 192.0.2.100:80 -s sh -b sh-port -p 60 -M 255.255.255.0\n\
        -a -t 192.0.2.100:80 -r 10.0.0.1:8080 -m -w 7 -x 9 -y 8\n\
        -A -f 7 -6 -s wlc\n-a -f 7 -6 -r [fd00::1]:0 -i --tun-type gue --tun-port 6080 --tun-csum\n";
    std::fs::write(dir.path().join("rules"), lines).expect("written");
    assert_eq!(
        run(&door, "ipvsadm-restore < rules && ipvsadm --set 100 20 30").status,
        0
    );
    let listing = "ipvsadm -S -n; ipvsadm -L --timeout; ipvsadm -L -n --thresholds --tun-info";
    let before = run(&door, listing);
    assert!(
        before.stdout.contains("sh-port") && before.stdout.contains("100 20 30"),
        "{before:?}"
    );
    drop(door);
    let door = Door::open_in(dir, "");
    assert_eq!(run(&door, listing), before);
}

#[test]
fn without_a_director_there_is_one_clear_line() {
    let door = Door::open();
    let line = format!(
        "WEIR_IPVS_SOCKET={}/none.sock ipvsadm -L",
        door.dir().path().display()
    );
    let shown = run(&door, &line);
    assert_eq!(shown.status, 2);
    let told = format!(
        "libweir-ipvs: weird does not answer at {}/none.sock",
        door.dir().path().display()
    );
    assert_eq!(shown.stderr.matches(&told).count(), 1, "{shown:?}");
}

#[test]
fn other_programs_do_not_notice_the_library() {
    let door = Door::open();
    let shown = run(&door, "echo 1 | cat; exec true");
    assert_eq!(
        shown,
        Seen {
            status: 0,
            stdout: "1\n".to_owned(),
            stderr: String::new(),
        }
    );
}

#[test]
fn a_program_cannot_load_the_kernels_ipvs() {
    let door = Door::open();
    // A program that starts another by execv, as ipvsadm and keepalived start modprobe.
    let line = |module: &str| {
        format!(
            "printf '#!/bin/sh\necho loaded $*\n' > modprobe && chmod +x modprobe; \
             start-stop-daemon --start --pidfile none --startas \"$PWD\"/modprobe -- -- {module}"
        )
    };
    let loaded = run(&door, &line("tun"));
    assert_eq!(
        (loaded.status, loaded.stdout.as_str()),
        (0, "loaded -- tun\n")
    );
    let refused = run(&door, &line("ip_vs"));
    assert_ne!(refused.status, 0, "{refused:?}");
    assert_eq!(refused.stdout, "");
}
