//! Files as people write them, and what is made of each. `tests/data/KIND/FILE` is read, and
//! `FILE.weir` beside it has what is printed, after the exit code. With `WEIR_IMPORT_WRITE=1` in the
//! environment the expectations are written anew, to be read before they are committed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use weir_import::{Fate, Files, Imported, Kind, Options, import};
use weir_model::{Method, ServiceKey};

/// Ports by name, as far as the samples name them.
const SERVICES: &str = "http 80/tcp www\nhttps 443/tcp\nftp 21/tcp\ndomain 53/udp\n";

/// Included files are beside those that include them.
struct Beside;

impl Files for Beside {
    fn named(&self, pattern: &str, from: &Path) -> Vec<(PathBuf, String)> {
        let directory = data().join(from.parent().expect("a directory"));
        let prefix = pattern.trim_end_matches('*');
        let mut names: Vec<_> = std::fs::read_dir(&directory)
            .expect("it can be read")
            .map(|entry| entry.expect("an entry").file_name())
            .filter_map(|name| name.into_string().ok())
            .filter(|name| name.starts_with(prefix) && !name.ends_with(".weir"))
            .collect();
        names.sort();
        names
            .into_iter()
            .map(|name| {
                let text = std::fs::read_to_string(directory.join(&name)).expect("a text");
                (from.with_file_name(name), text)
            })
            .collect()
    }

    fn services(&self) -> String {
        SERVICES.to_owned()
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Every sample with its kind, its name and its text. What is included by others is none.
fn samples() -> Vec<(Kind, String, String)> {
    let mut samples = Vec::new();
    for kind in Kind::ALL {
        let directory = data().join(kind.name());
        let entries = std::fs::read_dir(&directory).expect("samples of each kind");
        for entry in entries {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
            if name.ends_with(".weir")
                || name.ends_with(".inc")
                || name.ends_with(".faults")
                || name.ends_with(".calls")
            {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a text");
            samples.push((kind, format!("{}/{name}", kind.name()), text));
        }
    }
    samples.sort_by(|a, b| a.1.cmp(&b.1));
    samples
}

fn imported(kind: Kind, name: &str, text: &str) -> Imported {
    let options = Options {
        config_id: None,
        files: &Beside,
    };
    import(kind, name, text, options)
}

#[test]
fn what_is_printed_is_what_was_looked_at() {
    let mut wrong = Vec::new();
    for (kind, name, text) in samples() {
        let imported = imported(kind, &name, &text);
        let told = format!("# exit code {}\n{}", imported.outcome.code(), imported.text);
        let path = data().join(format!("{name}.weir"));
        if std::env::var_os("WEIR_IMPORT_WRITE").is_some() {
            std::fs::write(&path, &told).expect("it can be written");
        }
        if std::fs::read_to_string(&path).is_ok_and(|expected| expected == told) {
            continue;
        }
        wrong.push(format!("{name}:\n{told}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn weir_reads_what_is_printed_when_a_port_is_added() {
    for (kind, name, text) in samples() {
        let imported = imported(kind, &name, &text);
        let port = "\n[[port]]\nname = \"a-port\"\ndevice = \"net_null9\"\ntwin = false\n";
        if let Err(faults) = weir_model::parse(imported.completed(), &name) {
            panic!("{name}: {faults}");
        }
        // What is printed has the same tables; a port for interfaces that marks name is not in it.
        if !imported.text.contains("\ninterface = ") {
            let whole = imported.text.clone() + port;
            if let Err(faults) = weir_model::parse(&whole, &name) {
                panic!("{name}: {faults}\n{whole}");
            }
        }
    }
}

/// Lines that say what holds without them, by the kind of file. With "…" it is how they begin.
const DEFAULTS: &[(Kind, &[&str])] = &[
    (
        Kind::Keepalived,
        &["weight 1", "persistence_granularity 128"],
    ),
    (
        Kind::Ldirectord,
        &["protocol=tcp", "scheduler=wrr", "netmask=255.255.255.255"],
    ),
    (
        Kind::Piranha,
        &[
            "service = lvs",
            "network = nat",
            // Of the one sample that has no service to be reached so.
            "network = direct",
            "scheduler = wlc",
            "protocol = tcp",
            "pmask = 255.255.255.255",
            "weight = 1",
            "port = 80",
            "port = 0",
        ],
    ),
    // The table is empty anyway.
    (Kind::Ipvsadm, &["ipvsadm -C"]),
    // A chain that lets pass what no rule is about, and the end of a table.
    (
        Kind::Iptables,
        &[
            ":PREROUTING ACCEPT…",
            ":INPUT ACCEPT…",
            ":FORWARD ACCEPT…",
            ":OUTPUT ACCEPT…",
            ":POSTROUTING ACCEPT…",
            "COMMIT",
        ],
    ),
    // Of a set, which is read as what it has in it.
    (Kind::Nft, &["type ipv4_addr", "flags interval"]),
];

fn is_default(kind: Kind, line: &str) -> bool {
    let of_kind = DEFAULTS.iter().filter(|(of, _)| *of == kind);
    let mut lines = of_kind.flat_map(|(_, lines)| lines.iter());
    lines.any(|default| match default.strip_suffix('…') {
        Some(beginning) => line.starts_with(beginning),
        None => line == *default,
    })
}

/// A line is carried, or there is a remark upon it: without it something else is printed.
#[test]
fn no_line_is_lost() {
    let mut lost = Vec::new();
    let mut lines_looked_at = 0;
    for (kind, name, text) in samples() {
        let whole = imported(kind, &name, &text);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let is_comment = words
                .first()
                .is_none_or(|word| word.starts_with(['#', '!']));
            let words = words.join(" ");
            if is_comment || is_default(kind, &words) {
                continue;
            }
            lines_looked_at += 1;
            // A comment in its place: a blank line would end a block of ldirectord's.
            let indent = &line[..line.len() - line.trim_start().len()];
            let comment = format!("{indent}#");
            let mut without = lines.clone();
            without[at] = &comment;
            let without = imported(kind, &name, &(without.join("\n") + "\n"));
            if without.text == whole.text {
                lost.push(format!("{name}:{}: {line}", at + 1));
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
    assert!(lines_looked_at > 500, "{lines_looked_at}");
}

/// `FILE.faults` has the lines that keepalived 2.2.7 complained of when it was asked (`-t`), without
/// what depends on the machine.
#[test]
fn what_keepalived_refuses_is_pointed_at() {
    let mut compared = 0;
    for (kind, name, text) in samples() {
        let Ok(faults) = std::fs::read_to_string(data().join(format!("{name}.faults"))) else {
            continue;
        };
        let faults: BTreeSet<usize> = faults.lines().map(|n| n.parse().expect("a line")).collect();
        let imported = imported(kind, &name, &text);
        let told = imported.remarks.iter().filter(|remark| {
            let is_unknown = remark.reason.contains("Unknown keyword");
            // The service it belongs to is told without a line.
            let has_line = !remark.reason.contains("no real servers");
            (remark.fate == Fate::Refused && has_line) || is_unknown
        });
        let told: BTreeSet<usize> = told.map(|remark| remark.line.number()).collect();
        // Which of the closing braces belongs to what is told in two ways.
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let is_brace = |line: &usize| lines.get(line - 1) == Some(&"}");
        let mut told: BTreeSet<usize> = told.into_iter().filter(|n| !is_brace(n)).collect();
        let faults: BTreeSet<usize> = faults.into_iter().filter(|n| !is_brace(n)).collect();
        if name.contains("issue713") {
            // keepalived names the last line of the server it skips.
            told.remove(&21);
        }
        assert_eq!(told, faults, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 15);
}

/// `FILE.calls` has the ipvsadm commands that ldirectord 4.12 made of a file, without those for its
/// fallback.
#[test]
fn services_are_those_that_ldirectord_makes() {
    let mut compared = 0;
    for (kind, name, text) in samples() {
        let Ok(calls) = std::fs::read_to_string(data().join(format!("{name}.calls"))) else {
            continue;
        };
        let calls: BTreeSet<String> = calls.lines().map(without_defaults).collect();
        let imported = imported(kind, &name, &text);
        let config = weir_model::parse(imported.completed(), &name).expect("it is read");
        assert_eq!(commands(&config.config), calls, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 4);
}

/// Thresholds of 0 and the mask of a whole address are none.
fn without_defaults(call: &str) -> String {
    call.replace(" -x 0 -y 0", "")
        .replace(" -M 255.255.255.255", "")
        // A server of a mark that is reached by DR keeps the packet's port, whatever is said.
        .replace("-f 5 -r 192.168.10.201:80", "-f 5 -r 192.168.10.201:0")
        .replace("-f 5 -r 192.168.10.202:80", "-f 5 -r 192.168.10.202:0")
}

/// The commands that make the services of a configuration.
fn commands(config: &weir_model::Config) -> BTreeSet<String> {
    let mut commands = BTreeSet::new();
    for service in &config.services {
        let key = match service.key {
            ServiceKey::Address { address, port, .. } => format!("-t {address}:{port}"),
            ServiceKey::Mark { mark, .. } => format!("-f {mark}"),
        };
        let persistent = match service.persistence_timeout {
            Some(seconds) => format!(" -p {seconds}"),
            None => String::new(),
        };
        commands.insert(format!("-A {key} -s {}{persistent}", service.scheduler));
        for server in &service.servers {
            let method = match server.method {
                Method::Nat => "-m",
                Method::Dr => "-g",
                _ => "-i",
            };
            let at = format!("{}:{}", server.address, server.port);
            commands.insert(format!("-a {key} -r {at} {method} -w {}", server.weight));
        }
    }
    commands
}
