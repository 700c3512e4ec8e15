//! Flows, and which of them are wanted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::service::{Method, PersistenceEngine, Protocol};

/// The answer of `GET /v1/flows`, in no order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Flows {
    /// Those that match the filter, up to its limit.
    pub flows: Vec<FlowView>,
    /// There may be more than the limit let through.
    pub truncated: bool,
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowView {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The service's address and port (`virtual` in JSON).
    #[serde(rename = "virtual")]
    pub vip: SocketAddr,
    /// The address and port of the director that stand for the client at the server (FullNAT).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The real server's address and port.
    pub server: SocketAddr,
    /// Its state.
    pub state: FlowState,
    /// Seconds until it is forgotten if no packet comes.
    pub expires_seconds: u32,
    /// How its packets reach the server.
    pub method: Method,
    /// The worker that owns it; 0 for a template, which is everybody's.
    pub worker: u16,
    /// It is no flow but what remembers a client's server (a persistence template): its client's
    /// port is 0, and its other ports are where they do not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateOf>,
}

/// What a persistence template has besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateOf {
    /// Flows that live under it.
    pub flows: u32,
    /// It is for all packets of this mark, whatever `protocol` says; `virtual` shows it as an address,
    /// as ipvsadm does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// What else than the address tells clients apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<PersistenceEngine>,
    /// What that has found, such as SIP's Call-ID; what is not UTF-8 is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_data: Option<String>,
}

/// Which flows are wanted: the query of `GET /v1/flows`. What is absent does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowFilter {
    /// Of this client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// Of this virtual address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<SocketAddr>,
    /// Of this real server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerFilter>,
    /// In this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<FlowState>,
    /// Of this protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// How many at most; absent: [`FlowFilter::LIMIT_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A real server with or without a port. Written `10.0.0.1`, `10.0.0.1:80`, `[2001:db8::1]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub struct ServerFilter {
    /// The server's address.
    pub address: IpAddr,
    /// The server's port; `None`: any.
    pub port: Option<u16>,
}

/// The state of a flow, under the names `ipvsadm -Lnc` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub enum FlowState {
    /// No packet seen.
    None,
    /// Both sides talk.
    Established,
    /// The server's SYN came first.
    SynSent,
    /// The client's SYN was seen.
    SynRecv,
    /// One side's FIN was seen.
    FinWait,
    /// Both FINs were seen.
    TimeWait,
    /// Reset.
    Close,
    /// The client's FIN was seen.
    CloseWait,
    /// The last ACK is awaited.
    LastAck,
    /// An expected connection.
    Listen,
    /// A SYN answered for the server.
    SynAck,
    /// UDP, which has one state.
    Udp,
    /// A persistence template of which a flow has been answered.
    Assured,
    /// SCTP: the client's first INIT was seen.
    Init1,
    /// SCTP: another INIT was seen.
    Init,
    /// SCTP: the server's INIT ACK was seen.
    CookieSent,
    /// SCTP: the client has sent the cookie back.
    CookieReplied,
    /// SCTP: the server's INIT was seen, or INIT ACK from the client.
    CookieWait,
    /// SCTP: the client has granted what the server asked for.
    Cookie,
    /// SCTP: the server has sent the cookie back.
    CookieEchoed,
    /// SCTP: the server wants to end it.
    ShutdownSent,
    /// SCTP: the client wants to end it.
    ShutdownReceived,
    /// SCTP: the server wants to end it, too.
    ShutdownAckSent,
    /// SCTP: aborted before it stood.
    Rejected,
    /// SCTP: ended.
    Closed,
}

/// The text names no state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAFlowState(String);

impl FlowFilter {
    /// Flows in an answer when no limit is given.
    pub const LIMIT_DEFAULT: u32 = 1000;
    /// The highest limit there can be.
    pub const LIMIT_MAX: u32 = 1_000_000;

    /// The query of a URI, without its question mark; empty for all flows.
    #[must_use]
    pub fn to_query(&self) -> String {
        let fields = [
            ("client", self.client.map(|value| value.to_string())),
            ("service", self.service.map(|value| value.to_string())),
            ("server", self.server.map(|value| value.to_string())),
            ("state", self.state.map(|value| value.to_string())),
            ("protocol", self.protocol.map(|value| value.to_string())),
            ("limit", self.limit.map(|value| value.to_string())),
        ];
        let mut query = Vec::new();
        for (name, value) in fields {
            if let Some(value) = value {
                // RFC 3986 §3.4: of what these values can hold, brackets alone need encoding.
                let value = value.replace('[', "%5B").replace(']', "%5D");
                query.push(format!("{name}={value}"));
            }
        }
        query.join("&")
    }
}

impl FlowState {
    /// Every state.
    pub const ALL: &'static [FlowState] = &[
        FlowState::None,
        FlowState::Established,
        FlowState::SynSent,
        FlowState::SynRecv,
        FlowState::FinWait,
        FlowState::TimeWait,
        FlowState::Close,
        FlowState::CloseWait,
        FlowState::LastAck,
        FlowState::Listen,
        FlowState::SynAck,
        FlowState::Udp,
        FlowState::Assured,
        FlowState::Init1,
        FlowState::Init,
        FlowState::CookieSent,
        FlowState::CookieReplied,
        FlowState::CookieWait,
        FlowState::Cookie,
        FlowState::CookieEchoed,
        FlowState::ShutdownSent,
        FlowState::ShutdownReceived,
        FlowState::ShutdownAckSent,
        FlowState::Rejected,
        FlowState::Closed,
    ];

    /// The name that `ipvsadm` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            FlowState::None => "NONE",
            FlowState::Established => "ESTABLISHED",
            FlowState::SynSent => "SYN_SENT",
            FlowState::SynRecv => "SYN_RECV",
            FlowState::FinWait => "FIN_WAIT",
            FlowState::TimeWait => "TIME_WAIT",
            FlowState::Close => "CLOSE",
            FlowState::CloseWait => "CLOSE_WAIT",
            FlowState::LastAck => "LAST_ACK",
            FlowState::Listen => "LISTEN",
            FlowState::SynAck => "SYNACK",
            FlowState::Udp => "UDP",
            FlowState::Assured => "ASSURED",
            FlowState::Init1 => "INIT1",
            FlowState::Init => "INIT",
            FlowState::CookieSent => "C-SENT",
            FlowState::CookieReplied => "C-REPLIED",
            FlowState::CookieWait => "C-WAIT",
            FlowState::Cookie => "COOKIE",
            FlowState::CookieEchoed => "C-ECHOED",
            FlowState::ShutdownSent => "S-SENT",
            FlowState::ShutdownReceived => "S-RECEIVED",
            FlowState::ShutdownAckSent => "S-ACK-SENT",
            FlowState::Rejected => "REJECTED",
            FlowState::Closed => "CLOSED",
        }
    }
}

impl fmt::Display for FlowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FlowState {
    type Err = NotAFlowState;

    /// In any case, with `-` as good as `_`.
    fn from_str(text: &str) -> Result<Self, NotAFlowState> {
        let plain = |name: &str| name.to_ascii_uppercase().replace('-', "_");
        let name = plain(text);
        let mut states = FlowState::ALL.iter();
        let known = states.find(|state| plain(state.name()) == name);
        known.copied().ok_or_else(|| NotAFlowState(text.to_owned()))
    }
}

impl From<FlowState> for String {
    fn from(state: FlowState) -> String {
        state.name().to_owned()
    }
}

impl TryFrom<String> for FlowState {
    type Error = NotAFlowState;

    fn try_from(text: String) -> Result<Self, NotAFlowState> {
        text.parse()
    }
}

impl fmt::Display for NotAFlowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = FlowState::ALL.iter().map(|state| state.name()).collect();
        write!(
            f,
            "{:?} is not a state; give one of {}",
            self.0,
            names.join(", ")
        )
    }
}

impl std::error::Error for NotAFlowState {}

impl fmt::Display for ServerFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

impl FromStr for ServerFilter {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(ServerFilter {
                address,
                port: None,
            });
        }
        let server: SocketAddr = text.parse()?;
        Ok(ServerFilter {
            address: server.ip(),
            port: Some(server.port()),
        })
    }
}

impl From<ServerFilter> for String {
    fn from(server: ServerFilter) -> String {
        server.to_string()
    }
}

impl TryFrom<String> for ServerFilter {
    type Error = std::net::AddrParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
