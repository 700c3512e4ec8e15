//! What can be changed at run time, under the keys of the configuration file.
//!
//! These types describe and write the bodies; they are read by the rules of the file
//! ([`crate::body`]), which finds every fault at once.

use std::net::IpAddr;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{Config, Part};
use crate::fault::FieldFault;
use crate::ipvs::Ipvs;
use crate::limits::{Settings, Timeouts};
use crate::mark::MarkRule;
use crate::service::{
    Family, Method, PersistenceEngine, PersistenceMask, PortRange, Protocol, SchedulerName, Server,
    Service, ServiceKey, TunnelChecksum, TunnelKind,
};

/// A service as it is configured. What is absent has its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceBody {
    /// Transport protocol; with `address` and `port`, and no `mark`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The virtual address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "address")]
    pub address: Option<IpAddr>,
    /// The virtual port; 0: every port, which needs persistence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The mark of the packets, in place of protocol, address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub mark: Option<u32>,
    /// With `mark`: the family of the packets; default `ipv4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// How servers are chosen; default `wrr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<SchedulerName>,
    /// The scheduler's switches.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scheduler_flags")]
    pub scheduler_flags: Option<Vec<String>>,
    /// Each datagram is scheduled by itself; UDP or a mark only. Default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_packet: Option<bool>,
    /// Seconds that a client stays with its server; absent: it is not persistent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_678_400))]
    pub persistence_timeout: Option<u32>,
    /// The part of an address that is one client: an IPv4 mask, or the length of an IPv6 prefix as
    /// text. Default all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence_mask: Option<PersistenceMask>,
    /// What else tells clients apart; default nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence_engine: Option<PersistenceEngine>,
    /// What people call it; default nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "name")]
    pub name: Option<String>,
    /// What stands for clients at its FullNAT servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "addresses")]
    pub local_addresses: Option<Vec<IpAddr>>,
    /// The ports of each of these; default `1024-65535`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_ports: Option<PortRange>,
    /// New flows a second that each worker keeps; default 0: as many as come.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100_000_000))]
    pub new_flows_per_second_max: Option<u32>,
    /// Its servers, in the order in which they are added; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<Vec<ServerBody>>,
}

/// A real server as it is configured. What is absent has its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerBody {
    /// Its address; must be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "address")]
    pub address: Option<IpAddr>,
    /// Its port; default the service's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How packets reach it; must be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Its share of new flows, default 1; 0 drains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 2_147_483_647))]
    pub weight: Option<u32>,
    /// Connections that make it full; default 0: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 2_147_483_647))]
    pub upper_threshold: Option<u32>,
    /// Below how many connections it is not full any more; default 0: three quarters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 2_147_483_647))]
    pub lower_threshold: Option<u32>,
    /// With method `tun`: what wraps the packets; default `ipip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelKind>,
    /// The UDP port of `gue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_port: Option<u16>,
    /// The checksum in the tunnel's outer header; default `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_checksum: Option<TunnelChecksum>,
    /// What people call it; default nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "name")]
    pub name: Option<String>,
}

/// `[ipvs]`, `[timeouts]` and `[settings]`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SettingsBody {
    /// The kernel's switches.
    pub ipvs: Ipvs,
    /// Idle time after which a flow is forgotten, in seconds.
    pub timeouts: Timeouts,
    /// Other switches.
    pub settings: Settings,
}

/// The rules that give packets their marks, the first that fits counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarksBody {
    /// The rules, in order.
    pub marks: Vec<MarkRule>,
}

/// All that can be changed at run time.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ConfigBody {
    /// The services, in order.
    pub services: Vec<ServiceBody>,
    /// The rules for marks, in order.
    pub marks: Vec<MarkRule>,
    /// `[ipvs]`, `[timeouts]` and `[settings]`.
    #[serde(flatten)]
    pub settings: SettingsBody,
}

/// Some of what can be changed: what is there replaces what is held, the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PartBody {
    /// The services, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<ServiceBody>>,
    /// The rules for marks, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marks: Option<Vec<MarkRule>>,
    /// `[ipvs]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipvs: Option<Ipvs>,
    /// `[timeouts]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// `[settings]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// One change, as a request of its own would ask for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// What is done.
    pub method: OperationMethod,
    /// To what, such as `/v1/services/tcp:192.0.2.100:80`.
    pub path: String,
    /// With what; absent for `DELETE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub body: Option<Value>,
}

/// What an [`Operation`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum OperationMethod {
    /// Adds to a list.
    Post,
    /// Puts in the place of what is there, or adds.
    Put,
    /// Changes what is given and keeps the rest (RFC 7396).
    Patch,
    /// Removes.
    Delete,
}

/// The body of `POST /v1/batch`: all of it happens, or nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The changes, in order: each sees what those before it did.
    pub operations: Vec<Operation>,
}

/// The answer to a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// True when nothing was changed: this is what would be.
    pub dry_run: bool,
    /// The configuration's revision afterwards, as in the `ETag`.
    pub revision: String,
    /// What changed, a sentence each; empty: it was so already. After 1000 one more tells how many
    /// are left out.
    pub changes: Vec<String>,
    /// Live flows of servers that are removed or reached in another way.
    pub flows_touched: u64,
}

/// The body of a request to drain a server; all of it may be absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainBody {
    /// Seconds after which the flows that are left are ended; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 2_678_400))]
    pub deadline_seconds: Option<u32>,
}

/// How a server's drain goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainView {
    /// How far it is.
    pub state: DrainState,
    /// The weight it had and gets back when the drain is called off.
    pub weight_before: u32,
    /// Flows that count as active now.
    pub active: u64,
    /// All its other flows now.
    pub inactive: u64,
    /// Flows of both kinds when it began.
    pub flows_at_start: u64,
    /// Flows of both kinds that were left at the deadline and ended by the director.
    pub flows_reset: u64,
    /// Seconds until the deadline; absent: there is none, or it has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DrainState {
    /// Flows are left.
    Draining,
    /// None was left before the deadline.
    Drained,
    /// The deadline passed with flows left, which are being ended: a matter of seconds.
    Ending,
    /// The deadline passed with flows left, and all of them were ended.
    Forced,
}

/// One thing that is wrong with a body (RFC 9457 §3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BodyFault {
    /// Where, as a JSON pointer into the body (RFC 6901); empty: the whole.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
    /// What to give instead. Empty when the detail says it already.
    pub cure: String,
}

impl BodyFault {
    /// A fault at the key of a table of the file that is at `base` in the body.
    #[must_use]
    pub fn at(base: &str, fault: FieldFault) -> Self {
        let mut pointer = base.to_owned();
        let parts = fault.key.split(['.', '[', ']']);
        for part in parts.filter(|part| !part.is_empty()) {
            pointer += "/";
            pointer += match part {
                "server" => "servers",
                part => part,
            };
        }
        BodyFault {
            pointer,
            detail: fault.problem,
            cure: fault.cure,
        }
    }
}

impl From<&Service> for ServiceBody {
    fn from(service: &Service) -> Self {
        ServiceBody {
            servers: Some(service.servers.iter().map(ServerBody::from).collect()),
            ..Self::without_servers(service)
        }
    }
}

impl ServiceBody {
    /// The service but for its servers.
    #[must_use]
    pub fn without_servers(service: &Service) -> Self {
        let words = service.scheduler_flags.words(service.scheduler);
        let whole = PersistenceMask::whole(service.key.family());
        let local = &service.local_addresses;
        let mut body = ServiceBody {
            scheduler: Some(service.scheduler),
            scheduler_flags: some(words.into_iter().map(str::to_owned).collect()),
            one_packet: service.one_packet.then_some(true),
            persistence_timeout: service.persistence_timeout,
            persistence_mask: differs(service.persistence_mask, whole),
            persistence_engine: service.persistence_engine,
            name: service.name.clone(),
            local_addresses: some(local.clone()),
            local_ports: differs(service.local_ports, PortRange::LOCAL_DEFAULT),
            new_flows_per_second_max: differs(service.new_flows_per_second_max, 0),
            ..Self::default()
        };
        match service.key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => {
                body.protocol = Some(protocol);
                body.address = Some(address);
                body.port = Some(port);
            }
            ServiceKey::Mark { mark, family } => {
                body.mark = Some(mark);
                body.family = differs(family, Family::Ipv4);
            }
        }
        body
    }
}

impl From<&Server> for ServerBody {
    fn from(server: &Server) -> Self {
        let is_tun = server.method == Method::Tun;
        ServerBody {
            address: Some(server.address),
            port: Some(server.port),
            method: Some(server.method),
            weight: Some(server.weight),
            upper_threshold: differs(server.upper_threshold, 0),
            lower_threshold: differs(server.lower_threshold, 0),
            tunnel: is_tun.then_some(server.tunnel),
            tunnel_port: differs(server.tunnel_port, 0),
            tunnel_checksum: differs(server.tunnel_checksum, TunnelChecksum::None),
            name: server.name.clone(),
        }
    }
}

impl From<&Config> for SettingsBody {
    fn from(config: &Config) -> Self {
        SettingsBody {
            ipvs: config.ipvs.clone(),
            timeouts: config.timeouts.clone(),
            settings: config.settings.clone(),
        }
    }
}

impl From<&Config> for ConfigBody {
    fn from(config: &Config) -> Self {
        ConfigBody {
            services: config.services.iter().map(ServiceBody::from).collect(),
            marks: config.marks.clone(),
            settings: SettingsBody::from(config),
        }
    }
}

impl From<Part> for PartBody {
    fn from(part: Part) -> Self {
        let bodies = |services: Vec<Service>| services.iter().map(ServiceBody::from).collect();
        PartBody {
            services: part.services.map(bodies),
            marks: part.marks,
            ipvs: part.ipvs,
            timeouts: part.timeouts,
            settings: part.settings,
        }
    }
}

fn differs<T: PartialEq>(value: T, default: T) -> Option<T> {
    (value != default).then_some(value)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn schema(value: Value) -> Schema {
    Schema::try_from(value).expect("an object is a schema")
}

fn address(_: &mut schemars::SchemaGenerator) -> Schema {
    schema(json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}))
}

fn addresses(generator: &mut schemars::SchemaGenerator) -> Schema {
    schema(json!({"type": "array", "maxItems": 64, "items": address(generator)}))
}

fn scheduler_flags(_: &mut schemars::SchemaGenerator) -> Schema {
    let words = [
        "sh-port",
        "sh-fallback",
        "mh-port",
        "mh-fallback",
        "flag-1",
        "flag-2",
        "flag-3",
    ];
    schema(json!({"type": "array", "items": {"type": "string", "enum": words}}))
}

fn name(_: &mut schemars::SchemaGenerator) -> Schema {
    schema(json!({"type": "string", "minLength": 1, "maxLength": 64}))
}

fn any_object(_: &mut schemars::SchemaGenerator) -> Schema {
    schema(json!({"type": "object"}))
}
