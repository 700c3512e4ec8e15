//! Piranha's lvs.cf: `key = value`, and sections in braces.

use std::net::{IpAddr, Ipv4Addr};

use weir_ipvsadm::Names;

use crate::Options;
use crate::draft::{Draft, Front, Held, Method, Protocol, Server, Service};
use crate::line::{Line, lines_of};
use crate::shared::{CHECKS, SORRY, by_name, port_of};
use crate::value::{has, label};

const PAIR: &str = "it concerns the pair of directors, of which Weir is one machine";
const SYNC: &str = "Weir does not take part in connection synchronisation";
const FAILOVER: &str = "a failover service is not balanced: it belongs to a cluster manager";
const INACTIVE: &str = "active is not 1: lvsd leaves it out, and so does Weir";

/// The keys of the file's top level, of a virtual service and of a server.
const GLOBALS: &str = "
    serial_no primary primary_private primary_shared backup backup_private backup_shared
    backup_active reservation_conflict_action nat_nmask nat_router active_cmd inactive_cmd
    monitor_links debug_level hard_shutdown ipvsadm keepalive deadtime rsh_command syncdaemon
    syncd_iface syncd_id tcp_timeout tcpfin_timeout udp_timeout heartbeat heartbeat_port
    network service sync lvsd fosd rup";
const VIRTUALS: &str = "
    active address sorry_server vip_nmask fwmark port protocol scheduler persistent pmask send
    expect use_regex send_program load_monitor timeout reentry quiesce_server client_monitor
    start_cmd stop_cmd master dirs";
const SERVERS: &str = "
    address active weight port";

/// A `key = value`.
struct Pair {
    line: Line,
    key: String,
    value: String,
}

/// `virtual NAME { … }` and what is in it.
struct Section {
    line: Line,
    kind: String,
    name: String,
    pairs: Vec<Pair>,
    sections: Vec<Section>,
}

impl Section {
    fn new(line: Line, kind: &str, name: &str) -> Self {
        Section {
            line,
            kind: kind.to_owned(),
            name: name.to_owned(),
            pairs: Vec::new(),
            sections: Vec::new(),
        }
    }

    /// The last of several.
    fn get(&self, key: &str) -> Option<&Pair> {
        self.pairs.iter().rfind(|pair| pair.key == key)
    }

    fn is_active(&self) -> bool {
        self.get("active").is_some_and(|pair| pair.value == "1")
    }
}

pub(crate) fn read(file: &str, text: &str, options: Options<'_>) -> Draft {
    let names = Names::new(&options.files.services(), "");
    let mut draft = Draft::default();
    let root = parse(&mut draft, file, text);
    let method = method(&mut draft, &root);
    for pair in &root.pairs {
        take_global(&mut draft, pair);
    }
    for section in &root.sections {
        match section.kind.as_str() {
            "virtual" => take_virtual(&mut draft, section, method, &names),
            "failover" => leave(&mut draft, section, FAILOVER),
            _ => {
                let reason = "lvsd knows virtual and failover here";
                draft.remarks.refused(&section.line, reason);
                leave(&mut draft, section, reason);
            }
        }
    }
    draft
}

/// Sections deeper than `virtual` and `server` are nobody's.
const DEPTH_MAX: usize = 4;

fn parse(draft: &mut Draft, file: &str, text: &str) -> Section {
    let mut open = vec![Section::new(Line::whole_file(file), "", "")];
    for line in lines_of(file, 0, text) {
        let text = without_comment(line.text()).trim();
        if text.is_empty() {
            continue;
        }
        if text == "}" {
            if open.len() > 1 {
                close(&mut open);
            } else {
                draft
                    .remarks
                    .refused(&line, "there is nothing to be closed here");
            }
        } else if let Some(head) = text.strip_suffix('{') {
            let (kind, name) = head
                .trim()
                .split_once(char::is_whitespace)
                .unwrap_or((head.trim(), ""));
            if open.len() >= DEPTH_MAX {
                draft
                    .remarks
                    .refused(&line, "sections do not stand in each other so deep");
            } else {
                open.push(Section::new(line.clone(), kind, name.trim()));
            }
        } else if let Some((key, value)) = text.split_once('=') {
            let pair = Pair {
                key: key.trim().to_owned(),
                value: unquoted(value),
                line,
            };
            if let Some(section) = open.last_mut() {
                section.pairs.push(pair);
            }
        } else {
            draft
                .remarks
                .refused(&line, "it is neither KEY = VALUE nor a section");
        }
    }
    while open.len() > 1 {
        if let Some(section) = open.last() {
            let line = section.line.clone();
            draft.remarks.refused(&line, "its } is missing");
        }
        close(&mut open);
    }
    open.swap_remove(0)
}

fn close(open: &mut Vec<Section>) {
    if let Some(section) = open.pop()
        && let Some(outer) = open.last_mut()
    {
        outer.sections.push(section);
    }
}

/// A line up to `#`, where this is not in quotes.
fn without_comment(text: &str) -> &str {
    let mut is_quoted = false;
    let end = text.find(|c| {
        is_quoted ^= c == '"';
        c == '#' && !is_quoted
    });
    &text[..end.unwrap_or(text.len())]
}

/// A value without its quotes.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(rest).to_owned(),
        None => text.to_owned(),
    }
}

fn method(draft: &mut Draft, root: &Section) -> Method {
    match root.get("network").map(|pair| (pair.value.as_str(), pair)) {
        None | Some(("nat", _)) => Method::Nat,
        Some(("direct", _)) => Method::Dr,
        Some(("tunnel", _)) => Method::Tun,
        Some((_, pair)) => {
            let reason = "network is nat, direct or tunnel";
            draft.remarks.refused(&pair.line, reason);
            Method::Nat
        }
    }
}

fn take_global(draft: &mut Draft, pair: &Pair) {
    let Pair { line, key, value } = pair;
    let seconds = |draft: &mut Draft| match value.parse::<u32>() {
        Ok(seconds) if seconds > 0 => Some((seconds, line.clone())),
        Ok(_) => None,
        Err(_) => {
            draft.remarks.refused(line, "it is no number of seconds");
            None
        }
    };
    match key.as_str() {
        // It is written at every server.
        "network" => {}
        "tcp_timeout" => draft.timeouts.tcp = seconds(draft),
        "tcpfin_timeout" => draft.timeouts.tcp_fin = seconds(draft),
        "udp_timeout" => draft.timeouts.udp = seconds(draft),
        "service" if value == "lvs" => {}
        "service" if value == "fos" => draft.remarks.not_carried(line, FAILOVER),
        "service" => draft.remarks.refused(line, "service is lvs or fos"),
        "nat_router" => hold(draft, line, value, None, "the servers' router"),
        "nat_nmask" => draft
            .remarks
            .not_carried(line, "it is the mask of nat_router's address"),
        "syncdaemon" | "syncd_iface" | "syncd_id" => draft.remarks.not_carried(line, SYNC),
        key if has(GLOBALS, key) => draft.remarks.not_carried(line, PAIR),
        _ => draft.remarks.refused(line, "lvsd does not know this key"),
    }
}

/// Notes an address `IP [DEV[:N]]` that Piranha puts on an interface.
fn hold(draft: &mut Draft, line: &Line, value: &str, mask: Option<Ipv4Addr>, whose: &str) {
    let mut words = value.split_whitespace();
    let address = words.next().unwrap_or_default();
    let Ok(address) = address.parse::<Ipv4Addr>() else {
        return;
    };
    let length = mask.map_or(32, |mask| mask.to_bits().leading_ones());
    let device = words
        .next()
        .map_or(String::new(), |device| format!(", {device}"));
    draft.held.push(Held {
        line: line.clone(),
        address: format!("{address}/{length}"),
        holder: format!("{whose}{device}"),
    });
    let reason = "give the address to a port";
    draft.remarks.not_carried(line, reason);
}

/// Everything in a section is left out for one reason.
fn leave(draft: &mut Draft, section: &Section, reason: &str) {
    draft.remarks.not_carried(&section.line, reason);
    for pair in &section.pairs {
        draft.remarks.not_carried(&pair.line, reason);
    }
    for inner in &section.sections {
        leave(draft, inner, reason);
    }
}

fn take_virtual(draft: &mut Draft, section: &Section, method: Method, names: &Names) {
    if !section.is_active() {
        return leave(draft, section, INACTIVE);
    }
    let Some(front) = front(draft, section, names) else {
        return leave(draft, section, "its address or its port could not be read");
    };
    let mut service = Service::new(section.line.clone(), front);
    service.scheduler = Some("wlc".to_owned());
    service.name = label(&section.name);
    for pair in &section.pairs {
        take_pair(draft, &mut service, section, pair);
    }
    if service.persistence_timeout.is_none() {
        service.persistence_mask = None;
    }
    for inner in &section.sections {
        if inner.kind == "server" {
            take_server(draft, &mut service, inner, method, names);
        } else {
            draft.remarks.refused(&inner.line, "lvsd knows server here");
        }
    }
    draft.services.push(service);
}

fn front(draft: &mut Draft, section: &Section, names: &Names) -> Option<Front> {
    let address = section.get("address");
    if let Some(pair) = section.get("fwmark")
        && pair.value != "0"
    {
        let Ok(mark) = pair.value.parse::<u32>() else {
            draft.remarks.refused(&pair.line, "it is no mark");
            return None;
        };
        if let Some(port) = section.get("port") {
            let reason = "a service of a mark has no port of its own; nanny checks this one";
            draft.remarks.carried(&port.line, reason);
        }
        return Some(Front::Mark {
            mark,
            is_ipv6: false,
        });
    }
    let protocol = match section
        .get("protocol")
        .map(|pair| (pair.value.as_str(), pair))
    {
        None | Some(("tcp", _)) => Protocol::Tcp,
        Some(("udp", _)) => Protocol::Udp,
        Some((_, pair)) => {
            draft.remarks.refused(&pair.line, "protocol is tcp or udp");
            return None;
        }
    };
    let port = match section.get("port") {
        None => 80,
        Some(pair) => match port_of(&pair.value, protocol, names) {
            Some(port) => port,
            None => {
                draft.remarks.refused(&pair.line, "it is no port");
                return None;
            }
        },
    };
    let Some(pair) = address else {
        draft
            .remarks
            .refused(&section.line, "a virtual service needs an address");
        return None;
    };
    let host = pair.value.split_whitespace().next().unwrap_or_default();
    match host.parse::<Ipv4Addr>() {
        Ok(address) => Some(Front::Address {
            protocol,
            address: IpAddr::V4(address),
            port,
        }),
        Err(_) => {
            draft.remarks.not_carried(&pair.line, by_name(host));
            None
        }
    }
}

fn take_pair(draft: &mut Draft, service: &mut Service, section: &Section, pair: &Pair) {
    let Pair { line, key, value } = pair;
    match key.as_str() {
        "active" | "fwmark" | "port" | "protocol" => {}
        "address" => {
            let mask = section
                .get("vip_nmask")
                .and_then(|pair| pair.value.parse().ok());
            let whose = format!("virtual service {}", section.name);
            hold(draft, line, value, mask, &whose);
        }
        "vip_nmask" => draft
            .remarks
            .carried(line, "it is the prefix of the service's address"),
        "scheduler" => service.take_scheduler(line, value, &mut draft.remarks),
        "persistent" => match value.parse() {
            Ok(0) => {}
            Ok(seconds) => service.persistence_timeout = Some(seconds),
            Err(_) => draft.remarks.refused(line, "it is no number of seconds"),
        },
        "pmask" => service.take_v4_mask(line, value, &mut draft.remarks),
        "sorry_server" => draft.remarks.not_carried(line, SORRY),
        key if has(VIRTUALS, key) => draft.remarks.not_carried(line, CHECKS),
        _ => draft
            .remarks
            .refused(line, "lvsd does not know this key of a virtual service"),
    }
}

fn take_server(
    draft: &mut Draft,
    service: &mut Service,
    section: &Section,
    method: Method,
    names: &Names,
) {
    for pair in &section.pairs {
        if !has(SERVERS, &pair.key) {
            let reason = "lvsd does not know this key of a server";
            draft.remarks.refused(&pair.line, reason);
        }
    }
    for inner in &section.sections {
        draft
            .remarks
            .refused(&inner.line, "there is no section within a server");
    }
    if !section.is_active() {
        return leave(draft, section, INACTIVE);
    }
    let Some(pair) = section.get("address") else {
        draft
            .remarks
            .refused(&section.line, "a server needs an address");
        return;
    };
    let Ok(address) = pair.value.parse::<Ipv4Addr>() else {
        draft.remarks.not_carried(&pair.line, by_name(&pair.value));
        return leave(draft, section, "its address is not known");
    };
    let mut server = Server::new(section.line.clone(), IpAddr::V4(address), method);
    server.name = label(&section.name);
    server.weight = Some(1);
    if let Some(pair) = section.get("weight") {
        match pair.value.parse() {
            Ok(weight) => server.weight = Some(weight),
            Err(_) => draft.remarks.refused(&pair.line, "it is no weight"),
        }
    }
    if let Some(pair) = section.get("port") {
        match port_of(&pair.value, Protocol::Tcp, names) {
            Some(0) => {}
            Some(port) => server.set_port(port, service, &mut draft.remarks),
            None => draft.remarks.refused(&pair.line, "it is no port"),
        }
    }
    service.servers.push(server);
}
