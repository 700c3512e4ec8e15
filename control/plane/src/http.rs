//! The API, and the page for Prometheus. Handlers only translate: what there is to say or to change,
//! [`crate::state::State`] says and does.
//!
//! The API is served on the control socket, and on TCP to those who have the token (`remote`). `routes`
//! has every path, served and described by one call (`described`), from which the OpenAPI document
//! is made; `serve` bounds connections, `change` bounds bodies.

mod change;
mod described;
mod drain;
mod flows;
mod listen;
mod one;
mod remote;
mod routes;
pub(crate) mod serve;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;
use weir_model::api::{FlowFilter, Problem};

use crate::door::{Door, Stopping};
use crate::metrics;
use crate::state::State;
use crate::templates;

pub use listen::{ControlSocket, ListenError, MetricsListener};
pub(crate) use remote::InForce;
pub use remote::{RemoteListener, SecretError, Secured};
pub(crate) use routes::api;
pub use routes::openapi;

/// Scrapes at a time: each keeps readings and a thread until its client has taken the page.
const SCRAPES_MAX: usize = 4;

/// Pieces of a page that wait for its client.
const PIECES_WAITING: usize = 4;

/// The page for Prometheus, and one that says where it is.
pub(crate) fn metrics_page(door: Door) -> Router {
    const HOME: &str = "<!doctype html><title>Weir</title><h1>Weir</h1>\
        <p><a href=\"/metrics\">Metrics</a> for Prometheus.";
    Router::new()
        .route("/metrics", get(scrape))
        .route("/", get(async || Html(HOME)))
        .with_state(door)
}

async fn view<A: Serialize + Send + 'static>(
    door: Door,
    question: impl FnOnce(&mut State) -> A + Send + 'static,
) -> Result<Json<A>, Failure> {
    Ok(Json(door.ask(question).await?))
}

async fn reload(Shared(door): Shared<Door>) -> Result<Response, Failure> {
    match door.ask(State::reload).await? {
        Ok(reloaded) => Ok(Json(reloaded).into_response()),
        Err(refused) => Err(Failure(refused.problem())),
    }
}

async fn list_flows(
    Shared(door): Shared<Door>,
    filter: Result<Query<FlowFilter>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(filter) = filter.map_err(|rejection| bad_query(rejection.body_text()))?;
    let limit = filter.limit.unwrap_or(FlowFilter::LIMIT_DEFAULT);
    if limit > FlowFilter::LIMIT_MAX {
        let most = FlowFilter::LIMIT_MAX;
        return Err(bad_query(format!("limit {limit} is more than {most}")));
    }
    let ask = |state: &mut State| {
        let templates = Arc::clone(state.templates());
        (
            state.workers().to_vec(),
            templates,
            state.compiler.services(),
        )
    };
    let (workers, templates, services) = door.ask(ask).await?;
    let limit = limit as usize;
    let mut flows = flows::list(&workers, &filter, limit).await?;
    if let Some(worker) = workers.first() {
        let now = worker.now();
        templates::list(&templates, &services, now, &filter, limit, &mut flows);
    }
    Ok(Json(flows).into_response())
}

async fn end_flows(
    Shared(door): Shared<Door>,
    filter: Result<Query<FlowFilter>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(filter) = filter.map_err(|rejection| bad_query(rejection.body_text()))?;
    let without_limit = FlowFilter {
        limit: None,
        ..filter.clone()
    };
    if without_limit == FlowFilter::default() {
        let detail = "give a filter, such as client or server: not every flow there is".to_owned();
        return Err(bad_query(detail));
    }
    let limit = filter.limit.unwrap_or(FlowFilter::LIMIT_MAX);
    let limit = limit.min(FlowFilter::LIMIT_MAX);
    let workers = door.ask(|state| state.workers().to_vec()).await?;
    let flows = flows::end(&workers, &filter, limit as usize).await?;
    tracing::info!("{} flows were ended", flows.flows.len());
    Ok(Json(flows).into_response())
}

async fn services(Shared(door): Shared<Door>) -> Result<Response, Failure> {
    let (services, revision) = door
        .ask(|state| (state.services(), state.revision()))
        .await?;
    // Of tens of thousands of servers the text alone takes a while, in which control has to do.
    let response = spawn_blocking(move || one::tagged(&revision, services)).await;
    response.map_err(|_| Failure::from(Stopping))
}

async fn scrape(Shared(door): Shared<Door>) -> Result<Response, Failure> {
    static SCRAPES: Semaphore = Semaphore::const_new(SCRAPES_MAX);
    let permit = SCRAPES.try_acquire().map_err(|_| {
        let detail = "too many scrapes are under way; try again in a moment";
        Failure(Problem::new(503, "Busy", detail))
    })?;
    let readings = door.ask(|state| state.metrics()).await?;
    let (sender, receiver) = mpsc::channel(PIECES_WAITING);
    spawn_blocking(move || {
        readings.page(|piece| sender.blocking_send(piece).is_ok());
        drop(permit);
    });
    let pieces = stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((Ok::<_, Infallible>(piece), receiver))
    });
    let kind = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

fn bad_query(detail: String) -> Failure {
    Failure(Problem::new(400, "The query is not understood", detail))
}

async fn no_such_path(uri: Uri) -> Failure {
    let detail = format!("there is no {}; see the paths under /v1", uri.path());
    Failure(Problem::new(404, "Not found", detail))
}

async fn no_such_method(uri: Uri) -> Failure {
    let detail = format!("{} takes another method", uri.path());
    Failure(Problem::new(405, "Method not allowed", detail))
}

/// An answer of status 400 or above (RFC 9457).
struct Failure(Problem);

impl From<Stopping> for Failure {
    fn from(_: Stopping) -> Self {
        let detail = "weird is about to end";
        Self(Problem::new(503, "The director is stopping", detail))
    }
}

impl From<flows::Busy> for Failure {
    fn from(_: flows::Busy) -> Self {
        let detail = "too many listings of flows are under way; try again in a moment";
        Self(Problem::new(503, "Busy", detail))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(header::CONTENT_TYPE, Problem::CONTENT_TYPE)];
        (status, kind, Json(self.0)).into_response()
    }
}

#[cfg(test)]
mod tests;
