//! `weird check FILE`.

use std::path::Path;

use weir_model::{ConfigFile, parse};

use crate::failure::Failure;
use crate::machine;

/// Reads a configuration.
pub(crate) fn read(path: &Path) -> Result<ConfigFile, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::unreadable(path, &error))?;
    Ok(parse(&text, &path.display().to_string())?)
}

/// Tells every fault of the file. What this machine lacks for it is only a warning: the file may
/// be for another one.
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is what it is for"
)]
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    let file = read(path)?;
    if let Err(faults) = file.check_machine(&machine::facts(&file)) {
        for line in faults.to_string().lines() {
            eprintln!("weird: warning: {line}");
        }
    }
    println!("{} is valid: {}", file.name(), summary(&file));
    Ok(())
}

/// `2 ports, 1 worker, 3 services`.
pub(crate) fn summary(file: &ConfigFile) -> String {
    let config = &file.config;
    let count = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    [
        count(config.ports.len(), "port"),
        count(config.workers.cores.len(), "worker"),
        count(config.services.len(), "service"),
    ]
    .join(", ")
}
