//! The API of a director that has no packets, for programs that try it: no DPDK, no privilege.
//!
//! `api DIRECTORY` writes a certificate, its key, a token and the address into the directory and serves
//! until SIGTERM: on the socket `weir.sock` there, and by HTTPS on a free port of 127.0.0.1.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use weir_control::host::{Host, doorbell};
use weir_control::http::{ControlSocket, RemoteListener, Secured};
use weir_control::run::{Listeners, Signals, run};
use weir_control::state::{State, Ways};
use weir_control::testing::parts;
use weir_core::director::Limits;
use weir_core::io::WorkerId;
use weir_core::steer::Steering;
use weir_model::parse;
use weir_worker::testing::MemDevice;
use weir_worker::{Clock, Config, Handle, Idle, Worker, mesh};

const SERVERS: usize = 4096;

/// Twice the token of a test: it is no secret.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.context("give a directory")?.canonicalize()?;
    let path = |name: &str| directory.join(name);
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    fs::write(path("certificate.pem"), made.cert.pem())?;
    let secrets = [
        ("key.pem", made.signing_key.serialize_pem()),
        ("token", TOKEN.to_owned()),
    ];
    for (name, text) in secrets {
        fs::write(path(name), text)?;
        fs::set_permissions(path(name), Permissions::from_mode(0o600))?;
    }
    let shown = directory.display();
    let text = format!(
        "[limits]\nservers = {SERVERS}\n\
         [control]\nsocket = \"{shown}/weir.sock\"\nstate_directory = false\n\
         listen = \"127.0.0.1:0\"\ntls_certificate = \"{shown}/certificate.pem\"\n\
         tls_key = \"{shown}/key.pem\"\ntoken_file = \"{shown}/token\"\n\
         [[port]]\nname = \"wan\"\ndevice = \"net_null0\"\ntwin = false\n\
         addresses = [\"192.0.2.1/24\"]\n\
         [[mark]]\nmark = 10\ndestination = \"192.0.2.100\"\n\
         [[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.100\"\nport = 80\nname = \"web\"\n\
         [[service.server]]\naddress = \"10.0.0.1\"\nmethod = \"nat\"\nname = \"one\"\n\
         [[service]]\nmark = 10\n"
    );
    fs::write(path("weir.toml"), &text)?;
    let file = parse(&text, &format!("{shown}/weir.toml"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let config = &file.config;
        let remote = config.control.remote.as_ref().context("it is given")?;
        let remote = RemoteListener::bind(Secured::read(remote)?)?;
        let address = remote.address()?;
        let listeners = Listeners {
            control: ControlSocket::bind(&config.control.socket, 0o600)?,
            remote: Some(remote),
            ipvs: None,
            ipvs_proc: None,
            metrics: None,
        };
        let host = Host::start(config, &[([2; 6], 1500)], Vec::new(), doorbell()?).await?;
        let (worker, thread) = worker();
        let parts = parts(file, vec![worker.clone()]);
        let state = State::start(parts, Ways::default())?;
        let signals = Signals::take()?;
        fs::write(path("address"), address.to_string())?;
        run(state, host, listeners, signals).await?;
        worker.stop();
        thread.join().ok().context("the worker died")
    })
}

/// A worker that has no packets, and answers to control.
fn worker() -> (Handle, JoinHandle<()>) {
    let id = WorkerId(0);
    let config = Config {
        id,
        core: None,
        idle: Idle::Adaptive {
            sleep_max: Duration::from_millis(1),
        },
        limits: Limits {
            flows: 1024,
            flows_v6: 1024,
            half_open: 1024,
            services: 4096,
            servers: SERVERS,
            punt_per_second: 1000,
            punt_reserved_percent: 25,
            icmp_per_second: 1000,
            parked: 16,
            parked_per_neighbour: 4,
            fragments: 16,
        },
        ports: 1,
        twins: None,
        steering: Steering::by_client(1),
        clock: Clock::start(),
    };
    let device = MemDevice::new(1, 1, 16);
    let peers = mesh(1).remove(0);
    let worker = Worker::new(&config, device.io(id), peers);
    let handle = worker.handle();
    (handle, std::thread::spawn(move || worker.run()))
}
