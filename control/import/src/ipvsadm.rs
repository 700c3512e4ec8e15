//! What `ipvsadm -S` prints, and scripts of such commands: every line is a command, with or without
//! the program's name before it, and is carried out on a table that begins empty.

use weir_ipvs::types::{SCTP, UDP, method, service_flags as flag, tunnel};
use weir_ipvs::{
    Family, Netmask, Server as SetServer, ServerKey, Service as SetService, ServiceKey,
};
use weir_ipvsadm::restore::words_of;
use weir_ipvsadm::{Change, Command, Names, parse};

use crate::Options;
use crate::draft::{Draft, Front, Method, Protocol, Server, Service, Tunnel};
use crate::line::{Line, lines_of};
use crate::sysctl;

pub(crate) fn read(file: &str, text: &str, options: Options<'_>) -> Draft {
    let names = Names::new(&options.files.services(), "");
    let mut draft = Draft::default();
    let is_program = |word: &String| word.rsplit('/').next() == Some("ipvsadm");
    let lines = lines_of(file, 0, text);
    let mut words = lines.iter().map(|line| words_of(line.text()));
    let is_script = words.any(|words| words.first().is_some_and(is_program));
    for line in lines {
        let mut words = words_of(line.text());
        let has_program = words.first().is_some_and(is_program);
        if has_program {
            words.remove(0);
        }
        if words.is_empty() || sysctl::take(&mut draft, &line) {
            continue;
        }
        if is_script && !has_program {
            let reason = "it is no command of ipvsadm's";
            draft.remarks.not_carried(&line, reason);
            continue;
        }
        match parse("ipvsadm", &words, &names) {
            Err(stop) => draft.remarks.refused(&line, said(&stop.message)),
            Ok(Command::Change(change)) => carry_out(&mut draft, &line, change),
            Ok(_) => draft
                .remarks
                .not_carried(&line, "it asks for something and sets nothing"),
        }
    }
    draft
}

fn said(message: &str) -> String {
    format!("ipvsadm says: {}", message.replace('\n', "; "))
}

fn carry_out(draft: &mut Draft, line: &Line, change: Change) {
    let refused = match change {
        Change::AddService(set) if find(draft, &set.key).is_some() => "Service already exists",
        Change::AddService(set) => {
            let service = service(line, &set);
            draft.services.push(service);
            return;
        }
        Change::EditService(set) => match find(draft, &set.key) {
            None => "No such service",
            Some(at) => {
                let mut new = service(line, &set);
                new.servers = std::mem::take(&mut draft.services[at].servers);
                draft.services[at] = new;
                return;
            }
        },
        Change::DeleteService(id) => match find(draft, &id) {
            None => "No such service",
            Some(at) => {
                draft.services.remove(at);
                return;
            }
        },
        Change::Flush => {
            draft.services.clear();
            return;
        }
        Change::AddServer(id, set) => match (find(draft, &id), &set) {
            (None, _) => "Service not defined",
            (Some(at), set) if find_server(&draft.services[at], &set.key).is_some() => {
                "Destination already exists"
            }
            (Some(at), set) => {
                let new = server(draft, line, at, set);
                draft.services[at].servers.push(new);
                return;
            }
        },
        Change::EditServer(id, set) => match find(draft, &id) {
            None => "Service not defined",
            Some(at) => match find_server(&draft.services[at], &set.key) {
                None => "No such destination",
                Some(index) => {
                    let new = server(draft, line, at, &set);
                    draft.services[at].servers[index] = new;
                    return;
                }
            },
        },
        Change::DeleteServer(id, key) => match find(draft, &id) {
            None => "Service not defined",
            Some(at) => match find_server(&draft.services[at], &key) {
                None => "No such destination",
                Some(index) => {
                    draft.services[at].servers.remove(index);
                    return;
                }
            },
        },
        Change::SetTimeouts(timeouts) => {
            let given = |seconds: u32| (seconds > 0).then(|| (seconds, line.clone()));
            let own = &mut draft.timeouts;
            own.tcp = given(timeouts.tcp).or(own.tcp.take());
            own.tcp_fin = given(timeouts.tcp_fin).or(own.tcp_fin.take());
            own.udp = given(timeouts.udp).or(own.udp.take());
            return;
        }
        Change::Zero(_) => {
            let reason = "counters begin at zero";
            draft.remarks.carried(line, reason);
            return;
        }
        Change::StartDaemon(_) | Change::StopDaemon(_) => {
            let reason = "Weir does not take part in connection synchronisation";
            draft.remarks.not_carried(line, reason);
            return;
        }
    };
    draft.remarks.refused(line, said(refused));
}

fn front(id: &ServiceKey) -> Front {
    match *id {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => Front::Address {
            protocol: match protocol {
                UDP => Protocol::Udp,
                SCTP => Protocol::Sctp,
                _ => Protocol::Tcp,
            },
            address,
            port,
        },
        ServiceKey::Mark { mark, family } => Front::Mark {
            mark,
            is_ipv6: family == Family::Ipv6,
        },
    }
}

fn find(draft: &Draft, id: &ServiceKey) -> Option<usize> {
    let wanted = front(id);
    draft
        .services
        .iter()
        .position(|service| service.front == wanted)
}

fn find_server(service: &Service, key: &ServerKey) -> Option<usize> {
    // Without a port of its own a server has the service's; one of a mark has none.
    let port = |server: &Server| server.port.or(service.port()).unwrap_or(0);
    let mut servers = service.servers.iter();
    servers.position(|server| server.address == key.address && port(server) == key.port)
}

fn service(line: &Line, set: &SetService) -> Service {
    let mut service = Service::new(line.clone(), front(&set.key));
    service.scheduler = Some(set.scheduler.clone());
    let [one, two] = match set.scheduler.as_str() {
        "sh" => ["sh-fallback", "sh-port"],
        "mh" => ["mh-fallback", "mh-port"],
        _ => ["flag-1", "flag-2"],
    };
    for (bit, name) in [
        (flag::SCHEDULER_1, one),
        (flag::SCHEDULER_2, two),
        (flag::SCHEDULER_3, "flag-3"),
    ] {
        if set.flags & bit != 0 {
            service.flags.push(name.to_owned());
        }
    }
    service.one_packet = set.flags & flag::ONE_PACKET != 0;
    if set.flags & flag::PERSISTENT != 0 {
        service.persistence_timeout = Some(set.timeout);
        service.persistence_mask = match set.netmask {
            Netmask::Prefix(128) => None,
            Netmask::Prefix(length) => Some(length.to_string()),
            Netmask::Mask(mask) => crate::value::v4_mask(mask),
        };
    }
    service.persistence_engine.clone_from(&set.engine);
    service
}

fn server(draft: &mut Draft, line: &Line, of: usize, set: &SetServer) -> Server {
    let method = match set.method {
        method::MASQ => Method::Nat,
        method::TUNNEL => Method::Tun,
        _ => Method::Dr,
    };
    let mut server = Server::new(line.clone(), set.key.address, method);
    server.weight = u32::try_from(set.weight).ok();
    server.upper_threshold = set.upper_threshold;
    server.lower_threshold = set.lower_threshold;
    let Draft {
        services, remarks, ..
    } = draft;
    if let Some(service) = services.get(of) {
        server.set_port(set.key.port, service, remarks);
    }
    if method == Method::Tun && set.tunnel.kind != tunnel::IPIP {
        server.tunnel = Some(Tunnel {
            kind: match set.tunnel.kind {
                tunnel::GRE => "gre",
                _ => "gue",
            },
            port: (set.tunnel.port != 0).then_some(set.tunnel.port),
            checksum: match set.tunnel.flags {
                flags if flags & tunnel::CSUM != 0 => Some("full"),
                flags if flags & tunnel::REMCSUM != 0 => Some("remote"),
                _ => None,
            },
        });
    }
    server
}
