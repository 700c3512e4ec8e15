//! The workers: one pinned thread each, on one set of queues.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use weir_core::director::Limits;
use weir_core::flow::FlowTable;
use weir_core::io::{PortId, WorkerId};
use weir_core::steer::Steering;
use weir_dpdk::{Mbuf, QueueSet};
use weir_model::Config;
use weir_worker::rings::{Doorbell, TwinLink};
use weir_worker::{Clock, Handle, Idle, Peers, Worker, mesh, pin};

/// Ethernet header and two VLAN tags.
const LINK_BYTES: usize = 22;

/// Workers that run.
pub(crate) struct Workers {
    pub(crate) handles: Vec<Handle>,
    /// By worker: its rings to the twins' thread.
    pub(crate) links: Vec<TwinLink>,
    threads: Vec<JoinHandle<()>>,
}

fn worker(
    config: &Config,
    id: usize,
    steering: &Steering,
    link: TwinLink,
    clock: Clock,
) -> weir_worker::Config {
    let limits = &config.limits;
    let twinned = config.ports.iter().enumerate();
    let twinned = twinned.filter(|(_, port)| port.twin.is_some());
    weir_worker::Config {
        id: WorkerId(id as u16),
        core: config.workers.cores.get(id).map(|core| usize::from(*core)),
        idle: match config.workers.idle {
            weir_model::Idle::Busy => Idle::Busy,
            weir_model::Idle::Adaptive => Idle::Adaptive {
                sleep_max: Duration::from_micros(config.workers.idle_sleep_us_max.into()),
            },
        },
        limits: Limits {
            flows: limits.flows_per_worker as usize,
            flows_v6: limits.flows_v6_per_worker as usize,
            half_open: limits.half_open_per_worker as usize,
            services: limits.services as usize,
            servers: limits.servers as usize,
            punt_per_second: limits.punt_packets_per_second,
            punt_reserved_percent: limits.punt_reserved_percent,
            icmp_per_second: limits.icmp_per_second,
            parked: limits.parked_frames as usize,
            parked_per_neighbour: limits.parked_per_neighbour as usize,
            fragments: limits.fragments_per_worker as usize,
        },
        steering: steering.clone(),
        ports: config.ports.len(),
        twins: Some((link, twinned.map(|(at, _)| PortId(at as u16)).collect())),
        clock,
    }
}

impl Workers {
    /// Starts one worker on each core of the configuration. `doorbell` wakes the twins' thread. On
    /// failure the workers that run are stopped.
    pub(crate) fn start(
        config: &Config,
        queues: Vec<QueueSet>,
        steering: &Steering,
        doorbell: &Arc<Doorbell>,
    ) -> anyhow::Result<Self> {
        let mut workers = Self {
            handles: Vec::new(),
            links: Vec::new(),
            threads: Vec::new(),
        };
        let frame_max = config.ports.iter().map(|p| usize::from(p.mtu)).max();
        let frame_max = frame_max.unwrap_or(1500) + LINK_BYTES;
        let clock = Clock::start();
        let peers = mesh::<Mbuf>(queues.len());
        for (id, (queues, peers)) in queues.into_iter().zip(peers).enumerate() {
            let link = TwinLink::new(frame_max, Arc::clone(doorbell));
            let settings = worker(config, id, steering, link.clone(), clock);
            workers.start_one(settings, queues, peers)?;
            workers.links.push(link);
        }
        Ok(workers)
    }

    /// Starts one worker's thread and waits until it stands ready. It takes its memory itself, on
    /// its own core.
    fn start_one(
        &mut self,
        config: weir_worker::Config,
        queues: QueueSet,
        peers: Peers<Mbuf>,
    ) -> anyhow::Result<()> {
        let id = config.id.0;
        let (ready, started) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("worker{id}"))
            .spawn(move || match prepare(&config, queues, peers) {
                Ok((worker, _registered)) => {
                    tell_memory(&config, worker.flows());
                    // Nobody listening means that start-up failed: run, and be told to stop.
                    let _ = ready.send(Ok(worker.handle()));
                    worker.run();
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })
            .with_context(|| format!("worker {id} cannot start a thread"))?;
        self.threads.push(thread);
        let handle = started
            .recv()
            .map_err(|_| anyhow!("worker {id} ended while it started"))??;
        self.handles.push(handle);
        Ok(())
    }

    /// Tells all workers to end and waits until they have.
    pub(crate) fn stop(&mut self) {
        for handle in &self.handles {
            handle.stop();
        }
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Which memory a worker's flow table got: with plain pages it is slower.
fn tell_memory(config: &weir_worker::Config, flows: &FlowTable) {
    let (id, mib) = (config.id.0, flows.bytes().div_ceil(1 << 20));
    let Limits {
        flows: v4,
        flows_v6: v6,
        ..
    } = config.limits;
    let pages = flows.pages();
    tracing::info!("worker {id}: {mib} MiB for {v4} IPv4 and {v6} IPv6 flows, in {pages}");
}

fn prepare(
    config: &weir_worker::Config,
    queues: QueueSet,
    peers: Peers<Mbuf>,
) -> anyhow::Result<(Worker<QueueSet>, weir_dpdk::RegisteredThread)> {
    if let Some(core) = config.core {
        pin(core)?;
    }
    let registered = queues.register_thread()?;
    Ok((Worker::new(config, queues, peers), registered))
}
