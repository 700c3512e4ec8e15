//! The command line.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};

/// An LVS director in user space, on DPDK.
///
/// Exit status: 0 after SIGTERM or SIGINT; 1 when the machine lacks something; 2 when the
/// configuration has faults.
#[derive(Debug, Parser)]
#[command(name = "weird", version = version(), args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// The configuration. It is read again on SIGHUP and by `weir reload`.
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "/etc/weir/weir.toml"
    )]
    pub(crate) config: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell every fault of a configuration, each with its line and cure. Touches no port.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Write the man page, for packages.
    #[command(hide = true)]
    ManPage {
        /// Where to: a file.
        file: PathBuf,
    },
}

fn version() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| format!("{} ({})", env!("CARGO_PKG_VERSION"), weir_dpdk::version()));
    &TEXT
}
