//! Runs of the original beside a kernel, made again here: `tests/data/ipvs` of the tree has the
//! recordings. What is printed and the exit code are compared byte by byte.

use crate::support::{Machine, data};

/// Runs of which standard output differs, each with its reason.
const DIFFERENT: [(&str, &str); 3] = [
    ("ipvsadm -S -n", "thresholds are saved"),
    ("ipvsadm-save -n", "thresholds are saved"),
    ("ipvsadm -L -n --nosort", "a dump's order is not defined"),
];

#[test]
fn every_recorded_run_is_the_same() {
    let mut machine = Machine::default();
    let (mut same, mut different, mut page) = (0, 0, String::from(PAGE));
    for line in data("ipvs/ipvsadm-runs.jsonl").lines() {
        let run: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = |key: &str| run[key].as_str().expect("a text");
        let (command, stdout) = (text("command"), text("stdout"));
        let ended = machine.run(command);
        assert_eq!(ended.stderr, text("stderr"), "{command}");
        let code = u64::from(ended.code);
        assert_eq!(Some(code), run["status"].as_u64(), "{command}");
        let result = match DIFFERENT.iter().find(|(named, _)| *named == command) {
            Some((_, reason)) => {
                assert_ne!(ended.stdout, stdout, "{command} is the same now");
                assert_eq!(sorted(&ended.stdout), sorted(stdout), "{command}");
                different += 1;
                reason
            }
            None => {
                assert_eq!(ended.stdout, stdout, "{command}");
                same += 1;
                "same"
            }
        };
        let command = command.replace('|', "\\|");
        page += &format!("| `{command}` | {code} | {result} |\n");
    }
    assert_eq!((same, different), (180, 3));
    page += &format!("\n{same} the same, {different} different for the reason named.\n");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ipvsadm.md");
    if std::env::var_os("WEIR_WRITE_PAGES").is_some() {
        std::fs::write(path, &page).expect("it can be written");
    }
    let shown = std::fs::read_to_string(path).expect("the page is there");
    assert!(
        shown == page,
        "{path} is old: run this test with WEIR_WRITE_PAGES=1"
    );
}

/// The head of the page that shows the runs.
const PAGE: &str = "# weir ipvsadm beside ipvsadm

183 runs of ipvsadm 1.31 were recorded beside a kernel's IPVS (`tests/data/ipvs`). `weir ipvsadm` is given the
same commands in the same order over a table in memory, and standard output, standard error and the exit code
are compared byte by byte. So are the mistakes, listings and 1500 random commands of
`control/ipvsadm/tests/data`. This page is made by that test; what differs on purpose is told at the head of
`control/ipvsadm/src/lib.rs`.

| command | exit code | output |
|---|---|---|
";

/// The lines without their order and without what a save has more than the original.
fn sorted(text: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = text.lines();
    let mut lines: Vec<String> = lines
        .map(|line| words(line.split(" -x ").next().unwrap_or_default()))
        .collect();
    lines.sort_unstable();
    lines
}

/// Commands and what they said, as they were seen; both outputs in one.
fn follow(machine: &mut Machine, transcript: &str, saves_more: bool) -> usize {
    let (mut commands, mut different) = (0, Vec::new());
    let mut rest = transcript.strip_prefix("$ ").expect("a command");
    while !rest.is_empty() {
        let (one, next) = rest.split_once("\n$ ").unwrap_or((rest.trim_end(), ""));
        rest = next;
        let (line, said) = one.split_once('\n').unwrap_or((one, ""));
        let (command, status) = line.split_once("   -> rc=").unwrap_or((line, "0"));
        let ended = machine.run(command);
        let told = ended.stdout + &ended.stderr;
        let told: Vec<String> = told.lines().map(|line| format!("    {line}")).collect();
        let mut told = told.join("\n");
        if saves_more && (command.starts_with("ipvsadm -S") || command.contains("--save")) {
            told = without_additions(&told);
        }
        // A mark that the original takes for a negative number.
        told = told.replace("4294967295", "-1");
        let is_same = told.trim_end() == said.trim_end()
            // A dump's order is not defined, and a negative mark comes first. With 127.0.0.1 beside
            // 10.0.0.1 and 192.0.2.1 each comes before the next, and the dump's order decides.
            || (command.contains("--nosort")
                || [" -1 ", " localhost:", " 127.0.0.1:"].iter().any(|circle| said.contains(circle))) && sorted(&told) == sorted(said);
        if !is_same || ended.code.to_string() != status {
            different.push(format!(
                "$ {command} -> {}\n{told}\nrecorded: {status}\n{said}",
                ended.code
            ));
        }
        commands += 1;
    }
    let count = different.len();
    different.truncate(10);
    assert!(
        different.is_empty(),
        "{count} differ:\n{}",
        different.join("\n")
    );
    commands
}

fn without_additions(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("--set "));
    let lines = lines.map(|line| line.split(" -x ").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn mistakes_are_told_in_the_same_words() {
    let mut machine = Machine::default();
    let transcript = include_str!("../data/errors.txt");
    assert_eq!(follow(&mut machine, transcript, false), 113);
}

#[test]
fn ports_of_servers_and_what_an_edit_resets_are_the_same() {
    let mut machine = Machine::default();
    let transcript = include_str!("../data/server_port.txt");
    assert_eq!(follow(&mut machine, transcript, true), 34);
}

#[test]
fn every_listing_is_the_same() {
    let mut machine = Machine::default();
    machine.connections = connections(56);
    machine.count("10.0.0.1:8080", 1, 0);
    machine.count("10.0.0.3:80", 1, 0);
    machine.count("10.0.0.2:443", 1, 1);
    machine.count("10.0.0.9:0", 1, 1);
    machine.count("[2001:db8:2::1]:80", 2, 0);
    let transcript = include_str!("../data/outputs.txt");
    let (first, later) = transcript
        .split_once("$ ipvsadm -Lc -n --persistent-conn")
        .expect("it is there");
    let mut commands = follow(&mut machine, first, true);
    machine.connections = connections(55);
    let later = format!("$ ipvsadm -Lc -n --persistent-conn{later}");
    let (first, later) = later.split_once("\n$ ipvsadm -Z\n").expect("it is there");
    commands += follow(&mut machine, first, true);
    machine.run("ipvsadm -Z");
    commands += follow(&mut machine, later, true);
    assert_eq!(commands, 60);
}

/// `ip_vs_conn` at that moment, most entries with so many seconds left of their last minute.
fn connections(left: u32) -> String {
    let (one, assured, none) = (left - u32::from(left == 55), 300 + left, 540 + left);
    let established = 840 + left;
    let six = "2001:0db8:000c:0000:0000:0000:0000:0007";
    let vip = "2001:0db8:0001:0000:0000:0000:0000:0100";
    let server = "2001:0db8:0002:0000:0000:0000:0000:0001";
    format!(
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
         TCP C6336407 0400 C0000264 0050 0A000003 0050 SYN_RECV         {one}\n\
         TCP {six} 0401 {vip} 0050 {server} 0050 SYN_RECV         {left}\n\
         TCP C6336407 0402 C0000264 01BB 0A000002 01BB ESTABLISHED     {established}\n\
         TCP {six} 0400 {vip} 0050 {server} 0050 SYN_RECV         {left}\n\
         TCP C6336400 0000 C0000264 0000 0A000009 0000 NONE            {none}\n\
         TCP C6336407 0401 C0000264 0050 0A000001 1F90 SYN_RECV         {left}\n\
         TCP C6336407 0000 C0000264 01BB 0A000002 01BB ASSURED         {assured}\n\
         TCP C6336407 0403 C0000264 270F 0A000009 270F SYN_RECV         {left}\n"
    )
}

#[test]
fn connections_of_marks_and_engines_are_the_same() {
    let mut machine = Machine::default();
    machine.connections = "head\n\
        UDP C6336407 13C4 C0000264 13C4 0A000003 13C4 UDP             299\n\
        UDP C6336408 0000 C0000264 13C4 0A000002 13C4 NONE             59 sip aaa@x\n\
        IP  C6336407 0000 00000005 0000 0A000003 0000 NONE            299\n\
        SCTP C6336407 0400 C0000264 0050 0A000003 0050 ESTABLISHED    4000\n"
        .to_owned();
    let told = machine.run("ipvsadm -Lnc --persistent-conn").stdout;
    assert_eq!(
        told,
        "IPVS connection entries\n\
         pro expire state       source             virtual            destination        pe name          pe_data\n\
         UDP 04:59  UDP         198.51.100.7:5060  192.0.2.100:5060   10.0.0.3:5060\n\
         UDP 00:59  NONE        198.51.100.8:0     192.0.2.100:5060   10.0.0.2:5060    sip                aaa@x\n\
         IP  04:59  NONE        198.51.100.7:0     0.0.0.5:0          10.0.0.3:0\n\
         SCTP 66:40  ESTABLISHED 198.51.100.7:1024  192.0.2.100:80     10.0.0.3:80\n"
    );
    let wrong = machine.connections.replace("13C4", "what");
    machine.connections = wrong;
    let ended = machine.run("ipvsadm -Lnc");
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (1, "unexpected input from /proc/net/ip_vs_conn\n")
    );
}

/// Commands put together at random, run by the original 1.31 in one guest after the other: which of
/// several mistakes is told, and what becomes of the table.
#[test]
fn random_commands_end_the_same() {
    let mut machine = Machine::default();
    let transcript = include_str!("../data/random.txt");
    assert_eq!(follow(&mut machine, transcript, true), 1500);
}
