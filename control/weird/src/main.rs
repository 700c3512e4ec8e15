//! `weird`, the director's daemon: it starts things in order, waits, and stops them in order. What
//! they do is in the crates it joins.

mod args;
mod check;
mod devices;
mod failure;
mod log;
mod machine;
mod notify;
mod start;
mod steering;
mod workers;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    failure::tell_panics_in_a_sentence();
    let result = match args.command {
        Some(Command::Check { file }) => check::check(&file),
        None => start::start(&args.config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}
