//! The program: arguments and standard input in, bytes and an exit code out.

use std::io;

use weir_ipvs::client::{Channel, Client, ServiceRows};
use weir_ipvs::{ServerRow, Service, Stats};

use crate::change::{Change, Errno};
use crate::command::{Command, Format, List, Stop, What, parse};
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

/// What a run has besides its arguments.
pub trait World {
    /// How the director is reached.
    type Channel: Channel;
    /// The director.
    fn director(&mut self) -> &mut Client<Self::Channel>;
    /// The text of `/proc/net/ip_vs_conn`.
    ///
    /// # Errors
    ///
    /// It cannot be had.
    fn connections(&mut self) -> io::Result<String>;
    /// Everything on standard input.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is no text.
    fn input(&mut self) -> io::Result<String>;
    /// Names of services and hosts.
    fn names(&self) -> &Names;
}

/// Runs `ipvsadm`, `ipvsadm-save` or `ipvsadm-restore`, whichever `program` ends in, with the
/// arguments `words`.
pub fn run(program: &str, words: &[String], world: &mut impl World) -> Ended {
    let name = program.rsplit('/').next().unwrap_or(program);
    if let Err(failure) = world.director().info() {
        let errno = Errno::from(failure);
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
        "ipvsadm-save" => return save_script(name, words, world),
        // It takes no arguments, and clears the table first.
        "ipvsadm-restore" => return read_and_restore("ipvsadm", world, true),
        _ => {}
    }
    if words.is_empty() {
        return listed(&List::default(), world);
    }
    let command = match parse(program, words, world.names()) {
        Ok(command) => command,
        Err(stop) => return stop.into(),
    };
    match command {
        Command::Help => Ended::printed(text::help(program)),
        Command::Version => Ended::printed(text::VERSION.to_owned()),
        Command::List(list) => listed(&list, world),
        Command::Save { numeric } => saved(numeric, world),
        Command::Restore => read_and_restore(program, world, false),
        Command::Change(change) => match world.director().order(&change.request()) {
            Ok(()) => Ended::default(),
            Err(failure) => Ended::failed(&text::refusal(&change, failure.into()), 255),
        },
    }
}

fn save_script(name: &str, words: &[String], world: &mut impl World) -> Ended {
    if words.iter().any(|word| word != "-n") {
        return Ended::failed(
            &format!(
                "{name}: Script to save the IPVS table to stdout.\n   With the -n option, prints \
                 out the table in numeric format."
            ),
            1,
        );
    }
    saved(!words.is_empty(), world)
}

fn listed(list: &List, world: &mut impl World) -> Ended {
    match try_list(list, world) {
        Ok(stdout) => Ended::printed(stdout),
        Err((message, code)) => Ended::failed(&message, code),
    }
}

/// Failures of listings have the exit code 1.
fn general(errno: impl Into<Errno>) -> (String, u8) {
    (text::general(errno.into()), 1)
}

fn try_list(list: &List, world: &mut impl World) -> Result<String, (String, u8)> {
    let format = list.format;
    match &list.what {
        What::All => {
            let mut out = list::info(world.director().info().map_err(general)?);
            out.push_str(&list::titles(format));
            for (service, stats, servers) in sorted(world, format).map_err(general)? {
                list_service(&mut out, (&service, &stats), servers, format, world);
            }
            Ok(out)
        }
        What::Service(key) => {
            let found = world.director().service(key).map_err(Errno::from);
            let (service, stats) = found.map_err(|errno| match errno {
                Errno::ESRCH => (text::NO_SUCH_SERVICE.to_owned(), 1),
                other => general(other),
            })?;
            let mut out = list::titles(format);
            let servers = world.director().servers(key).map_err(general)?;
            list_service(&mut out, (&service, &stats), servers, format, world);
            Ok(out)
        }
        What::Connections => {
            let text = world.connections().map_err(|_| {
                let message = "cannot open file /proc/net/ip_vs_conn";
                (message.to_owned(), 1)
            })?;
            connections::list(&text, format, world.names())
                .map_err(|_| ("unexpected input from /proc/net/ip_vs_conn".to_owned(), 1))
        }
        What::Timeouts => {
            let timeouts = world.director().timeouts().map_err(general)?;
            Ok(list::timeouts(timeouts))
        }
        What::Daemons => {
            let daemons = world.director().daemons().map_err(general)?;
            Ok(daemons.iter().map(list::daemon).collect())
        }
    }
}

fn sorted(world: &mut impl World, format: Format) -> Result<Vec<ServiceRows>, Errno> {
    let mut services = world.director().table()?;
    if !format.unsorted {
        list::sort_services(&mut services);
    }
    Ok(services)
}

fn list_service(
    out: &mut String,
    (service, stats): (&Service, &Stats),
    mut servers: Vec<ServerRow>,
    format: Format,
    world: &impl World,
) {
    out.push_str(&list::service(service, stats, format, world.names()));
    if !format.unsorted {
        list::sort_servers(&mut servers);
    }
    for row in &servers {
        out.push_str(&list::server(row, service, format, world.names()));
    }
}

fn saved(numeric: bool, world: &mut impl World) -> Ended {
    match try_save(numeric, world) {
        Ok(stdout) => Ended::printed(stdout),
        Err(errno) => Ended::failed(&text::general(errno), 1),
    }
}

fn try_save(numeric: bool, world: &mut impl World) -> Result<String, Errno> {
    let mut out = save::timeouts(world.director().timeouts()?);
    for (service, _, mut servers) in sorted(world, Format::default())? {
        out.push_str(&save::service(&service, numeric, world.names()));
        list::sort_servers(&mut servers);
        for (server, ..) in &servers {
            out.push_str(&save::server(&service, server, numeric, world.names()));
        }
    }
    Ok(out)
}

/// Puts a saved table back, after clearing the table if `clear` says so: all of it, or none.
fn read_and_restore(program: &str, world: &mut impl World, clear: bool) -> Ended {
    let failed = |line: usize, message: &str, code: u8| {
        let nothing = format!("{message}\nline {line}: nothing was changed");
        Ended::failed(&nothing, code)
    };
    let text = match world.input() {
        Ok(text) => text,
        Err(error) => return Ended::failed(&format!("standard input: {error}"), 2),
    };
    let numbered = match restore::changes(program, &text, world.names()) {
        Ok(numbered) => numbered,
        Err((line, stop)) => return failed(line, &stop.message, stop.code),
    };
    let first = clear.then_some((0, Change::Flush));
    let (lines, changes): (Vec<usize>, Vec<Change>) = first.into_iter().chain(numbered).unzip();
    if changes.is_empty() {
        return Ended::default();
    }
    let requests: Vec<_> = changes.iter().map(Change::request).collect();
    match world.director().order_all(&requests) {
        Ok(()) => Ended::default(),
        Err((at, failure)) => {
            let message = text::refusal(&changes[at], failure.into());
            failed(lines[at], &message, 255)
        }
    }
}
