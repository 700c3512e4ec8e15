//! What the API serves, each path once, with what is said of it.

use std::sync::LazyLock;
use std::time::Instant;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::Method;
use axum::response::IntoResponse as _;
use weir_model::MarkRule;
use weir_model::api::{
    Batch, Changed, ConfigBody, DrainBody, DrainView, Drops, FlowFilter, Flows, MarksBody,
    Neighbours, Ports, Reloaded, Routes, ServerBody, ServerView, Servers, ServiceBody, ServiceView,
    Services, SettingsBody, Status, Workers, path,
};

use super::described::{Described, JSON, Say};
use super::{change, drain, no_such_method, no_such_path, one, view};
use crate::door::Door;

/// The document that describes the API, as it is served.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let (_, document) = described().finish();
    let text = serde_json::to_string_pretty(&document);
    text.expect("a document is JSON") + "\n"
});

/// The OpenAPI document that describes the API.
#[must_use]
pub fn openapi() -> &'static str {
    &DOCUMENT
}

/// The API.
pub(crate) fn api(door: Door) -> Router {
    let (router, _) = described().finish();
    let document = async || ([(axum::http::header::CONTENT_TYPE, JSON)], openapi()).into_response();
    router
        .route(path::OPENAPI, axum::routing::get(document))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(door)
}

fn described() -> Described {
    let described = looking(Described::new());
    let described = services(described);
    let described = servers(described);
    settings(described)
}

fn looking(described: Described) -> Described {
    let get = Method::GET;
    described
        .on(
            &get,
            path::STATUS,
            Say::new("status", "The daemon").answers::<Status>(200, "The daemon."),
            async |Shared(door)| view(door, |s| s.status()).await,
        )
        .on(
            &get,
            path::PORTS,
            Say::new("ports", "Ports and what passed them").answers::<Ports>(200, "The ports."),
            async |Shared(door)| view(door, |s| s.ports()).await,
        )
        .on(
            &get,
            path::NEIGHBOURS,
            Say::new("neighbours", "MAC addresses of neighbours")
                .answers::<Neighbours>(200, "The neighbours."),
            async |Shared(door)| view(door, |s| s.neighbours()).await,
        )
        .on(
            &get,
            path::ROUTES,
            Say::new("routes", "Routes").answers::<Routes>(200, "The routes."),
            async |Shared(door)| view(door, |s| s.routes()).await,
        )
        .on(
            &get,
            path::WORKERS,
            Say::new("workers", "Workers: flows, load, packets")
                .answers::<Workers>(200, "The workers."),
            async |Shared(door)| view(door, |s| s.workers_view()).await,
        )
        .on(
            &get,
            path::DROPS,
            Say::new("drops", "Packets that were not forwarded, by reason")
                .answers::<Drops>(200, "Every reason there is."),
            async |Shared(door)| view(door, |s| s.drops(Instant::now())).await,
        )
        .on(
            &get,
            path::FLOWS,
            Say::new("flows", "Flows that match a filter")
                .query::<FlowFilter>()
                .answers::<Flows>(200, "The flows, in no order."),
            super::list_flows,
        )
        .on(
            &Method::POST,
            path::RELOAD,
            Say::new(
                "reload",
                "Read the configuration file again and apply what changed",
            )
            .answers::<Reloaded>(200, "It was applied."),
            super::reload,
        )
        .on(
            &Method::POST,
            path::ZERO,
            Say::new(
                "zero",
                "Count from 0 what IPVS's clients are told, of all services or one",
            )
            .query::<change::ZeroQuery>()
            .answers_nothing(204, "It counts from 0."),
            change::zero,
        )
}

fn services(described: Described) -> Described {
    described
        .on(
            &Method::GET,
            path::SERVICES,
            Say::new(
                "services",
                "Services and their real servers, with what they carried",
            )
            .etag()
            .answers::<Services>(200, "The services."),
            super::services,
        )
        .on(
            &Method::POST,
            path::SERVICES,
            changes("addService", "Add a service").body::<ServiceBody>(),
            change::change,
        )
        .on(
            &Method::GET,
            path::SERVICE,
            Say::new("service", "One service")
                .etag()
                .answers::<ServiceView>(200, "The service."),
            one::service,
        )
        .on(
            &Method::PUT,
            path::SERVICE,
            changes(
                "putService",
                "Add a service, or replace it with all its servers",
            )
            .body::<ServiceBody>(),
            change::change,
        )
        .on(
            &Method::PATCH,
            path::SERVICE,
            changes("editService", "Change some of a service").patch::<ServiceBody>(),
            change::change,
        )
        .on(
            &Method::DELETE,
            path::SERVICE,
            changes("removeService", "Remove a service with all its servers"),
            change::change,
        )
}

fn servers(described: Described) -> Described {
    described
        .on(
            &Method::GET,
            path::SERVERS,
            Say::new("servers", "The servers of a service")
                .etag()
                .answers::<Servers>(200, "The servers."),
            one::servers,
        )
        .on(
            &Method::POST,
            path::SERVERS,
            changes("addServer", "Add a server to a service").body::<ServerBody>(),
            change::change,
        )
        .on(
            &Method::GET,
            path::SERVER,
            Say::new("server", "One server")
                .etag()
                .answers::<ServerView>(200, "The server."),
            one::server,
        )
        .on(
            &Method::PUT,
            path::SERVER,
            changes("putServer", "Add a server, or replace it").body::<ServerBody>(),
            change::change,
        )
        .on(
            &Method::PATCH,
            path::SERVER,
            changes("editServer", "Change some of a server").patch::<ServerBody>(),
            change::change,
        )
        .on(
            &Method::DELETE,
            path::SERVER,
            changes(
                "removeServer",
                "Remove a server; its flows go on as IPVS has it",
            ),
            change::change,
        )
        .on(
            &Method::GET,
            path::DRAIN,
            Say::new("drain", "How a server's drain goes")
                .answers::<DrainView>(200, "The server is drained, or was."),
            drain::look,
        )
        .on(
            &Method::POST,
            path::DRAIN,
            Say::new(
                "startDrain",
                "Drain a server: no new flows, and an end for the others",
            )
            .body::<DrainBody>()
            .answers::<DrainView>(200, "It has begun, or has another deadline."),
            drain::start,
        )
        .on(
            &Method::DELETE,
            path::DRAIN,
            Say::new(
                "stopDrain",
                "Call a drain off: the server gets its weight back",
            )
            .answers_nothing(204, "The server is as it was."),
            drain::stop,
        )
}

fn settings(described: Described) -> Described {
    described
        .on(
            &Method::GET,
            path::MARKS,
            Say::new("marks", "The rules that give packets their marks")
                .etag()
                .answers::<MarksBody>(200, "The rules, in order."),
            one::marks,
        )
        .on(
            &Method::POST,
            path::MARKS,
            changes("addMark", "Add a rule at the end").body::<MarkRule>(),
            change::change,
        )
        .on(
            &Method::PUT,
            path::MARKS,
            changes("putMarks", "Replace all rules").body::<MarksBody>(),
            change::change,
        )
        .on(
            &Method::GET,
            path::MARK,
            Say::new("mark", "One rule")
                .etag()
                .answers::<MarkRule>(200, "The rule."),
            one::mark,
        )
        .on(
            &Method::PUT,
            path::MARK,
            changes("putMark", "Replace a rule").body::<MarkRule>(),
            change::change,
        )
        .on(
            &Method::PATCH,
            path::MARK,
            changes("editMark", "Change some of a rule").patch::<change::MarkPatch>(),
            change::change,
        )
        .on(
            &Method::DELETE,
            path::MARK,
            changes("removeMark", "Remove a rule"),
            change::change,
        )
        .on(
            &Method::GET,
            path::SETTINGS,
            Say::new("settings", "[ipvs], [timeouts] and [settings]")
                .etag()
                .answers::<SettingsBody>(200, "The settings."),
            async |Shared(door)| one::whole(door, |config| SettingsBody::from(config)).await,
        )
        .on(
            &Method::PUT,
            path::SETTINGS,
            changes(
                "putSettings",
                "Replace the settings: what is absent has its default",
            )
            .body::<change::SettingsPatch>(),
            change::change,
        )
        .on(
            &Method::PATCH,
            path::SETTINGS,
            changes("editSettings", "Change some of the settings").patch::<change::SettingsPatch>(),
            change::change,
        )
        .on(
            &Method::GET,
            path::CONFIG,
            Say::new("config", "All that can be changed, as it is")
                .etag()
                .answers::<ConfigBody>(200, "The configuration."),
            async |Shared(door)| one::whole(door, |config| ConfigBody::from(config)).await,
        )
        .on(
            &Method::PUT,
            path::CONFIG,
            changes(
                "putConfig",
                "Replace all that can be changed: what is absent is empty",
            )
            .body::<change::ConfigPatch>(),
            change::change,
        )
        .on(
            &Method::PATCH,
            path::CONFIG,
            changes(
                "editConfig",
                "Change some of it: a list that is given replaces the one there",
            )
            .patch::<change::ConfigPatch>(),
            change::change,
        )
        .on(
            &Method::POST,
            path::BATCH,
            changes("batch", "Many changes, all or nothing").body::<Batch>(),
            change::batch,
        )
}

fn changes(id: &'static str, summary: &'static str) -> Say {
    let say = Say::new(id, summary).change();
    let say = say.answers::<Changed>(200, "It was changed, or would be.");
    say.answers::<Changed>(201, "It was made.")
}
