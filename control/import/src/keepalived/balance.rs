//! `virtual_server` and `virtual_server_group`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::syntax::Node;
use super::{UNKNOWN, leave, refuse, words};
use crate::draft::{Draft, Front, Method, Protocol, Server, Service, Tunnel};
use crate::line::{Fate, Line};
use crate::shared::{CHECKS, SORRY};
use crate::value::{has, is_scheduler, range, v4_mask};

/// Most members of a group that one line may make.
const RANGE_MAX: u32 = 65_536;

/// Groups by their names.
pub(super) type Groups = HashMap<String, Vec<(Line, Member)>>;

/// What a group holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Member {
    Address(IpAddr, u16),
    Mark(u32, Option<bool>),
}

pub(super) fn groups(draft: &mut Draft, nodes: &[Node]) -> Groups {
    let mut groups = Groups::new();
    for node in nodes.iter().filter(|n| n.word(0) == "virtual_server_group") {
        let mut members = Vec::new();
        for entry in node.inner() {
            match member(entry) {
                Ok(some) => members.extend(some.into_iter().map(|m| (entry.line.clone(), m))),
                Err(reason) => draft.remarks.refused(&entry.line, reason),
            }
        }
        groups.entry(node.word(1).to_owned()).or_insert(members);
    }
    groups
}

fn member(node: &Node) -> Result<Vec<Member>, String> {
    if node.word(0) == "fwmark" {
        let mark = node.number::<u32>(1).filter(|mark| *mark > 0);
        let is_ipv6 = match node.word(2) {
            "inet" => Some(false),
            "inet6" => Some(true),
            _ => None,
        };
        let mark = mark.ok_or_else(|| format!("{:?} is no mark", node.word(1)))?;
        return Ok(vec![Member::Mark(mark, is_ipv6)]);
    }
    let text = node.word(0);
    let port = port_of(node.word(1))?;
    let addresses = addresses(text)
        .ok_or_else(|| format!("keepalived does not take {text:?} for an address or a range"))?;
    Ok(addresses
        .into_iter()
        .map(|a| Member::Address(a, port))
        .collect())
}

/// `ADDR`, `192.0.2.1-10`, `ADDR-ADDR`, `192.0.2.8/29`
fn addresses(text: &str) -> Option<Vec<IpAddr>> {
    if let Ok(net) = text.parse::<ipnet::IpNet>() {
        return range(net.network(), net.broadcast(), RANGE_MAX);
    }
    let Some((first, last)) = text.split_once('-') else {
        return text.parse().ok().map(|address| vec![address]);
    };
    let first: IpAddr = first.parse().ok()?;
    let last = match (last.parse::<IpAddr>(), first) {
        (Ok(last), _) => last,
        (Err(_), IpAddr::V4(first)) => {
            let [a, b, c, _] = first.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, last.parse().ok()?))
        }
        (Err(_), IpAddr::V6(first)) => {
            let last = u128::from(u16::from_str_radix(last, 16).ok()?);
            IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() & !0xffff | last))
        }
    };
    range(first, last, RANGE_MAX)
}

/// 0 where there is none.
fn port_of(text: &str) -> Result<u16, String> {
    match text {
        "" => Ok(0),
        text => text
            .parse()
            .map_err(|_| format!("keepalived says: Invalid port {text:?}")),
    }
}

/// What a virtual server says of each of its services.
struct Pattern {
    scheduler: Option<String>,
    method: Option<(Method, Option<Tunnel>)>,
    protocol: Option<Protocol>,
    flags: Vec<String>,
    one_packet: bool,
    persistence_timeout: Option<u32>,
    persistence_mask: Option<String>,
    persistence_engine: Option<String>,
    weight: u32,
    is_ipv6: Option<bool>,
}

pub(super) fn virtual_server(draft: &mut Draft, node: &Node, groups: &Groups) {
    let members = match fronts(draft, node, groups) {
        Ok(members) => members,
        Err(reason) => {
            draft.remarks.refused(&node.line, reason);
            for inner in node.inner() {
                leave(draft, inner, "its virtual server could not be read");
            }
            return;
        }
    };
    let is_mark_only = members
        .iter()
        .all(|(_, member)| matches!(member, Member::Mark(..)));
    let pattern = pattern(draft, node, is_mark_only);
    let servers: Vec<&Node> = node
        .inner()
        .iter()
        .filter(|inner| inner.word(0) == "real_server")
        .collect();
    for (line, member) in members {
        if let Some(service) = service(draft, &line, member, &pattern, &servers) {
            draft.services.push(service);
        }
    }
}

fn fronts(draft: &mut Draft, node: &Node, groups: &Groups) -> Result<Vec<(Line, Member)>, String> {
    match node.word(1) {
        "group" => {
            let name = node.word(2);
            match groups.get(name) {
                Some(members) if !members.is_empty() => Ok(members.clone()),
                Some(_) => Err(format!("virtual_server_group {name} is empty")),
                None => Err(format!("there is no virtual_server_group {name}")),
            }
        }
        "fwmark" => match node.number::<u32>(2) {
            Some(mark) if mark > 0 => Ok(vec![(node.line.clone(), Member::Mark(mark, None))]),
            _ => Err(format!("{:?} is no mark", node.word(2))),
        },
        text => {
            let (bare, prefix) = match text.split_once('/') {
                Some((bare, prefix)) => (bare, Some(prefix)),
                None => (text, None),
            };
            let address: IpAddr = bare
                .parse()
                .map_err(|_| format!("keepalived does not take {text:?} for an address"))?;
            if prefix.is_some() {
                let reason = "a virtual server has one address: its prefix has no effect";
                draft.remarks.carried(&node.line, reason);
            }
            let port = port_of(node.word(2))?;
            Ok(vec![(node.line.clone(), Member::Address(address, port))])
        }
    }
}

/// Reads everything in the block but the servers.
fn pattern(draft: &mut Draft, node: &Node, is_mark_only: bool) -> Pattern {
    let mut pattern = Pattern {
        scheduler: None,
        method: None,
        protocol: None,
        flags: Vec::new(),
        one_packet: false,
        persistence_timeout: None,
        persistence_mask: None,
        persistence_engine: None,
        weight: 1,
        is_ipv6: None,
    };
    for inner in node.inner() {
        take_word(draft, &mut pattern, inner, is_mark_only);
    }
    if pattern.scheduler.is_none() {
        let reason = "no lb_algo is given: keepalived takes wlc";
        draft.remarks.carried(&node.line, reason);
    }
    if pattern.method.is_none() {
        let reason = "no lb_kind is given: keepalived takes NAT";
        draft.remarks.carried(&node.line, reason);
    }
    if pattern.protocol.is_none() && !is_mark_only {
        let reason = "no protocol is given: keepalived takes UDP";
        draft.remarks.carried(&node.line, reason);
    }
    pattern
}

fn take_word(draft: &mut Draft, pattern: &mut Pattern, node: &Node, is_mark_only: bool) {
    let line = &node.line;
    let value = node.word(1);
    match node.word(0) {
        "real_server" => {}
        "lb_algo" | "lvs_sched" if is_scheduler(value) => {
            pattern.scheduler = Some(value.to_owned());
        }
        "lb_algo" | "lvs_sched" => {
            let reason = format!("keepalived has no scheduler {value:?}, and takes wlc");
            draft.remarks.refused(line, reason);
        }
        "lb_kind" | "lvs_method" => match method(node) {
            Ok(method) => pattern.method = Some(method),
            Err(reason) => draft.remarks.refused(line, reason),
        },
        "protocol" => match Protocol::of(value) {
            Some(_) if is_mark_only => {
                let reason = "a mark has no protocol: keepalived says it will be ignored";
                draft.remarks.carried(line, reason);
            }
            Some(protocol) => pattern.protocol = Some(protocol),
            None => draft
                .remarks
                .refused(line, "keepalived knows TCP, UDP and SCTP"),
        },
        "persistence_timeout" => match (value, node.number::<u32>(1)) {
            ("", _) => pattern.persistence_timeout = Some(360),
            (_, Some(seconds @ 1..=2_678_400)) => pattern.persistence_timeout = Some(seconds),
            _ => {
                let reason = format!(
                    "keepalived says: number '{value}' outside range [1, 2678400]; the service is \
                     then not persistent"
                );
                draft.remarks.refused(line, reason);
            }
        },
        "persistence_granularity" => match granularity(value) {
            Some(mask) => pattern.persistence_mask = Some(mask),
            None => draft
                .remarks
                .refused(line, "it is neither a mask nor a prefix length"),
        },
        "persistence_engine" => pattern.persistence_engine = Some(value.to_owned()),
        "ip_family" => match value {
            "inet" => pattern.is_ipv6 = Some(false),
            "inet6" => pattern.is_ipv6 = Some(true),
            _ => draft.remarks.refused(line, "ip_family is inet or inet6"),
        },
        "weight" => match node.number(1) {
            Some(weight) => pattern.weight = weight,
            None => draft.remarks.refused(line, "it is no weight"),
        },
        "ops" => pattern.one_packet = true,
        // IPVS sets this flag itself.
        "hashed" => {}
        flag @ ("flag-1" | "flag-2" | "flag-3" | "sh-port" | "sh-fallback" | "mh-port"
        | "mh-fallback") => pattern.flags.push(flag.to_owned()),
        "nat_mask" => draft.remarks.carried(
            line,
            "keepalived dropped this word long ago; it has no effect",
        ),
        "sorry_server" | "sorry_server_inhibit" | "sorry_server_lvs_method" => {
            draft.remarks.not_carried(line, SORRY);
        }
        word if has(words::SERVICE_CHECKS, word) => leave(draft, node, CHECKS),
        _ => refuse(draft, node),
    }
}

/// The text of a mask or a prefix length; empty for the whole address.
fn granularity(text: &str) -> Option<String> {
    if let Ok(mask) = text.parse::<Ipv4Addr>() {
        return Some(v4_mask(mask).unwrap_or_default());
    }
    match text.parse::<u8>().ok()? {
        128 => Some(String::new()),
        length @ 1..128 => Some(length.to_string()),
        _ => None,
    }
}

/// `NAT`, `DR`, `TUN [type ipip | gue port N [csum…] | gre [csum]]`
fn method(node: &Node) -> Result<(Method, Option<Tunnel>), String> {
    match node.word(1).to_ascii_uppercase().as_str() {
        "NAT" => return Ok((Method::Nat, None)),
        "DR" => return Ok((Method::Dr, None)),
        "TUN" => {}
        _ => {
            let word = node.word(1);
            return Err(format!("keepalived has no method {word:?}, and takes NAT"));
        }
    }
    let mut words = node.words.iter().skip(2).map(String::as_str);
    let mut tunnel: Option<Tunnel> = None;
    while let Some(word) = words.next() {
        match (word, &mut tunnel) {
            ("type", _) => {
                let kind = match words.next() {
                    Some("gue") => "gue",
                    Some("gre") => "gre",
                    Some("ipip") => continue,
                    _ => return Err("a tunnel's type is ipip, gue or gre".to_owned()),
                };
                tunnel = Some(Tunnel {
                    kind,
                    port: None,
                    checksum: None,
                });
            }
            ("port", Some(tunnel)) => {
                let port = words.next().and_then(|port| port.parse().ok());
                tunnel.port = Some(port.ok_or("a tunnel's port is a number")?);
            }
            ("nocsum", Some(_)) => {}
            ("csum", Some(tunnel)) => tunnel.checksum = Some("full"),
            ("remcsum", Some(tunnel)) => tunnel.checksum = Some("remote"),
            _ => return Err(format!("{UNKNOWN} {word:?} of a tunnel")),
        }
    }
    Ok((Method::Tun, tunnel))
}

/// One service, with all servers. `None`: keepalived ignores it.
fn service(
    draft: &mut Draft,
    line: &Line,
    member: Member,
    pattern: &Pattern,
    servers: &[&Node],
) -> Option<Service> {
    let first_is_ipv6 = || {
        let first = servers.first()?.word(1).parse::<IpAddr>().ok()?;
        Some(first.is_ipv6())
    };
    let front = match member {
        Member::Address(address, port) => Front::Address {
            protocol: pattern.protocol.unwrap_or(Protocol::Udp),
            address,
            port,
        },
        Member::Mark(mark, is_ipv6) => {
            let is_ipv6 = is_ipv6.or(pattern.is_ipv6).or_else(first_is_ipv6);
            Front::Mark {
                mark,
                is_ipv6: is_ipv6.unwrap_or(false),
            }
        }
    };
    let mut service = Service::new(line.clone(), front);
    service.scheduler = Some(
        pattern
            .scheduler
            .clone()
            .unwrap_or_else(|| "wlc".to_owned()),
    );
    service.flags.clone_from(&pattern.flags);
    service.one_packet = pattern.one_packet;
    if pattern.one_packet
        && let Front::Address { protocol, .. } = front
        && protocol != Protocol::Udp
    {
        draft.remarks.refused(line, "ops is for UDP and marks only");
        service.one_packet = false;
    }
    service.persistence_timeout = pattern.persistence_timeout;
    if pattern.persistence_timeout.is_some() {
        let mask = pattern.persistence_mask.clone();
        service.persistence_mask = mask.filter(|mask| !mask.is_empty());
    }
    service
        .persistence_engine
        .clone_from(&pattern.persistence_engine);
    for node in servers {
        if let Some(server) = server(draft, &service, node, pattern) {
            service.servers.push(server);
        }
    }
    if service.servers.is_empty() && !servers.is_empty() {
        let reason = "keepalived says: Virtual server has no real servers - ignoring";
        draft.remarks.refused(line, reason);
        return None;
    }
    Some(service)
}

fn server(draft: &mut Draft, of: &Service, node: &Node, pattern: &Pattern) -> Option<Server> {
    let line = &node.line;
    let Ok(address) = node.word(1).parse::<IpAddr>() else {
        let reason = format!("keepalived does not take {:?} for an address", node.word(1));
        draft.remarks.refused(line, reason);
        return None;
    };
    let port = match port_of(node.word(2)) {
        Ok(port) => port,
        Err(reason) => {
            draft.remarks.refused(line, reason);
            return None;
        }
    };
    let (mut method_of, mut tunnel) = pattern.method.clone().unwrap_or((Method::Nat, None));
    let mut server = Server::new(line.clone(), address, method_of);
    server.weight = Some(pattern.weight);
    for inner in node.inner() {
        let number = |draft: &mut Draft| {
            let number = inner.number::<u32>(1);
            if number.is_none() {
                let reason = format!("keepalived says: {:?} is invalid", inner.word(1));
                draft.remarks.refused(&inner.line, reason);
            }
            number
        };
        match inner.word(0) {
            "weight" => server.weight = number(draft).or(server.weight),
            "uthreshold" => server.upper_threshold = number(draft).unwrap_or(0),
            "lthreshold" => server.lower_threshold = number(draft).unwrap_or(0),
            "lvs_method" => match method(inner) {
                Ok(own) => (method_of, tunnel) = own,
                Err(reason) => draft.remarks.refused(&inner.line, reason),
            },
            word if has(words::SERVER_CHECKS, word) => check(draft, inner),
            _ => refuse(draft, inner),
        }
    }
    server.method = method_of;
    server.tunnel = tunnel;
    if address.is_ipv6() != of.is_ipv6() && method_of != Method::Tun {
        let reason = format!(
            "keepalived says: Address family of virtual server and real server {address} don't \
             match - skipping real server."
        );
        let last = node.close.as_ref().unwrap_or(line);
        draft.remarks.refused(line, reason.as_str());
        if last != line {
            draft.remarks.refused(last, reason);
        }
        return None;
    }
    match of.front {
        // keepalived's word without a port is the virtual server's.
        Front::Address { .. } if port == 0 && node.words.len() < 3 => {}
        Front::Mark { .. } if port != 0 => {
            let reason = "keepalived says: a server of a mark has port specified - clearing";
            draft.remarks.carried(line, reason);
        }
        _ => server.set_port(port, of, &mut draft.remarks),
    }
    Some(server)
}

/// A checker or a script: not carried, and looked at for words that keepalived does not know.
fn check(draft: &mut Draft, node: &Node) {
    draft.remarks.not_carried(&node.line, CHECKS);
    for inner in node.inner() {
        let word = inner.word(0);
        if words::is_of_checker(node.word(0), word) {
            leave(draft, inner, CHECKS);
        } else if word == "nb_get_retry" {
            // Old guides have it everywhere. It has no effect, and keepalived runs.
            let reason = "keepalived says: Unknown keyword 'nb_get_retry'; it was meant as retry, \
                          and belongs to HTTP_GET and SSL_GET";
            draft.remarks.add(&inner.line, Fate::NotCarried, reason);
        } else {
            refuse(draft, inner);
        }
    }
}
