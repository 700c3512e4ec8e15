//! Every option, and which command takes it.

use crate::popt::{Spec, Value};

/// What a word with a dash can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// It says what is to be done.
    Verb(Verb),
    /// It says with what.
    Opt(Opt),
    /// Forwarding method, one of three spellings of [`Opt::Method`].
    Method(char),
    /// `-t`, `-u`, `--sctp-service`, `-f`: spellings of [`Opt::Service`].
    Service(ServiceKind),
    /// `-6`.
    Ipv6,
    /// `--sort`, which is the default.
    Sort,
}

/// How a service is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// `-t`
    Tcp,
    /// `-u`
    Udp,
    /// `--sctp-service`
    Sctp,
    /// `-f`
    Mark,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident => $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is its word")]
        pub enum $name { $($variant),* }

        impl $name {
            /// All of them, in the order in which they are checked.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// As messages call it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
        }
    };
}

words! {
    /// A command.
    Verb {
        AddService => "add-service",
        EditService => "edit-service",
        DeleteService => "delete-service",
        Flush => "flush",
        List => "list",
        AddServer => "add-server",
        DeleteServer => "delete-server",
        EditServer => "edit-server",
        Set => "set",
        StartDaemon => "start-daemon",
        StopDaemon => "stop-daemon",
        Restore => "restore",
        Save => "save",
        Zero => "zero",
        Help => "help",
        Version => "version",
    }
}

words! {
    /// An option of a command.
    Opt {
        Numeric => "numeric",
        Connection => "connection",
        Service => "service-address",
        Scheduler => "scheduler",
        Persistent => "persistent",
        Netmask => "netmask",
        Server => "real-server",
        Method => "forwarding-method",
        Weight => "weight",
        Upper => "u-threshold",
        Lower => "l-threshold",
        McastInterface => "mcast-interface",
        Timeout => "timeout",
        Daemon => "daemon",
        Stats => "stats",
        Rate => "rate",
        Thresholds => "thresholds",
        PersistentConn => "persistent-conn",
        NoSort => "nosort",
        SyncId => "syncid",
        Exact => "exact",
        OnePacket => "ops",
        Engine => "pe",
        SchedulerFlags => "sched-flags",
        McastGroup => "mcast-group",
        McastPort => "mcast-port",
        McastTtl => "mcast-ttl",
        SyncMaxlen => "sync-maxlen",
        TunnelInfo => "tun-info",
        TunnelType => "tun-type",
        TunnelPort => "tun-port",
        TunnelNoChecksum => "tun-nocsum",
        TunnelChecksum => "tun-csum",
        TunnelRemoteChecksum => "tun-remcsum",
    }
}

/// Options that were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given(u64);

impl Given {
    /// Notes one. False if it was there already.
    pub fn add(&mut self, option: Opt) -> bool {
        let bit = 1 << option as u32;
        let is_new = self.0 & bit == 0;
        self.0 |= bit;
        is_new
    }

    /// Whether it was given.
    #[must_use]
    pub fn has(self, option: Opt) -> bool {
        self.0 & (1 << option as u32) != 0
    }

    /// Whether any of them was given.
    #[must_use]
    pub fn has_any(self, options: &[Opt]) -> bool {
        options.iter().any(|option| self.has(*option))
    }
}

/// What a command, or a tunnel type, makes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It may be given.
    May,
    /// It must be given.
    Must,
    /// At most one of those with this use may be given.
    OneOf,
    /// It may not.
    Never,
}

/// What `verb` makes of `option`.
#[must_use]
pub fn use_of(verb: Verb, option: Opt) -> Use {
    use Opt::{
        Connection, Daemon, Engine, Exact, Lower, McastGroup, McastInterface, McastPort, McastTtl,
        Method, Netmask, NoSort, Numeric, OnePacket, Persistent, PersistentConn, Rate, Scheduler,
        SchedulerFlags, Server, Service, Stats, SyncId, SyncMaxlen, Thresholds, Timeout,
        TunnelChecksum, TunnelInfo, TunnelNoChecksum, TunnelPort, TunnelRemoteChecksum, TunnelType,
        Upper, Weight,
    };
    match (verb, option) {
        (
            Verb::AddService
            | Verb::EditService
            | Verb::DeleteService
            | Verb::AddServer
            | Verb::EditServer
            | Verb::DeleteServer,
            Service,
        )
        | (Verb::AddServer | Verb::EditServer | Verb::DeleteServer, Server) => Use::Must,
        (Verb::List, Connection | Service | Timeout | Daemon) => Use::OneOf,
        (
            Verb::AddService | Verb::EditService,
            Scheduler | Persistent | Netmask | OnePacket | Engine | SchedulerFlags,
        )
        | (
            Verb::AddServer | Verb::EditServer,
            Method | Weight | Upper | Lower | TunnelType | TunnelPort | TunnelNoChecksum
            | TunnelChecksum | TunnelRemoteChecksum,
        )
        | (
            Verb::List,
            Numeric | Stats | Rate | Thresholds | PersistentConn | NoSort | SyncId | Exact
            | TunnelInfo,
        )
        | (
            Verb::StartDaemon,
            McastInterface | SyncId | McastGroup | McastPort | McastTtl | SyncMaxlen,
        )
        | (Verb::StopDaemon, SyncId)
        | (Verb::Save, Numeric)
        | (Verb::Zero, Service) => Use::May,
        _ => Use::Never,
    }
}

const fn option(long: &'static str, letter: Option<char>, value: Value, is: Is) -> Spec<Is> {
    Spec {
        long,
        letter,
        value,
        is,
    }
}

/// All words with dashes.
pub static TABLE: &[Spec<Is>] = &[
    option(
        "add-service",
        Some('A'),
        Value::No,
        Is::Verb(Verb::AddService),
    ),
    option(
        "edit-service",
        Some('E'),
        Value::No,
        Is::Verb(Verb::EditService),
    ),
    option(
        "delete-service",
        Some('D'),
        Value::No,
        Is::Verb(Verb::DeleteService),
    ),
    option("clear", Some('C'), Value::No, Is::Verb(Verb::Flush)),
    option("list", Some('L'), Value::No, Is::Verb(Verb::List)),
    option("list", Some('l'), Value::No, Is::Verb(Verb::List)),
    option("zero", Some('Z'), Value::No, Is::Verb(Verb::Zero)),
    option(
        "add-server",
        Some('a'),
        Value::No,
        Is::Verb(Verb::AddServer),
    ),
    option(
        "edit-server",
        Some('e'),
        Value::No,
        Is::Verb(Verb::EditServer),
    ),
    option(
        "delete-server",
        Some('d'),
        Value::No,
        Is::Verb(Verb::DeleteServer),
    ),
    option("set", None, Value::No, Is::Verb(Verb::Set)),
    option("help", Some('h'), Value::No, Is::Verb(Verb::Help)),
    option("version", Some('v'), Value::No, Is::Verb(Verb::Version)),
    option("restore", Some('R'), Value::No, Is::Verb(Verb::Restore)),
    option("save", Some('S'), Value::No, Is::Verb(Verb::Save)),
    option(
        "start-daemon",
        None,
        Value::Must,
        Is::Verb(Verb::StartDaemon),
    ),
    option("stop-daemon", None, Value::Must, Is::Verb(Verb::StopDaemon)),
    option(
        "tcp-service",
        Some('t'),
        Value::Must,
        Is::Service(ServiceKind::Tcp),
    ),
    option(
        "udp-service",
        Some('u'),
        Value::Must,
        Is::Service(ServiceKind::Udp),
    ),
    option(
        "sctp-service",
        None,
        Value::Must,
        Is::Service(ServiceKind::Sctp),
    ),
    option(
        "fwmark-service",
        Some('f'),
        Value::Must,
        Is::Service(ServiceKind::Mark),
    ),
    option("scheduler", Some('s'), Value::Must, Is::Opt(Opt::Scheduler)),
    option(
        "persistent",
        Some('p'),
        Value::May,
        Is::Opt(Opt::Persistent),
    ),
    option("netmask", Some('M'), Value::Must, Is::Opt(Opt::Netmask)),
    option("real-server", Some('r'), Value::Must, Is::Opt(Opt::Server)),
    option("masquerading", Some('m'), Value::No, Is::Method('m')),
    option("ipip", Some('i'), Value::No, Is::Method('i')),
    option("gatewaying", Some('g'), Value::No, Is::Method('g')),
    option("weight", Some('w'), Value::Must, Is::Opt(Opt::Weight)),
    option("u-threshold", Some('x'), Value::Must, Is::Opt(Opt::Upper)),
    option("l-threshold", Some('y'), Value::Must, Is::Opt(Opt::Lower)),
    option("numeric", Some('n'), Value::No, Is::Opt(Opt::Numeric)),
    option("connection", Some('c'), Value::No, Is::Opt(Opt::Connection)),
    option(
        "mcast-interface",
        None,
        Value::Must,
        Is::Opt(Opt::McastInterface),
    ),
    option("syncid", None, Value::Must, Is::Opt(Opt::SyncId)),
    option("timeout", None, Value::No, Is::Opt(Opt::Timeout)),
    option("daemon", None, Value::No, Is::Opt(Opt::Daemon)),
    option("stats", None, Value::No, Is::Opt(Opt::Stats)),
    option("rate", None, Value::No, Is::Opt(Opt::Rate)),
    option("thresholds", None, Value::No, Is::Opt(Opt::Thresholds)),
    option(
        "persistent-conn",
        None,
        Value::No,
        Is::Opt(Opt::PersistentConn),
    ),
    option("nosort", None, Value::No, Is::Opt(Opt::NoSort)),
    option("sort", None, Value::No, Is::Sort),
    option("exact", Some('X'), Value::No, Is::Opt(Opt::Exact)),
    option("ipv6", Some('6'), Value::No, Is::Ipv6),
    option("ops", Some('o'), Value::No, Is::Opt(Opt::OnePacket)),
    option("pe", None, Value::Must, Is::Opt(Opt::Engine)),
    option(
        "sched-flags",
        Some('b'),
        Value::Must,
        Is::Opt(Opt::SchedulerFlags),
    ),
    option("mcast-group", None, Value::Must, Is::Opt(Opt::McastGroup)),
    option("mcast-port", None, Value::Must, Is::Opt(Opt::McastPort)),
    option("mcast-ttl", None, Value::Must, Is::Opt(Opt::McastTtl)),
    option("sync-maxlen", None, Value::Must, Is::Opt(Opt::SyncMaxlen)),
    option("tun-info", None, Value::No, Is::Opt(Opt::TunnelInfo)),
    option("tun-type", None, Value::Must, Is::Opt(Opt::TunnelType)),
    option("tun-port", None, Value::Must, Is::Opt(Opt::TunnelPort)),
    option(
        "tun-nocsum",
        None,
        Value::No,
        Is::Opt(Opt::TunnelNoChecksum),
    ),
    option("tun-csum", None, Value::No, Is::Opt(Opt::TunnelChecksum)),
    option(
        "tun-remcsum",
        None,
        Value::No,
        Is::Opt(Opt::TunnelRemoteChecksum),
    ),
];
