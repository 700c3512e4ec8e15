//! The bodies of the API: JSON over HTTP/1.1 on the control socket, and by HTTPS on TCP.
//!
//! `weird` serves them, `weir` asks for them. Fields are added, none is renamed or given another
//! meaning within `/v1`, so a client ignores what it does not know. Every path is in [`path`], and
//! described by `docs/openapi.json`, which is made from these types.
//!
//! An answer that is no success has a status of 400 or above and a [`Problem`] as its body, of type
//! [`Problem::CONTENT_TYPE`].

mod config;
mod flow;
mod network;
mod problem;
mod service;
mod worker;

pub use config::{
    Batch, BodyFault, Changed, ConfigBody, DrainBody, DrainState, DrainView, MarksBody, Operation,
    OperationMethod, PartBody, ServerBody, ServiceBody, SettingsBody,
};
pub use flow::{FlowFilter, FlowState, FlowView, Flows, NotAFlowState, ServerFilter, TemplateOf};
pub use network::{
    LinkView, NeighbourView, Neighbours, Origin, PortView, Ports, RouteView, Routes,
};
pub use problem::Problem;
pub use service::{Rates, ServerState, ServerView, Servers, ServiceView, Services, Stats};
pub use worker::{DropSampleView, DropView, Drops, Reloaded, Status, WorkerView, Workers};

/// The paths, once for both sides.
pub mod path {
    /// [`Status`](super::Status)
    pub const STATUS: &str = "/v1/status";
    /// [`Services`](super::Services)
    pub const SERVICES: &str = "/v1/services";
    /// [`Flows`](super::Flows)
    pub const FLOWS: &str = "/v1/flows";
    /// [`Ports`](super::Ports)
    pub const PORTS: &str = "/v1/ports";
    /// [`Neighbours`](super::Neighbours)
    pub const NEIGHBOURS: &str = "/v1/neighbours";
    /// [`Routes`](super::Routes)
    pub const ROUTES: &str = "/v1/routes";
    /// [`Workers`](super::Workers)
    pub const WORKERS: &str = "/v1/workers";
    /// [`Drops`](super::Drops)
    pub const DROPS: &str = "/v1/drops";
    /// [`Reloaded`](super::Reloaded)
    pub const RELOAD: &str = "/v1/reload";
    /// [`ServiceView`](super::ServiceView), changed by [`ServiceBody`](super::ServiceBody)
    pub const SERVICE: &str = "/v1/services/{service}";
    /// [`Servers`](super::Servers)
    pub const SERVERS: &str = "/v1/services/{service}/servers";
    /// [`ServerView`](super::ServerView), changed by [`ServerBody`](super::ServerBody)
    pub const SERVER: &str = "/v1/services/{service}/servers/{server}";
    /// [`DrainView`](super::DrainView), begun by [`DrainBody`](super::DrainBody)
    pub const DRAIN: &str = "/v1/services/{service}/servers/{server}/drain";
    /// [`MarksBody`](super::MarksBody)
    pub const MARKS: &str = "/v1/marks";
    /// [`MarkRule`](crate::MarkRule)
    pub const MARK: &str = "/v1/marks/{index}";
    /// [`SettingsBody`](super::SettingsBody)
    pub const SETTINGS: &str = "/v1/settings";
    /// [`ConfigBody`](super::ConfigBody)
    pub const CONFIG: &str = "/v1/config";
    /// [`Batch`](super::Batch), answered by [`Changed`](super::Changed)
    pub const BATCH: &str = "/v1/batch";
    /// Has IPVS's clients told of services as if nothing had been counted yet.
    pub const ZERO: &str = "/v1/zero";
    /// The description of all of this, in OpenAPI.
    pub const OPENAPI: &str = "/v1/openapi.json";

    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

    /// What cannot stand in a segment of a path (RFC 3986 §3.3).
    const SEGMENT: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'/')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'[')
        .add(b'\\')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');

    /// The path of the service that `word` names: its key or its name.
    #[must_use]
    pub fn service(word: &str) -> String {
        format!("{SERVICES}/{}", segment(word))
    }

    /// The path of the list of its servers.
    #[must_use]
    pub fn servers(service: &str) -> String {
        self::service(service) + "/servers"
    }

    /// The path of the server that `word` names: its address and port, or its name.
    #[must_use]
    pub fn server(service: &str, word: &str) -> String {
        format!("{}/{}", servers(service), segment(word))
    }

    /// The path of a server's drain.
    #[must_use]
    pub fn drain(service: &str, server: &str) -> String {
        self::server(service, server) + "/drain"
    }

    /// The path of a rule for marks.
    #[must_use]
    pub fn mark(index: usize) -> String {
        format!("{MARKS}/{index}")
    }

    /// `text` as one segment of a path, or as a value in a query.
    #[must_use]
    pub fn segment(text: &str) -> String {
        utf8_percent_encode(text, SEGMENT).to_string()
    }
}
