//! How `weird` says that it cannot: one sentence on standard error, and an exit status.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use weir_control::reload::Refused;
use weir_model::Faults;

/// Why the daemon ends.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is at fault: exit status 2.
    Config(String),
    /// The machine lacks something: exit status 1.
    Machine(String),
}

impl Failure {
    /// The file cannot be read.
    pub(crate) fn unreadable(file: &Path, error: &io::Error) -> Self {
        let file = file.display();
        Self::Config(format!(
            "{file} cannot be read: {error}; give a configuration by --config FILE"
        ))
    }

    /// The machine lacks something, told by `error` in a sentence with its cure.
    pub(crate) fn machine(error: impl Display) -> Self {
        Self::Machine(error.to_string())
    }

    /// Prints it and gives the exit status.
    #[expect(clippy::print_stderr, reason = "the log may not be up, or be filtered")]
    pub(crate) fn tell(self) -> ExitCode {
        let (text, status) = match self {
            Self::Config(text) => (text, 2),
            Self::Machine(text) => (text, 1),
        };
        for line in text.lines() {
            eprintln!("weird: {line}");
        }
        ExitCode::from(status)
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self::Config(faults.to_string())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Config(refused.to_string())
    }
}

/// A panic is a fault of Weir's own; its backtrace helps no operator.
#[expect(clippy::print_stderr, reason = "nothing else may work any more")]
pub(crate) fn tell_panics_in_a_sentence() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let place = panic.location().map(ToString::to_string);
        eprintln!(
            "weird: a fault in Weir itself at {}: {}; please report it with the configuration",
            place.as_deref().unwrap_or("an unknown place"),
            text.unwrap_or("no words").replace('\n', " ")
        );
    }));
}
