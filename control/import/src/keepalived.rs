//! keepalived.conf: [`syntax`] makes a tree of it as keepalived does (comments, includes, conditions,
//! definitions, sequences), [`words`] has what keepalived knows where, [`balance`] reads virtual
//! servers, and here is what is made of the rest.

mod balance;
mod expand;
mod syntax;
mod words;

use std::net::IpAddr;

use ipnet::IpNet;

use self::syntax::Node;
use crate::Options;
use crate::draft::{Draft, Held};
use crate::line::{Fate, Line};
use crate::value::has;

const VRRP: &str =
    "Weir does not speak VRRP: let keepalived hold the addresses and leave out its virtual servers";
const PROCESS: &str = "it concerns keepalived as a process, its mail or its scripts";
const SYNC: &str = "Weir does not take part in connection synchronisation";
const UNKNOWN: &str = "keepalived says: Unknown keyword";

pub(crate) fn read(file: &str, text: &str, options: Options<'_>) -> Draft {
    let mut draft = Draft::default();
    let nodes = syntax::tree(&mut draft, file, text, options);
    // Groups may stand behind the servers that use them.
    let groups = balance::groups(&mut draft, &nodes);
    for node in &nodes {
        match node.word(0) {
            "virtual_server" => balance::virtual_server(&mut draft, node, &groups),
            "virtual_server_group" => {}
            "global_defs" => global_defs(&mut draft, node),
            "vrrp_instance" => vrrp_instance(&mut draft, node, &groups),
            word => match words::at_top(word) {
                Some(words::Top::Vrrp(known)) => {
                    check_words(&mut draft, node, known);
                    leave(&mut draft, node, VRRP);
                }
                Some(words::Top::Process) => leave(&mut draft, node, PROCESS),
                None => refuse(&mut draft, node),
            },
        }
    }
    draft
}

/// Everything in a block is left out for one reason.
fn leave(draft: &mut Draft, node: &Node, reason: &str) {
    tell(draft, node, Fate::NotCarried, reason);
}

/// keepalived does not know the word, and then none of the words of its block.
fn refuse(draft: &mut Draft, node: &Node) {
    tell(draft, node, Fate::Refused, UNKNOWN);
}

fn tell(draft: &mut Draft, node: &Node, fate: Fate, reason: &str) {
    draft.remarks.add(&node.line, fate, reason);
    for inner in node.inner() {
        tell(draft, inner, fate, reason);
    }
    if let (Fate::Refused, Some(line)) = (fate, &node.close) {
        draft.remarks.add(line, fate, reason);
    }
}

/// Words of a block that keepalived does not know there. `known` is empty where nothing is known of
/// them.
fn check_words(draft: &mut Draft, node: &Node, known: &str) {
    if known.is_empty() {
        return;
    }
    for inner in node.inner() {
        if !has(known, inner.word(0)) {
            refuse(draft, inner);
        }
    }
}

fn global_defs(draft: &mut Draft, node: &Node) {
    leave_line(draft, &node.line, PROCESS);
    for inner in node.inner() {
        let word = inner.word(0);
        match word {
            "lvs_timeouts" => timeouts(draft, inner),
            "lvs_sync_daemon" => leave(draft, inner, SYNC),
            // Both are times between advertisements and may not be 0.
            "vrrp_garp_interval" | "vrrp_gna_interval"
                if !inner.number::<f64>(1).is_some_and(|s| s > 0.0) =>
            {
                let reason = format!("keepalived says: number '{}' outside range", inner.word(1));
                draft.remarks.refused(&inner.line, reason);
            }
            _ if word.starts_with("vrrp_") && has(words::GLOBALS, word) => {
                leave(draft, inner, VRRP);
            }
            _ if has(words::GLOBALS, word) => leave(draft, inner, PROCESS),
            _ => refuse(draft, inner),
        }
    }
}

/// The head of a block of which something was carried is no loss by itself.
fn leave_line(draft: &mut Draft, line: &Line, reason: &str) {
    draft.remarks.not_carried(line, reason);
}

/// `lvs_timeouts tcp N tcpfin N udp N`
fn timeouts(draft: &mut Draft, node: &Node) {
    let mut at = 1;
    while at < node.words.len() {
        let Some(seconds) = node.number::<u32>(at + 1).filter(|seconds| *seconds > 0) else {
            let reason = "keepalived says: lvs_timeouts wants seconds after tcp, tcpfin and udp";
            return draft.remarks.refused(&node.line, reason);
        };
        let given = Some((seconds, node.line.clone()));
        match node.word(at) {
            "tcp" => draft.timeouts.tcp = given,
            "tcpfin" => draft.timeouts.tcp_fin = given,
            "udp" => draft.timeouts.udp = given,
            _ => return draft.remarks.refused(&node.line, UNKNOWN),
        }
        at += 2;
    }
}

fn vrrp_instance(draft: &mut Draft, node: &Node, groups: &balance::Groups) {
    let name = node.word(1);
    let mut interface = "";
    for inner in node.inner() {
        if inner.word(0) == "interface" {
            interface = inner.word(1);
        }
    }
    leave_line(draft, &node.line, VRRP);
    for inner in node.inner() {
        match inner.word(0) {
            "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
                leave_line(draft, &inner.line, VRRP);
                let holder = format!("VRRP instance {name}");
                inner
                    .inner()
                    .iter()
                    .for_each(|entry| hold(draft, entry, &holder, interface));
            }
            "virtual_server" => nested(draft, inner, name, groups),
            "priority" | "virtual_router_id"
                if !inner
                    .number::<u32>(1)
                    .is_some_and(|n| (1..=255).contains(&n)) =>
            {
                let reason = format!("keepalived says: number '{}' outside range", inner.word(1));
                draft.remarks.refused(&inner.line, reason);
            }
            word if has(words::VRRP_INSTANCE, word) => leave(draft, inner, VRRP),
            _ => refuse(draft, inner),
        }
    }
}

/// A brace too few puts a virtual server into a VRRP instance. keepalived then knows none of its
/// words; what was meant is plain.
fn nested(draft: &mut Draft, node: &Node, instance: &str, groups: &balance::Groups) {
    let reason = format!(
        "{UNKNOWN}: it stands within vrrp_instance {instance}, whose }} is missing. Taken here as if \
         it stood by itself"
    );
    tell(draft, node, Fate::Refused, &reason);
    balance::virtual_server(draft, node, groups);
}

/// `ADDR[/LENGTH] [dev IF] …`
fn hold(draft: &mut Draft, node: &Node, holder: &str, interface: &str) {
    let text = node.word(0);
    let address = match text.parse::<IpNet>() {
        Ok(net) => Some(net),
        Err(_) => text.parse::<IpAddr>().ok().map(IpNet::from),
    };
    let Some(address) = address else {
        let reason = format!("keepalived says: VRRP parsed invalid IP {text}. skipping IP...");
        return draft.remarks.refused(&node.line, reason);
    };
    let device = node.words.windows(2).find(|pair| pair[0] == "dev");
    let device = device.map_or(interface, |pair| pair[1].as_str());
    draft.held.push(Held {
        line: node.line.clone(),
        address: address.to_string(),
        holder: match device {
            "" => holder.to_owned(),
            device => format!("{holder}, {device}"),
        },
    });
    draft.remarks.not_carried(&node.line, VRRP);
}
