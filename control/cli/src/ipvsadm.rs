//! `weir ipvsadm`, and weir under the names `ipvsadm`, `ipvsadm-save` and `ipvsadm-restore`: the
//! world that `weir-ipvsadm` runs in. The director answers at the IPVS door of weird.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use weir_ipvs::client::{Channel, Client};
use weir_ipvsadm::{Ended, Names, World};

/// Names that weir may be called by.
const NAMES: [&str; 3] = ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"];

/// Where weird answers, unless the environment says otherwise: the preloaded library for the stock
/// programs reads the same variables.
const DOOR: (&str, &str) = ("WEIR_IPVS_SOCKET", "/run/weir/ipvs.sock");
const TEXTS: (&str, &str) = ("WEIR_IPVS_PROC_SOCKET", "/run/weir/ipvs-proc.sock");

/// A daemon that hangs should not hang us.
const PATIENCE: Duration = Duration::from_secs(10);
/// A dump comes in datagrams of 16 KiB; an error carries the whole request.
const DATAGRAM_MAX: usize = 128 * 1024;

/// Runs ipvsadm if `words`, the program's name first, ask for it.
pub(crate) fn run_if_asked(words: &[OsString]) -> Option<ExitCode> {
    let words: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let (program, rest) = words.split_first()?;
    let name = program.rsplit('/').next().unwrap_or(program);
    if NAMES.contains(&name) {
        return Some(run(program, rest));
    }
    let (command, rest) = rest.split_first()?;
    (command == "ipvsadm").then(|| run("ipvsadm", rest))
}

/// Runs it, and prints what it gives.
pub(crate) fn run(program: &str, words: &[String]) -> ExitCode {
    let mut machine = Machine {
        director: Client::new(Door::default()),
        names: names(),
    };
    let ended = weir_ipvsadm::run(program, words, &mut machine);
    print(&ended)
}

fn print(ended: &Ended) -> ExitCode {
    let written = io::stdout().write_all(ended.stdout.as_bytes());
    let _ = io::stderr().write_all(ended.stderr.as_bytes());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(1),
        _ => ExitCode::from(ended.code),
    }
}

fn names() -> Names {
    let text = |path: &str| match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    };
    Names::new(&text("/etc/services"), &text("/etc/hosts"))
}

fn place((variable, usual): (&str, &str)) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from)
}

/// This machine.
struct Machine {
    director: Client<Door>,
    names: Names,
}

impl World for Machine {
    type Channel = Door;

    fn director(&mut self) -> &mut Client<Door> {
        &mut self.director
    }

    fn connections(&mut self) -> io::Result<String> {
        let mut stream = UnixStream::connect(place(TEXTS))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"ip_vs_conn\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    fn input(&mut self) -> io::Result<String> {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        Ok(text)
    }

    fn names(&self) -> &Names {
        &self.names
    }
}

/// The IPVS door: one netlink datagram is one packet. It is opened by the first request.
#[derive(Default)]
struct Door(Option<OwnedFd>);

impl Door {
    fn socket(&mut self) -> io::Result<&OwnedFd> {
        if self.0.is_none() {
            let path = place(DOOR);
            let opened = open(&path).inspect_err(|error| {
                let path = path.display();
                let _ = writeln!(
                    io::stderr(),
                    "weir: nobody answers at {path} ({error}); is weird running, and is this its \
                     control.ipvs_socket?"
                );
            });
            self.0 = Some(opened?);
        }
        self.0
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

fn open(path: &std::path::Path) -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

impl Channel for Door {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        send(self.socket()?, datagram, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut datagram = vec![0; DATAGRAM_MAX];
        let (received, _) = recv(self.socket()?, &mut datagram[..], RecvFlags::empty())?;
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        datagram.truncate(received);
        Ok(datagram)
    }
}
