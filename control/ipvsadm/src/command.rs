//! Arguments to a [`Command`], with the checks and the messages of the original in its order.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use crate::address;
use crate::director::{
    Change, Daemon, DaemonState, Method, Protocol, Server, Service, ServiceId, Timeouts, Tunnel,
    TunnelChecksum, TunnelKind, flag,
};
use crate::names::Names;
use crate::option::{Given, Is, Opt, ServiceKind, TABLE, Use, Verb, use_of};
use crate::popt::Words;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `-h`
    Help,
    /// `-v`
    Version,
    /// Something of the table changes.
    Change(Change),
    /// `-L`
    List(List),
    /// `-S`
    Save {
        /// `-n`
        numeric: bool,
    },
    /// `-R`
    Restore,
}

/// What is listed, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// What.
    pub what: What,
    /// How.
    pub format: Format,
}

/// What is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum What {
    /// Every service with its servers.
    #[default]
    All,
    /// One service.
    Service(ServiceId),
    /// Connections.
    Connections,
    /// Timeouts.
    Timeouts,
    /// Daemons of connection synchronisation.
    Daemons,
}

/// How it is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct Format {
    /// `-n`
    pub numeric: bool,
    /// `--stats`
    pub stats: bool,
    /// `--rate`
    pub rate: bool,
    /// `--thresholds`
    pub thresholds: bool,
    /// `--persistent-conn`
    pub persistent: bool,
    /// `--nosort`
    pub unsorted: bool,
    /// `--exact`
    pub exact: bool,
    /// `--tun-info`
    pub tunnel: bool,
}

/// The command line is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// What standard error gets, without the end of the line.
    pub message: String,
    /// The exit code.
    pub code: u8,
}

impl Stop {
    /// A wrong value or a combination that makes no sense.
    fn wrong(message: impl Into<String>) -> Self {
        Stop {
            message: message.into(),
            code: 2,
        }
    }

    /// The hint that there is help.
    pub(crate) fn hint(program: &str) -> Self {
        Stop {
            message: format!("Try `{program} -h' or '{program} --help' for more information."),
            code: 255,
        }
    }
}

/// Longest name of a scheduler, an interface or a persistence engine.
const NAME_MAX: usize = 15;
/// Longest timeout, 31 days.
const TIMEOUT_MAX: i64 = 86_400 * 31;
/// What `-p` alone means.
const PERSISTENCE_DEFAULT: u32 = 360;

/// Reads a command line, without the program's name.
///
/// # Errors
///
/// What the original says to it, with its exit code.
pub fn parse(program: &str, words: &[String], names: &Names) -> Result<Command, Stop> {
    let mut options = Words::new(TABLE, words);
    let (verb, value) = match options.next_option() {
        Some(Ok((Is::Verb(verb), value))) => (verb, value),
        _ => return Err(Stop::hint(program)),
    };
    let mut entry = Entry::new(verb, names);
    match verb {
        Verb::Help => return Ok(Command::Help),
        Verb::Version => return Ok(Command::Version),
        Verb::StartDaemon | Verb::StopDaemon => entry.daemon.state = daemon_state(value)?,
        _ => {}
    }
    while let Some(option) = options.next_option() {
        match option {
            Ok((is, value)) => entry.take(is, value, options.last_word())?,
            Err(wrong) => {
                return Err(Stop {
                    message: format!("{}: {}", options.last_word(), wrong.text()),
                    code: 255,
                });
            }
        }
    }
    if verb == Verb::Set {
        let mut timeout = || options.next_argument();
        let (Some(tcp), Some(tcp_fin), Some(udp)) = (timeout(), timeout(), timeout()) else {
            return Err(Stop::wrong("--set option requires 3 timeout values"));
        };
        entry.timeouts = Timeouts {
            tcp: seconds(tcp, 0)?,
            tcp_fin: seconds(tcp_fin, 0)?,
            udp: seconds(udp, 0)?,
        };
    }
    if let Some(word) = options.next_argument() {
        return Err(Stop::wrong(format!("unexpected argument {word}")));
    }
    entry.finish()
}

fn daemon_state(value: Option<&str>) -> Result<DaemonState, Stop> {
    match value {
        Some("master") => Ok(DaemonState::Master),
        Some("backup") => Ok(DaemonState::Backup),
        _ => Err(Stop::wrong("illegal start-daemon parameter specified")),
    }
}

fn seconds(text: &str, least: i64) -> Result<u32, Stop> {
    address::number(text, least..=TIMEOUT_MAX)
        .and_then(|seconds| u32::try_from(seconds).ok())
        .ok_or_else(|| Stop::wrong(format!("invalid timeout value `{text}' specified")))
}

/// A number, or the message that it is none.
fn number<T: TryFrom<i64>>(
    text: &str,
    range: RangeInclusive<i64>,
    message: &str,
) -> Result<T, Stop> {
    address::number(text, range)
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| Stop::wrong(message))
}

fn cut(text: &str) -> String {
    text.chars().take(NAME_MAX).collect()
}

/// What is known of the command while its options are read. Some depend on those before them: `-6`
/// comes after `-f`, `-M` is read by the family known by then, and `-r` without a port takes that of
/// the service, if there is one yet.
struct Entry<'n> {
    verb: Verb,
    names: &'n Names,
    given: Given,
    format: Format,
    address: Option<(Protocol, IpAddr, u16)>,
    mark: u32,
    is_ipv6: bool,
    scheduler: String,
    scheduler_flags: Option<String>,
    flags: u32,
    timeout: u32,
    netmask: u32,
    engine: Option<String>,
    server: Server,
    daemon: Daemon,
    timeouts: Timeouts,
}

impl<'n> Entry<'n> {
    fn new(verb: Verb, names: &'n Names) -> Self {
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
                address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                port: 0,
                method: Method::Route,
                weight: 1,
                upper: 0,
                lower: 0,
                tunnel: Tunnel::default(),
            },
            daemon: Daemon {
                state: DaemonState::Master,
                interface: String::new(),
                sync_id: 0,
                maxlen: 0,
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

    fn take(&mut self, is: Is, value: Option<&str>, word: &str) -> Result<(), Stop> {
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
                    'm' => Method::Masq,
                    'i' => Method::Tunnel,
                    _ => Method::Route,
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
            ServiceKind::Tcp => Protocol::Tcp,
            ServiceKind::Udp => Protocol::Udp,
            ServiceKind::Sctp => Protocol::Sctp,
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
                self.server.upper = number(text, 0..=int_max, "illegal u_threshold specified")?;
            }
            Opt::Lower => {
                self.server.lower = number(text, 0..=int_max, "illegal l_threshold specified")?;
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
                self.daemon.maxlen = number(text, range, "illegal sync-maxlen specified")?;
            }
            Opt::OnePacket => self.flags |= flag::ONE_PACKET,
            Opt::Engine => self.engine = Some(cut(text)).filter(|name| !name.is_empty()),
            Opt::SchedulerFlags => self.scheduler_flags = Some(text.to_owned()),
            Opt::TunnelType => {
                self.server.tunnel.kind = match text {
                    "ipip" => TunnelKind::Ipip,
                    "gue" => TunnelKind::Gue,
                    "gre" => TunnelKind::Gre,
                    _ => return Err(Stop::wrong("illegal tunnel type specified")),
                };
            }
            Opt::TunnelPort => {
                let message = "illegal tunnel port specified";
                self.server.tunnel.port = number(text, 1..=65_535, message)?;
            }
            Opt::TunnelChecksum => self.server.tunnel.checksum = TunnelChecksum::Full,
            Opt::TunnelRemoteChecksum => self.server.tunnel.checksum = TunnelChecksum::Remote,
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
        let protocol = service.map(|(protocol, _)| protocol);
        let host = address::host(text, protocol, self.names)
            .ok_or_else(|| Stop::wrong("illegal real server address[:port] specified"))?;
        self.server.address = host.address;
        self.server.port = host
            .port
            .unwrap_or_else(|| service.map_or(0, |(_, port)| port));
        Ok(())
    }

    fn finish(mut self) -> Result<Command, Stop> {
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
                Ok(Command::Change(Change::DeleteServer(id, self.server)))
            }
            Verb::Set => Ok(Command::Change(Change::SetTimeouts(self.timeouts))),
            Verb::StartDaemon => {
                if self.daemon.interface.is_empty() {
                    "eth0".clone_into(&mut self.daemon.interface);
                }
                Ok(Command::Change(Change::StartDaemon(self.daemon)))
            }
            Verb::StopDaemon => Ok(Command::Change(Change::StopDaemon(self.daemon))),
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

    fn finish_service(mut self) -> Result<Command, Stop> {
        if self.mark == 0
            && self.flags & flag::PERSISTENT == 0
            && self.address.is_some_and(|(_, _, port)| port == 0)
        {
            let message = "Zero port specified for non-persistent service";
            return Err(Stop::wrong(message));
        }
        if self.flags & flag::ONE_PACKET != 0
            && self.mark == 0
            && self
                .address
                .is_some_and(|(protocol, ..)| protocol != Protocol::Udp)
        {
            let message = "One-Packet Scheduling is only for UDP virtual services";
            return Err(Stop::wrong(message));
        }
        if self.scheduler.is_empty() {
            "wlc".clone_into(&mut self.scheduler);
        }
        if let Some(flags) = self.scheduler_flags.take() {
            self.flags |= scheduler_flags(&self.scheduler, &flags)?;
        }
        let service = Service {
            id: self.id(),
            scheduler: self.scheduler,
            flags: self.flags,
            timeout: self.timeout,
            netmask: self.netmask,
            engine: self.engine,
        };
        Ok(Command::Change(match self.verb {
            Verb::EditService => Change::EditService(service),
            _ => Change::AddService(service),
        }))
    }

    fn finish_server(mut self) -> Result<Command, Stop> {
        let is_tunnel = self.server.method == Method::Tunnel;
        // What leaves a packet as it is cannot change its port. A mark's packets have any.
        if self.mark == 0
            && matches!(self.server.method, Method::Tunnel | Method::Route)
            && let Some((_, _, port)) = self.address
        {
            self.server.port = port;
        }
        let is_ipv6 = self.id().is_ipv6();
        if self.server.address.is_ipv6() != is_ipv6 && !is_tunnel {
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
        let (tunnel, port, allowed) = match self.server.tunnel.kind {
            TunnelKind::Ipip => ("ipip", Use::Never, &checksums[..0]),
            TunnelKind::Gue => ("gue", Use::Must, &checksums[..]),
            TunnelKind::Gre => ("gre", Use::Never, &checksums[..2]),
        };
        let illegal = |option: Opt| {
            let name = option.name();
            Err(Stop::wrong(format!(
                "Illegal '{name}' option with the '{tunnel}' tunnel type"
            )))
        };
        match (port, self.given.has(Opt::TunnelPort)) {
            (Use::Must, false) => {
                return Err(Stop::wrong(format!(
                    "You need to supply the 'tun-port' option for the '{tunnel}' tunnel type"
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
                    "The option '{}' conflicts with the '{}' option in the '{tunnel}' tunnel type",
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

    fn id(&self) -> ServiceId {
        match self.address {
            Some((protocol, address, port)) if self.mark == 0 => ServiceId::Address {
                protocol,
                address,
                port,
            },
            _ => ServiceId::Mark {
                mark: self.mark,
                is_ipv6: self.is_ipv6,
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
