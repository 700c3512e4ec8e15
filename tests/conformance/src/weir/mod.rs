//! Weir in this process: the daemon's workers and its control, on ports in memory and under a clock
//! that the scenario turns.

mod wanted;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use weir_conformance::bytes::Bytes;
use weir_conformance::operation::{self, Key, Operation, Scenario};
use weir_conformance::place::{ESTIMATE_FIRST, ESTIMATE_TICKS, Leg};
use weir_conformance::seen::{Counted, Entry, Passed, Seen};
use weir_control::host::{LinuxNetwork, PortFacts, assemble, doorbell};
use weir_control::ipvs::table::IpvsTable;
use weir_control::ipvs::words;
use weir_control::state::{State, Ways};
use weir_control::testing::parts;
use weir_core::director::Limits;
use weir_core::flow::Flow;
use weir_core::io::{PortId, WorkerId};
use weir_core::persist::TemplateView;
use weir_core::service::{Protocol, ServerId, Services};
use weir_core::time::Tick;
use weir_ipvs::Table as _;
use weir_model::{Config, ConfigFile, Family, Rules, ServerKey, ServiceKey};
use weir_worker::rings::TwinLink;
use weir_worker::testing::{MemDevice, MemIo};
use weir_worker::{Clock, Hand, Idle, Worker, mesh};

use self::wanted::Wanted;

/// Frames that a queue of a port holds.
const QUEUE: usize = 64;
/// Biggest frame.
const FRAME: usize = 9216;
/// Milliseconds of a tick.
const TICK_MS: u64 = 10;
/// Ticks of a second.
const SECOND: u32 = 100;
/// What the kernel's estimator takes for the time between two of its looks, in seconds.
const ESTIMATE: f64 = 2.0;

/// A director of some workers.
struct World {
    state: State,
    wanted: Wanted,
    workers: Vec<Worker<MemIo>>,
    links: Vec<TwinLink>,
    device: MemDevice,
    hand: Hand,
    started: Instant,
    /// Ticks since the beginning.
    now: u32,
    /// All frames that came, and what a Linux without IPVS sent because of each, by leg.
    came: Vec<(Bytes, [Vec<Bytes>; 2])>,
    /// When the estimator looks next.
    estimate: u32,
}

/// Plays a scenario to a director of so many workers, with the frames and the time that the kernel
/// was given.
pub(crate) fn play(scenario: &Scenario, kernel: &[Seen], workers: usize) -> Result<Vec<Seen>> {
    let mut world = World::new(workers)?;
    let operations = scenario.operations.iter().zip(kernel);
    operations
        .map(|(operation, kernel)| {
            world
                .play(operation, kernel)
                .with_context(|| operation.to_string())
        })
        .collect()
}

impl World {
    fn new(count: usize) -> Result<Self> {
        let wanted = Wanted::new(count);
        let file = parse(&wanted.text())?;
        let doorbell = doorbell()?;
        let device = MemDevice::new(count, Leg::ALL.len(), QUEUE);
        let (clock, hand) = Clock::by_hand();
        // Away from the beginning, where moments before it would lie in the far future.
        let now = 10 * SECOND;
        hand.set(Duration::from_millis(u64::from(now) * TICK_MS));
        let mut workers = Vec::new();
        let mut links = Vec::new();
        for (id, peers) in mesh(count).into_iter().enumerate() {
            let id = WorkerId(id as u16);
            let link = TwinLink::new(FRAME, Arc::clone(&doorbell));
            let config = worker_config(&file.config, id, &link, clock);
            workers.push(Worker::new(&config, device.io(id), peers));
            links.push(link);
        }
        let parts = parts(file, workers.iter().map(Worker::handle).collect());
        let ways = ways(&wanted, &parts.file.config);
        let state = State::start(parts, ways)?;
        let mut world = Self {
            state,
            wanted,
            workers,
            links,
            device,
            hand,
            started: Instant::now(),
            now,
            came: Vec::new(),
            estimate: now + ESTIMATE_FIRST,
        };
        world.turn_until_quiet();
        Ok(world)
    }

    /// What moves something takes a tick, as in the guest.
    fn play(&mut self, operation: &Operation, kernel: &Seen) -> Result<Seen> {
        let seen = self.do_one(operation, kernel)?;
        self.advance(operation.ticks());
        Ok(seen)
    }

    fn do_one(&mut self, operation: &Operation, kernel: &Seen) -> Result<Seen> {
        match (operation, kernel) {
            (Operation::Frame { id, leg, .. }, Seen::Frame(passed)) => self.pass(*id, *leg, passed),
            (Operation::Answer { id, from, .. }, Seen::Frame(passed)) => {
                self.pass(*id, *from, passed)
            }
            (Operation::Advance(_), Seen::Advanced(ticks)) => {
                self.advance(*ticks);
                // As in the guest: nobody's answer.
                self.collect();
                Ok(Seen::Advanced(*ticks))
            }
            (Operation::Entries, _) => Ok(Seen::Entries(self.entries())),
            (Operation::Counters, Seen::Counters(ticks, _)) => {
                self.advance(*ticks);
                Ok(Seen::Counters(*ticks, self.counters()))
            }
            (command, Seen::Command(_)) => self.command(command),
            (operation, seen) => Err(anyhow!("{operation} is not what the kernel did: {seen:?}")),
        }
    }

    /// Services and servers are changed at run time, as ipvsadm does it; the rest is another file.
    fn command(&mut self, operation: &Operation) -> Result<Seen> {
        let mut wanted = self.wanted.clone();
        if let Err(errno) = wanted.take(operation) {
            return Ok(Seen::Command(errno));
        }
        let Ok(whole) = parse(&wanted.text()) else {
            return Ok(Seen::Command(REFUSED));
        };
        match change(operation, &whole.config) {
            Some(change) => {
                if self.state.change(&[change], Rules::Ipvs).is_err() {
                    return Ok(Seen::Command(REFUSED));
                }
            }
            None => {
                let file = parse(&wanted.text_without_services())?;
                if wanted.mtus() != self.wanted.mtus() {
                    self.state.set_ways(ways(&wanted, &file.config));
                }
                self.state.apply(file)?;
            }
        }
        if let Operation::Zero(key) = operation {
            self.state.zero(key.as_ref().map(service_key));
        }
        self.wanted = wanted;
        self.turn_until_quiet();
        Ok(Seen::Command(0))
    }

    /// A frame arrives at some worker. What is left to Linux is answered as the kernel's host does.
    fn pass(&mut self, id: u32, leg: Leg, kernel: &Passed) -> Result<Seen> {
        let Some(frame) = &kernel.frame else {
            return Ok(Seen::Frame(Passed::default()));
        };
        self.came.push((frame.clone(), kernel.host.clone()));
        // Any worker may get any packet, and it is no matter which.
        let worker = id as usize % self.workers.len();
        let port = PortId(leg.index() as u16);
        let taken = self.device.deliver(WorkerId(worker as u16), port, &frame.0);
        ensure!(taken, "the receive queue is full");
        self.turn_until_quiet();
        let mut out = self.collect();
        for link in &self.links {
            while let Some(packet) = link.to_linux.receive() {
                // Fragments that wait for the others are given together.
                let mut came = self.came.iter().rev();
                let came = came.find(|(frame, _)| frame.0 == packet.bytes());
                let (_, host) = came.context("Linux gets another packet than came")?;
                for (out, host) in out.iter_mut().zip(host) {
                    out.extend(host.iter().cloned());
                }
                link.to_linux.give_back(packet);
            }
        }
        Ok(Seen::Frame(Passed {
            frame: Some(frame.clone()),
            out,
            host: kernel.host.clone(),
        }))
    }

    /// What has left, by leg.
    fn collect(&mut self) -> [Vec<Bytes>; 2] {
        let mut left = [Vec::new(), Vec::new()];
        for worker in 0..self.workers.len() {
            for (at, left) in left.iter_mut().enumerate() {
                let (worker, port) = (WorkerId(worker as u16), PortId(at as u16));
                while let Some(frame) = self.device.collect(worker, port) {
                    left.push(Bytes(frame));
                }
            }
        }
        left
    }

    fn turn_until_quiet(&mut self) {
        // The last to be asked may have handed something to the first. In a tick a worker turns
        // thousands of times.
        while self.workers.iter_mut().fold(false, |busy, worker| {
            worker.turn() | worker.is_culling() | busy
        }) {}
    }

    fn advance(&mut self, ticks: u32) {
        let end = self.now + ticks;
        while self.now < end {
            let step = (SECOND - self.now % SECOND).min(end - self.now);
            self.now += step.min(self.estimate - self.now);
            let elapsed = Duration::from_millis(u64::from(self.now) * TICK_MS);
            self.hand.set(elapsed);
            self.turn_until_quiet();
            if self.now.is_multiple_of(SECOND) {
                self.state.keep_house(self.started + elapsed);
            }
            if self.now == self.estimate {
                self.state.estimate(ESTIMATE);
                self.estimate += ESTIMATE_TICKS;
            }
            self.turn_until_quiet();
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for worker in &self.workers {
            let services = &worker.snapshot().services;
            let seen = |flow: &Flow| entries.extend(entry(flow, services, Tick(self.now)));
            worker.flows().visit(0, usize::MAX, seen);
        }
        let services = &self.workers[0].snapshot().services;
        let templates = self.state.templates();
        for at in 0..templates.buckets() {
            templates.visit(Tick(self.now), at, |template, name| {
                entries.extend(template_entry(template, name, services));
            });
        }
        entries.sort();
        entries
    }

    /// As IPVS's clients are told of them, who count from the last zero.
    fn counters(&mut self) -> Vec<Counted> {
        let table = IpvsTable(&mut self.state);
        let mut all = Vec::new();
        for (service, stats) in table.services() {
            let Some(key) = words::key(&service.key) else {
                continue;
            };
            let name = match key {
                ServiceKey::Mark { mark, family } => format!("mark {mark} {family}"),
                key @ ServiceKey::Address { .. } => key.to_string(),
            };
            all.push(Counted {
                service: name.clone(),
                server: None,
                connections: [0; 3],
                totals: totals(&stats),
                rates: rates(&stats),
            });
            for (server, counts, stats) in table.servers(&service.key) {
                let ServerKey { address, port } = words::server_key(&server.key);
                let counts = [counts.active, counts.inactive, counts.persistent];
                all.push(Counted {
                    service: name.clone(),
                    server: Some(SocketAddr::new(address, port)),
                    connections: counts.map(u64::from),
                    totals: totals(&stats),
                    rates: rates(&stats),
                });
            }
        }
        all.sort();
        all
    }
}

/// A command was refused by the configuration's reader.
const REFUSED: i32 = 22;

fn parse(text: &str) -> Result<ConfigFile> {
    weir_model::parse(text, "scenario").map_err(|faults| anyhow!("{faults}"))
}

/// A command about services and servers as control takes it at run time; `config` is what is wanted
/// with it. None for other commands.
fn change(operation: &Operation, config: &Config) -> Option<weir_model::Operation> {
    let service = |key: &Key| {
        let key = service_key(key);
        let mut services = config.services.iter();
        services.find(move |service| service.key == key).cloned()
    };
    let server = |key: &Key, at: SocketAddr| {
        let service = service(key)?;
        let server = service.server(server_key(at))?.clone();
        Some((service.key, server))
    };
    Some(match operation {
        Operation::AddService(new) => weir_model::Operation::AddService(service(&new.key)?),
        Operation::EditService(new) => weir_model::Operation::EditService(service(&new.key)?),
        Operation::DeleteService(key) => weir_model::Operation::RemoveService(service_key(key)),
        Operation::AddServer(key, new) => {
            let (key, server) = server(key, new.at)?;
            weir_model::Operation::AddServer(key, server)
        }
        Operation::EditServer(key, new) => {
            let (key, server) = server(key, new.at)?;
            weir_model::Operation::EditServer(key, server)
        }
        Operation::DeleteServer(key, at) => {
            weir_model::Operation::RemoveServer(service_key(key), server_key(*at))
        }
        Operation::Flush => weir_model::Operation::RemoveServices,
        _ => return None,
    })
}

fn service_key(key: &Key) -> ServiceKey {
    match *key {
        Key::Mark(mark, is_v6) => ServiceKey::Mark {
            mark,
            family: if is_v6 { Family::Ipv6 } else { Family::Ipv4 },
        },
        Key::Address(protocol, at) => ServiceKey::Address {
            protocol: match protocol {
                operation::Protocol::Tcp => weir_model::Protocol::Tcp,
                operation::Protocol::Udp => weir_model::Protocol::Udp,
                operation::Protocol::Sctp => weir_model::Protocol::Sctp,
            },
            address: at.ip(),
            port: at.port(),
        },
    }
}

fn server_key(at: SocketAddr) -> ServerKey {
    ServerKey {
        address: at.ip(),
        port: at.port(),
    }
}

fn ways(wanted: &Wanted, config: &Config) -> Ways {
    let facts = Leg::ALL.map(|leg| PortFacts {
        mac: leg.director().0,
        mtu: wanted.mtus()[leg.index()],
        twin: None,
    });
    assemble(config, &facts, &LinuxNetwork::default()).0
}

fn worker_config(
    config: &Config,
    id: WorkerId,
    link: &TwinLink,
    clock: Clock,
) -> weir_worker::Config {
    let limits = &config.limits;
    weir_worker::Config {
        id,
        core: None,
        idle: Idle::Busy,
        limits: Limits {
            flows: limits.flows_per_worker as usize,
            flows_v6: limits.flows_v6_per_worker as usize,
            half_open: limits.half_open_per_worker as usize,
            services: limits.services as usize,
            servers: limits.servers as usize,
            punt_per_second: limits.punt_packets_per_second,
            punt_reserved_percent: limits.punt_reserved_percent,
            icmp_per_second: limits.icmp_per_second,
            fragments: limits.fragments_per_worker as usize,
            parked: limits.parked_frames as usize,
            parked_per_neighbour: limits.parked_per_neighbour as usize,
        },
        steering: (config.workers.cores.len() as u16).into(),
        ports: Leg::ALL.len(),
        twins: Some((
            link.clone(),
            Leg::ALL.map(|leg| PortId(leg.index() as u16)).to_vec(),
        )),
        clock,
    }
}

/// A flow as the kernel lists it.
fn entry(flow: &Flow, services: &Services, now: Tick) -> Option<Entry> {
    let request = flow.request();
    let server = match services.server(flow.server()) {
        Some(server) => SocketAddr::new(server.addr.ip(), flow.dest_port(server)),
        None if flow.server() == ServerId::NONE => no_address(request.src.ip()),
        None => return None,
    };
    Some(Entry {
        protocol: protocol_name(Some(request.protocol)).to_owned(),
        client: SocketAddr::new(request.src.ip(), request.src_port),
        service: SocketAddr::new(request.dst.ip(), request.dst_port),
        server,
        state: flow.state().name().to_owned(),
        seconds: flow.ticks_left(now) / SECOND,
        engine: None,
    })
}

/// What the kernel lists where there is no server.
fn no_address(like: IpAddr) -> SocketAddr {
    let address = match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, 0)
}

/// A template as the kernel lists it.
fn template_entry(template: &TemplateView, name: &[u8], services: &Services) -> Option<Entry> {
    let server = services.server(template.server)?;
    let protocol = Protocol::from_number(template.protocol);
    Some(Entry {
        protocol: protocol_name(protocol).to_owned(),
        client: SocketAddr::new(template.client.ip(), 0),
        service: SocketAddr::new(template.virt.ip(), template.port),
        server: SocketAddr::new(server.addr.ip(), template.dest_port),
        state: template.state().to_owned(),
        seconds: template.ticks_left / SECOND,
        engine: (!name.is_empty()).then(|| format!("sip {}", String::from_utf8_lossy(name))),
    })
}

fn protocol_name(protocol: Option<Protocol>) -> &'static str {
    match protocol {
        Some(Protocol::Tcp) => "TCP",
        Some(Protocol::Udp) => "UDP",
        Some(Protocol::Sctp) => "SCTP",
        None => "IP",
    }
}

fn totals(stats: &weir_ipvs::Stats) -> [u64; 5] {
    [
        stats.connections,
        stats.packets_in,
        stats.packets_out,
        stats.bytes_in,
        stats.bytes_out,
    ]
}

fn rates(stats: &weir_ipvs::Stats) -> [u64; 5] {
    [
        stats.connections_rate,
        stats.packets_in_rate,
        stats.packets_out_rate,
        stats.bytes_in_rate,
        stats.bytes_out_rate,
    ]
}
