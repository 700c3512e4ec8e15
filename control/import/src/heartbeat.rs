//! Heartbeat's haresources and ha.cf: addresses, and resources in their order. Weir moves no
//! resources; a cluster manager does, and its agents have the same names.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::draft::{Draft, Held};
use crate::line::{Line, lines_of};
use crate::value::has;

const HA_CF: &str = "it concerns the pair of machines: a cluster manager has it in its own words";

/// The words that begin a line of ha.cf.
const WORDS: &str = "
    debugfile logfile logfacility use_logd keepalive deadtime warntime initdead udpport bcast
    mcast mcast6 ucast baud serial node auto_failback ping ping_group deadping respawn apiauth
    stonith stonith_host watchdog compression compression_threshold conn_logd_time hopfudge
    realtime msgfmt rtprio crm autojoin debug coredumps uuidfrom hbgenmethod";

pub(crate) fn read(file: &str, text: &str) -> Draft {
    let mut draft = Draft::default();
    // A line of haresources ends in a backslash where it goes on.
    let mut before: Vec<Line> = Vec::new();
    let mut whole = String::new();
    for line in lines_of(file, 0, text) {
        let bare = line.text().split('#').next().unwrap_or_default().trim();
        let (part, goes_on) = match bare.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (bare, false),
        };
        whole.push_str(part);
        whole.push(' ');
        before.push(line.clone());
        if !goes_on {
            read_line(&mut draft, &before, whole.trim());
            before.clear();
            whole.clear();
        }
    }
    read_line(&mut draft, &before, whole.trim());
    draft
}

fn read_line(draft: &mut Draft, lines: &[Line], text: &str) {
    let (Some(line), false) = (lines.first(), text.is_empty()) else {
        return;
    };
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    if has(WORDS, first) {
        return draft.remarks.not_carried(line, HA_CF);
    }
    let resources: Vec<&str> = words.collect();
    // Tabs that got lost glue a word to its value.
    let glued = WORDS
        .split_ascii_whitespace()
        .filter(|word| first.len() > word.len() && first.starts_with(*word))
        .max_by_key(|word| word.len());
    if let Some(word) = glued
        && !resources.iter().any(|resource| is_resource(resource))
    {
        let reason = format!(
            "heartbeat does not know {first:?}: was it {word:?}, a blank, and {:?}?",
            &first[word.len()..]
        );
        return draft.remarks.refused(line, reason);
    }
    if resources.is_empty() {
        let reason = "it is neither a word of ha.cf nor a node with its resources";
        return draft.remarks.refused(line, reason);
    }
    draft
        .groups
        .push(format!("node {first}: {}", resources.join(", then ")));
    for resource in resources {
        take_resource(draft, line, first, resource);
    }
    for line in lines {
        let reason = "Weir holds no addresses and moves no resources: give the group to a cluster \
                      manager, and the addresses to a port";
        draft.remarks.not_carried(line, reason);
    }
}

fn is_resource(word: &str) -> bool {
    word.contains("::") || word.parse::<IpAddr>().is_ok()
}

/// `192.0.2.1`, `IPaddr::192.0.2.1/24/eth0:0`, or anything else.
fn take_resource(draft: &mut Draft, line: &Line, node: &str, resource: &str) {
    let (kind, argument) = resource.split_once("::").unwrap_or(("IPaddr", resource));
    if !matches!(kind, "IPaddr" | "IPaddr2" | "IPv6addr") {
        return;
    }
    let mut parts = argument.split('/');
    let address = parts.next().unwrap_or_default();
    let Ok(address) = address.parse::<IpAddr>() else {
        if resource.contains("::") {
            let reason = format!("{address:?} is no address");
            draft.remarks.refused(line, reason);
        }
        return;
    };
    let own = IpNet::from(address);
    let length = parts.next();
    let net = match length.map(str::parse::<u8>) {
        Some(Ok(length)) => IpNet::new(address, length).unwrap_or(own),
        _ => own,
    };
    let label = parts
        .next()
        .map_or(String::new(), |label| format!(", {label}"));
    draft.held.push(Held {
        line: line.clone(),
        address: net.to_string(),
        holder: format!("node {node}{label}"),
    });
}
