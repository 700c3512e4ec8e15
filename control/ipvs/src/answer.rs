//! Answers requests as the kernel does: the same checks in the same order, the same replies byte for
//! byte.

use std::net::IpAddr;

use crate::attribute::{Name, Nest, Table as _};
use crate::errno::Errno;
use crate::netlink::{self, ACK, DUMP, FIRST_TYPE, Header, MULTI, Message, REQUEST};
use crate::table::{Changes, Table};
use crate::tables::{
    ATTRIBUTES_MAX, CONTROL_ID, CONTROL_VERSION, Command, CommandAttributes, ControlAttributes,
    FAMILY_ID, FAMILY_NAME, FAMILY_VERSION, GET_FAMILY, IPVS_VERSION, InfoAttributes, NEW_FAMILY,
    OperationAttributes,
};
use crate::types::{
    Daemon, DaemonState, Family, Netmask, Server, ServerKey, Service, ServiceKey, Stats, Timeouts,
    method, tunnel,
};

/// Most bytes of a datagram of a dump.
const DATAGRAM_MAX: usize = 16384;

/// Answers the requests in a datagram, one after the other. Returns the datagrams of the replies.
///
/// What is not whole gets no answer, as from the kernel.
pub fn answer(datagram: &[u8], table: &mut dyn Table) -> Vec<Vec<u8>> {
    let mut replies = Replies::default();
    for request in netlink::messages(datagram) {
        let Header { kind, flags, .. } = request.header;
        let result = if flags & REQUEST == 0 || kind < FIRST_TYPE {
            Ok(Answered::Done)
        } else {
            match kind {
                CONTROL_ID => control(&request, &mut replies),
                FAMILY_ID => ipvs(&request, table, &mut replies),
                _ => Err(Errno::Enoent),
            }
        };
        match result {
            // A dump tells its own end.
            Ok(Answered::Dumped) => {}
            Ok(Answered::Done) if flags & ACK == 0 => {}
            Ok(Answered::Done) => replies.acknowledge(&request, Ok(())),
            Err(errno) => replies.acknowledge(&request, Err(errno)),
        }
    }
    let Replies {
        mut datagrams,
        later,
        ..
    } = replies;
    datagrams.extend(later);
    datagrams
}

enum Answered {
    Done,
    Dumped,
}

#[derive(Default)]
struct Replies {
    datagrams: Vec<Vec<u8>>,
    /// What is left of a dump. The kernel makes it when its beginning was read, which is after all
    /// else of these requests was answered.
    later: Vec<Vec<u8>>,
    /// A dump with something in it is under way: nobody has read it yet, so there is no second one.
    is_dumping: bool,
}

impl Replies {
    fn acknowledge(&mut self, request: &Message<'_>, result: Result<(), Errno>) {
        self.datagrams.push(netlink::acknowledge(request, result));
    }

    fn push(&mut self, message: Vec<u8>) {
        self.datagrams.push(message);
    }

    /// Messages in as few datagrams as they fit into, and the end in one of its own.
    fn dump(
        &mut self,
        request: &Message<'_>,
        messages: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Answered, Errno> {
        if self.is_dumping {
            return Err(Errno::Ebusy);
        }
        let (mut datagrams, mut datagram) = (Vec::new(), Vec::new());
        for message in messages {
            self.is_dumping = true;
            if datagram.len() + message.len() > DATAGRAM_MAX {
                datagrams.push(std::mem::take(&mut datagram));
            }
            datagram.extend(message);
        }
        if !datagram.is_empty() {
            datagrams.push(datagram);
        }
        datagrams.push(netlink::done(&request.header));
        let mut datagrams = datagrams.into_iter();
        self.datagrams.extend(datagrams.next());
        self.later.extend(datagrams);
        Ok(Answered::Dumped)
    }
}

fn is_dump(header: &Header) -> bool {
    header.flags & DUMP == DUMP
}

/// The header of a reply to `request`.
fn reply_header(request: &Header, kind: u16, flags: u16) -> Header {
    Header {
        length: 0,
        kind,
        flags,
        ..*request
    }
}

// ---- nlctrl ------------------------------------------------------------------------------------

fn control(request: &Message<'_>, replies: &mut Replies) -> Result<Answered, Errno> {
    let (command, attributes) = request.generic().ok_or(Errno::Einval)?;
    if command != GET_FAMILY {
        return Err(Errno::Eopnotsupp);
    }
    if is_dump(&request.header) {
        return replies.dump(request, [family(&request.header, MULTI)]);
    }
    let wanted = ControlAttributes::parse(attributes)?;
    let by_id = wanted.family_id.map(|id| id == FAMILY_ID);
    let by_name = wanted.family_name.map(|Name(name)| name == FAMILY_NAME);
    match by_name.or(by_id) {
        None => Err(Errno::Einval),
        Some(false) => Err(Errno::Enoent),
        Some(true) => {
            replies.push(family(&request.header, 0));
            Ok(Answered::Done)
        }
    }
}

/// The family's description. The list of commands has a number of its own for each entry.
fn family(request: &Header, flags: u16) -> Vec<u8> {
    let header = reply_header(request, CONTROL_ID, flags);
    netlink::generic(header, NEW_FAMILY, CONTROL_VERSION, |into| {
        let attributes = ControlAttributes {
            family_name: Some(Name(FAMILY_NAME.to_owned())),
            family_id: Some(FAMILY_ID),
            version: Some(u32::from(FAMILY_VERSION)),
            hdrsize: Some(0),
            maxattr: Some(ATTRIBUTES_MAX),
        };
        attributes.write(into, false);
        netlink::put(into, OPERATIONS, |into| {
            for (number, (command, flags)) in (1..).zip(Command::CAPABILITIES) {
                let operation = OperationAttributes {
                    id: Some(*command as u32),
                    flags: Some(*flags),
                };
                netlink::put(into, number, |into| operation.write(into, false));
            }
        });
    })
}

/// `CTRL_ATTR_OPS`
const OPERATIONS: u16 = 6;

// ---- IPVS --------------------------------------------------------------------------------------

fn ipvs(
    request: &Message<'_>,
    table: &mut dyn Table,
    replies: &mut Replies,
) -> Result<Answered, Errno> {
    let (command, attributes) = request.generic().ok_or(Errno::Einval)?;
    let command = Command::from_number(command).ok_or(Errno::Eopnotsupp)?;
    if is_dump(&request.header) {
        return dump(command, request, attributes, table, replies);
    }
    match command {
        Command::GetDest | Command::GetDaemon | Command::SetInfo => return Err(Errno::Eopnotsupp),
        _ => {}
    }
    let attributes = CommandAttributes::parse(attributes)?;
    match command {
        Command::GetService | Command::GetInfo | Command::GetConfig => {
            let reply = get(command, &request.header, &attributes, table)?;
            replies.push(reply);
        }
        _ => change(command, &attributes, table)?,
    }
    Ok(Answered::Done)
}

/// Does what any command asks for that is no question.
pub(crate) fn change(
    command: Command,
    attributes: &CommandAttributes,
    table: &mut dyn Changes,
) -> Result<(), Errno> {
    match command {
        Command::NewDaemon => new_daemon(attributes, table),
        Command::DelDaemon => del_daemon(attributes, table),
        _ => set(command, attributes, table),
    }
}

/// A reply of the family.
fn reply(
    request: &Header,
    flags: u16,
    command: Command,
    write: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let header = reply_header(request, FAMILY_ID, flags);
    netlink::generic(header, command as u8, FAMILY_VERSION, write)
}

fn get(
    command: Command,
    request: &Header,
    attributes: &CommandAttributes,
    table: &dyn Table,
) -> Result<Vec<u8>, Errno> {
    Ok(match command {
        Command::GetConfig => {
            let timeouts = table.timeouts().attributes();
            reply(request, 0, Command::SetConfig, |into| {
                timeouts.write(into, false)
            })
        }
        Command::GetInfo => {
            let info = InfoAttributes {
                version: Some(IPVS_VERSION),
                conn_tab_size: Some(table.size()),
            };
            reply(request, 0, Command::SetInfo, |into| info.write(into, false))
        }
        _ => {
            let key = service_key(attributes)?;
            let service = table.service(&key).ok_or(Errno::Esrch)?;
            service_message(request, 0, &service, &table.service_stats(&key))
        }
    })
}

fn service_message(request: &Header, flags: u16, service: &Service, stats: &Stats) -> Vec<u8> {
    let attributes = CommandAttributes {
        service: Some(Nest::of(&service.told(stats))),
        ..CommandAttributes::default()
    };
    reply(request, flags, Command::NewService, |into| {
        attributes.write(into, false);
    })
}

fn service_key(attributes: &CommandAttributes) -> Result<ServiceKey, Errno> {
    let service = attributes.service.as_ref().ok_or(Errno::Einval)?;
    ServiceKey::read(&service.parse()?)
}

fn dump(
    command: Command,
    request: &Message<'_>,
    attributes: &[u8],
    table: &dyn Table,
    replies: &mut Replies,
) -> Result<Answered, Errno> {
    let header = &request.header;
    match command {
        Command::GetService => {
            let services = table.services();
            let messages = services
                .iter()
                .map(|(service, stats)| service_message(header, MULTI, service, stats));
            replies.dump(request, messages)
        }
        Command::GetDest => {
            // Whatever is wrong with the service: it has no servers.
            let key = CommandAttributes::parse(attributes);
            let key = key.and_then(|attributes| service_key(&attributes));
            let servers = key.map(|key| table.servers(&key)).unwrap_or_default();
            let messages = servers.iter().map(|(server, counts, stats)| {
                let attributes = CommandAttributes {
                    dest: Some(Nest::of(&server.told(counts, stats))),
                    ..CommandAttributes::default()
                };
                reply(header, MULTI, Command::NewDest, |into| {
                    attributes.write(into, false);
                })
            });
            replies.dump(request, messages)
        }
        Command::GetDaemon => {
            let daemons = table.daemons();
            let messages = daemons.iter().map(|daemon| {
                let attributes = CommandAttributes {
                    daemon: Some(Nest::of(&daemon.attributes())),
                    ..CommandAttributes::default()
                };
                reply(header, MULTI, Command::NewDaemon, |into| {
                    attributes.write(into, false);
                })
            });
            replies.dump(request, messages)
        }
        _ => Err(Errno::Eopnotsupp),
    }
}

fn set(
    command: Command,
    attributes: &CommandAttributes,
    table: &mut dyn Changes,
) -> Result<(), Errno> {
    match command {
        Command::Flush => return table.flush(),
        Command::SetConfig => return table.set_timeouts(checked(Timeouts::read(attributes))?),
        Command::Zero if attributes.service.is_none() => {
            table.zero(None);
            return Ok(());
        }
        _ => {}
    }
    let nest = attributes.service.as_ref().ok_or(Errno::Einval)?;
    let wanted = nest.parse()?;
    let key = ServiceKey::read(&wanted)?;
    let held = table.service(&key);
    let wanted = match command {
        Command::NewService | Command::SetService => Some(Service::read(&wanted, held.as_ref())?),
        _ => None,
    };
    if command != Command::NewService && held.is_none() {
        return Err(Errno::Esrch);
    }
    match (command, wanted) {
        (Command::NewService, Some(service)) => {
            if held.is_some() {
                return Err(Errno::Eexist);
            }
            check_service(&service, table)?;
            table.add_service(service)
        }
        (Command::SetService, Some(service)) => {
            check_service(&service, table)?;
            table.edit_service(service)
        }
        (Command::DelService, _) => table.remove_service(&key),
        (Command::Zero, _) => {
            table.zero(Some(&key));
            Ok(())
        }
        (Command::DelDest, _) => {
            let dest = attributes.dest.as_ref().ok_or(Errno::Einval)?.parse()?;
            let server = ServerKey::read(&dest, key.family())?;
            if !table.has_server(&key, &server) {
                return Err(Errno::Enoent);
            }
            table.remove_server(&key, &server)
        }
        _ => set_server(command, &key, attributes, table),
    }
}

fn set_server(
    command: Command,
    key: &ServiceKey,
    attributes: &CommandAttributes,
    table: &mut dyn Changes,
) -> Result<(), Errno> {
    let dest = attributes.dest.as_ref().ok_or(Errno::Einval)?.parse()?;
    let server = Server::read(&dest, key.family())?;
    let is_mixed = Family::of(server.key.address) != key.family();
    if is_mixed && (server.method != method::TUNNEL || !table.daemons().is_empty()) {
        return Err(Errno::Einval);
    }
    if server.weight < 0 || server.lower_threshold > server.upper_threshold {
        return Err(Errno::Erange);
    }
    if server.tunnel.kind == tunnel::GUE && server.tunnel.port == 0 {
        return Err(Errno::Einval);
    }
    let is_held = table.has_server(key, &server.key);
    match (command, is_held) {
        (Command::NewDest, true) => Err(Errno::Eexist),
        (Command::NewDest, false) => {
            if !is_reachable(server.key.address) && !table.is_local(server.key.address) {
                return Err(Errno::Einval);
            }
            table.add_server(key, server)
        }
        (_, false) => Err(Errno::Enoent),
        (_, true) => table.edit_server(key, server),
    }
}

/// What a service needs beyond being there.
fn check_service(service: &Service, table: &dyn Changes) -> Result<(), Errno> {
    let scheduler = service.scheduler();
    if scheduler.is_some_and(|name| !table.has_scheduler(name)) {
        return Err(Errno::Enoent);
    }
    if service
        .engine
        .as_deref()
        .is_some_and(|name| !table.has_engine(name))
    {
        return Err(Errno::Enoent);
    }
    match service.netmask {
        Netmask::Prefix(length) if !(1..=128).contains(&length) => Err(Errno::Einval),
        _ => Ok(()),
    }
}

/// Seconds that the kernel can count in its ticks, 250 of them in one.
fn checked(timeouts: Timeouts) -> Result<Timeouts, Errno> {
    const MOST: u32 = i32::MAX as u32 / 250;
    let all = [timeouts.tcp, timeouts.tcp_fin, timeouts.udp];
    match all.into_iter().all(|seconds| seconds <= MOST) {
        true => Ok(timeouts),
        false => Err(Errno::Einval),
    }
}

/// An address that a server may have, unless it is the director's own.
fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
        }
        IpAddr::V6(address) => {
            let is_link_local = address.segments()[0] & 0xffc0 == 0xfe80;
            let is_mapped = address.to_ipv4_mapped().is_some();
            let is_unicast = !address.is_unspecified() && !address.is_multicast() && !is_mapped;
            is_unicast && !is_link_local
        }
    }
}

fn new_daemon(attributes: &CommandAttributes, table: &mut dyn Changes) -> Result<(), Errno> {
    let attributes = attributes.daemon.as_ref().ok_or(Errno::Einval)?.parse()?;
    let (number, daemon) = Daemon::read(&attributes)?;
    if table.has_mixed_families() {
        return Err(Errno::Einval);
    }
    let mtu = table
        .interface_mtu(&daemon.interface)
        .ok_or(Errno::Enodev)?;
    let state = DaemonState::from_number(number).ok_or(Errno::Einval)?;
    if table.daemons().iter().any(|daemon| daemon.state == state) {
        return Err(Errno::Eexist);
    }
    table.start_daemon(daemon.told(mtu))
}

fn del_daemon(attributes: &CommandAttributes, table: &mut dyn Changes) -> Result<(), Errno> {
    let attributes = attributes.daemon.as_ref().ok_or(Errno::Einval)?.parse()?;
    let state = attributes.state.ok_or(Errno::Einval)?;
    let state = DaemonState::from_number(state).ok_or(Errno::Einval)?;
    if table.daemons().iter().all(|daemon| daemon.state != state) {
        return Err(Errno::Esrch);
    }
    table.stop_daemon(state)
}
