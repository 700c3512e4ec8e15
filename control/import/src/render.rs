//! The draft as text: TOML, and beside it in comments what a reader has to know.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::Kind;
use crate::draft::{Draft, Front, Mark, Server, Service};
use crate::line::{Fate, Remark};

/// Services that Weir's own limit allows when nothing is said.
const SERVICES_DEFAULT: usize = 4096;
/// The same of servers.
const SERVERS_DEFAULT: usize = 65_536;

/// What Weir reads: the tables, without any comment.
pub(crate) fn tables(draft: &Draft) -> String {
    let mut out = String::new();
    write_limits(&mut out, draft);
    write_timeouts(&mut out, draft);
    write_settings(&mut out, draft);
    for mark in &draft.marks {
        write_mark(&mut out, mark);
    }
    for service in &draft.services {
        write_service(&mut out, service);
    }
    out
}

/// All of it.
pub(crate) fn whole(kind: Kind, file: &str, draft: &Draft, remarks: &[Remark]) -> String {
    let mut out = String::new();
    write_head(&mut out, kind, file, draft, remarks);
    let tables = tables(draft);
    if !tables.is_empty() {
        out.push('\n');
        out.push_str(tables.trim_start_matches('\n'));
    }
    write_remarks(&mut out, remarks);
    out
}

fn write_head(out: &mut String, kind: Kind, file: &str, draft: &Draft, remarks: &[Remark]) {
    let servers: usize = draft.services.iter().map(|s| s.servers.len()).sum();
    let _ = writeln!(
        out,
        "# Weir's configuration, made from {} by `weir import {}`.\n# {}, {}, {}.",
        printable(file),
        kind.name(),
        count(draft.services.len(), "service"),
        count(servers, "server"),
        count(draft.marks.len(), "mark rule"),
    );
    for (fate, what) in [
        (Fate::NotCarried, "could not be carried"),
        (
            Fate::Refused,
            "would be refused or ignored by the program itself",
        ),
        (Fate::Carried, "carried with a remark"),
    ] {
        let mut lines: Vec<_> = remarks.iter().filter(|r| r.fate == fate).collect();
        lines.dedup_by_key(|remark| &remark.line);
        if !lines.is_empty() {
            let _ = writeln!(out, "# {} {what}: see the end.", count(lines.len(), "line"));
        }
    }
    out.push_str(
        "#\n# What such a file does not know, and what remains to be added: [eal], [workers], and each [[port]]\n\
         # with its device and its addresses.\n",
    );
    write_addresses(out, draft);
    if !draft.groups.is_empty() {
        out.push_str("#\n# Groups of resources, to be moved by a cluster manager:\n");
        for group in &draft.groups {
            let _ = writeln!(out, "#   {}", printable(group));
        }
    }
}

fn write_addresses(out: &mut String, draft: &Draft) {
    let mut virtual_addresses: Vec<IpAddr> = Vec::new();
    for service in &draft.services {
        if let Front::Address { address, .. } = service.front
            && !virtual_addresses.contains(&address)
        {
            virtual_addresses.push(address);
        }
    }
    if !virtual_addresses.is_empty() {
        out.push_str(
            "# The addresses of these services, for the port that the clients come from:\n",
        );
        let listed: Vec<String> = virtual_addresses
            .iter()
            .map(|address| format!("\"{}\"", IpNet::from(*address)))
            .collect();
        for some in listed.chunks(4) {
            let _ = writeln!(out, "#   {},", some.join(", "));
        }
    }
    if !draft.held.is_empty() {
        out.push_str("# Addresses that the file puts on interfaces:\n");
        for held in &draft.held {
            let _ = writeln!(
                out,
                "#   {}  ({})",
                printable(&held.address),
                printable(&held.holder)
            );
        }
    }
    let mut interfaces: Vec<&str> = Vec::new();
    for interface in draft.marks.iter().filter_map(|m| m.interface.as_deref()) {
        if !interfaces.contains(&interface) {
            interfaces.push(interface);
        }
    }
    if !interfaces.is_empty() {
        let _ = writeln!(
            out,
            "# Mark rules name these interfaces, which have to be names of ports: {}.",
            interfaces.join(", ")
        );
    }
}

/// The limits, where the default would not do.
fn write_limits(out: &mut String, draft: &Draft) {
    let services = draft.services.len();
    let servers: usize = draft.services.iter().map(|s| s.servers.len()).sum();
    if services <= SERVICES_DEFAULT && servers <= SERVERS_DEFAULT {
        return;
    }
    out.push_str("\n[limits]\n");
    if services > SERVICES_DEFAULT {
        let _ = writeln!(out, "services = {services}");
    }
    if servers > SERVERS_DEFAULT {
        let _ = writeln!(out, "servers = {servers}");
    }
}

fn write_timeouts(out: &mut String, draft: &Draft) {
    let all = [
        ("tcp", &draft.timeouts.tcp),
        ("tcp_fin", &draft.timeouts.tcp_fin),
        ("udp", &draft.timeouts.udp),
    ];
    if all.iter().all(|(_, value)| value.is_none()) {
        return;
    }
    out.push_str("\n[timeouts]\n");
    for (key, value) in all {
        if let Some((seconds, _)) = value {
            let _ = writeln!(out, "{key} = {seconds}");
        }
    }
}

fn write_settings(out: &mut String, draft: &Draft) {
    for (table, is_ipvs) in [("settings", false), ("ipvs", true)] {
        let mut title = format!("\n[{table}]\n");
        for setting in &draft.settings {
            if (setting.name != "pmtu_disc") == is_ipvs {
                out.push_str(&std::mem::take(&mut title));
                let _ = writeln!(out, "{} = {}", setting.name, setting.value);
            }
        }
    }
}

fn write_mark(out: &mut String, mark: &Mark) {
    out.push('\n');
    if let Some(line) = &mark.line {
        let _ = writeln!(out, "# {}", printable(&line.to_string()));
    }
    let _ = writeln!(out, "[[mark]]\nmark = {}", mark.mark);
    if mark.source.is_none() && mark.destination.is_none() {
        let family = if mark.is_ipv6 { "ipv6" } else { "ipv4" };
        let _ = writeln!(out, "family = \"{family}\"");
    }
    write_text(out, "protocol", mark.protocol.as_deref());
    for (key, net) in [("source", mark.source), ("destination", mark.destination)] {
        if let Some(net) = net {
            let _ = writeln!(out, "{key} = \"{net}\"");
        }
    }
    for (key, ports) in [
        ("source_ports", &mark.source_ports),
        ("destination_ports", &mark.destination_ports),
    ] {
        let quoted: Vec<String> = ports.iter().map(|port| format!("\"{port}\"")).collect();
        let _ = match quoted.as_slice() {
            [] => Ok(()),
            [one] => writeln!(out, "{key} = {one}"),
            several => writeln!(out, "{key} = [{}]", several.join(", ")),
        };
    }
    write_text(out, "interface", mark.interface.as_deref());
}

fn write_service(out: &mut String, service: &Service) {
    let _ = writeln!(
        out,
        "\n# {}\n[[service]]",
        printable(&service.line.to_string())
    );
    match service.front {
        Front::Address {
            protocol,
            address,
            port,
        } => {
            let _ = writeln!(
                out,
                "protocol = \"{}\"\naddress = \"{address}\"\nport = {port}",
                protocol.name()
            );
        }
        Front::Mark { mark, is_ipv6 } => {
            let _ = writeln!(out, "mark = {mark}");
            if is_ipv6 {
                out.push_str("family = \"ipv6\"\n");
            }
        }
    }
    write_text(out, "scheduler", service.scheduler.as_deref());
    if !service.flags.is_empty() {
        let flags: Vec<String> = service.flags.iter().map(|flag| quoted(flag)).collect();
        let _ = writeln!(out, "scheduler_flags = [{}]", flags.join(", "));
    }
    if service.one_packet {
        out.push_str("one_packet = true\n");
    }
    if let Some(seconds) = service.persistence_timeout {
        let _ = writeln!(out, "persistence_timeout = {seconds}");
    }
    write_text(out, "persistence_mask", service.persistence_mask.as_deref());
    write_text(
        out,
        "persistence_engine",
        service.persistence_engine.as_deref(),
    );
    write_text(out, "name", service.name.as_deref());
    for server in &service.servers {
        write_server(out, server);
    }
}

fn write_server(out: &mut String, server: &Server) {
    let _ = writeln!(
        out,
        "\n[[service.server]]\naddress = \"{}\"",
        server.address
    );
    if let Some(port) = server.port {
        let _ = writeln!(out, "port = {port}");
    }
    if let Some(weight) = server.weight {
        let _ = writeln!(out, "weight = {weight}");
    }
    let _ = writeln!(out, "method = \"{}\"", server.method.name());
    if let Some(tunnel) = &server.tunnel {
        let _ = writeln!(out, "tunnel = \"{}\"", tunnel.kind);
        if let Some(port) = tunnel.port {
            let _ = writeln!(out, "tunnel_port = {port}");
        }
        write_text(out, "tunnel_checksum", tunnel.checksum);
    }
    for (key, value) in [
        ("upper_threshold", server.upper_threshold),
        ("lower_threshold", server.lower_threshold),
    ] {
        if value != 0 {
            let _ = writeln!(out, "{key} = {value}");
        }
    }
    write_text(out, "name", server.name.as_deref());
}

fn write_text(out: &mut String, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        let _ = writeln!(out, "{key} = {}", quoted(value));
    }
}

/// A TOML string. What comes from a file may hold anything.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Remarks with the same reason on lines that follow each other are told together.
fn write_remarks(out: &mut String, remarks: &[Remark]) {
    if remarks.is_empty() {
        return;
    }
    out.push_str("\n# ---- line by line ");
    out.push_str(&"-".repeat(80));
    out.push('\n');
    let together = |a: &Remark, b: &Remark| {
        a.fate == b.fate && a.reason == b.reason && a.line.file() == b.line.file()
    };
    for group in remarks.chunk_by(together) {
        let first = &group[0];
        let fate = match first.fate {
            Fate::Carried => "Carried",
            Fate::NotCarried => "Not carried",
            Fate::Refused => "Refused",
        };
        let _ = writeln!(
            out,
            "#\n# {fate}, {}: {}",
            printable(first.line.file()),
            printable(&first.reason)
        );
        for remark in group {
            let line = &remark.line;
            if line.number() > 0 {
                let _ = writeln!(
                    out,
                    "# {:>5} | {}",
                    line.number(),
                    printable(line.text().trim_end())
                );
            }
        }
    }
}

/// Text for a comment: TOML allows no control characters there but the tab, and a terminal should
/// see none of a file's.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn count(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}
