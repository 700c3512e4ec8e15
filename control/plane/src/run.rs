//! The control thread from "all is up" to "stop": the owner of the state, and what it waits for.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::info;

use crate::door::door;
use crate::host::{Host, house::SOLICIT};
use crate::http::{self, ControlSocket, MetricsListener, RemoteListener};
use crate::ipvs::{IpvsSocket, ProcSocket, serve};
use crate::state::State;
use crate::totals::ESTIMATE_SECONDS;

/// The signals that control answers to. Taken early in start-up, so that one that comes meanwhile
/// is answered as soon as control runs.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes SIGTERM, SIGINT and SIGHUP; within a tokio runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn take() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Where control is reached.
#[derive(Debug)]
pub struct Listeners {
    /// The local API.
    pub control: ControlSocket,
    /// The same for other machines.
    pub remote: Option<RemoteListener>,
    /// Where IPVS's clients ask.
    pub ipvs: Option<IpvsSocket>,
    /// Where the texts of `/proc/net/ip_vs` are read.
    pub ipvs_proc: Option<ProcSocket>,
    /// The page for Prometheus.
    pub metrics: Option<MetricsListener>,
}

/// Serves and keeps house until a signal says stop.
///
/// # Errors
/// When a listener cannot be served.
pub async fn run(
    mut state: State,
    mut host: Host,
    listeners: Listeners,
    mut signals: Signals,
) -> io::Result<()> {
    let (door, mut questions) = door();
    let api = http::api(door.clone());
    let bounds = http::serve::Bounds::DEFAULT;
    let local = listeners.control.listener()?;
    tokio::spawn(http::serve::local(local, api.clone(), bounds));
    if let Some(remote) = listeners.remote {
        let (listener, secured) = remote.into_parts()?;
        state.secured = Some(secured.clone());
        tokio::spawn(http::serve::remote(listener, secured, api, bounds));
    }
    if let Some(ipvs) = listeners.ipvs {
        tokio::spawn(serve::netlink(ipvs.into_inner(), door.clone()));
    }
    if let Some(ipvs_proc) = listeners.ipvs_proc {
        tokio::spawn(serve::proc(ipvs_proc.into_inner(), door.clone()));
    }
    if let Some(metrics) = listeners.metrics {
        let page = axum::serve(metrics.into_listener()?, http::metrics_page(door));
        tokio::spawn(page.into_future());
    }
    let mut house = every(Duration::from_secs(1));
    let mut estimate = every(Duration::from_secs(ESTIMATE_SECONDS));
    let mut estimated = Instant::now();
    let mut solicit = every(SOLICIT);
    loop {
        let mut answer = None;
        tokio::select! {
            Some(question) = questions.next() => answer = Some(question(&mut state)),
            () = host.changed() => state.set_ways(host.ways(state.config())),
            _ = solicit.tick() => host.solicit(state.workers()),
            _ = house.tick() => state.keep_house(Instant::now()),
            _ = estimate.tick() => {
                let now = Instant::now();
                state.estimate((now - estimated).as_secs_f64().max(0.001));
                estimated = now;
            }
            _ = signals.hang_up.recv() => {
                // Steps and faults are logged there.
                let _ = state.reload();
            }
            _ = signals.terminate.recv() => return stopping("SIGTERM"),
            _ = signals.interrupt.recv() => return stopping("SIGINT"),
        }
        if let Some(held) = state.take_replaced() {
            host.change_addresses(&held, state.config()).await;
            state.set_ways(host.ways(state.config()));
        }
        // Only now, so that a reload's new addresses are there when it is answered.
        if let Some(answer) = answer {
            answer();
        }
    }
}

fn stopping(signal: &str) -> io::Result<()> {
    info!("{signal}: stopping");
    Ok(())
}

/// What was missed while control was busy is not made up for.
fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
