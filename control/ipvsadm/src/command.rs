//! Arguments to a [`Command`], with the checks and the messages of the original in its order.

mod entry;

use std::ops::RangeInclusive;

use weir_ipvs::{DaemonState, ServiceKey, Timeouts};

use self::entry::Entry;
use crate::address;
use crate::change::Change;
use crate::names::Names;
use crate::option::{Is, TABLE, Verb};
use crate::popt::Words;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `-h`
    Help,
    /// `-v`
    Version,
    /// Something of the table changes.
    Change(Change),
    /// `-L`
    List(List),
    /// `-S`
    Save {
        /// `-n`
        numeric: bool,
    },
    /// `-R`
    Restore,
}

/// What is listed, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// What.
    pub what: What,
    /// How.
    pub format: Format,
}

/// What is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum What {
    /// Every service with its servers.
    #[default]
    All,
    /// One service.
    Service(ServiceKey),
    /// Connections.
    Connections,
    /// Timeouts.
    Timeouts,
    /// Daemons of connection synchronisation.
    Daemons,
}

/// How it is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct Format {
    /// `-n`
    pub numeric: bool,
    /// `--stats`
    pub stats: bool,
    /// `--rate`
    pub rate: bool,
    /// `--thresholds`
    pub thresholds: bool,
    /// `--persistent-conn`
    pub persistent: bool,
    /// `--nosort`
    pub unsorted: bool,
    /// `--exact`
    pub exact: bool,
    /// `--tun-info`
    pub tunnel: bool,
}

/// The command line is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// What standard error gets, without the end of the line.
    pub message: String,
    /// The exit code.
    pub code: u8,
}

impl Stop {
    /// A wrong value or a combination that makes no sense.
    fn wrong(message: impl Into<String>) -> Self {
        Stop {
            message: message.into(),
            code: 2,
        }
    }

    /// The hint that there is help.
    pub(crate) fn hint(program: &str) -> Self {
        Stop {
            message: format!("Try `{program} -h' or '{program} --help' for more information."),
            code: 255,
        }
    }
}

/// Longest timeout, 31 days.
const TIMEOUT_MAX: i64 = 86_400 * 31;

/// Reads a command line, without the program's name.
///
/// # Errors
///
/// What the original says to it, with its exit code.
pub fn parse(program: &str, words: &[String], names: &Names) -> Result<Command, Stop> {
    let mut options = Words::new(TABLE, words);
    let (verb, value) = match options.next_option() {
        Some(Ok((Is::Verb(verb), value))) => (verb, value),
        _ => return Err(Stop::hint(program)),
    };
    let mut entry = Entry::new(verb, names);
    match verb {
        Verb::Help => return Ok(Command::Help),
        Verb::Version => return Ok(Command::Version),
        Verb::StartDaemon | Verb::StopDaemon => entry.daemon.state = daemon_state(value)?,
        _ => {}
    }
    while let Some(option) = options.next_option() {
        match option {
            Ok((is, value)) => entry.take(is, value, options.last_word())?,
            Err(wrong) => {
                return Err(Stop {
                    message: format!("{}: {}", options.last_word(), wrong.text()),
                    code: 255,
                });
            }
        }
    }
    if verb == Verb::Set {
        let mut timeout = || options.next_argument();
        let (Some(tcp), Some(tcp_fin), Some(udp)) = (timeout(), timeout(), timeout()) else {
            return Err(Stop::wrong("--set option requires 3 timeout values"));
        };
        entry.timeouts = Timeouts {
            tcp: seconds(tcp, 0)?,
            tcp_fin: seconds(tcp_fin, 0)?,
            udp: seconds(udp, 0)?,
        };
    }
    if let Some(word) = options.next_argument() {
        return Err(Stop::wrong(format!("unexpected argument {word}")));
    }
    entry.finish()
}

fn daemon_state(value: Option<&str>) -> Result<DaemonState, Stop> {
    match value {
        Some("master") => Ok(DaemonState::Master),
        Some("backup") => Ok(DaemonState::Backup),
        _ => Err(Stop::wrong("illegal start-daemon parameter specified")),
    }
}

fn seconds(text: &str, least: i64) -> Result<u32, Stop> {
    address::number(text, least..=TIMEOUT_MAX)
        .and_then(|seconds| u32::try_from(seconds).ok())
        .ok_or_else(|| Stop::wrong(format!("invalid timeout value `{text}' specified")))
}

/// A number, or the message that it is none.
fn number<T: TryFrom<i64>>(
    text: &str,
    range: RangeInclusive<i64>,
    message: &str,
) -> Result<T, Stop> {
    address::number(text, range)
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| Stop::wrong(message))
}
