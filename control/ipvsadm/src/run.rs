//! The program: arguments and standard input in, bytes and an exit code out.

use crate::command::{Command, Format, List, Stop, What, parse};
use crate::director::{Change, Director, Errno, ListedService};
use crate::names::Names;
use crate::{connections, list, restore, save, text};

/// What a run gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// For standard output.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// The exit code.
    pub code: u8,
}

impl Ended {
    fn failed(message: &str, code: u8) -> Self {
        Ended {
            stdout: String::new(),
            stderr: format!("{message}\n"),
            code,
        }
    }

    fn printed(stdout: String) -> Self {
        Ended {
            stdout,
            ..Ended::default()
        }
    }
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        Ended::failed(&stop.message, stop.code)
    }
}

/// Runs `ipvsadm`, `ipvsadm-save` or `ipvsadm-restore`, whichever `program` ends in, with the
/// arguments `words`. Standard input is read only by a restore.
pub fn run(
    program: &str,
    words: &[String],
    stdin: impl FnOnce() -> std::io::Result<String>,
    names: &Names,
    director: &mut impl Director,
) -> Ended {
    let name = program.rsplit('/').next().unwrap_or(program);
    if let Err(errno) = director.info() {
        return Ended::failed(
            &format!(
                "Can't initialize ipvs: {}\n\
                 Are you sure that IP Virtual Server is built in the kernel or as module?",
                text::general(errno)
            ),
            2,
        );
    }
    match name {
        "ipvsadm-save" => return save_script(name, words, names, director),
        // It takes no arguments, and clears the table first.
        "ipvsadm-restore" => return read_and_restore("ipvsadm", stdin, names, director, true),
        _ => {}
    }
    if words.is_empty() {
        return listed(&List::default(), names, director);
    }
    let command = match parse(program, words, names) {
        Ok(command) => command,
        Err(stop) => return stop.into(),
    };
    match command {
        Command::Help => Ended::printed(text::help(program)),
        Command::Version => Ended::printed(text::VERSION.to_owned()),
        Command::List(list) => listed(&list, names, director),
        Command::Save { numeric } => saved(numeric, names, director),
        Command::Restore => read_and_restore(program, stdin, names, director, false),
        Command::Change(change) => match director.change(&change) {
            Ok(()) => Ended::default(),
            Err(errno) => Ended::failed(&text::refusal(&change, errno), 255),
        },
    }
}

fn save_script(name: &str, words: &[String], names: &Names, director: &mut impl Director) -> Ended {
    if words.iter().any(|word| word != "-n") {
        return Ended::failed(
            &format!(
                "{name}: Script to save the IPVS table to stdout.\n   With the -n option, prints \
                 out the table in numeric format."
            ),
            1,
        );
    }
    saved(!words.is_empty(), names, director)
}

fn listed(list: &List, names: &Names, director: &mut impl Director) -> Ended {
    match try_list(list, names, director) {
        Ok(stdout) => Ended::printed(stdout),
        Err((message, code)) => Ended::failed(&message, code),
    }
}

/// Failures of listings have the exit code 1, but for one.
fn general(errno: Errno) -> (String, u8) {
    (text::general(errno), 1)
}

fn try_list(
    what: &List,
    names: &Names,
    director: &mut impl Director,
) -> Result<String, (String, u8)> {
    let format = what.format;
    match &what.what {
        What::All => {
            let mut out = list::info(director.info().map_err(general)?);
            out.push_str(&list::titles(format));
            for service in sorted(director, format).map_err(general)? {
                list_service(&mut out, &service, format, names, director).map_err(general)?;
            }
            Ok(out)
        }
        What::Service(id) => {
            let service = director.service(id).map_err(|errno| match errno {
                Errno::ESRCH => (text::NO_SUCH_SERVICE.to_owned(), 1),
                other => general(other),
            })?;
            let mut out = list::titles(format);
            list_service(&mut out, &service, format, names, director).map_err(general)?;
            Ok(out)
        }
        What::Connections => {
            let text = director.connections().map_err(|_| {
                let message = "cannot open file /proc/net/ip_vs_conn";
                (message.to_owned(), 1)
            })?;
            connections::list(&text, format, names)
                .map_err(|_| ("unexpected input from /proc/net/ip_vs_conn".to_owned(), 1))
        }
        What::Timeouts => Ok(list::timeouts(director.timeouts().map_err(general)?)),
        What::Daemons => {
            let daemons = director.daemons().map_err(general)?;
            Ok(daemons.iter().map(list::daemon).collect())
        }
    }
}

fn sorted(director: &mut impl Director, format: Format) -> Result<Vec<ListedService>, Errno> {
    let mut services = director.services()?;
    if !format.unsorted {
        list::sort_services(&mut services);
    }
    Ok(services)
}

fn list_service(
    out: &mut String,
    service: &ListedService,
    format: Format,
    names: &Names,
    director: &mut impl Director,
) -> Result<(), Errno> {
    out.push_str(&list::service(service, format, names));
    let mut servers = director.servers(&service.service)?;
    if !format.unsorted {
        list::sort_servers(&mut servers);
    }
    for server in &servers {
        out.push_str(&list::server(server, &service.service, format, names));
    }
    Ok(())
}

fn saved(numeric: bool, names: &Names, director: &mut impl Director) -> Ended {
    match try_save(numeric, names, director) {
        Ok(stdout) => Ended::printed(stdout),
        Err(errno) => Ended::failed(&text::general(errno), 1),
    }
}

fn try_save(numeric: bool, names: &Names, director: &mut impl Director) -> Result<String, Errno> {
    let mut out = save::timeouts(director.timeouts()?);
    for listed in sorted(director, Format::default())? {
        let service = &listed.service;
        out.push_str(&save::service(service, numeric, names));
        let mut servers = director.servers(service)?;
        list::sort_servers(&mut servers);
        for server in &servers {
            out.push_str(&save::server(service, server, numeric, names));
        }
    }
    Ok(out)
}

fn read_and_restore(
    program: &str,
    stdin: impl FnOnce() -> std::io::Result<String>,
    names: &Names,
    director: &mut impl Director,
    clear: bool,
) -> Ended {
    let text = match stdin() {
        Ok(text) => text,
        Err(error) => return Ended::failed(&format!("standard input: {error}"), 2),
    };
    restored(program, &text, names, director, clear)
}

/// Puts a saved table back, after clearing the table if `clear` says so: all of it, or none.
fn restored(
    program: &str,
    text: &str,
    names: &Names,
    director: &mut impl Director,
    clear: bool,
) -> Ended {
    let failed = |number: usize, message: &str, code: u8| {
        let nothing = format!("{message}\nline {number}: nothing was changed");
        Ended::failed(&nothing, code)
    };
    let numbered = match restore::changes(program, text, names) {
        Ok(numbered) => numbered,
        Err((number, stop)) => return failed(number, &stop.message, stop.code),
    };
    let mut changes: Vec<Change> = Vec::with_capacity(numbered.len() + 1);
    let mut lines = Vec::with_capacity(numbered.len() + 1);
    if clear {
        changes.push(Change::Flush);
        lines.push(0);
    }
    for (line, change) in numbered {
        lines.push(line);
        changes.push(change);
    }
    if changes.is_empty() {
        return Ended::default();
    }
    match director.change_all(&changes) {
        Ok(()) => Ended::default(),
        Err((at, errno)) => {
            let message = changes
                .get(at)
                .map_or_else(|| text::general(errno), |c| text::refusal(c, errno));
            failed(lines.get(at).copied().unwrap_or(0), &message, 255)
        }
    }
}
