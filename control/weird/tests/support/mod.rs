//! A daemon on in-memory devices: no port of this machine is touched and no twin is made.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A directory with a configuration in it, and nobody else's socket.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A valid configuration with one port; `more` follows it.
    pub(crate) fn config(&self, more: &str) -> String {
        let prefix = self.dir.path().file_name().expect("it has a name");
        let prefix = prefix.to_string_lossy().replace('.', "");
        format!(
            "[eal]\nhuge_pages = false\npci = false\nmemory_mb = 64\nfile_prefix = \"weird-{prefix}\"\n\
             [workers]\ncores = [0]\nidle = \"adaptive\"\n\
             [limits]\nflows_per_worker = 1024\nservers = 16\n\
             [control]\nsocket = \"{}\"\nipvs_socket = false\nipvs_proc_socket = false\n\
             state_directory = false\n\
             [[port]]\nname = \"wan\"\ndevice = \"net_null0\"\ntwin = false\n\
             rx_descriptors = 64\ntx_descriptors = 64\naddresses = [\"192.0.2.1/24\"]\n{more}",
            self.path("weir.sock").display()
        )
    }

    pub(crate) fn write(&self, text: &str) -> PathBuf {
        let path = self.path("weir.toml");
        std::fs::write(&path, text).expect("the directory is ours");
        path
    }
}

pub(crate) fn weird() -> Command {
    Command::new(env!("CARGO_BIN_EXE_weird"))
}

/// Runs `weird --config` on a configuration that it must refuse: exit status and sentence.
#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) fn refused(config: &Path) -> (Option<i32>, String) {
    told(
        weird()
            .arg("--config")
            .arg(config)
            .output()
            .expect("it runs"),
    )
}

/// Exit status and standard error, which holds no panic.
#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) fn told(output: Output) -> (Option<i32>, String) {
    let said = String::from_utf8(output.stderr).expect("it speaks UTF-8");
    assert!(
        !said.contains("panicked") && !said.contains("RUST_BACKTRACE"),
        "{said}"
    );
    (output.status.code(), said)
}
