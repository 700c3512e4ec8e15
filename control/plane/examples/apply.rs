//! How long control takes with 20 000 services of 10 servers each: to read the file, to apply all of
//! it and single changes, to keep house and to tell about it. Two workers that only adopt.
//!
//! `cargo run --release -p weir-control --example apply [rounds]`
//!
//! Milliseconds, the median of the rounds (5 unless said) with least and most; of the time on the
//! clock and of the time on the processor.
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use weir_control::compile::Compiler;
use weir_control::difference;
use weir_control::state::{State, Ways};
use weir_control::testing::parts;
use weir_core::io::WorkerId;
use weir_model::{ConfigFile, parse};
use weir_worker::Handle;
use weir_worker::publish::Publisher;

const SERVICES: usize = 20_000;
const SERVERS: usize = 10;
const SLOTS: usize = 262_144;

fn main() {
    let rounds = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let mut times = Times::default();
    let files = Files::new();
    println!("the file: {} MB", files.all.len() / 1_000_000);
    for _ in 0..rounds.unwrap_or(5) {
        steps(&mut times, &files);
        whole(&mut times, &files);
    }
    times.print();
    println!("the metrics' page: {} MB", times.bytes / 1_000_000);
}

/// The steps of applying, one by one.
fn steps(times: &mut Times, files: &Files) {
    let file = times.take("read the file", || read(&files.all));
    let nothing = read(&files.nothing);
    let workers = workers();
    let mut publisher = Publisher::new(workers.clone());
    let loads = publisher.newest().loads.clone();
    let mut compiler = Compiler::new(SLOTS, loads);
    let others = files.others();
    let mut held = nothing.config;
    for (name, wanted) in [("all", &file)]
        .into_iter()
        .chain(others.iter().map(|(name, file)| (*name, file)))
    {
        let mut take = |what: &str, work: &mut dyn FnMut()| {
            times.take(&format!("{name}: {what}"), work);
        };
        take("check_reload", &mut || {
            wanted.check_reload(&held).expect("no restart");
        });
        let mut steps = Vec::new();
        take("difference", &mut || {
            steps = difference::services(&held.services, &wanted.config.services);
        });
        take("sentences", &mut || {
            let _ = difference::sentences(&steps, &held, &wanted.config);
        });
        take("check_room", &mut || {
            compiler.check_room(&steps).expect("there is room");
        });
        let epoch = publisher.next_epoch();
        take("compile", &mut || {
            compiler.apply(&steps, &workers, epoch);
        });
        take("publish", &mut || {
            publisher.publish(|snapshot| snapshot.services = compiler.services());
        });
        take("adopt, a worker", &mut || {
            drop(workers[0].adopt_newest());
        });
        workers[1].adopt_newest();
        take("free the old", &mut || publisher.free_unused());
        held = wanted.config.clone();
    }
}

/// What the daemon does.
fn whole(times: &mut Times, files: &Files) {
    let workers = workers();
    let parts = parts(read(&files.nothing), workers.clone());
    let mut state = State::start(parts, Ways::default()).expect("there is room");
    let adopt = || {
        for worker in &workers {
            worker.adopt_newest();
        }
    };
    let all = read(&files.all);
    times.take("State::apply, all", || {
        state.apply(all).expect("it is valid")
    });
    adopt();
    for (name, file) in files.others() {
        times.take(&format!("State::apply, {name}"), || {
            state.apply(file).expect("it is valid")
        });
        adopt();
    }
    // A look a minute later finds the removed servers without a flow, one two minutes after that frees
    // their slots.
    let begun = Instant::now();
    let looks = [
        ("nothing to do", 0),
        ("first look", 61),
        ("slots are freed", 190),
        ("nothing to do", 191),
    ];
    for (what, seconds) in looks {
        times.take(&format!("keep_house, {what}"), || {
            state.keep_house(begun + Duration::from_secs(seconds));
        });
        adopt();
    }
    times.take("estimate", || state.estimate(2.0));
    times.take("services of the API", || state.services());
    let readings = times.take("metrics, in control", || state.metrics());
    let mut bytes = 0;
    times.take("metrics, the page on another thread", || {
        readings.page(|piece| {
            bytes += piece.len();
            true
        });
    });
    times.bytes = bytes;
    let nothing = read(&files.nothing);
    times.take("State::apply, all away", || {
        state.apply(nothing).expect("it is valid")
    });
    adopt();
    state.keep_house(begun + Duration::from_secs(200));
    state.keep_house(begun + Duration::from_secs(261));
    times.take("keep_house, many slots are freed", || {
        state.keep_house(begun + Duration::from_secs(390));
    });
}

fn read(text: &str) -> ConfigFile {
    parse(text, "bench.toml").expect("it is valid")
}

fn workers() -> Vec<Handle> {
    let worker = |id| Handle::detached(WorkerId(id), 1, SLOTS);
    (0..2).map(worker).collect()
}

/// The texts of the configurations.
struct Files {
    nothing: String,
    all: String,
    weight: String,
    added: String,
    removed: String,
}

impl Files {
    fn new() -> Self {
        let middle = SERVICES / 2;
        Self {
            nothing: text(0, |_| Service::default()),
            all: text(SERVICES, |_| Service::default()),
            weight: text(SERVICES, |service| Service {
                weight: if service == middle { 5 } else { 1 },
                ..Service::default()
            }),
            added: text(SERVICES, |service| Service {
                servers: SERVERS + usize::from(service == middle),
                ..Service::default()
            }),
            removed: text(SERVICES, |service| Service {
                is_there: service != middle,
                ..Service::default()
            }),
        }
    }

    /// Single changes, one after the other.
    fn others(&self) -> Vec<(&'static str, ConfigFile)> {
        vec![
            ("a weight", read(&self.weight)),
            ("a weight back", read(&self.all)),
            ("a server more", read(&self.added)),
            ("a server less", read(&self.all)),
            ("a service less", read(&self.removed)),
        ]
    }
}

#[derive(Clone, Copy)]
struct Service {
    is_there: bool,
    /// Of its first server.
    weight: u16,
    servers: usize,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            is_there: true,
            weight: 1,
            servers: SERVERS,
        }
    }
}

fn text(services: usize, of: impl Fn(usize) -> Service) -> String {
    let mut text = format!(
        "[limits]\nservices = {SERVICES}\nservers = {SLOTS}\n[[port]]\nname = \"wan\"\n\
         device = \"net_null0\"\ntwin = false\naddresses = [\"192.0.2.1/24\"]\n"
    );
    for at in 0..services {
        let service = of(at);
        if !service.is_there {
            continue;
        }
        let (third, fourth) = (at / 250, at % 250 + 1);
        let _ = write!(
            text,
            "[[service]]\nprotocol = \"tcp\"\naddress = \"198.18.{third}.{fourth}\"\nport = 80\n\
             scheduler = \"wrr\"\nname = \"service-{at}\"\n"
        );
        for server in 0..service.servers {
            let weight = if server == 0 { service.weight } else { 1 };
            let number = at * (SERVERS + 1) + server;
            let (second, third, fourth) = (number / 62_500, number / 250 % 250, number % 250 + 1);
            let _ = write!(
                text,
                "[[service.server]]\naddress = \"10.{second}.{third}.{fourth}\"\n\
                 method = \"nat\"\nweight = {weight}\n"
            );
        }
    }
    text
}

/// What took how long, in the order of the first time.
#[derive(Default)]
struct Times {
    order: Vec<String>,
    times: HashMap<String, Vec<(Duration, Duration)>>,
    /// Of the metrics' page.
    bytes: usize,
}

impl Times {
    fn take<T>(&mut self, what: &str, work: impl FnOnce() -> T) -> T {
        let (clock, processor) = (Instant::now(), on_processor());
        let result = std::hint::black_box(work());
        let took = (clock.elapsed(), on_processor().saturating_sub(processor));
        if !self.times.contains_key(what) {
            self.order.push(what.to_owned());
        }
        self.times.entry(what.to_owned()).or_default().push(took);
        result
    }

    fn print(&self) {
        for what in &self.order {
            let of = |part: fn(&(Duration, Duration)) -> Duration| {
                let mut times: Vec<_> = self.times[what].iter().map(part).collect();
                times.sort_unstable();
                let shown = |at: usize| times[at].as_secs_f64() * 1e3;
                let last = times.len() - 1;
                format!(
                    "{:9.3} ({:.3} to {:.3})",
                    shown(last / 2),
                    shown(0),
                    shown(last)
                )
            };
            println!("{what:36} {:40} {}", of(|t| t.0), of(|t| t.1));
        }
    }
}

/// The time that this thread has had a processor.
fn on_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
