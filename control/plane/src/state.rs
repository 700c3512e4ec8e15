//! The single owner of what is wanted, what is held and what is published. Everything else asks it
//! through `door`.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tracing::warn;
use weir_core::io::PortId;
use weir_core::next_hop::Network;
use weir_core::persist::Templates;
use weir_model::api::{NeighbourView, RouteView};
use weir_model::{Config, ConfigFile, LogLevel, ServiceKey, Wanted};
use weir_worker::Handle;
use weir_worker::publish::Publisher;

use crate::compile::{self, Compiler};
use crate::devices::Devices;
use crate::difference::{self, Sentences};
use crate::drain::Drains;
use crate::drops::Samples;
use crate::host::TwinCounters;
use crate::http::InForce;
use crate::kept::Kept;
use crate::local::{LocalUse, Watch};
use crate::merge::merge;
use crate::pulse::{Alive, Pulse};
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
    /// Is told whether the workers turn.
    pub alive: Alive,
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
    /// Live flows of servers that left or are reached in another way.
    pub flows_touched: u64,
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
    /// The file as it was read last.
    pub(crate) file: ConfigFile,
    /// What holds: the file, and what was changed at run time.
    pub(crate) wanted: Wanted,
    pub(crate) kept: Kept,
    pub(crate) compiler: Compiler,
    pub(crate) publisher: Publisher,
    pub(crate) devices: Box<dyn Devices>,
    pub(crate) twins: Vec<(PortId, Arc<TwinCounters>)>,
    pub(crate) samples: Samples,
    local_watch: Watch,
    pub(crate) busy: Vec<BusyMeter>,
    pub(crate) pulse: Pulse,
    pub(crate) last_reload: LastReload,
    /// Raised with each change of the configuration.
    pub(crate) revision: u64,
    pub(crate) drains: Drains,
    pub(crate) neighbours: Vec<NeighbourView>,
    pub(crate) routes: Vec<RouteView>,
    set_log_level: Box<dyn Fn(LogLevel)>,
    /// What the API on TCP is served with, where it is.
    pub(crate) secured: Option<InForce>,
    replaced: Option<Config>,
    /// What IPVS's clients started. It is kept, told and has no effect yet; each change of it is
    /// followed by [`State::keep_beside`].
    pub(crate) sync_daemons: Vec<weir_ipvs::Daemon>,
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
    /// Publishes the services of the configuration, with what was changed at run time before the last
    /// end, and `ways`.
    ///
    /// # Errors
    /// When there are fewer slots than servers, which a valid configuration does not ask for.
    pub fn start(parts: Parts, ways: Ways) -> Result<Self, Refused> {
        let config = &parts.file.config;
        let (kept, wanted) = Kept::read(config.control.state_directory.as_deref(), config);
        let publisher = Publisher::new(parts.workers);
        let workers = publisher.workers().len();
        let loads = Arc::clone(&publisher.newest().loads);
        let mut state = Self {
            wanted,
            kept,
            about: parts.about,
            started: SystemTime::now(),
            started_at: Instant::now(),
            compiler: Compiler::new(parts.file.config.limits.servers as usize, loads),
            busy: vec![BusyMeter::default(); workers],
            pulse: Pulse::new(workers, parts.alive),
            publisher,
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
            secured: None,
            replaced: None,
            sync_daemons: Vec::new(),
            file: parts.file,
        };
        state.take_up_beside();
        let steps = difference::services(&[], &state.wanted.config().services);
        state.compiler.check_room(&steps)?;
        let epoch = state.publisher.next_epoch();
        state
            .compiler
            .apply(&steps, state.publisher.workers(), epoch);
        let services = state.compiler.services();
        let settings = compile::settings(state.config());
        let marks = Arc::new(compile::marks(state.config()));
        let templates = Arc::new(state.new_templates());
        state.publisher.publish(|snapshot| {
            snapshot.services = services;
            snapshot.settings = settings;
            snapshot.marks = marks;
            snapshot.templates = templates;
            snapshot.network = Arc::new(ways.network);
        });
        Ok(state)
    }

    /// The table of templates, which lives as long as the director.
    fn new_templates(&self) -> Templates {
        let limits = &self.config().limits;
        let (most, servers) = (limits.persistence_templates, limits.servers);
        // Unpredictable to strangers, who could otherwise crowd one place.
        let random = || RandomState::new().hash_one(0);
        Templates::new(most as usize, servers as usize, [random(), random()])
    }

    /// Which clients have which servers.
    #[must_use]
    pub fn templates(&self) -> &Arc<Templates> {
        &self.publisher.newest().templates
    }

    /// The configuration in use.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.wanted.config()
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

    /// Takes what `file` changes against the one before it over the configuration in use: what differs
    /// is published, the rest stays as it is. Takes time in proportion to what differs, but for
    /// comparing the two.
    ///
    /// # Errors
    /// What speaks against it; nothing was changed then.
    pub fn apply(&mut self, file: ConfigFile) -> Result<Applied, Refused> {
        let held = self.wanted.config();
        file.check_reload(held)?;
        let wanted = match self.kept.is_in_use() {
            false => Wanted::new(file.config.clone()),
            true => {
                let base = self.file.config.changeable();
                let merged = merge(&base, &file.config, held.changeable());
                for sentence in merged.overridden {
                    warn!("reload: {sentence}");
                }
                Wanted::with(file.config.clone(), merged.state)?
            }
        };
        let wanted_config = wanted.config();
        let steps = difference::services(&held.services, &wanted_config.services);
        self.compiler.check_room(&steps)?;
        let changes = difference::sentences(&steps, held, wanted_config);
        let are_other_marks = held.marks != wanted_config.marks;
        if held.log != wanted_config.log {
            (self.set_log_level)(wanted_config.log.level);
        }
        let flows_touched = self.flows_touched(&steps);
        let epoch = self.publisher.next_epoch();
        let workers = self.publisher.workers();
        let mut is_other = self.compiler.apply(&steps, workers, epoch);
        is_other |= self.drains.keep_those_of(&steps, &mut self.compiler);
        self.revision += u64::from(changes.count() > 0);
        let mut held = std::mem::replace(&mut self.wanted, wanted).into_config();
        self.file = file;
        self.publish_services(is_other, are_other_marks);
        if self.kept.is_needed() {
            self.kept.rewrite(&self.file.config, self.wanted.config());
        }
        self.keep_beside();
        free_elsewhere(std::mem::take(&mut held.services));
        self.replaced = Some(held);
        let epoch = self.epoch();
        Ok(Applied {
            epoch,
            changes,
            flows_touched,
        })
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

    /// What is due every second: whether the workers turn, samples, memory that no worker reads, slots that no flow needs,
    /// and a look at what runs short.
    pub fn keep_house(&mut self, now: Instant) {
        let mut watch = std::mem::take(&mut self.local_watch);
        watch.check(&self.local_use(), now);
        self.local_watch = watch;
        self.pulse.look(self.publisher.workers());
        self.samples.collect(self.publisher.workers(), now);
        self.end_drains(now);
        self.kept.sync();
        self.publisher.free_unused();
        let adopted = self.publisher.adopted_epoch();
        let newest = self.epoch();
        let templates = Arc::clone(self.templates());
        let workers = self.publisher.workers();
        let epochs = (adopted, newest);
        if self.compiler.reap(workers, &templates, epochs, now) {
            let services = self.compiler.services();
            self.publisher
                .publish(|snapshot| snapshot.services = services);
        }
    }

    /// IPVS's clients are told of one service with its servers, or of all, as if nothing had been
    /// counted yet; rates begin again for everybody. The API and the metrics go on, because a counter
    /// of Prometheus does not fall.
    pub fn zero(&mut self, service: Option<ServiceKey>) {
        self.compiler.zero(self.publisher.workers(), service);
    }

    /// What is due every [`crate::totals::ESTIMATE_SECONDS`]; `seconds` since the last time. Rates are
    /// zero while they are not to be estimated.
    pub fn estimate(&mut self, seconds: f64) {
        let workers = self.publisher.workers();
        match self.wanted.config().ipvs.run_estimation {
            true => self.compiler.estimate(workers, seconds),
            false => self.compiler.pause_estimation(workers),
        }
        for (meter, worker) in self.busy.iter_mut().zip(workers) {
            meter.observe(worker);
        }
    }
}

/// Frees what is big on a thread that has the time: 200 000 servers take as long to be freed as to
/// be compared.
pub(crate) fn free_elsewhere(services: Vec<weir_model::Service>) {
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
