//! Changes: bodies within bounds, conditions, and the answer.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Json, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use weir_model::api::{Batch, Operation, OperationMethod, Problem, ServiceBody, path};
use weir_model::{Family, MarkRule, PortRange, Protocol, ServiceKey};

use super::described::{JSON, MERGE_PATCH};
use super::{Failure, bad_query};
use crate::door::{Door, Stopping};
use crate::draft::{Answered, Prepared};

/// Bytes of a body that tells of one thing.
const BODY_MAX: usize = 1 << 20;
/// Bytes of a body that tells of everything, or of many things. A service with three servers takes
/// about 500.
const BODY_MAX_WHOLE: usize = 64 << 20;
/// Such bodies at a time: with what is made of them they take memory.
const WHOLE_AT_A_TIME: usize = 2;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Whether a change is only tried.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeQuery {
    #[serde(default)]
    dry_run: bool,
}

/// Which service.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ZeroQuery {
    /// Only this one, by its name or key.
    service: Option<String>,
}

/// Some of a rule.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes; the file's reader reads it")]
pub(super) struct MarkPatch {
    /// The mark.
    #[schemars(range(min = 1))]
    mark: Option<u32>,
    /// The family of the packets.
    family: Option<Family>,
    /// The transport protocol.
    protocol: Option<Protocol>,
    /// Where packets come from.
    source: Option<String>,
    /// Where packets go to.
    destination: Option<String>,
    /// The ports they come from.
    source_ports: Option<Vec<PortRange>>,
    /// The ports they go to.
    destination_ports: Option<Vec<PortRange>>,
    /// The name of the port they come in by.
    interface: Option<String>,
    /// It is true of packets for other hosts, too.
    any_destination: Option<bool>,
}

/// Some of the settings; the keys are those of the answer to GET.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes; the file's reader reads it")]
pub(super) struct SettingsPatch {
    /// `[ipvs]`
    ipvs: Option<serde_json::Map<String, serde_json::Value>>,
    /// `[timeouts]`, in seconds.
    timeouts: Option<serde_json::Map<String, serde_json::Value>>,
    /// `[settings]`
    settings: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Some of all that can be changed.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes; the file's reader reads it")]
pub(super) struct ConfigPatch {
    /// The services, in order.
    services: Option<Vec<ServiceBody>>,
    /// The rules for marks, in order.
    marks: Option<Vec<MarkRule>>,
    /// `[ipvs]`
    ipvs: Option<serde_json::Map<String, serde_json::Value>>,
    /// `[timeouts]`, in seconds.
    timeouts: Option<serde_json::Map<String, serde_json::Value>>,
    /// `[settings]`
    settings: Option<serde_json::Map<String, serde_json::Value>>,
}

/// One change of what its path names.
pub(super) async fn change(
    Shared(door): Shared<Door>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let dry_run = query::<ChangeQuery>(parts.uri.query())?.dry_run;
    let (method, path) = (
        operation_method(&parts.method)?,
        parts.uri.path().to_owned(),
    );
    let is_whole = path == path::CONFIG;
    let _turn = is_whole.then(turn).transpose()?;
    let body = match method {
        OperationMethod::Delete => None,
        _ => Some(read_body(&parts.headers, body, bound(is_whole)).await?),
    };
    let prepare = move || {
        let body = body.as_ref().map(parse).transpose()?;
        let operation = Operation { method, path, body };
        Ok(vec![Prepared::read(operation, String::new())?])
    };
    run(door, prepare, &parts.headers, dry_run).await
}

/// Many changes.
pub(super) async fn batch(
    Shared(door): Shared<Door>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let dry_run = query::<ChangeQuery>(parts.uri.query())?.dry_run;
    let _turn = turn()?;
    let body = read_body(&parts.headers, body, BODY_MAX_WHOLE).await?;
    let prepare = move || {
        let batch: Batch = serde_json::from_slice(&body).map_err(not_understood)?;
        let operations = batch.operations.into_iter().enumerate();
        let read = |(at, operation)| Prepared::read(operation, format!("/operations/{at}/body"));
        operations.map(read).collect()
    };
    let response = run(door, prepare, &parts.headers, dry_run).await?;
    Ok(without_location(response))
}

/// Of many changes none is the one that was made.
fn without_location(mut response: Response) -> Response {
    response.headers_mut().remove(header::LOCATION);
    *response.status_mut() = StatusCode::OK;
    response
}

async fn run(
    door: Door,
    prepare: impl FnOnce() -> Result<Vec<Prepared>, Problem> + Send + 'static,
    headers: &HeaderMap,
    dry_run: bool,
) -> Result<Response, Failure> {
    let condition = condition(headers)?;
    let prepared = spawn_blocking(prepare).await.map_err(|_| Stopping)?;
    let requests = prepared.map_err(Failure)?;
    let answer = door.ask(move |state| {
        if let Some(wanted) = condition
            && !wanted.is_met_by(&state.revision())
        {
            return Err(Problem::new(
                412,
                "The configuration has changed meanwhile",
                format!(
                    "it is at revision {}; look at it again and ask with that If-Match",
                    state.revision()
                ),
            ));
        }
        state.request(requests, dry_run)
    });
    let Answered { changed, created } = answer.await?.map_err(Failure)?;
    let tag = etag(&changed.revision);
    let mut response = Json(changed).into_response();
    response.headers_mut().insert(header::ETAG, tag);
    if let Some(Ok(location)) = created.map(HeaderValue::try_from) {
        *response.status_mut() = StatusCode::CREATED;
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Counts from 0 for IPVS's clients.
pub(super) async fn zero(
    Shared(door): Shared<Door>,
    request: Request,
) -> Result<StatusCode, Failure> {
    let ZeroQuery { service } = query(request.uri().query())?;
    let zeroed = door.ask(move |state| {
        let key: Option<ServiceKey> = match &service {
            Some(word) => Some(state.find_service(word)?.key),
            None => None,
        };
        state.zero(key);
        Ok(())
    });
    zeroed.await?.map_err(Failure)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn query<T: for<'d> Deserialize<'d>>(query: Option<&str>) -> Result<T, Failure> {
    serde_urlencoded::from_str(query.unwrap_or_default())
        .map_err(|error| bad_query(error.to_string()))
}

fn operation_method(method: &Method) -> Result<OperationMethod, Failure> {
    Ok(match *method {
        Method::POST => OperationMethod::Post,
        Method::PUT => OperationMethod::Put,
        Method::PATCH => OperationMethod::Patch,
        Method::DELETE => OperationMethod::Delete,
        _ => return Err(Failure(Problem::new(405, "Method not allowed", ""))),
    })
}

const fn bound(is_whole: bool) -> usize {
    if is_whole { BODY_MAX_WHOLE } else { BODY_MAX }
}

fn turn() -> Result<tokio::sync::SemaphorePermit<'static>, Failure> {
    static WHOLE: Semaphore = Semaphore::const_new(WHOLE_AT_A_TIME);
    WHOLE.try_acquire().map_err(|_| {
        let detail = "other large changes are under way; try again in a moment";
        Failure(Problem::new(503, "Busy", detail))
    })
}

/// The body, if it is JSON, no longer than `most` bytes and in time.
pub(super) async fn read_body(
    headers: &HeaderMap,
    body: Body,
    most: usize,
) -> Result<Bytes, Failure> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.map(|kind| kind.to_str().unwrap_or("?"));
    let essence = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    if essence.is_some_and(|kind| {
        !kind.eq_ignore_ascii_case(JSON) && !kind.eq_ignore_ascii_case(MERGE_PATCH)
    }) {
        let detail = format!("give the body as {JSON}");
        return Err(Failure(Problem::new(415, "Unsupported media type", detail)));
    }
    let read = timeout(BODY_TIME, Limited::new(body, most).collect());
    let Ok(read) = read.await else {
        let detail = format!("the body has to be here within {} s", BODY_TIME.as_secs());
        return Err(Failure(Problem::new(408, "Request timeout", detail)));
    };
    let read = read.map_err(|error| match error.is::<LengthLimitError>() {
        true => {
            let detail = format!("give {most} bytes at most");
            Failure(Problem::new(413, "The body is too large", detail))
        }
        false => Failure(Problem::new(400, "The body is broken", error.to_string())),
    })?;
    Ok(read.to_bytes())
}

pub(super) fn parse<T: for<'d> Deserialize<'d>>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(not_understood)
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn not_understood(error: serde_json::Error) -> Problem {
    Problem::new(400, "The body is not understood", error.to_string())
}

pub(super) fn etag(revision: &str) -> HeaderValue {
    let tag = HeaderValue::try_from(format!("\"{revision}\""));
    tag.expect("a revision is made of digits and a dash")
}

/// `If-Match` (RFC 9110 §13.1.1).
enum Condition {
    Any,
    OneOf(Vec<String>),
}

impl Condition {
    fn is_met_by(&self, revision: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|tag| tag == revision),
        }
    }
}

fn condition(headers: &HeaderMap) -> Result<Option<Condition>, Failure> {
    let mut tags = Vec::new();
    let mut is_given = false;
    for value in headers.get_all(header::IF_MATCH) {
        is_given = true;
        let text = value.to_str().unwrap_or("?").trim();
        if text == "*" {
            return Ok(Some(Condition::Any));
        }
        for tag in text.split(',').map(str::trim) {
            // A weak tag never matches (RFC 9110 §13.1.1).
            let strong = tag.strip_prefix("W/").is_none();
            let bare = tag.trim_start_matches("W/").strip_prefix('"');
            let Some(bare) = bare.and_then(|tag| tag.strip_suffix('"')) else {
                let detail = "give the ETag of an earlier answer with its quotes, or *";
                let problem = Problem::new(400, "If-Match is not understood", detail);
                return Err(Failure(problem));
            };
            if strong {
                tags.push(bare.to_owned());
            }
        }
    }
    Ok(is_given.then_some(Condition::OneOf(tags)))
}
