//! What the options of a command line come to, one after the other, and the checks at its end.

use std::net::{IpAddr, Ipv4Addr};

use weir_ipvs::types::{SCTP, TCP, UDP, method, service_flags as flag, tunnel};
use weir_ipvs::{
    Daemon, DaemonState, Family, Netmask, Server, ServerKey, Service, ServiceKey, Timeouts, Tunnel,
};

use super::{Command, Format, List, Stop, What, number, seconds};
use crate::address;
use crate::change::Change;
use crate::names::Names;
use crate::option::{Given, Is, Opt, ServiceKind, Use, Verb, use_of};

/// Longest name of a scheduler, an interface or a persistence engine.
const NAME_MAX: usize = 15;
/// What `-p` alone means.
const PERSISTENCE_DEFAULT: u32 = 360;

fn cut(text: &str) -> String {
    text.chars().take(NAME_MAX).collect()
}

/// What is known of the command while its options are read. Some depend on those before them: `-6`
/// comes after `-f`, `-M` is read by the family known by then, and `-r` without a port takes that of
/// the service, if there is one yet.
pub(super) struct Entry<'n> {
    verb: Verb,
    names: &'n Names,
    given: Given,
    format: Format,
    address: Option<(u16, IpAddr, u16)>,
    mark: u32,
    is_ipv6: bool,
    scheduler: String,
    scheduler_flags: Option<String>,
    flags: u32,
    timeout: u32,
    netmask: u32,
    engine: Option<String>,
    server: Server,
    pub(super) daemon: Daemon,
    pub(super) timeouts: Timeouts,
}

impl<'n> Entry<'n> {
    pub(super) fn new(verb: Verb, names: &'n Names) -> Self {
        Entry {
            verb,
            names,
            given: Given::default(),
            format: Format::default(),
            address: None,
            mark: 0,
            is_ipv6: false,
            scheduler: String::new(),
            scheduler_flags: None,
            flags: 0,
            timeout: 0,
            netmask: u32::MAX,
            engine: None,
            server: Server {
                key: ServerKey {
                    address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    port: 0,
                },
                method: method::ROUTE,
                weight: 1,
                upper_threshold: 0,
                lower_threshold: 0,
                tunnel: Tunnel::default(),
            },
            daemon: Daemon {
                state: DaemonState::Master,
                interface: String::new(),
                sync_id: 0,
                max_length: 0,
                group: None,
                port: 0,
                ttl: 0,
            },
            timeouts: Timeouts {
                tcp: 0,
                tcp_fin: 0,
                udp: 0,
            },
        }
    }

    fn set(&mut self, option: Opt) -> Result<(), Stop> {
        if self.given.add(option) {
            return Ok(());
        }
        let name = option.name();
        Err(Stop::wrong(format!("multiple '{name}' options specified")))
    }

    pub(super) fn take(&mut self, is: Is, value: Option<&str>, word: &str) -> Result<(), Stop> {
        match is {
            Is::Verb(_) => Err(Stop::wrong(format!("invalid option `{word}'"))),
            Is::Sort => Ok(()),
            Is::Ipv6 if self.mark == 0 => Err(Stop::wrong("-6 used before -f")),
            Is::Ipv6 => {
                self.is_ipv6 = true;
                self.netmask = 128;
                Ok(())
            }
            Is::Method(letter) => {
                self.set(Opt::Method)?;
                self.server.method = match letter {
                    'm' => method::MASQ,
                    'i' => method::TUNNEL,
                    _ => method::ROUTE,
                };
                Ok(())
            }
            Is::Service(kind) => {
                self.set(Opt::Service)?;
                self.take_service(kind, value.unwrap_or_default())
            }
            Is::Opt(option) => {
                self.set(option)?;
                self.take_option(option, value)
            }
        }
    }

    fn take_service(&mut self, kind: ServiceKind, text: &str) -> Result<(), Stop> {
        let protocol = match kind {
            ServiceKind::Tcp => TCP,
            ServiceKind::Udp => UDP,
            ServiceKind::Sctp => SCTP,
            ServiceKind::Mark => {
                let message = format!("invalid fwmark value `{text}' specified");
                self.mark = number(text, 1..=i64::from(u32::MAX), &message)?;
                return Ok(());
            }
        };
        let host = address::host(text, Some(protocol), self.names)
            .ok_or_else(|| Stop::wrong("illegal virtual server address[:port] specified"))?;
        if host.address.is_ipv6() {
            self.is_ipv6 = true;
            self.netmask = 128;
        }
        self.address = Some((protocol, host.address, host.port.unwrap_or(0)));
        Ok(())
    }

    fn take_option(&mut self, option: Opt, value: Option<&str>) -> Result<(), Stop> {
        let text = value.unwrap_or_default();
        let int_max = i64::from(i32::MAX);
        match option {
            Opt::Scheduler => self.scheduler = cut(text),
            Opt::Persistent => {
                self.flags |= flag::PERSISTENT;
                self.timeout = match value {
                    Some(text) => seconds(text, 1)?,
                    None => PERSISTENCE_DEFAULT,
                };
            }
            Opt::Netmask => self.netmask = self.netmask_of(text)?,
            Opt::Server => self.take_server(text)?,
            Opt::Weight => {
                self.server.weight = number(text, 0..=int_max, "illegal weight specified")?;
            }
            Opt::Upper => {
                self.server.upper_threshold =
                    number(text, 0..=int_max, "illegal u_threshold specified")?;
            }
            Opt::Lower => {
                self.server.lower_threshold =
                    number(text, 0..=int_max, "illegal l_threshold specified")?;
            }
            Opt::McastInterface => self.daemon.interface = cut(text),
            Opt::SyncId => self.daemon.sync_id = number(text, 0..=255, "illegal syncid specified")?,
            Opt::McastGroup => self.daemon.group = Some(group(text)?),
            Opt::McastPort => {
                self.daemon.port = number(text, 1..=65_535, "illegal mcast-port specified")?;
            }
            Opt::McastTtl => {
                self.daemon.ttl = number(text, 1..=255, "illegal mcast-ttl specified")?;
            }
            Opt::SyncMaxlen => {
                // What a UDP datagram can carry: 65535 less IPv4's and UDP's headers.
                let range = 1..=65_535 - 20 - 8;
                self.daemon.max_length = number(text, range, "illegal sync-maxlen specified")?;
            }
            Opt::OnePacket => self.flags |= flag::ONE_PACKET,
            Opt::Engine => self.engine = Some(cut(text)).filter(|name| !name.is_empty()),
            Opt::SchedulerFlags => self.scheduler_flags = Some(text.to_owned()),
            Opt::TunnelType => {
                self.server.tunnel.kind = match text {
                    "ipip" => tunnel::IPIP,
                    "gue" => tunnel::GUE,
                    "gre" => tunnel::GRE,
                    _ => return Err(Stop::wrong("illegal tunnel type specified")),
                };
            }
            Opt::TunnelPort => {
                let message = "illegal tunnel port specified";
                self.server.tunnel.port = number(text, 1..=65_535, message)?;
            }
            Opt::TunnelChecksum => self.server.tunnel.flags |= tunnel::CSUM,
            Opt::TunnelRemoteChecksum => self.server.tunnel.flags |= tunnel::REMCSUM,
            Opt::Numeric => self.format.numeric = true,
            Opt::Stats => self.format.stats = true,
            Opt::Rate => self.format.rate = true,
            Opt::Thresholds => self.format.thresholds = true,
            Opt::PersistentConn => self.format.persistent = true,
            Opt::NoSort => self.format.unsorted = true,
            Opt::Exact => self.format.exact = true,
            Opt::TunnelInfo => self.format.tunnel = true,
            Opt::Connection
            | Opt::Timeout
            | Opt::Daemon
            | Opt::TunnelNoChecksum
            | Opt::Service
            | Opt::Method => {}
        }
        Ok(())
    }

    fn netmask_of(&self, text: &str) -> Result<u32, Stop> {
        if self.is_ipv6 {
            return number(text, 1..=128, "illegal ipv6 netmask specified");
        }
        address::inet_aton(text)
            .map(Ipv4Addr::to_bits)
            .or_else(|| match self.names.address(text) {
                Some(IpAddr::V4(address)) => Some(address.to_bits()),
                _ => None,
            })
            .ok_or_else(|| Stop::wrong("illegal virtual server persistent mask specified"))
    }

    fn take_server(&mut self, text: &str) -> Result<(), Stop> {
        let service = self.address.map(|(protocol, _, port)| (protocol, port));
        // The ports of a mark's servers have TCP's names.
        let service = service.or((self.mark != 0).then_some((TCP, 0)));
        let protocol = service.map(|(protocol, _)| protocol);
        let host = address::host(text, protocol, self.names)
            .ok_or_else(|| Stop::wrong("illegal real server address[:port] specified"))?;
        self.server.key.address = host.address;
        self.server.key.port = host
            .port
            .unwrap_or_else(|| service.map_or(0, |(_, port)| port));
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Command, Stop> {
        if self.scheduler.is_empty() {
            "wlc".clone_into(&mut self.scheduler);
        }
        if let Some(flags) = self.scheduler_flags.take() {
            self.flags |= scheduler_flags(&self.scheduler, &flags)?;
        }
        self.check_uses()?;
        match self.verb {
            Verb::AddService | Verb::EditService => self.finish_service(),
            Verb::AddServer | Verb::EditServer => self.finish_server(),
            Verb::List => self.finish_list(),
            Verb::Save => Ok(Command::Save {
                numeric: self.format.numeric,
            }),
            Verb::Restore => Ok(Command::Restore),
            Verb::Help => Ok(Command::Help),
            Verb::Version => Ok(Command::Version),
            Verb::DeleteService => Ok(Command::Change(Change::DeleteService(self.id()))),
            Verb::Flush => Ok(Command::Change(Change::Flush)),
            Verb::Zero => {
                let id = self.given.has(Opt::Service).then(|| self.id());
                Ok(Command::Change(Change::Zero(id)))
            }
            Verb::DeleteServer => {
                let id = self.id();
                Ok(Command::Change(Change::DeleteServer(id, self.server.key)))
            }
            Verb::Set => Ok(Command::Change(Change::SetTimeouts(self.timeouts))),
            Verb::StartDaemon => {
                if self.daemon.interface.is_empty() {
                    "eth0".clone_into(&mut self.daemon.interface);
                }
                Ok(Command::Change(Change::StartDaemon(self.daemon)))
            }
            Verb::StopDaemon => Ok(Command::Change(Change::StopDaemon(self.daemon.state))),
        }
    }

    /// Options that must be there, that may not be there, or not beside each other.
    fn check_uses(&self) -> Result<(), Stop> {
        let command = self.verb.name();
        let mut one: Option<Opt> = None;
        for &option in Opt::ALL {
            let (name, is_given) = (option.name(), self.given.has(option));
            match (use_of(self.verb, option), is_given) {
                (Use::Must, false) => {
                    return Err(Stop::wrong(format!(
                        "You need to supply the '{name}' option for the '{command}' command"
                    )));
                }
                (Use::Never, true) => {
                    return Err(Stop::wrong(format!(
                        "Illegal '{name}' option with the '{command}' command"
                    )));
                }
                (Use::OneOf, true) => {
                    if let Some(one) = one {
                        return Err(Stop::wrong(format!(
                            "The option '{name}' conflicts with the '{}' option in the \
                             '{command}' command",
                            one.name()
                        )));
                    }
                    one = Some(option);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn finish_service(self) -> Result<Command, Stop> {
        if self.mark == 0
            && self.flags & flag::PERSISTENT == 0
            && self.address.is_some_and(|(_, _, port)| port == 0)
        {
            let message = "Zero port specified for non-persistent service";
            return Err(Stop::wrong(message));
        }
        if self.flags & flag::ONE_PACKET != 0
            && self.mark == 0
            && self.address.is_some_and(|(protocol, ..)| protocol != UDP)
        {
            let message = "One-Packet Scheduling is only for UDP virtual services";
            return Err(Stop::wrong(message));
        }
        let service = Service {
            key: self.id(),
            scheduler: self.scheduler,
            flags: self.flags,
            timeout: self.timeout,
            netmask: match self.is_ipv6 {
                true => Netmask::Prefix(self.netmask),
                false => Netmask::Mask(Ipv4Addr::from_bits(self.netmask)),
            },
            engine: self.engine,
        };
        Ok(Command::Change(match self.verb {
            Verb::EditService => Change::EditService(service),
            _ => Change::AddService(service),
        }))
    }

    fn finish_server(mut self) -> Result<Command, Stop> {
        let is_tunnel = self.server.method == method::TUNNEL;
        // What leaves a packet as it is cannot change its port. A mark's packets have any.
        if self.mark == 0
            && matches!(self.server.method, method::TUNNEL | method::ROUTE)
            && let Some((_, _, port)) = self.address
        {
            self.server.key.port = port;
        }
        let is_ipv6 = self.is_ipv6;
        if self.server.key.address.is_ipv6() != is_ipv6 && !is_tunnel {
            let message = "Different address family is allowed only for tunneling servers";
            return Err(Stop::wrong(message));
        }
        if !is_tunnel
            && self.given.has_any(&[
                Opt::TunnelType,
                Opt::TunnelPort,
                Opt::TunnelNoChecksum,
                Opt::TunnelChecksum,
                Opt::TunnelRemoteChecksum,
            ])
        {
            return Err(Stop::wrong("Tunnel options conflict with forward method"));
        }
        if is_tunnel {
            self.check_tunnel()?;
        }
        let id = self.id();
        Ok(Command::Change(match self.verb {
            Verb::EditServer => Change::EditServer(id, self.server),
            _ => Change::AddServer(id, self.server),
        }))
    }

    fn check_tunnel(&self) -> Result<(), Stop> {
        let checksums = [
            Opt::TunnelNoChecksum,
            Opt::TunnelChecksum,
            Opt::TunnelRemoteChecksum,
        ];
        let (kind, port, allowed) = match self.server.tunnel.kind {
            tunnel::GUE => ("gue", Use::Must, &checksums[..]),
            tunnel::GRE => ("gre", Use::Never, &checksums[..2]),
            _ => ("ipip", Use::Never, &checksums[..0]),
        };
        let illegal = |option: Opt| {
            let name = option.name();
            Err(Stop::wrong(format!(
                "Illegal '{name}' option with the '{kind}' tunnel type"
            )))
        };
        match (port, self.given.has(Opt::TunnelPort)) {
            (Use::Must, false) => {
                return Err(Stop::wrong(format!(
                    "You need to supply the 'tun-port' option for the '{kind}' tunnel type"
                )));
            }
            (Use::Never, true) => return illegal(Opt::TunnelPort),
            _ => {}
        }
        let mut one: Option<Opt> = None;
        for option in checksums {
            if !self.given.has(option) {
                continue;
            }
            if !allowed.contains(&option) {
                return illegal(option);
            }
            if let Some(one) = one {
                return Err(Stop::wrong(format!(
                    "The option '{}' conflicts with the '{}' option in the '{kind}' tunnel type",
                    option.name(),
                    one.name()
                )));
            }
            one = Some(option);
        }
        Ok(())
    }

    fn finish_list(self) -> Result<Command, Stop> {
        let has = |options: &[Opt]| self.given.has_any(options);
        let numbers = [Opt::Stats, Opt::Rate, Opt::Thresholds];
        if has(&[Opt::Connection, Opt::Timeout, Opt::Daemon]) && has(&numbers)
            || has(&[Opt::Timeout, Opt::Daemon]) && has(&[Opt::PersistentConn])
        {
            return Err(Stop::wrong("options conflicts in the list command"));
        }
        let what = if self.given.has(Opt::Connection) {
            What::Connections
        } else if self.given.has(Opt::Service) {
            What::Service(self.id())
        } else if self.given.has(Opt::Timeout) {
            What::Timeouts
        } else if self.given.has(Opt::Daemon) {
            What::Daemons
        } else {
            What::All
        };
        let format = self.format;
        Ok(Command::List(List { what, format }))
    }

    fn id(&self) -> ServiceKey {
        match self.address {
            Some((protocol, address, port)) if self.mark == 0 => ServiceKey::Address {
                protocol,
                address,
                port,
            },
            _ => ServiceKey::Mark {
                mark: self.mark,
                family: match self.is_ipv6 {
                    true => Family::Ipv6,
                    false => Family::Ipv4,
                },
            },
        }
    }
}

fn group(text: &str) -> Result<IpAddr, Stop> {
    if text.contains(':') {
        let address = text.parse::<std::net::Ipv6Addr>().ok();
        return address
            .filter(std::net::Ipv6Addr::is_multicast)
            .map(IpAddr::V6)
            .ok_or_else(|| Stop::wrong(format!("invalid IPv6 mcast-group `{text}'")));
    }
    let address = text.parse::<Ipv4Addr>().ok();
    address
        .filter(Ipv4Addr::is_multicast)
        .map(IpAddr::V4)
        .ok_or_else(|| Stop::wrong(format!("invalid IPv4 mcast-group `{text}'")))
}

fn scheduler_flags(scheduler: &str, text: &str) -> Result<u32, Stop> {
    let mut flags = 0;
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let (bit, wanted) = match word {
            "flag-1" => (flag::SCHEDULER_1, scheduler),
            "flag-2" => (flag::SCHEDULER_2, scheduler),
            "flag-3" => (flag::SCHEDULER_3, scheduler),
            "sh-fallback" => (flag::SCHEDULER_1, "sh"),
            "sh-port" => (flag::SCHEDULER_2, "sh"),
            "mh-fallback" => (flag::SCHEDULER_1, "mh"),
            "mh-port" => (flag::SCHEDULER_2, "mh"),
            _ => return Err(Stop::wrong(format!("invalid scheduler flag `{word}'"))),
        };
        if scheduler != wanted {
            return Err(Stop::wrong(format!("incompatible scheduler flag `{word}'")));
        }
        flags |= bit;
    }
    Ok(flags)
}
