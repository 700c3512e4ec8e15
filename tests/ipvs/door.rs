//! A director without workers, whose door is served in this process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;

use tempfile::TempDir;
use tokio::sync::oneshot;
use weir_control::host::{Host, doorbell};
use weir_control::http::ControlSocket;
use weir_control::ipvs::{IpvsSocket, ProcSocket};
use weir_control::run::{Listeners, Signals, run};
use weir_control::state::{State, Ways};
use weir_control::testing::parts;
use weir_model::ConfigFile;

/// Served until it is dropped.
pub(crate) struct Door {
    dir: Arc<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// A director that balances nothing yet.
    pub(crate) fn open() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self::open_in(Arc::new(dir), "")
    }

    /// A director with these services, whose state and sockets are in `dir`.
    pub(crate) fn open_in(dir: Arc<TempDir>, services: &str) -> Self {
        let file = config(dir.path(), services);
        let (stop, stopped) = oneshot::channel();
        let (tell, ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                tokio::select! {
                    ended = serve(file, tell) => panic!("it ended: {ended:?}"),
                    _ = stopped => {}
                }
            });
        });
        ready.recv().expect("it is served");
        Self {
            dir,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// The directory of its state and sockets.
    pub(crate) fn dir(&self) -> Arc<TempDir> {
        Arc::clone(&self.dir)
    }

    /// Where netlink's messages are answered.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("ipvs.sock")
    }

    /// Where the texts are read.
    pub(crate) fn proc_socket(&self) -> PathBuf {
        self.dir.path().join("ipvs-proc.sock")
    }

    /// A command line whose programs are led to this door.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .current_dir(self.dir.path())
            .env("LC_ALL", "C")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("WEIR_IPVS_SOCKET", self.socket())
            .env("WEIR_IPVS_PROC_SOCKET", self.proc_socket())
            .env("LD_PRELOAD", library());
        command
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The library, which `./x` builds beside the tests.
fn library() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    let profile = program.ancestors().nth(2).expect("target/PROFILE/deps");
    let library = profile.join("libweir_ipvs_preload.so");
    assert!(
        library.exists(),
        "{} is missing: cargo build -p weir-preload, with this profile",
        library.display()
    );
    library
}

fn config(dir: &Path, services: &str) -> ConfigFile {
    let dir = dir.display();
    let text = format!(
        "[metrics]\nlisten = false\n\
         [control]\nsocket = \"{dir}/weir.sock\"\nstate_directory = \"{dir}/state\"\n\
         [[port]]\nname = \"wan\"\ndevice = \"net_null0\"\ntwin = false\n\
         addresses = [\"192.0.2.1/24\"]\n{services}"
    );
    weir_model::parse(&text, "test.toml").unwrap_or_else(|faults| panic!("{faults}"))
}

async fn serve(file: ConfigFile, ready: std::sync::mpsc::Sender<()>) -> std::io::Result<()> {
    let control = &file.config.control;
    let path = |path: &Option<PathBuf>| path.clone().expect("it has one");
    let listeners = Listeners {
        control: ControlSocket::bind(&control.socket, 0o600).expect("a fresh path"),
        remote: None,
        ipvs: Some(IpvsSocket::bind(&path(&control.ipvs_socket)).expect("a fresh path")),
        ipvs_proc: Some(ProcSocket::bind(&path(&control.ipvs_proc_socket)).expect("a fresh path")),
        metrics: None,
    };
    let signals = Signals::take()?;
    let host = Host::start(&file.config, &[([2; 6], 1500)], Vec::new(), doorbell()?).await;
    let parts = parts(file, Vec::new());
    let state = State::start(parts, Ways::default()).expect("it has room");
    ready.send(()).expect("somebody waits");
    run(
        state,
        host.expect("its port has no twin"),
        listeners,
        signals,
    )
    .await
}
