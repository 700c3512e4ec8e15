//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use weir_model::Protocol;
use weir_model::api::{FlowFilter, FlowState, ServerFilter, path};

use crate::change::{MarkCommand, ServiceCommand, SettingsCommand, Trial};
use crate::client::{Request, Verb};
use crate::here::Here;
use crate::server::ServerCommand;

/// Asks a running weird, the LVS director, what it does, and tells it what to do.
///
/// Exit status: 0 done; 1 not done; 2 wrong usage; 3 done, and what `weir diff` or `weir server
/// drain --wait` looked for was not so: see their help.
#[derive(Debug, Parser)]
#[command(name = "weir", version, arg_required_else_help = true)]
pub(crate) struct Args {
    /// The daemon's socket (control.socket in its configuration).
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "/run/weir/weir.sock"
    )]
    pub(crate) socket: PathBuf,

    /// Print the daemon's answer as JSON, as it came.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Top,
}

/// What is wanted.
#[derive(Debug, Subcommand)]
pub(crate) enum Top {
    /// Something of the daemon.
    #[command(flatten)]
    Ask(Command),
    /// Something that is done here.
    #[command(flatten)]
    Here(Here),
}

/// What is asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The daemon: version, uptime, configuration.
    Status,
    /// Services and their real servers.
    Services {
        /// Totals since start.
        #[arg(long)]
        stats: bool,
        /// Rates over the last seconds.
        #[arg(long, conflicts_with = "stats")]
        rate: bool,
    },
    /// Flows: the connections that are remembered.
    Flows(FlowArgs),
    /// Ports and what passed them.
    Ports,
    /// MAC addresses of neighbours.
    Neighbours,
    /// Routes.
    Routes,
    /// Workers: flows, load, packets.
    Workers,
    /// Packets that were not forwarded, by reason.
    Drops {
        /// Show reasons that never happened too.
        #[arg(long)]
        all: bool,
    },
    /// Read the configuration again and apply what changed, whole or not at all.
    Reload,
    /// Add, change, remove or show a service.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Add, change, remove, show or drain a real server.
    #[command(subcommand)]
    Server(ServerCommand),
    /// The rules that give packets their marks.
    #[command(subcommand)]
    Mark(MarkCommand),
    /// `[ipvs]`, `[timeouts]` and `[settings]`.
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Have the director do what a file says of services, marks and settings, whole or not at all.
    ///
    /// What the file does not have at all (no `[[service]]`, say) stays as it is; `service = []` removes
    /// all.
    Apply {
        /// A configuration file, or the part of one.
        file: PathBuf,
        #[command(flatten)]
        trial: Trial,
    },
    /// Tell what `weir apply` would change. Exit status 3: something would.
    Diff {
        /// A configuration file, or the part of one.
        file: PathBuf,
    },
    /// Count from 0 what ipvsadm is told that services carry, or one service, as ipvsadm -Z does.
    ///
    /// The totals of `weir services` and of the metrics go on.
    Zero {
        /// Only this service, by its name or key.
        service: Option<String>,
    },
}

/// Which flows.
#[derive(Debug, clap::Args)]
pub(crate) struct FlowArgs {
    /// Only of this client.
    #[arg(long, value_name = "ADDR")]
    client: Option<IpAddr>,
    /// Only of this virtual address and port.
    #[arg(long, value_name = "ADDR:PORT")]
    service: Option<SocketAddr>,
    /// Only of this real server.
    #[arg(long, value_name = "ADDR[:PORT]")]
    server: Option<ServerFilter>,
    /// Only in this state, such as ESTABLISHED or SYN_RECV.
    #[arg(long)]
    state: Option<FlowState>,
    /// Only of this protocol: tcp, udp or sctp.
    #[arg(long, value_parser = protocol)]
    protocol: Option<Protocol>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = FlowFilter::LIMIT_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(FlowFilter::LIMIT_MAX)))]
    limit: u32,
    /// End them: a client's next segment is answered with a reset. Needs one of the filters.
    #[arg(long)]
    end: bool,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err("give tcp, udp or sctp".to_owned()),
    }
}

impl FlowArgs {
    fn filter(&self) -> FlowFilter {
        FlowFilter {
            client: self.client,
            service: self.service,
            server: self.server,
            state: self.state,
            protocol: self.protocol,
            limit: Some(self.limit),
        }
    }
}

impl Command {
    /// What the daemon is asked, where that is one request.
    pub(crate) fn request(&self) -> Option<Request> {
        let get = |path: &str| Some(Request::get(path));
        match self {
            Command::Status => get(path::STATUS),
            Command::Services { .. } => get(path::SERVICES),
            Command::Flows(args) => Some(Request {
                verb: if args.end { Verb::Delete } else { Verb::Get },
                path: format!("{}?{}", path::FLOWS, args.filter().to_query()),
                body: None,
            }),
            Command::Ports => get(path::PORTS),
            Command::Neighbours => get(path::NEIGHBOURS),
            Command::Routes => get(path::ROUTES),
            Command::Workers => get(path::WORKERS),
            Command::Drops { .. } => get(path::DROPS),
            Command::Reload => Some(Request {
                verb: Verb::Post,
                path: path::RELOAD.to_owned(),
                body: None,
            }),
            Command::Service(command) => Some(command.request()),
            Command::Mark(command) => Some(command.request()),
            Command::Settings(command) => Some(command.request()),
            Command::Zero { service } => {
                let service = service.as_ref().map(|word| path::segment(word));
                let query = service.map_or(String::new(), |word| format!("?service={word}"));
                Some(Request {
                    verb: Verb::Post,
                    path: format!("{}{query}", path::ZERO),
                    body: None,
                })
            }
            Command::Server(_) | Command::Apply { .. } | Command::Diff { .. } => None,
        }
    }
}
