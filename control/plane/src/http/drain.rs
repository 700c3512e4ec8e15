//! Drains.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, Uri};
use axum::response::Json;
use weir_model::api::{DrainBody, DrainView, Problem};

use super::Failure;
use super::change::{parse, read_body};
use crate::change::ChangeRefused;
use crate::door::Door;
use crate::draft::Target;
use crate::slots::SlotKey;

/// Bytes of the body.
const BODY_MAX: usize = 4096;
/// Longest time until a deadline, in seconds: 31 days, as of all times here.
const DEADLINE_MAX: u32 = 31 * 86_400;

pub(super) async fn look(Shared(door): Shared<Door>, uri: Uri) -> Result<Json<DrainView>, Failure> {
    let (service, server) = whose(&uri)?;
    let answer = door.ask(move |state| {
        let key = state.find_server(&service, &server)?;
        state
            .drain_view(key, Instant::now())
            .ok_or_else(|| is_not_drained(key))
    });
    answer.await?.map(Json).map_err(Failure)
}

pub(super) async fn start(
    Shared(door): Shared<Door>,
    request: Request,
) -> Result<Json<DrainView>, Failure> {
    let (parts, body) = request.into_parts();
    let (service, server) = whose(&parts.uri)?;
    let body: Bytes = read_body(&parts.headers, body, BODY_MAX).await?;
    let body = match body.is_empty() {
        true => DrainBody::default(),
        false => parse(&body).map_err(Failure)?,
    };
    let deadline = body.deadline_seconds;
    if deadline.is_some_and(|seconds| seconds > DEADLINE_MAX) {
        let detail = format!("deadline_seconds: give {DEADLINE_MAX} at most");
        return Err(Failure(Problem::new(
            422,
            "The deadline is too far",
            detail,
        )));
    }
    let deadline = deadline.map(|seconds| Duration::from_secs(seconds.into()));
    let answer = door.ask(move |state| {
        let key = state.find_server(&service, &server)?;
        let drained = state.drain(key, deadline, Instant::now());
        drained.map_err(|refused| problem(&refused))
    });
    answer.await?.map(Json).map_err(Failure)
}

pub(super) async fn stop(Shared(door): Shared<Door>, uri: Uri) -> Result<StatusCode, Failure> {
    let (service, server) = whose(&uri)?;
    let answer = door.ask(move |state| {
        let key = state.find_server(&service, &server)?;
        match state.stop_draining(key) {
            Ok(true) => Ok(()),
            Ok(false) => Err(is_not_drained(key)),
            Err(refused) => Err(problem(&refused)),
        }
    });
    answer.await?.map_err(Failure)?;
    Ok(StatusCode::NO_CONTENT)
}

fn whose(uri: &Uri) -> Result<(String, String), Failure> {
    let server = uri.path().strip_suffix("/drain").unwrap_or_default();
    match Target::of(server).map_err(Failure)? {
        Target::Server(service, server) => Ok((service, server)),
        _ => {
            let detail = format!("there is no {}", uri.path());
            Err(Failure(Problem::new(404, "Not found", detail)))
        }
    }
}

fn is_not_drained(key: SlotKey) -> Problem {
    let SlotKey { service, server } = key;
    let detail = format!("service {service}: server {server} is not being drained; POST begins it");
    Problem::new(404, "There is no drain", detail)
}

fn problem(refused: &ChangeRefused) -> Problem {
    Problem::new(
        409,
        "The server's weight cannot be changed",
        refused.to_string(),
    )
}
