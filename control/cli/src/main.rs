//! `weir`: asks a running `weird` over its local socket and shows the answer.
//!
//! [`args`] says what can be asked, [`client`] asks, [`show`] turns an answer into a table for
//! people; with `--json` the answer is passed on as it came. Exit status 0: answered; 1: the daemon
//! cannot be reached or refused; 2: wrong usage. [`here`] has what needs no answer in JSON: importing
//! other directors' files, `ipvsadm`, completions and man pages, with exit codes of their own.

mod args;
mod client;
mod here;
mod import;
mod ipvsadm;
mod show;
mod table;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use serde::de::DeserializeOwned;

use crate::args::{Args, Command, Top};
use crate::client::{Client, Error};

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
    let text = match run(&args, command) {
        Ok(text) => text,
        Err(error) => {
            let _ = writeln!(io::stderr(), "weir: {error}");
            return ExitCode::from(1);
        }
    };
    // A reader that has seen enough (`weir flows | head`) is not an error.
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(1),
        _ => ExitCode::SUCCESS,
    }
}

/// Asks what `args` say. Returns what is to be printed.
fn run(args: &Args, command: &Command) -> Result<String, Error> {
    let request = command.request();
    let body = Client::new(&args.socket).ask(&request)?;
    if args.json {
        let mut text = String::from_utf8_lossy(&body).into_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        return Ok(text);
    }
    render(command, &body)
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
    })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(Error::NotUnderstood)
}

#[cfg(test)]
mod tests;
