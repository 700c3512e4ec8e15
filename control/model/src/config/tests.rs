//! The shipped files are held against the reader, which is the one table of keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::*;

fn conf() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../conf")
}

fn shipped() -> String {
    fs::read_to_string(conf().join("weir.toml")).expect("conf/weir.toml")
}

/// The shipped file with its `#key = …` and `#[[table]]` lines in force, prose left out.
fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every key that the reader asked for while reading `text`, with its default.
fn keys_asked(text: &str) -> BTreeMap<String, Option<String>> {
    let root = DeTable::parse(text).expect("TOML");
    let report = Report::default();
    read(&report, root.get_ref(), Vec::new());
    report.keys.into_inner()
}

/// Every key in the file, without the numbers of tables, with all its values.
fn keys_written(path: &str, value: &DeValue<'_>, into: &mut BTreeMap<String, Vec<String>>) {
    let shown = match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                let path = format!("{path}.{}", key.get_ref());
                keys_written(&path, value.get_ref(), into);
            }
            String::new()
        }
        DeValue::Array(array) if array.iter().any(|e| e.get_ref().is_table()) => {
            array
                .iter()
                .for_each(|e| keys_written(path, e.get_ref(), into));
            String::new()
        }
        DeValue::Array(array) => {
            let shown: Vec<String> = array.iter().map(|e| scalar(e.get_ref())).collect();
            format!("[{}]", shown.join(", "))
        }
        other => scalar(other),
    };
    let path = path.trim_start_matches('.').to_owned();
    into.entry(path).or_default().push(shown);
}

fn scalar(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        other => panic!("{} in the shipped file", other.type_str()),
    }
}

#[test]
fn the_shipped_file_is_valid_as_it_is_and_with_every_key_in_force() {
    let file = parse(&shipped(), "conf/weir.toml").unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(file.config.ports.len(), 2);
    assert_eq!(file.config.services[0].servers.len(), 2);
    // The example server of the NAT service maps its port when every key is in force.
    let all = parse(&uncommented(&shipped()), "conf/weir.toml");
    all.unwrap_or_else(|faults| panic!("{faults}"));
}

#[test]
fn the_shipped_file_names_every_key_and_no_other() {
    let text = uncommented(&shipped());
    let mut written = BTreeMap::new();
    let root = DeTable::parse(&text).expect("TOML");
    keys_written("", &DeValue::Table(root.into_inner()), &mut written);
    written.remove("");
    let asked = keys_asked(&text);
    assert_eq!(
        asked.keys().collect::<Vec<_>>(),
        written.keys().collect::<Vec<_>>()
    );
}

#[test]
fn the_shipped_file_shows_the_defaults() {
    let text = uncommented(&shipped());
    let mut written = BTreeMap::new();
    let root = DeTable::parse(&text).expect("TOML");
    keys_written("", &DeValue::Table(root.into_inner()), &mut written);
    // Lists of addresses and ports, and tunnels, show an example; their comment names the default.
    let is_example = |key: &str| {
        key.ends_with("addresses") || key.starts_with("mark.") || key.contains(".tunnel")
    };
    for (key, default) in keys_asked(&text) {
        let Some(default) = default.filter(|_| !is_example(&key)) else {
            continue;
        };
        assert!(
            written[&key].contains(&default),
            "{key}: {:?}, default {default}",
            written[&key]
        );
    }
}

#[test]
fn every_key_of_the_shipped_file_has_a_comment_above_it_once() {
    let text = shipped();
    let lines: Vec<&str> = text.lines().collect();
    let mut told = std::collections::BTreeSet::new();
    let mut table = "";
    for (number, line) in lines.iter().enumerate() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        if bare.starts_with('[') {
            table = bare;
        }
        let Some((key, _)) = bare.split_once(" = ") else {
            continue;
        };
        if bare.starts_with(' ') || !told.insert(format!("{table}.{key}")) {
            continue;
        }
        assert!(
            lines[number - 1].starts_with("# "),
            "line {}: {line}",
            number + 1
        );
    }
    assert!(told.len() > 40, "{}", told.len());
}

#[test]
fn an_empty_section_means_its_defaults() {
    let least = "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\n";
    let config = parse(least, "w.toml").expect("valid").config;
    let spelt = format!(
        "[eal]\n[workers]\n[limits]\n[timeouts]\n[settings]\n[metrics]\n[control]\n[log]\n{least}"
    );
    assert_eq!(config, parse(&spelt, "w.toml").expect("valid").config);
    assert_eq!(config.workers.cores, [1]);
    assert_eq!(config.ports[0].twin.as_deref(), Some("weir-a"));
    assert_eq!(config.metrics.listen, "127.0.0.1:9109".parse().ok());
    assert_eq!(config.control.socket_mode, 0o660);
    assert_eq!(
        config.timeouts,
        Timeouts {
            tcp: 900,
            tcp_fin: 120,
            udp: 300
        }
    );
}

#[test]
fn every_example_is_valid() {
    let mut count = 0;
    for entry in fs::read_dir(conf().join("examples")).expect("conf/examples") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("an example");
        parse(&text, &path.display().to_string()).unwrap_or_else(|faults| panic!("{faults}"));
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn the_api_is_on_tcp_only_with_tls_and_a_token() {
    let port = "[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\ntwin = false\n";
    let listen = "[control]\nlisten = \"127.0.0.1:9110\"\n";
    let faults = parse(&format!("{listen}{port}"), "t").expect_err("no files");
    let keys: Vec<_> = faults.0.iter().map(|fault| fault.key.as_str()).collect();
    let files = ["tls_certificate", "tls_key", "token_file"];
    assert_eq!(keys, files.map(|key| format!("control.{key}")));
    let files = files.map(|key| format!("{key} = \"/x/{key}\"\n")).concat();
    let file = parse(&format!("{listen}{files}{port}"), "t").expect("valid");
    let remote = file.config.control.remote.expect("it is given");
    assert_eq!(remote.token_file.to_str(), Some("/x/token_file"));
    let faults = parse(&format!("[control]\ntls_key = \"key.pem\"\n{port}"), "t");
    let faults = faults.expect_err("a path from nowhere").to_string();
    assert!(faults.contains("no absolute path"), "{faults}");
}
