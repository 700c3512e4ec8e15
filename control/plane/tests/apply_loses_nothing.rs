//! 20 000 services of 10 servers each come and change while a worker forwards flows of another
//! service: not a packet is lost, not a flow moves.
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use weir_control::state::{State, Ways};
use weir_control::testing::parts;
use weir_core::counters::DropReason;
use weir_core::director::Limits;
use weir_core::io::{Burst, Frame, PacketIo, PortId, WorkerId};
use weir_core::next_hop::{Interface, InterfaceId, Network, Route, Target};
use weir_core::steer::Steering;
use weir_core::testing::MemFrame;
use weir_model::{ConfigFile, parse};
use weir_wire::builder::{PacketBuilder, addr};
use weir_wire::{Mac, tcp_flag};
use weir_worker::{Clock, Config, Handle, Idle, Worker, mesh};

const SERVICES: usize = 20_000;
const SERVERS: usize = 10;
const SLOTS: usize = 262_144;
const FLOWS: u16 = 256;

const WEIR: Mac = Mac([2, 0, 0, 0, 0, 1]);
const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 9]);

#[test]
fn no_flow_loses_a_packet_while_20_000_services_are_applied_and_changed() {
    let went = Arc::new(Went::default());
    let worker = worker(Arc::clone(&went));
    let handle = worker.handle();
    let mut state = state(vec![handle.clone()]);
    let running = thread::spawn(move || worker.run());
    // All flows are there and established.
    wait_for(&went, u64::from(FLOWS) * 10);

    let files = [text(1, 0), text(5, 0), text(5, 1), text(1, 1)];
    let files: Vec<ConfigFile> = files.iter().map(|text| read(text)).collect();
    let before = went.out.load(Ordering::Relaxed);
    let mut times = Vec::new();
    for file in files {
        let at = Instant::now();
        state.apply(file).expect("it is valid and there is room");
        wait_until(|| handle.adopted_epoch() == state.epoch());
        times.push(at.elapsed());
        let now = went.out.load(Ordering::Relaxed);
        wait_for(&went, now + u64::from(FLOWS) * 10);
    }
    state.apply(read(&head())).expect("they may leave");
    wait_until(|| handle.adopted_epoch() == state.epoch());
    for _ in 0..3 {
        state.keep_house(Instant::now());
        wait_until(|| handle.adopted_epoch() == state.epoch());
    }
    let now = went.out.load(Ordering::Relaxed);
    assert!(now > before, "it went on meanwhile");
    wait_for(&went, now + u64::from(FLOWS) * 10);
    handle.stop();
    running.join().expect("the worker does not panic");

    for reason in DropReason::ALL {
        assert_eq!(handle.counters().drops(*reason), 0, "{reason:?}");
    }
    let (came, out) = (&went.came, &went.out);
    assert_eq!(out.load(Ordering::Relaxed), came.load(Ordering::Relaxed));
    assert_eq!(went.moved.load(Ordering::Relaxed), 0);
    assert_eq!(handle.counters().flows_created.get(), u64::from(FLOWS));
    println!(
        "{} packets in all; to apply everything and three single changes until adopted: {times:?}; \
         the longest turn: {:?}",
        out.load(Ordering::Relaxed),
        Duration::from_nanos(handle.counters().turn_longest_ns.get())
    );
}

/// What went through the worker's port.
#[derive(Debug, Default)]
struct Went {
    came: AtomicU64,
    out: AtomicU64,
    /// Packets that went to another server than their flow's first.
    moved: AtomicU64,
}

fn wait_for(went: &Went, packets: u64) {
    wait_until(|| went.out.load(Ordering::Relaxed) >= packets);
}

fn wait_until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the worker is stuck"
        );
        thread::sleep(Duration::from_micros(50));
    }
}

/// A port at which the clients' packets never end.
#[derive(Debug)]
struct Clients {
    went: Arc<Went>,
    next: u16,
    is_begun: bool,
    /// By source port: the MAC address of its server.
    servers: HashMap<[u8; 2], [u8; 6]>,
}

impl PacketIo for Clients {
    type Frame = MemFrame;

    fn port_count(&self) -> usize {
        1
    }

    fn receive(&mut self, _: PortId, into: &mut Burst<MemFrame>) -> usize {
        while !into.is_full() {
            let flag = if self.is_begun {
                tcp_flag::ACK
            } else {
                tcp_flag::SYN
            };
            let packet = PacketBuilder::eth(CLIENT, WEIR)
                .ip(addr("192.0.2.9"), addr("192.0.2.100"))
                .tcp(10_000 + self.next, 80)
                .flags(flag);
            into.push(MemFrame::new(&packet.build()));
            self.next += 1;
            if self.next == FLOWS {
                (self.next, self.is_begun) = (0, true);
            }
        }
        self.went
            .came
            .fetch_add(into.len() as u64, Ordering::Relaxed);
        into.len()
    }

    fn transmit(&mut self, _: PortId, frames: &mut Burst<MemFrame>) -> usize {
        for frame in frames.iter() {
            let bytes = frame.bytes();
            let to: [u8; 6] = bytes[..6].try_into().expect("a frame");
            let source = bytes[34..36].try_into().expect("a TCP segment");
            if *self.servers.entry(source).or_insert(to) != to {
                self.went.moved.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = frames.len();
        frames.clear();
        self.went.out.fetch_add(count as u64, Ordering::Relaxed);
        count
    }

    fn fresh(&mut self) -> Option<MemFrame> {
        Some(MemFrame::new(&[]))
    }
}

fn worker(went: Arc<Went>) -> Worker<Clients> {
    let config = Config {
        id: WorkerId(0),
        core: None,
        idle: Idle::Busy,
        limits: Limits {
            flows: 4096,
            flows_v6: 1024,
            half_open: 1024,
            services: 32_768,
            servers: SLOTS,
            punt_per_second: 1000,
            punt_reserved_percent: 25,
            icmp_per_second: 1000,
            parked: 16,
            parked_per_neighbour: 4,
            fragments: 64,
        },
        ports: 1,
        twins: None,
        clock: Clock::start(),
        steering: Steering::by_client(1),
    };
    let clients = Clients {
        went,
        next: 0,
        is_begun: false,
        servers: HashMap::new(),
    };
    let peers = mesh(1).pop().expect("one worker has its rings");
    Worker::new(&config, clients, peers)
}

fn state(workers: Vec<Handle>) -> State {
    let parts = parts(read(&head()), workers);
    let ways = Ways {
        network: network(),
        ..Ways::default()
    };
    State::start(parts, ways).expect("there is room")
}

fn network() -> Network {
    let interface = Interface {
        port: PortId(0),
        vlan: 0,
        mac: WEIR,
        mtu: 1500,
        source_v4: Some(addr("192.0.2.1")),
        source_v6: None,
    };
    let route = Route {
        prefix: addr("192.0.2.0"),
        len: 96 + 24,
        target: Target::Out {
            interface: InterfaceId(0),
            gateway: None,
            source: None,
            mtu: None,
        },
    };
    let neighbours = (11..=13).map(|n| {
        let server = (InterfaceId(0), addr(&format!("192.0.2.{n}")));
        (server, Mac([2, 0, 0, 0, 1, n]))
    });
    Network::new(vec![interface], [addr("192.0.2.1")], [route], neighbours)
}

fn read(text: &str) -> ConfigFile {
    parse(text, "test.toml").expect("it is valid")
}

/// One port, and the service that the clients use.
fn head() -> String {
    let mut text = format!(
        "[limits]\nservices = {}\nservers = {SLOTS}\n[[port]]\nname = \"wan\"\n\
         device = \"net_null0\"\ntwin = false\naddresses = [\"192.0.2.1/24\"]\n\
         [[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.100\"\nport = 80\n",
        SERVICES + 1
    );
    for server in 11..=13 {
        let _ = write!(
            text,
            "[[service.server]]\naddress = \"192.0.2.{server}\"\nmethod = \"dr\"\n"
        );
    }
    text
}

/// And all the others; in the middle one the first server has `weight`, and there are `more`.
fn text(weight: u16, more: usize) -> String {
    let mut text = head();
    for at in 0..SERVICES {
        let (third, fourth) = (at / 250, at % 250 + 1);
        let _ = write!(
            text,
            "[[service]]\nprotocol = \"tcp\"\naddress = \"198.18.{third}.{fourth}\"\nport = 80\n"
        );
        let is_middle = at == SERVICES / 2;
        for server in 0..SERVERS + if is_middle { more } else { 0 } {
            let weight = if is_middle && server == 0 { weight } else { 1 };
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
