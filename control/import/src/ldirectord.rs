//! ldirectord.cf: global lines, and blocks that begin with `virtual=` and are indented.

use std::net::IpAddr;

use weir_ipvsadm::Names;

use crate::Options;
use crate::draft::{Draft, Front, Method, Protocol, Server, Service};
use crate::line::{Line, lines_of};
use crate::shared::{CHECKS, SORRY, by_name, port_of};
use crate::value::{address, host_and_port, label, range};

/// Most servers of one `real=A->B`.
const RANGE_MAX: u32 = 4096;

/// Reasons that come again and again.
const ALERTS: &str = "Weir sends no mail: alert on its metrics";
const DAEMON: &str = "it concerns ldirectord as a process";

/// What is made of a directive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// It is for the block's service.
    Service,
    /// Weir has nothing like it, for this reason.
    None(&'static str),
}

/// The directives, and where they may stand.
fn meaning(name: &str, is_global: bool) -> Option<Meaning> {
    let meaning = match name {
        "checktimeout" | "negotiatetimeout" | "checkinterval" | "checkcount" | "failurecount"
        | "quiescent" | "readdquiescent" | "maintenancedir" => Meaning::None(CHECKS),
        "fallback" | "fallback6" | "fallbackcommand" => Meaning::None(SORRY),
        "emailalert" | "emailalertfreq" | "emailalertstatus" | "emailalertfrom" | "smtp" => {
            Meaning::None(ALERTS)
        }
        "cleanstop" => Meaning::None(DAEMON),
        "autoreload" | "callback" | "execute" | "supervised" | "logfile" | "fork" if is_global => {
            Meaning::None(DAEMON)
        }
        _ if is_global => return None,
        "real" | "real6" | "scheduler" | "schedflags" | "persistent" | "netmask" | "ops"
        | "protocol" | "servicename" | "comment" => Meaning::Service,
        "checktype" | "checkcommand" | "checkport" | "service" | "request" | "receive"
        | "httpmethod" | "virtualhost" | "login" | "passwd" | "database" | "secret" | "load" => {
            Meaning::None(CHECKS)
        }
        "monitorfile" => Meaning::None("Weir writes no such file: see its metrics"),
        _ => return None,
    };
    Some(meaning)
}

/// One line of a block.
struct Directive {
    line: Line,
    name: String,
    value: String,
}

/// The block of a virtual service.
struct Block {
    line: Line,
    is_ipv6: bool,
    value: String,
    directives: Vec<Directive>,
}

pub(crate) fn read(file: &str, text: &str, options: Options<'_>) -> Draft {
    let names = Names::new(&options.files.services(), "");
    let mut draft = Draft::default();
    let mut block: Option<Block> = None;
    for line in lines_of(file, 0, text) {
        let text = line.text().replace('\t', "    ");
        let indent = text.len() - text.trim_start_matches(' ').len();
        let trimmed = text.trim();
        if trimmed.starts_with('#') {
            continue;
        }
        if trimmed.is_empty() {
            finish(&mut draft, block.take(), &names);
            continue;
        }
        if indent >= 4 {
            let trimmed = trimmed.split('#').next().unwrap_or_default().trim();
            match (&mut block, directive(trimmed)) {
                (Some(block), Some((name, value))) => block.directives.push(Directive {
                    line,
                    name: name.to_owned(),
                    value: value.to_owned(),
                }),
                (Some(_), None) => draft.remarks.refused(&line, "it is no directive"),
                (None, _) => draft.remarks.refused(
                    &line,
                    "it is indented and belongs to no virtual= (a blank line ends a block)",
                ),
            }
            continue;
        }
        finish(&mut draft, block.take(), &names);
        if indent > 0 {
            let reason = "lines of a block begin with at least 4 blanks or a tab: ldirectord takes \
                          this for a global one, and refuses";
            draft.remarks.refused(&line, reason);
            continue;
        }
        match directive(trimmed) {
            Some((name @ ("virtual" | "virtual6"), value)) => {
                block = Some(Block {
                    is_ipv6: name == "virtual6",
                    value: value.to_owned(),
                    line,
                    directives: Vec::new(),
                });
            }
            Some((name, _)) => match meaning(name, true) {
                Some(Meaning::None(reason)) => draft.remarks.not_carried(&line, reason),
                _ => draft.remarks.refused(
                    &line,
                    "ldirectord does not know this command and does not start",
                ),
            },
            // The one directive without a value.
            None if trimmed == "supervised" => draft.remarks.not_carried(&line, DAEMON),
            None => draft.remarks.refused(
                &line,
                "ldirectord does not know this command and does not start",
            ),
        }
    }
    finish(&mut draft, block.take(), &names);
    draft
}

/// `name = value`
fn directive(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    Some((name.trim(), value.trim()))
}

fn finish(draft: &mut Draft, block: Option<Block>, names: &Names) {
    let Some(block) = block else { return };
    let last = |name: &str| block.directives.iter().rfind(|d| d.name == name);
    let named = last("protocol").map(|d| d.value.to_ascii_lowercase());
    let Some(front) = front(draft, &block, named.as_deref(), names) else {
        for directive in &block.directives {
            let reason = "its virtual service could not be read";
            draft.remarks.not_carried(&directive.line, reason);
        }
        return;
    };
    let mut service = Service::new(block.line.clone(), front);
    service.scheduler = Some("wrr".to_owned());
    for directive in &block.directives {
        let line = &directive.line;
        match meaning(&directive.name, false) {
            Some(Meaning::None(reason)) => draft.remarks.not_carried(line, reason),
            Some(Meaning::Service) => take(draft, &mut service, directive, names),
            None => draft.remarks.refused(
                line,
                "ldirectord does not know this directive of a virtual service and does not start",
            ),
        }
    }
    if service.persistence_timeout.is_none()
        && service.persistence_mask.take().is_some()
        && let Some(directive) = last("netmask")
    {
        let reason = "without persistent it has no effect";
        draft.remarks.carried(&directive.line, reason);
    }
    draft.services.push(service);
}

fn front(draft: &mut Draft, block: &Block, protocol: Option<&str>, names: &Names) -> Option<Front> {
    let text = block.value.as_str();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        let mark = text.parse().ok().filter(|mark| *mark > 0);
        if mark.is_none() {
            draft
                .remarks
                .refused(&block.line, "a mark is 1 to 4294967295");
        }
        if matches!(protocol, Some("tcp" | "udp")) {
            let reason = "a firewall mark has the protocol fwm";
            draft.remarks.refused(&block.line, reason);
        }
        let is_ipv6 = block.is_ipv6;
        return mark.map(|mark| Front::Mark { mark, is_ipv6 });
    }
    let (host, port) = host_and_port(text);
    let Some(port) = port else {
        let reason = "ldirectord wants ADDRESS:PORT or a firewall mark";
        draft.remarks.refused(&block.line, reason);
        return None;
    };
    let protocol = match protocol {
        Some("tcp") => Protocol::Tcp,
        Some("udp") => Protocol::Udp,
        None if port == "53" || port == "domain" => Protocol::Udp,
        None => Protocol::Tcp,
        Some(_) => {
            let reason = "a virtual address has the protocol tcp or udp";
            draft.remarks.refused(&block.line, reason);
            return None;
        }
    };
    let Some(port) = port_of(port, protocol, names) else {
        let reason = "ldirectord does not know this port";
        draft.remarks.refused(&block.line, reason);
        return None;
    };
    let Some(address) = address(host) else {
        not_an_address(draft, &block.line, host);
        return None;
    };
    Some(Front::Address {
        protocol,
        address,
        port,
    })
}

fn not_an_address(draft: &mut Draft, line: &Line, host: &str) {
    let is_name = host
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        && host.chars().any(|c| c.is_ascii_alphabetic());
    if is_name {
        draft.remarks.not_carried(line, by_name(host));
    } else {
        let reason = format!("{host:?} is neither an address nor a host name");
        draft.remarks.refused(line, reason);
    }
}

/// One directive that means something to Weir.
fn take(draft: &mut Draft, service: &mut Service, directive: &Directive, names: &Names) {
    let Directive { line, name, value } = directive;
    let refuse = |draft: &mut Draft, reason: &str| draft.remarks.refused(line, reason);
    match name.as_str() {
        "real" | "real6" => take_real(draft, service, line, value, names),
        "scheduler" => service.take_scheduler(line, value, &mut draft.remarks),
        "schedflags" => {
            service.flags = value
                .split(',')
                .map(|flag| flag.trim().to_owned())
                .collect();
        }
        "persistent" => match value.parse() {
            Ok(seconds @ 1..) => service.persistence_timeout = Some(seconds),
            _ => refuse(draft, "persistent is a number of seconds, at least 1"),
        },
        "netmask" if service.is_ipv6() => match value.parse::<u8>() {
            Ok(128) => {}
            Ok(length @ 1..128) => service.persistence_mask = Some(length.to_string()),
            _ => refuse(draft, "the netmask of an IPv6 service is a prefix length"),
        },
        "netmask" => service.take_v4_mask(line, value, &mut draft.remarks),
        "ops" => match value.as_str() {
            "yes" => service.one_packet = true,
            "no" => {}
            _ => refuse(draft, "ops is yes or no"),
        },
        "servicename" => {
            service.name = label(value);
            if service.name.is_none() {
                draft.remarks.not_carried(line, "it is no name for a label");
            }
        }
        "comment" => draft.remarks.not_carried(line, "Weir has no place for it"),
        // The protocol has been looked at.
        _ => {}
    }
}

/// `ADDR[->ADDR][:PORT] METHOD [WEIGHT] ["REQUEST", "RECEIVE"] [l:N] [u:N]`
fn take_real(draft: &mut Draft, service: &mut Service, line: &Line, value: &str, names: &Names) {
    let mut words = value.split_whitespace();
    let (Some(at), Some(method)) = (words.next(), words.next()) else {
        let reason = "a real server has an address and gate, masq or ipip";
        return draft.remarks.refused(line, reason);
    };
    let method = match method {
        "gate" => Method::Dr,
        "masq" => Method::Nat,
        "ipip" => Method::Tun,
        _ => {
            let reason = format!("{method:?} is not gate, masq or ipip");
            return draft.remarks.refused(line, reason);
        }
    };
    let (first, last) = match at.split_once("->") {
        Some((first, last)) => (first, Some(last)),
        None => (at, None),
    };
    let (end, port) = host_and_port(last.unwrap_or(first));
    let first = if last.is_some() { first } else { end };
    let protocol = match service.front {
        Front::Address { protocol, .. } => protocol,
        Front::Mark { .. } => Protocol::Tcp,
    };
    let port = match port.map(|port| (port, port_of(port, protocol, names))) {
        None => None,
        Some((_, Some(port))) => Some(port),
        Some((text, None)) => {
            let reason = format!("{text:?} is no port");
            return draft.remarks.refused(line, reason);
        }
    };
    let (first, last) = match (address(first), address(end)) {
        (Some(first), Some(last)) => (first, last),
        (None, _) => return not_an_address(draft, line, first),
        (_, None) => return not_an_address(draft, line, end),
    };
    let Some(addresses) = range(first, last, RANGE_MAX) else {
        let reason = format!("a range goes up, and has at most {RANGE_MAX} addresses");
        return draft.remarks.refused(line, reason);
    };
    let mut server = Server::new(line.clone(), first, method);
    server.weight = Some(1);
    let is_good = take_rest(draft, &mut server, line, words);
    if !is_good {
        return;
    }
    if let Some(port) = port {
        server.set_port(port, service, &mut draft.remarks);
    }
    service
        .servers
        .extend(addresses.into_iter().map(|address: IpAddr| Server {
            address,
            ..server.clone()
        }));
}

/// What follows the method. False when it is refused.
fn take_rest<'v>(
    draft: &mut Draft,
    server: &mut Server,
    line: &Line,
    words: impl Iterator<Item = &'v str>,
) -> bool {
    let mut has_request = false;
    for word in words {
        if has_request || word.starts_with('"') {
            has_request = true;
            continue;
        }
        let threshold = |text: &str| text.parse::<u32>().ok();
        if let Some(upper) = word.strip_prefix("u:").and_then(threshold) {
            server.upper_threshold = upper;
        } else if let Some(lower) = word.strip_prefix("l:").and_then(threshold) {
            server.lower_threshold = lower;
        } else if let Ok(weight) = word.parse() {
            server.weight = Some(weight);
        } else {
            let reason = format!("{word:?} is no weight and no threshold");
            draft.remarks.refused(line, reason);
            return false;
        }
    }
    if has_request {
        let reason = format!("its request and what it wants to receive: {CHECKS}");
        draft.remarks.not_carried(line, reason);
    }
    true
}
