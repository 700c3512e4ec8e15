//! Commands that are done here and not asked of the daemon over HTTP.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Subcommand};
use clap_complete::Shell;

use crate::args::Args;
use crate::import::{self, ImportArgs};
use crate::ipvsadm;

/// What is done.
#[derive(Debug, Subcommand)]
pub(crate) enum Here {
    /// Read another director's configuration and print it in Weir's words.
    ///
    /// Each line that cannot be carried is printed as a comment with its reason; so is what the other
    /// program would refuse. Exit status: 0 all was carried; 1 something was not; 2 the file cannot
    /// be read, or the program whose file it is would refuse or ignore something in it.
    Import(ImportArgs),
    /// Take ipvsadm's arguments, and do and print what ipvsadm would.
    ///
    /// weir does the same when it is called under the names ipvsadm, ipvsadm-save and
    /// ipvsadm-restore. A restore changes everything or nothing; a save keeps thresholds and
    /// timeouts. The socket is WEIR_IPVS_SOCKET of the environment, else /run/weir/ipvs.sock.
    #[command(disable_help_flag = true)]
    Ipvsadm {
        /// ipvsadm's arguments: -h tells them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Print what makes a shell complete weir's commands.
    ///
    /// For bash: weir completions bash > /usr/share/bash-completion/completions/weir
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the man pages, for packages.
    #[command(hide = true)]
    ManPages {
        /// Where to: a directory.
        directory: PathBuf,
    },
}

impl Here {
    /// Does it.
    pub(crate) fn run(&self) -> ExitCode {
        match self {
            Here::Import(args) => import::run(args),
            Here::Ipvsadm { words } => ipvsadm::run("ipvsadm", words),
            Here::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut Args::command(), "weir", &mut script);
                ended(io::stdout().write_all(&script))
            }
            Here::ManPages { directory } => ended(man_pages(directory)),
        }
    }
}

/// One page for weir and one for each command.
fn man_pages(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let weir = Args::command().disable_help_subcommand(true);
    clap_mangen::generate_to(weir, directory)
}

fn ended(result: io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "weir: {error}");
            ExitCode::from(1)
        }
        _ => ExitCode::SUCCESS,
    }
}
