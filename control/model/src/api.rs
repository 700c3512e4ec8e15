//! The bodies of the local API: JSON over HTTP/1.1 on the control socket.
//!
//! `weird` serves them, `weir` asks for them. They are what the later management API grows from:
//! fields are added, none is renamed or given another meaning within `/v1`, so a client ignores
//! what it does not know.
//!
//! | method and path | body of the answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/services` | [`Services`] |
//! | `GET /v1/flows?…` ([`FlowFilter`]) | [`Flows`] |
//! | `GET /v1/ports` | [`Ports`] |
//! | `GET /v1/neighbours` | [`Neighbours`] |
//! | `GET /v1/routes` | [`Routes`] |
//! | `GET /v1/workers` | [`Workers`] |
//! | `GET /v1/drops` | [`Drops`] |
//! | `POST /v1/reload` | [`Reloaded`] |
//!
//! Any other answer has a status of 400 or above and a [`Problem`] as its body, of type
//! [`Problem::CONTENT_TYPE`].

mod config;
mod flow;
mod network;
mod problem;
mod service;
mod worker;

pub use config::{
    Batch, BodyFault, Changed, ConfigBody, DrainBody, DrainState, DrainView, MarksBody, Operation,
    OperationMethod, ServerBody, ServiceBody, SettingsBody,
};
pub use flow::{FlowFilter, FlowState, FlowView, Flows, NotAFlowState, ServerFilter};
pub use network::{
    LinkView, NeighbourView, Neighbours, Origin, PortView, Ports, RouteView, Routes,
};
pub use problem::Problem;
pub use service::{Rates, ServerState, ServerView, ServiceView, Services, Stats};
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
}
