//! `weir service`, `server`, `mark` and `settings`: what an operator wants to be different, and the
//! request that says so.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use weir_model::api::path;
use weir_model::{
    Family, Method, PersistenceEngine, PersistenceMask, PortRange, Protocol, SchedulerName,
    ServiceKey, TunnelChecksum, TunnelKind,
};

use crate::client::{Request, Verb};

/// What every change takes.
#[derive(Debug, Args)]
pub(crate) struct Trial {
    /// Tell what would change, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Changes of services.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Add a service.
    Add {
        /// Its key, such as `tcp:192.0.2.100:80`, `udp:[2001:db8::1]:53`, `mark:10` or `mark:10:ipv6`.
        service: ServiceKey,
        #[command(flatten)]
        options: Box<ServiceOptions>,
        #[command(flatten)]
        trial: Trial,
    },
    /// Change some of a service; what is not given stays.
    Set {
        /// Its name or key.
        service: String,
        #[command(flatten)]
        options: Box<ServiceOptions>,
        #[command(flatten)]
        trial: Trial,
    },
    /// Remove a service with all its servers.
    Remove {
        /// Its name or key.
        service: String,
        #[command(flatten)]
        trial: Trial,
    },
    /// Show one service with its servers.
    Show {
        /// Its name or key.
        service: String,
    },
}

/// What of a service can be given. "none" takes a value away.
#[derive(Debug, Args)]
pub(crate) struct ServiceOptions {
    /// How servers are chosen: rr, wrr, lc, wlc, …
    #[arg(long, value_parser = scheduler)]
    scheduler: Option<SchedulerName>,
    /// The scheduler's switches: sh-port, sh-fallback, mh-port, mh-fallback, flag-1, flag-2, flag-3.
    #[arg(long, value_name = "FLAG,…", value_delimiter = ',')]
    scheduler_flags: Option<Vec<String>>,
    /// Schedule each datagram by itself.
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    one_packet: Option<bool>,
    /// Seconds that a client stays with its server, or none.
    #[arg(long, value_name = "SECONDS")]
    persistence_timeout: Option<OrNone<u32>>,
    /// The part of an address that is one client: a mask, or for IPv6 the length of a prefix; or none.
    #[arg(long, value_name = "MASK")]
    persistence_mask: Option<OrNone<PersistenceMask>>,
    /// What else tells clients apart: sip; or none.
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    persistence_engine: Option<OrNone<PersistenceEngine>>,
    /// What people call it, or none.
    #[arg(long)]
    name: Option<OrNone<String>>,
    /// What stands for clients at FullNAT servers.
    #[arg(long, value_name = "ADDR,…", value_delimiter = ',')]
    local_addresses: Option<Vec<IpAddr>>,
    /// The ports of each of these, such as 1024-65535.
    #[arg(long, value_name = "FIRST-LAST")]
    local_ports: Option<PortRange>,
    /// New flows a second that each worker keeps; 0: as many as come.
    #[arg(long, value_name = "N")]
    new_flows_per_second_max: Option<u32>,
}

/// What of a server can be given. "none" takes a value away.
#[derive(Debug, Args)]
pub(crate) struct ServerOptions {
    /// How packets reach it: nat, dr, tun or fullnat.
    #[arg(long, value_parser = method)]
    pub(crate) method: Option<Method>,
    /// Its share of new flows; 0 gives it none.
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
    /// Connections that make it full; 0: none.
    #[arg(long, value_name = "N")]
    upper_threshold: Option<u32>,
    /// Below how many connections it is not full any more; 0: three quarters of the upper one.
    #[arg(long, value_name = "N")]
    lower_threshold: Option<u32>,
    /// What wraps packets to it: ipip, gue or gre.
    #[arg(long, value_parser = tunnel)]
    tunnel: Option<TunnelKind>,
    /// The UDP port of gue.
    #[arg(long, value_name = "PORT")]
    tunnel_port: Option<u16>,
    /// The checksum of the tunnel's outer header: none, full or remote.
    #[arg(long, value_parser = checksum)]
    tunnel_checksum: Option<TunnelChecksum>,
    /// What people call it, or none.
    #[arg(long)]
    name: Option<OrNone<String>>,
}

/// Changes of the rules for marks.
#[derive(Debug, Subcommand)]
pub(crate) enum MarkCommand {
    /// Show the rules with their places.
    List,
    /// Add a rule at the end.
    Add {
        /// The mark that packets get.
        mark: u32,
        #[command(flatten)]
        options: Box<MarkOptions>,
        #[command(flatten)]
        trial: Trial,
    },
    /// Change some of a rule; what is not given stays.
    Set {
        /// Its place in the list, from 0.
        index: usize,
        /// The mark that packets get.
        #[arg(long)]
        mark: Option<u32>,
        #[command(flatten)]
        options: Box<MarkOptions>,
        #[command(flatten)]
        trial: Trial,
    },
    /// Remove a rule.
    Remove {
        /// Its place in the list, from 0.
        index: usize,
        #[command(flatten)]
        trial: Trial,
    },
}

/// What of a rule can be given. "none" takes a value away.
#[derive(Debug, Args)]
pub(crate) struct MarkOptions {
    /// The family of the packets: ipv4 or ipv6; or none.
    #[arg(long, value_parser = family)]
    family: Option<OrNone<Family>>,
    /// The transport protocol: tcp, udp or sctp; or none.
    #[arg(long, value_parser = protocol)]
    protocol: Option<OrNone<Protocol>>,
    /// Where packets come from, or none.
    #[arg(long, value_name = "NETWORK")]
    source: Option<OrNone<String>>,
    /// Where packets go to, or none.
    #[arg(long, value_name = "NETWORK")]
    destination: Option<OrNone<String>>,
    /// The ports they come from, such as 80 or 1024-65535.
    #[arg(long, value_name = "PORTS,…", value_delimiter = ',')]
    source_ports: Option<Vec<PortRange>>,
    /// The ports they go to, such as 80 or 1024-65535.
    #[arg(long, value_name = "PORTS,…", value_delimiter = ',')]
    destination_ports: Option<Vec<PortRange>>,
    /// The name of the port they come in by, or none.
    #[arg(long, value_name = "PORT")]
    interface: Option<OrNone<String>>,
    /// Whether packets for other hosts are meant, too, as for a transparent cache.
    #[arg(long, value_name = "BOOL")]
    any_destination: Option<bool>,
}

/// Changes of the settings.
#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Show `[ipvs]`, `[timeouts]` and `[settings]`.
    Show,
    /// Change some, such as timeouts.udp=30 ipvs.sloppy_tcp=true; KEY= gives it its default.
    Set {
        /// A key of the configuration file and its value.
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<Setting>,
        #[command(flatten)]
        trial: Trial,
    },
}

/// `timeouts.udp=30`
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    section: String,
    key: String,
    value: Value,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = text.split_once('=').and_then(|(path, value)| {
            let (section, key) = path.split_once('.')?;
            Some((section.to_owned(), key.to_owned(), value))
        });
        let Some((section, key, value)) = known else {
            return Err("give it as timeouts.udp=30".to_owned());
        };
        let value = match value {
            "" => Value::Null,
            value => serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
        };
        Ok(Setting {
            section,
            key,
            value,
        })
    }
}

/// A value, or `none`.
#[derive(Clone, Debug)]
pub(crate) enum OrNone<T> {
    None,
    Some(T),
}

impl<T: std::str::FromStr> std::str::FromStr for OrNone<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            "none" => Ok(OrNone::None),
            text => text.parse().map(OrNone::Some),
        }
    }
}

/// A word as the API spells it.
fn word<T: serde::de::DeserializeOwned>(text: &str, known: &str) -> Result<T, String> {
    serde_json::from_value(json!(text)).map_err(|_| format!("give {known}"))
}

fn word_or_none<T: serde::de::DeserializeOwned>(
    text: &str,
    known: &str,
) -> Result<OrNone<T>, String> {
    match text {
        "none" => Ok(OrNone::None),
        text => word(text, known).map(OrNone::Some),
    }
}

fn scheduler(text: &str) -> Result<SchedulerName, String> {
    let known: Vec<&str> = SchedulerName::all().map(SchedulerName::name).collect();
    word(text, &format!("one of {}", known.join(", ")))
}

fn method(text: &str) -> Result<Method, String> {
    word(text, "nat, dr, tun or fullnat")
}

fn tunnel(text: &str) -> Result<TunnelKind, String> {
    word(text, "ipip, gue or gre")
}

fn checksum(text: &str) -> Result<TunnelChecksum, String> {
    word(text, "none, full or remote")
}

fn engine(text: &str) -> Result<OrNone<PersistenceEngine>, String> {
    word_or_none(text, "sip or none")
}

fn family(text: &str) -> Result<OrNone<Family>, String> {
    word_or_none(text, "ipv4, ipv6 or none")
}

fn protocol(text: &str) -> Result<OrNone<Protocol>, String> {
    word_or_none(text, "tcp, udp, sctp or none")
}

/// A body under construction.
#[derive(Debug, Default)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    pub(crate) fn with<T: serde::Serialize>(mut self, key: &str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.0.insert(key.to_owned(), json!(value));
        }
        self
    }

    fn or_none<T: serde::Serialize>(mut self, key: &str, value: Option<&OrNone<T>>) -> Self {
        match value {
            None => {}
            Some(OrNone::None) => drop(self.0.insert(key.to_owned(), Value::Null)),
            Some(OrNone::Some(value)) => drop(self.0.insert(key.to_owned(), json!(value))),
        }
        self
    }

    pub(crate) fn value(self) -> Value {
        Value::Object(self.0)
    }
}

impl ServiceOptions {
    fn body(&self, body: Body) -> Body {
        body.with("scheduler", self.scheduler)
            .with("scheduler_flags", self.scheduler_flags.as_ref())
            .with("one_packet", self.one_packet)
            .or_none("persistence_timeout", self.persistence_timeout.as_ref())
            .or_none("persistence_mask", self.persistence_mask.as_ref())
            .or_none("persistence_engine", self.persistence_engine.as_ref())
            .or_none("name", self.name.as_ref())
            .with("local_addresses", self.local_addresses.as_ref())
            .with("local_ports", self.local_ports)
            .with("new_flows_per_second_max", self.new_flows_per_second_max)
    }
}

impl ServerOptions {
    pub(crate) fn body(&self, body: Body) -> Body {
        body.with("method", self.method)
            .with("weight", self.weight)
            .with("upper_threshold", self.upper_threshold)
            .with("lower_threshold", self.lower_threshold)
            .with("tunnel", self.tunnel)
            .with("tunnel_port", self.tunnel_port)
            .with("tunnel_checksum", self.tunnel_checksum)
            .or_none("name", self.name.as_ref())
    }
}

impl MarkOptions {
    fn body(&self, mark: Option<u32>) -> Value {
        Body::default()
            .with("mark", mark)
            .or_none("family", self.family.as_ref())
            .or_none("protocol", self.protocol.as_ref())
            .or_none("source", self.source.as_ref())
            .or_none("destination", self.destination.as_ref())
            .with("source_ports", self.source_ports.as_ref())
            .with("destination_ports", self.destination_ports.as_ref())
            .or_none("interface", self.interface.as_ref())
            .with("any_destination", self.any_destination)
            .value()
    }
}

impl Trial {
    /// A request that changes something, or only tries to.
    pub(crate) fn request(&self, verb: Verb, path: &str, body: Option<Value>) -> Request {
        let query = if self.dry_run { "?dry_run=true" } else { "" };
        Request {
            verb,
            path: format!("{path}{query}"),
            body,
        }
    }
}

impl ServiceCommand {
    pub(crate) fn request(&self) -> Request {
        match self {
            Self::Add {
                service,
                options,
                trial,
            } => {
                let key = serde_json::to_value(service).unwrap_or_default();
                let key = match key {
                    Value::Object(key) => key,
                    _ => Map::new(),
                };
                let body = options.body(Body(key)).value();
                trial.request(Verb::Post, path::SERVICES, Some(body))
            }
            Self::Set {
                service,
                options,
                trial,
            } => {
                let body = options.body(Body::default()).value();
                trial.request(Verb::Patch, &path::service(service), Some(body))
            }
            Self::Remove { service, trial } => {
                trial.request(Verb::Delete, &path::service(service), None)
            }
            Self::Show { service } => Request::get(&path::service(service)),
        }
    }
}

impl MarkCommand {
    pub(crate) fn request(&self) -> Request {
        match self {
            Self::List => Request::get(path::MARKS),
            Self::Add {
                mark,
                options,
                trial,
            } => trial.request(Verb::Post, path::MARKS, Some(options.body(Some(*mark)))),
            Self::Set {
                index,
                mark,
                options,
                trial,
            } => trial.request(Verb::Patch, &path::mark(*index), Some(options.body(*mark))),
            Self::Remove { index, trial } => trial.request(Verb::Delete, &path::mark(*index), None),
        }
    }
}

impl SettingsCommand {
    pub(crate) fn request(&self) -> Request {
        match self {
            Self::Show => Request::get(path::SETTINGS),
            Self::Set { settings, trial } => {
                let mut body = json!({});
                for Setting {
                    section,
                    key,
                    value,
                } in settings
                {
                    body[section][key] = value.clone();
                }
                trial.request(Verb::Patch, path::SETTINGS, Some(body))
            }
        }
    }
}
