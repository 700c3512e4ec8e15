//! Start-up and stop, in order.
//!
//! Up: configuration, machine, control socket, EAL and ports, workers, twins, metrics, control. Down:
//! control ends, the twins go, the workers end, the ports close with the last queue, EAL is cleaned
//! up. What fails on the way up takes everything before it down again.

use std::path::Path;
use std::sync::Arc;

use weir_control::host::{Host, doorbell};
use weir_control::http::{ControlSocket, MetricsListener, RemoteListener, Secured};
use weir_control::ipvs::{IpvsSocket, ProcSocket};
use weir_control::pulse::Alive;
use weir_control::run::{self, Listeners, Signals};
use weir_control::state::{About, Parts, State};
use weir_dpdk::{Eal, Port, Ports};
use weir_model::ConfigFile;

use crate::check::{read, summary};
use crate::devices::{DpdkDevices, eal_config, port_configs, spare_frames};
use crate::failure::Failure;
use crate::workers::Workers;
use crate::{log, machine, notify, steering};

/// Runs the director until a signal stops it.
pub(crate) fn start(path: &Path) -> Result<(), Failure> {
    let file = read(path)?;
    file.check_machine(&machine::facts(&file))
        .map_err(Failure::machine)?;
    let set_log_level = log::start(file.config.log.level);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::machine)?;
    runtime.block_on(direct(file, set_log_level))
}

async fn direct(
    file: ConfigFile,
    set_log_level: Box<dyn Fn(weir_model::LogLevel)>,
) -> Result<(), Failure> {
    let signals = Signals::take().map_err(Failure::machine)?;
    let config = &file.config;
    // First, so that a second daemon is refused before it touches anything of the first.
    let socket = &config.control.socket;
    let control = ControlSocket::bind(socket, config.control.socket_mode);
    let control = control.map_err(Failure::machine)?;
    let remote = config.control.remote.as_ref().map(Secured::read);
    let remote = remote.transpose().map_err(Failure::machine)?;
    let ipvs = config.control.ipvs_socket.as_deref().map(IpvsSocket::bind);
    let ipvs = ipvs.transpose().map_err(Failure::machine)?;
    let ipvs_proc = config.control.ipvs_proc_socket.as_deref();
    let ipvs_proc = ipvs_proc.map(ProcSocket::bind).transpose();
    let ipvs_proc = ipvs_proc.map_err(Failure::machine)?;

    let eal = Eal::init(&eal_config(config)).map_err(Failure::machine)?;
    let (configs, spare) = (port_configs(config), spare_frames(config));
    let count = config.workers.cores.len() as u16;
    let (ports, queues) =
        Ports::bring_up(&eal, &configs, count, spare).map_err(Failure::machine)?;
    let infos: Vec<_> = ports.list().iter().map(Port::info).collect();
    for (port, info) in config.ports.iter().zip(&infos).filter(|_| count > 1) {
        tracing::info!("{}: {}", port.name, steering::of_port(info));
    }
    let decided = steering::decide(config, &infos);
    tracing::info!("{}", decided.summary);
    let devices = DpdkDevices(Arc::new(ports));

    let doorbell = doorbell().map_err(Failure::machine)?;
    let workers = Workers::start(config, queues, &decided.steering, &doorbell);
    let mut workers = workers.map_err(Failure::machine)?;
    let facts = devices.0.list().iter();
    let facts: Vec<_> = facts
        .map(|port| (port.info().mac, port.info().mtu))
        .collect();
    let mut host = Host::start(config, &facts, workers.links.clone(), doorbell)
        .await
        .map_err(|error| Failure::machine(format!("{error:#}")))?;

    // Only now: the address may be one of a twin.
    let metrics = config.metrics.listen.map(MetricsListener::bind);
    let metrics = metrics.transpose().map_err(Failure::machine)?;
    let remote = remote.map(RemoteListener::bind);
    let remote = remote.transpose().map_err(Failure::machine)?;
    let listeners = Listeners {
        control,
        remote,
        ipvs,
        ipvs_proc,
        metrics,
    };

    let ways = host.ways(config);
    let ready = ready_line(&file, &listeners);
    let alive = Alive::default();
    let parts = Parts {
        file,
        workers: workers.handles.clone(),
        devices: Box::new(devices),
        twins: host.twin_counters().to_vec(),
        about: About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            dpdk_version: weir_dpdk::version().replace("DPDK ", ""),
            steering: decided.summary,
        },
        alive: alive.clone(),
        set_log_level,
    };
    let state = State::start(parts, ways)?;
    tracing::info!("{ready}");
    notify::notify("READY=1");
    // Behind control on the same thread: it is kept from it when control hangs.
    let watchdog = tokio::spawn(notify::keep_alive(alive));
    let ended = run::run(state, host, listeners, signals).await;
    watchdog.abort();
    notify::notify("STOPPING=1");
    workers.stop();
    ended.map_err(Failure::machine)
}

/// `ready: 2 ports, 1 worker, 3 services; metrics on …; socket …`.
fn ready_line(file: &ConfigFile, listeners: &Listeners) -> String {
    let metrics = listeners.metrics.as_ref().and_then(|m| m.address().ok());
    let metrics = metrics.map_or("no metrics".to_owned(), |address| {
        format!("metrics on http://{address}/metrics")
    });
    let socket = listeners.control.path().display();
    let remote = listeners.remote.as_ref().and_then(|r| r.address().ok());
    let remote = remote.map_or(String::new(), |address| format!(" and https://{address}"));
    format!(
        "ready: {}; {metrics}; socket {socket}{remote}",
        summary(file)
    )
}
