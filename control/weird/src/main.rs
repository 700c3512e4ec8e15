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

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Args, Command};
use failure::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    failure::tell_panics_in_a_sentence();
    let result = match args.command {
        Some(Command::Check { file }) => check::check(&file),
        Some(Command::ManPage { file }) => man_page(&file),
        None => start::start(&args.config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// Daemons are in section 8.
fn man_page(file: &Path) -> Result<(), Failure> {
    let page = clap_mangen::Man::new(Args::command()).section("8");
    let mut text = Vec::new();
    page.render(&mut text).map_err(Failure::machine)?;
    std::fs::write(file, text).map_err(Failure::machine)
}
