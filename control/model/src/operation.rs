//! `[metrics]`, `[control]` and `[log]`: how people and programs look at a running director.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::fault::Problem;
use crate::reader::{Choice, OrFalse, Section};

/// `[metrics]`: the page that Prometheus reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where `/metrics` is served, in Linux; default `127.0.0.1:9109`. `None`, written `false`,
    /// serves none.
    pub listen: Option<SocketAddr>,
}

/// `[control]`: the local socket on which `weir` asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The socket's path; default `/run/weir/weir.sock`. Its directory must exist.
    pub socket: PathBuf,
    /// The socket's file mode; default `"0660"`, which is octal. Whoever can write to it controls the director.
    pub socket_mode: u32,
    /// Where `ipvsadm` and `keepalived` find what answers as the kernel's IPVS; default `ipvs.sock`
    /// beside `socket`. `None`, written `false`, answers nobody.
    pub ipvs_socket: Option<PathBuf>,
    /// Where the texts of `/proc/net/ip_vs` and its neighbours are read; default `ipvs-proc.sock`
    /// beside `socket`. `None`, written `false`: nowhere.
    pub ipvs_proc_socket: Option<PathBuf>,
    /// Where changes made at run time are kept for the next start; default `/var/lib/weir`. `None`,
    /// written `false`, forgets them at the end.
    pub state_directory: Option<PathBuf>,
    /// Where the API is served besides, by HTTPS to whoever has the token. `None`, written `false`
    /// and the default: nowhere.
    pub remote: Option<Remote>,
}

/// The API on TCP: never without TLS and a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `listen`: address and port, in Linux.
    pub listen: SocketAddr,
    /// `tls_certificate`: a PEM file with the certificate and those that vouch for it, in order.
    pub tls_certificate: PathBuf,
    /// `tls_key`: a PEM file with its private key, which others cannot read.
    pub tls_key: PathBuf,
    /// `token_file`: a file with the token on its first line, which others cannot read.
    pub token_file: PathBuf,
}

/// `[log]`: what the daemon writes to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe that is written; default `info`.
    pub level: LogLevel,
}

/// Severity of a log line, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is about to.
    Warn,
    /// What an operator wants to know.
    Info,
    /// Why it did so.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word in the configuration, which is also `tracing`'s.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.word()
    }
}

impl Choice for LogLevel {
    const NOUN: &'static str = "log level";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
}

impl Metrics {
    const LISTEN: &'static str = "127.0.0.1:9109";

    pub(crate) fn read(s: Section<'_>) -> Self {
        let listen = match s.text_or_false("listen", Some(Self::LISTEN), socket_address) {
            OrFalse::Given(address) => Some(address),
            OrFalse::False => None,
            OrFalse::Absent => Self::LISTEN.parse().ok(),
        };
        s.finish();
        Metrics { listen }
    }
}

impl Control {
    const STATE: &'static str = "/var/lib/weir";

    pub(crate) fn read(s: Section<'_>) -> Self {
        let socket = s.text("socket", "/run/weir/weir.sock".to_owned(), socket_path);
        let mode = s.text("socket_mode", "0660".to_owned(), socket_mode);
        let socket = PathBuf::from(socket);
        let beside = |key, name| match s.text_or_false(key, None, socket_path) {
            OrFalse::Given(path) => Some(PathBuf::from(path)),
            OrFalse::False => None,
            OrFalse::Absent => Some(socket.with_file_name(name)),
        };
        let state = s.text_or_false("state_directory", Some(Self::STATE), directory);
        let control = Control {
            socket_mode: u32::from_str_radix(&mode, 8).expect("socket_mode() took it"),
            ipvs_socket: beside("ipvs_socket", "ipvs.sock"),
            ipvs_proc_socket: beside("ipvs_proc_socket", "ipvs-proc.sock"),
            state_directory: match state {
                OrFalse::Given(path) => Some(path),
                OrFalse::False => None,
                OrFalse::Absent => Some(PathBuf::from(Self::STATE)),
            },
            remote: Remote::read(&s),
            socket,
        };
        let sockets = [
            ("socket", Some(&control.socket)),
            ("ipvs_socket", control.ipvs_socket.as_ref()),
            ("ipvs_proc_socket", control.ipvs_proc_socket.as_ref()),
        ];
        for (at, (key, path)) in sockets.iter().enumerate() {
            let mut before = sockets[..at].iter();
            if let Some(path) = path
                && let Some((first, _)) = before.find(|(_, other)| *other == Some(path))
            {
                let problem = format!("{} is also control.{first}", path.display());
                s.fault(key, Problem::new(problem, "give each socket its own path"));
            }
        }
        s.finish();
        control
    }
}

impl Remote {
    fn read(s: &Section<'_>) -> Option<Self> {
        let listen = s.text_or_false("listen", Some("false"), socket_address);
        let [tls_certificate, tls_key, token_file] =
            ["tls_certificate", "tls_key", "token_file"].map(|key| s.optional(key, file_path));
        let OrFalse::Given(listen) = listen else {
            return None;
        };
        for (key, is_missing) in [
            ("tls_certificate", tls_certificate.is_none()),
            ("tls_key", tls_key.is_none()),
            ("token_file", token_file.is_none()),
        ] {
            if is_missing && !s.is_given(key) {
                let cure = "give a file, or listen = false: the API is not on TCP without it";
                s.fault(key, Problem::new("is missing, and listen is given", cure));
            }
        }
        Some(Remote {
            listen,
            tls_certificate: tls_certificate?,
            tls_key: tls_key?,
            token_file: token_file?,
        })
    }
}

fn file_path(text: &str) -> Result<PathBuf, Problem> {
    if !Path::new(text).is_absolute() || text.contains('\0') {
        let cure = "give one from the root on, such as \"/etc/weir/token\"";
        return Err(Problem::new(format!("{text:?} is no absolute path"), cure));
    }
    Ok(PathBuf::from(text))
}

impl Log {
    pub(crate) fn read(s: Section<'_>) -> Self {
        let level = s.choice("level", LogLevel::Info);
        s.finish();
        Log { level }
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, Problem> {
    text.parse().map_err(|_| {
        Problem::new(
            format!("{text:?} is not an address with a port"),
            "give one such as \"127.0.0.1:9109\" or \"[::1]:9109\", or false for none",
        )
    })
}

fn socket_path(text: &str) -> Result<String, Problem> {
    // unix(7): sun_path holds 108 bytes, the last of them a NUL.
    if !Path::new(text).is_absolute() || text.len() > 107 || text.contains('\0') {
        return Err(Problem::new(
            format!("{text:?} is not a path for a socket"),
            "give an absolute path of at most 107 bytes, such as \"/run/weir/weir.sock\"",
        ));
    }
    Ok(text.to_owned())
}

fn directory(text: &str) -> Result<PathBuf, Problem> {
    if !Path::new(text).is_absolute() || text.contains('\0') {
        return Err(Problem::new(
            format!("{text:?} is not a path for a directory"),
            "give an absolute path such as \"/var/lib/weir\", or false for none",
        ));
    }
    Ok(PathBuf::from(text))
}

/// A file mode, written octal as `chmod` takes it.
fn socket_mode(text: &str) -> Result<String, Problem> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(text.to_owned()),
        _ => Err(Problem::new(
            format!("{text:?} is not a file mode"),
            "give one from \"0000\" to \"0777\", such as \"0660\"",
        )),
    }
}
