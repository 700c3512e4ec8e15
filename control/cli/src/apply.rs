//! `weir apply` and `weir diff`: what a file says of services, marks and settings.

use std::path::Path;

use weir_model::api::{Changed, PartBody, path};
use weir_model::parse_part;

use crate::Outcome;
use crate::change::Trial;
use crate::client::{Client, Error, Request, Verb};

/// Has the director do what the file says.
pub(crate) fn apply(
    client: &Client,
    file: &Path,
    trial: &Trial,
    json: bool,
) -> Result<Outcome, Error> {
    let body = client.ask(&request(file, trial)?)?;
    Outcome::changed(&body, json)
}

/// Tells what is different.
pub(crate) fn diff(client: &Client, file: &Path, json: bool) -> Result<Outcome, Error> {
    let body = client.ask(&request(file, &Trial { dry_run: true })?)?;
    let changed: Changed = serde_json::from_slice(&body).map_err(Error::NotUnderstood)?;
    let code = match changed.changes.is_empty() {
        true => 0,
        false => Outcome::NOT_AS_WISHED,
    };
    let outcome = Outcome::changed(&body, json)?;
    Ok(Outcome { code, ..outcome })
}

fn request(file: &Path, trial: &Trial) -> Result<Request, Error> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| Error::Unreadable(file.to_owned(), error))?;
    let part = parse_part(&text, &file.display().to_string()).map_err(Error::Faults)?;
    let body = serde_json::to_value(PartBody::from(part)).map_err(Error::NotUnderstood)?;
    Ok(trial.request(Verb::Patch, path::CONFIG, Some(body)))
}
