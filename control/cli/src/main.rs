//! `weir`: asks a running `weird` over its local socket, and shows the answer.
//!
//! [`args`] says what can be asked, [`change`] and [`server`] what can be changed, [`client`] asks,
//! [`show`] turns an answer into words for people; with `--json` the answer is passed on as it came.
//! Exit status 0: done; 1: the daemon cannot be reached or refused; 2: wrong usage; 3: done, and what
//! was looked for was not so. [`here`] has what needs no answer in JSON: importing other directors'
//! files, `ipvsadm`, completions and man pages, with exit codes of their own.

mod apply;
mod args;
mod change;
mod client;
mod here;
mod import;
mod ipvsadm;
mod server;
mod show;
mod table;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use serde::de::DeserializeOwned;
use weir_model::api::Changed;

use crate::args::{Args, Command, Top};
use crate::change::{MarkCommand, ServiceCommand, SettingsCommand};
use crate::client::{Client, Error};

/// What is to be printed, and the exit status.
#[derive(Debug)]
struct Outcome {
    text: String,
    code: u8,
}

impl Outcome {
    /// It was done, and what was looked for was not so.
    const NOT_AS_WISHED: u8 = 3;

    fn text(text: String) -> Self {
        Outcome { text, code: 0 }
    }

    /// The answer to a change.
    fn changed(body: &[u8], json: bool) -> Result<Self, Error> {
        if json {
            return Ok(Self::text(as_it_came(body)));
        }
        let changed: Changed = read(body)?;
        Ok(Self::text(show::changed(&changed)))
    }
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = ipvsadm::run_if_asked(&words) {
        return code;
    }
    let args = Args::parse_from(words);
    let command = match &args.command {
        Top::Ask(command) => command,
        Top::Here(here) => return here.run(),
    };
    let Outcome { text, code } = match run(&args, command) {
        Ok(outcome) => outcome,
        Err(error) => {
            let _ = writeln!(io::stderr(), "weir: {error}");
            return ExitCode::from(1);
        }
    };
    // A reader that has seen enough (`weir flows | head`) is not an error.
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(1),
        _ => ExitCode::from(code),
    }
}

/// Asks what `args` say.
fn run(args: &Args, command: &Command) -> Result<Outcome, Error> {
    let client = Client::new(&args.socket);
    let Some(request) = command.request() else {
        return match command {
            Command::Server(command) => command.run(&client, args.json),
            Command::Apply { file, trial } => apply::apply(&client, file, trial, args.json),
            Command::Diff { file } => apply::diff(&client, file, args.json),
            _ => Err(Error::Empty),
        };
    };
    let body = client.ask(&request)?;
    if args.json {
        return Ok(Outcome::text(as_it_came(&body)));
    }
    render(command, &body).map(Outcome::text)
}

fn as_it_came(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The answer to `command` as a table.
fn render(command: &Command, body: &[u8]) -> Result<String, Error> {
    Ok(match command {
        Command::Status => show::status(&read(body)?),
        Command::Services { stats: true, .. } => show::services_stats(&read(body)?),
        Command::Services { rate: true, .. } => show::services_rates(&read(body)?),
        Command::Services { .. } => show::services(&read(body)?),
        Command::Flows(_) => show::flows(&read(body)?),
        Command::Ports => show::ports(&read(body)?),
        Command::Neighbours => show::neighbours(&read(body)?),
        Command::Routes => show::routes(&read(body)?),
        Command::Workers => show::workers(&read(body)?),
        Command::Drops { all } => show::drops(&read(body)?, *all),
        Command::Reload => show::reloaded(&read(body)?),
        Command::Service(ServiceCommand::Show { .. }) => show::service(&read(body)?),
        Command::Mark(MarkCommand::List) => show::marks(&read(body)?),
        Command::Settings(SettingsCommand::Show) => show::settings(&read(body)?),
        Command::Zero { .. } => "ipvsadm counts from 0 now.\n".to_owned(),
        _ => show::changed(&read(body)?),
    })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(Error::NotUnderstood)
}

#[cfg(test)]
mod tests;
