//! The single owner of what is wanted, what is held and what is published. Everything else asks it
//! through `door`.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use weir_core::io::PortId;
use weir_core::next_hop::Network;
use weir_model::api::{NeighbourView, RouteView};
use weir_model::{Config, ConfigFile, LogLevel};
use weir_worker::Handle;
use weir_worker::publish::Publisher;

use crate::compile::{self, Compiler};
use crate::devices::Devices;
use crate::difference::{self, Sentences};
use crate::drain::Drains;
use crate::drops::Samples;
use crate::host::TwinCounters;
use crate::local::{LocalUse, Watch};
use crate::reload::Refused;

/// What the process is.
#[derive(Clone, Debug)]
pub struct About {
    /// Version of `weird`.
    pub version: String,
    /// Version of DPDK, the numbers only.
    pub dpdk_version: String,
    /// Who owns a flow among the workers, and why, in a sentence.
    pub steering: String,
}

/// What the daemon made before control takes over.
pub struct Parts {
    /// The configuration it made them by.
    pub file: ConfigFile,
    /// The workers, which have nothing published yet.
    pub workers: Vec<Handle>,
    /// The ports.
    pub devices: Box<dyn Devices>,
    /// What goes through the twins, by port.
    pub twins: Vec<(PortId, Arc<TwinCounters>)>,
    /// What the process is.
    pub about: About,
    /// Sets the level of the log.
    pub set_log_level: Box<dyn Fn(LogLevel)>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("about", &self.about)
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}

/// The ways of packets as published, and as told to people.
#[derive(Debug, Default)]
pub struct Ways {
    /// For the workers.
    pub network: Network,
    /// For people.
    pub neighbours: Vec<NeighbourView>,
    /// For people.
    pub routes: Vec<RouteView>,
}

/// What applying a configuration did.
#[derive(Debug)]
pub struct Applied {
    /// The epoch in which the workers now work, or soon will.
    pub epoch: u64,
    /// What changed.
    pub changes: Sentences,
}

/// How the last reload went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastReload {
    pub(crate) is_ok: bool,
    /// When the configuration now in use was taken.
    pub(crate) succeeded: SystemTime,
}

/// The state of the director as control holds it.
pub struct State {
    pub(crate) about: About,
    pub(crate) started: SystemTime,
    pub(crate) started_at: Instant,
    pub(crate) file: ConfigFile,
    pub(crate) compiler: Compiler,
    pub(crate) publisher: Publisher,
    pub(crate) devices: Box<dyn Devices>,
    pub(crate) twins: Vec<(PortId, Arc<TwinCounters>)>,
    pub(crate) samples: Samples,
    local_watch: Watch,
    pub(crate) busy: Vec<BusyMeter>,
    pub(crate) last_reload: LastReload,
    /// Raised with each change of the configuration.
    pub(crate) revision: u64,
    pub(crate) drains: Drains,
    pub(crate) neighbours: Vec<NeighbourView>,
    pub(crate) routes: Vec<RouteView>,
    set_log_level: Box<dyn Fn(LogLevel)>,
    replaced: Option<Config>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("about", &self.about)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

/// What a worker did between the last two looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BusyMeter {
    turns: u64,
    busy: u64,
    packets: u64,
    /// The share of turns that found a packet, from 0 to 1.
    pub(crate) ratio: f64,
    /// Packets that came, from ports and from other workers.
    come: u64,
}

impl BusyMeter {
    fn observe(&mut self, worker: &Handle) {
        let counters = worker.counters();
        // A turn counts itself before its packets, so busy ones are read first.
        let (busy, turns) = (counters.turns_busy.get(), counters.turns.get());
        let passed = turns.saturating_sub(self.turns).max(1);
        self.ratio = (busy.saturating_sub(self.busy) as f64 / passed as f64).min(1.0);
        let packets = counters.packets_received() + counters.taken_over.get();
        self.come = packets.saturating_sub(self.packets);
        (self.busy, self.turns, self.packets) = (busy, turns, packets);
    }

    /// How many times the mean of all workers' packets the busiest one had: 1 when all had as many
    /// or none had any, at most the number of workers.
    pub(crate) fn imbalance(meters: &[Self]) -> f64 {
        let all: u64 = meters.iter().map(|meter| meter.come).sum();
        let busiest = meters.iter().map(|meter| meter.come).max();
        match all {
            0 => 1.0,
            _ => busiest.unwrap_or(0) as f64 * meters.len() as f64 / all as f64,
        }
    }
}

impl State {
    /// Publishes the services of the configuration, and `ways`.
    ///
    /// # Errors
    /// When there are fewer slots than servers, which a valid configuration does not ask for.
    pub fn start(parts: Parts, ways: Ways) -> Result<Self, Refused> {
        let mut state = Self {
            about: parts.about,
            started: SystemTime::now(),
            started_at: Instant::now(),
            compiler: Compiler::new(parts.file.config.limits.servers as usize),
            busy: vec![BusyMeter::default(); parts.workers.len()],
            publisher: Publisher::new(parts.workers),
            devices: parts.devices,
            twins: parts.twins,
            samples: Samples::default(),
            local_watch: Watch::default(),
            last_reload: LastReload {
                is_ok: true,
                succeeded: SystemTime::now(),
            },
            revision: 0,
            drains: Drains::default(),
            neighbours: ways.neighbours,
            routes: ways.routes,
            set_log_level: parts.set_log_level,
            replaced: None,
            file: parts.file,
        };
        let steps = difference::services(&[], &state.file.config.services);
        state.compiler.check_room(&steps)?;
        let epoch = state.publisher.next_epoch();
        state
            .compiler
            .apply(&steps, state.publisher.workers(), epoch);
        let services = state.compiler.services();
        let settings = compile::settings(state.config());
        state.publisher.publish(|snapshot| {
            snapshot.services = services;
            snapshot.settings = settings;
            snapshot.network = Arc::new(ways.network);
        });
        Ok(state)
    }

    /// The configuration in use.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.file.config
    }

    /// The file it is from, as the operator named it.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.file.name()
    }

    /// The workers.
    #[must_use]
    pub fn workers(&self) -> &[Handle] {
        self.publisher.workers()
    }

    /// What was published last.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.publisher.newest().epoch
    }

    /// Puts `file` in the place of the configuration in use: what differs is published, the rest
    /// stays as it is. Takes time in proportion to what differs, but for comparing the two.
    ///
    /// # Errors
    /// What speaks against it; nothing was changed then.
    pub fn apply(&mut self, file: ConfigFile) -> Result<Applied, Refused> {
        file.check_reload(&self.file.config)?;
        let applied = self.publish(&file.config)?;
        let mut held = std::mem::replace(&mut self.file, file).config;
        free_elsewhere(std::mem::take(&mut held.services));
        self.replaced = Some(held);
        Ok(applied)
    }

    /// As [`apply`](Self::apply), of a configuration that differs in nothing but its services, marks,
    /// settings, switches and timeouts, and comes from no file.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn change(&mut self, wanted: Config) -> Result<Applied, Refused> {
        let applied = self.publish(&wanted)?;
        free_elsewhere(self.file.replace(wanted).services);
        Ok(applied)
    }

    /// Has the workers decide by `wanted`.
    fn publish(&mut self, wanted: &Config) -> Result<Applied, Refused> {
        let held = &self.file.config;
        let steps = difference::services(&held.services, &wanted.services);
        self.compiler.check_room(&steps)?;
        let changes = difference::sentences(&steps, held, wanted);
        if held.log != wanted.log {
            (self.set_log_level)(wanted.log.level);
        }
        let settings = compile::settings(wanted);
        let epoch = self.publisher.next_epoch();
        let workers = self.publisher.workers();
        let mut is_changed = self.compiler.apply(&steps, workers, epoch);
        is_changed |= self.drains.keep_those_of(&steps, &mut self.compiler);
        let services = is_changed.then(|| self.compiler.services());
        if services.is_some() || settings != self.publisher.newest().settings {
            self.publisher.publish(|snapshot| {
                snapshot.settings = settings;
                if let Some(services) = services {
                    snapshot.services = services;
                }
            });
        }
        if changes.count() > 0 {
            self.revision += 1;
        }
        let epoch = self.epoch();
        Ok(Applied { epoch, changes })
    }

    /// The configuration before the one in use, without its services, once after a reload: its
    /// addresses and static routes are still those of the network.
    pub(crate) fn take_replaced(&mut self) -> Option<Config> {
        self.replaced.take()
    }

    /// Publishes other ways, if they are other ones for the workers.
    pub fn set_ways(&mut self, ways: Ways) {
        self.neighbours = ways.neighbours;
        self.routes = ways.routes;
        if ways.network != *self.publisher.newest().network {
            self.publisher
                .publish(|snapshot| snapshot.network = Arc::new(ways.network));
        }
    }

    /// The local ports that FullNAT's servers use.
    pub(crate) fn local_use(&self) -> LocalUse<'_> {
        let services = &self.config().services;
        LocalUse::of(services, self.compiler.slots(), self.workers())
    }

    /// What is due every second: samples, memory that no worker reads, slots that no flow needs,
    /// and a look at what runs short.
    pub fn keep_house(&mut self, now: Instant) {
        let mut watch = std::mem::take(&mut self.local_watch);
        watch.check(&self.local_use(), now);
        self.local_watch = watch;
        self.samples.collect(self.publisher.workers(), now);
        self.end_drains(now);
        self.publisher.free_unused();
        let adopted = self.publisher.adopted_epoch();
        let newest = self.epoch();
        if self
            .compiler
            .reap(self.publisher.workers(), adopted, newest)
        {
            let services = self.compiler.services();
            self.publisher
                .publish(|snapshot| snapshot.services = services);
        }
    }

    /// What is due every [`crate::totals::ESTIMATE_SECONDS`]; `seconds` since the last time.
    pub fn estimate(&mut self, seconds: f64) {
        let workers = self.publisher.workers();
        self.compiler.estimate(workers, seconds);
        for (meter, worker) in self.busy.iter_mut().zip(workers) {
            meter.observe(worker);
        }
    }
}

/// Frees what is big on a thread that has the time: 200 000 servers take as long to be freed as to
/// be compared.
fn free_elsewhere(services: Vec<weir_model::Service>) {
    if services.len() > SERVICES_FREED_HERE {
        // Where there is no thread to be had they are freed here all the same.
        let freeing = std::thread::Builder::new().name("free".to_owned());
        let _ = freeing.spawn(move || drop(services));
    }
}

/// So few are freed sooner than a thread is made.
const SERVICES_FREED_HERE: usize = 1000;

#[cfg(test)]
mod tests;
