//! One thing of the configuration, or the configuration itself, with its revision.

use axum::extract::{Request, State as Shared};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Json, Response};
use serde::Serialize;
use tokio::task::spawn_blocking;
use weir_model::Config;
use weir_model::api::{MarksBody, Problem, Servers};

use super::{Failure, change};
use crate::door::{Door, Stopping};
use crate::draft::{Target, no_server};
use crate::state::State;

/// The answer with the revision that it holds at.
pub(super) fn tagged<A: Serialize>(revision: &str, answer: A) -> Response {
    let tag: HeaderValue = change::etag(revision);
    let mut response = Json(answer).into_response();
    response.headers_mut().insert(header::ETAG, tag);
    response
}

async fn look<A: Serialize + Send + 'static>(
    door: Door,
    question: impl FnOnce(&State) -> Result<A, Problem> + Send + 'static,
) -> Result<Response, Failure> {
    let answer = door.ask(|state| (question(state), state.revision()));
    let (answer, revision) = answer.await?;
    Ok(tagged(&revision, answer.map_err(Failure)?))
}

pub(super) async fn service(
    Shared(door): Shared<Door>,
    request: Request,
) -> Result<Response, Failure> {
    let word = match Target::of(request.uri().path()).map_err(Failure)? {
        Target::Service(word) | Target::Servers(word) => word,
        _ => return Err(super::no_such_path(request.uri().clone()).await),
    };
    look(door, move |state| state.service_view(&word)).await
}

pub(super) async fn servers(
    Shared(door): Shared<Door>,
    request: Request,
) -> Result<Response, Failure> {
    let word = match Target::of(request.uri().path()).map_err(Failure)? {
        Target::Servers(word) => word,
        _ => return Err(super::no_such_path(request.uri().clone()).await),
    };
    let question = move |state: &State| {
        let service = state.service_view(&word)?;
        let servers = service.servers;
        Ok(Servers { servers })
    };
    look(door, question).await
}

pub(super) async fn server(
    Shared(door): Shared<Door>,
    request: Request,
) -> Result<Response, Failure> {
    let (service, word) = match Target::of(request.uri().path()).map_err(Failure)? {
        Target::Server(service, server) => (service, server),
        _ => return Err(super::no_such_path(request.uri().clone()).await),
    };
    let question = move |state: &State| {
        let key = state.find_server(&service, &word)?;
        let servers = state.service_view(&key.service.word())?.servers;
        let own = |view: &weir_model::api::ServerView| {
            (view.address, view.port) == (key.server.address, key.server.port)
        };
        let service = state.find_service(&service)?;
        let view = servers.into_iter().find(own);
        view.ok_or_else(|| no_server(service, &word))
    };
    look(door, question).await
}

pub(super) async fn marks(Shared(door): Shared<Door>) -> Result<Response, Failure> {
    let question = |state: &State| {
        let marks = state.config().marks.clone();
        Ok(MarksBody { marks })
    };
    look(door, question).await
}

pub(super) async fn mark(
    Shared(door): Shared<Door>,
    request: Request,
) -> Result<Response, Failure> {
    let index = match Target::of(request.uri().path()).map_err(Failure)? {
        Target::Mark(index) => index,
        _ => return Err(super::no_such_path(request.uri().clone()).await),
    };
    let question = move |state: &State| {
        let rule = state.config().marks.get(index).cloned();
        rule.ok_or_else(|| {
            let count = state.config().marks.len();
            let detail = format!("there is no rule {index}; there are {count}, counted from 0");
            Problem::new(404, "There is no such rule", detail)
        })
    };
    look(door, question).await
}

/// What `part` makes of the whole configuration; written beside the control thread.
pub(super) async fn whole<A: Serialize + Send + 'static>(
    door: Door,
    part: impl FnOnce(&Config) -> A + Send + 'static,
) -> Result<Response, Failure> {
    let answer = door.ask(|state| (part(state.config()), state.revision()));
    let (answer, revision) = answer.await?;
    let response = spawn_blocking(move || tagged(&revision, answer)).await;
    response.map_err(|_| Failure::from(Stopping))
}
