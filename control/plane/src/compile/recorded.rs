//! What a kernel's IPVS chose, through our control and schedulers.
//!
//! The files under `recorded/` were seen of Linux 6.1 with ipvsadm 1.31: connections kept open or
//! closed between commands, and which server each got. A line is a command or what was seen:
//!
//! ```text
//! service NAME [FLAGS]     another service, on 192.0.2.100 (`mark`: for a mark, `six`: IPv6)
//! port PORT                its servers' port is not 80
//! add N WEIGHT [UPPER LOWER], edit N WEIGHT [UPPER LOWER], delete N      server 10.0.0.N
//! scheduler NAME           the service gets another scheduler
//! conns N …                connections that began one after the other, and their servers; 0: refused
//!   CLIENT:PORT=N            of this client (hexadecimal)
//!   @ADDRESS=N               to this address
//! rst K …, fin K …         the Kth connections of the service were reset or finished by the client
//! wait                     those that were reset have expired
//! ```

use std::sync::Arc;

use weir_core::flow::Tuple;
use weir_core::load::Connections;
use weir_core::service::{Protocol, ServerId, Services};
use weir_core::testing::Schedules;
use weir_model::Service;
use weir_wire::Addr;
use weir_worker::Handle;
use weir_worker::publish::Publisher;

use super::Compiler;
use crate::difference;
use crate::testing::{config, worker_of};

const SLOTS: usize = 16;

/// A director with one service.
struct Director {
    compiler: Compiler,
    workers: Vec<Handle>,
    epoch: u64,
    wanted: Vec<Service>,
    now: Arc<Services>,
    schedules: Schedules,
    kind: Kind,
    scheduler: String,
    flags: String,
    port: u16,
    /// In the order of addition.
    servers: Vec<Server>,
    connections: Vec<Option<Connection>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Mark,
    Six,
}

#[derive(Clone, Copy, Debug)]
struct Server {
    number: u32,
    weight: u32,
    upper: u32,
    lower: u32,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    server: ServerId,
    is_reset: bool,
}

impl Server {
    fn of(words: &[&str]) -> Self {
        let number = |at: usize| {
            let word = words.get(at);
            word.map_or(0, |word| word.parse().expect("a number"))
        };
        Self {
            number: number(0),
            weight: number(1),
            upper: number(2),
            lower: number(3),
        }
    }
}

impl Director {
    fn new(workers: u16, kind: Kind, scheduler: &str, flags: &str) -> Self {
        let workers: Vec<Handle> = (0..workers).map(|id| worker_of(id, SLOTS)).collect();
        let publisher = Publisher::new(workers.clone());
        let loads = Arc::clone(&publisher.newest().loads);
        Self {
            compiler: Compiler::new(SLOTS, Arc::clone(&loads)),
            workers,
            epoch: 0,
            wanted: Vec::new(),
            now: Arc::default(),
            schedules: Schedules::new(loads),
            kind,
            scheduler: scheduler.to_owned(),
            flags: flags.to_owned(),
            port: 80,
            servers: Vec::new(),
            connections: Vec::new(),
        }
    }

    fn publish(&mut self) {
        let key = match self.kind {
            Kind::Plain => "protocol = \"tcp\"\naddress = \"192.0.2.100\"\nport = 80",
            Kind::Six => "protocol = \"tcp\"\naddress = \"2001:db8:1::100\"\nport = 80",
            Kind::Mark => "mark = 1",
        };
        let flags = self.flags.split(',').filter(|flag| !flag.is_empty());
        let flags: Vec<_> = flags.map(|flag| format!("\"{flag}\"")).collect();
        let mut text = format!(
            "[[service]]\n{key}\nscheduler = \"{}\"\nscheduler_flags = [{}]\n",
            self.scheduler,
            flags.join(", ")
        );
        for server in &self.servers {
            let Server {
                number,
                weight,
                upper,
                lower,
            } = server;
            let network = if self.kind == Kind::Six {
                "2001:db8:2::"
            } else {
                "10.0.0."
            };
            text += &format!(
                "[[service.server]]\naddress = \"{network}{number}\"\nport = {}\nmethod = \"nat\"\n\
                 weight = {weight}\nupper_threshold = {upper}\nlower_threshold = {lower}\n",
                self.port
            );
        }
        let wanted = config(&text).services;
        self.epoch += 1;
        let steps = difference::services(&self.wanted, &wanted);
        if steps.is_empty() && !self.wanted.is_empty() {
            self.compiler.touch(wanted[0].key);
        }
        self.compiler.check_room(&steps).expect("there is room");
        self.compiler.apply(&steps, &self.workers, self.epoch);
        self.now = self.compiler.services();
        self.wanted = wanted;
    }

    /// Each worker in turn gets a connection. Returns its server's number.
    fn connect(&mut self, request: &Tuple) -> u32 {
        let service = self.now.iter().next().expect("there is one").1;
        let picked = self.schedules.pick(service, &self.now, request);
        let worker = self.worker(self.connections.len());
        self.connections.push(picked.map(|server| Connection {
            server,
            is_reset: false,
        }));
        let Some(id) = picked else {
            return 0;
        };
        let load = &worker.counters().loads[id.0 as usize];
        let server = self.now.server(id).expect("a slot of the list is filled");
        load.add(Connections::INACTIVE);
        self.schedules.loads.bound(id, server);
        load.turn(true);
        server.addr.0 as u32 & 0xff
    }

    fn worker(&self, connection: usize) -> Handle {
        self.workers[connection % self.workers.len()].clone()
    }

    /// What a client sends to a removed server is dropped.
    fn close(&mut self, at: usize, is_reset: bool) {
        let worker = self.worker(at);
        let connection = self.connections[at].as_mut().expect("it was not refused");
        let id = connection.server;
        if self.now.server(id).expect("it lingers").is_available {
            connection.is_reset = is_reset;
            worker.counters().loads[id.0 as usize].turn(false);
        }
    }

    fn expire(&mut self) {
        for at in 0..self.connections.len() {
            if let Some(Connection { server, .. }) = self.connections[at].take_if(|c| c.is_reset) {
                let worker = self.worker(at);
                worker.counters().loads[server.0 as usize].sub(Connections::INACTIVE);
                self.schedules
                    .loads
                    .unbound(server, self.now.server(server));
            }
        }
    }

    /// A connection as the file has it, and the server that it got.
    fn request(&self, word: &str) -> (Tuple, u32) {
        let vip = match self.kind {
            Kind::Six => "2001:db8:1::100",
            _ => "192.0.2.100",
        };
        let at = self.connections.len();
        let mut request = Tuple {
            src: Addr::from_v4_bytes([198, 51, 100, (at % 250 + 1) as u8]),
            dst: Addr::from(vip.parse::<std::net::IpAddr>().expect("an address")),
            src_port: 1024 + at as u16,
            dst_port: 80,
            protocol: Protocol::Tcp,
        };
        let (of, server) = word.split_once('=').unwrap_or(("", word));
        if let Some(destination) = of.strip_prefix('@') {
            request.dst = address(destination);
        } else if let Some((client, port)) = of.split_once(':') {
            request.src = address(client);
            request.src_port = port.parse().expect("a port");
        }
        (request, server.parse().expect("a server's number"))
    }
}

fn address(hex: &str) -> Addr {
    let number = u128::from_str_radix(hex, 16).expect("an address");
    match hex.len() {
        8 => Addr::from_v4_bytes((number as u32).to_be_bytes()),
        _ => Addr::from_v6_bytes(number.to_be_bytes()),
    }
}

/// Returns how many connections the file has.
fn replay(workers: u16, name: &str, recording: &str) -> usize {
    let mut director: Option<Director> = None;
    let mut count = 0;
    for (line, text) in (1..).zip(recording.lines()) {
        let words: Vec<&str> = text.split(' ').collect();
        let (command, rest) = (words[0], &words[1..]);
        let kind = match command {
            "service" => Some(Kind::Plain),
            "mark" => Some(Kind::Mark),
            "six" => Some(Kind::Six),
            _ => None,
        };
        if let Some(kind) = kind {
            let flags = rest.get(1).copied().unwrap_or_default();
            director = Some(Director::new(workers, kind, rest[0], flags));
        }
        let Some(director) = director.as_mut() else {
            continue;
        };
        let numbers = || rest.iter().map(|word| word.parse().expect("a number"));
        match command {
            "port" => director.port = rest[0].parse().expect("a port"),
            "add" => director.servers.push(Server::of(rest)),
            "edit" => {
                let edited = Server::of(rest);
                let servers = director.servers.iter_mut();
                for server in servers.filter(|server| server.number == edited.number) {
                    *server = edited;
                }
            }
            "delete" => {
                let deleted = Server::of(rest).number;
                director.servers.retain(|server| server.number != deleted);
            }
            "scheduler" => rest[0].clone_into(&mut director.scheduler),
            "conns" => {
                for word in rest {
                    let (request, server) = director.request(word);
                    let got = director.connect(&request);
                    let told = format!("{name}.txt:{line}, connection {word}");
                    assert_eq!(got, server, "{told}, {workers} workers");
                    count += 1;
                }
            }
            "rst" | "fin" => numbers().for_each(|at| director.close(at, command == "rst")),
            "wait" => director.expire(),
            _ => {}
        }
        if matches!(command, "add" | "edit" | "delete" | "scheduler") {
            director.publish();
        }
    }
    count
}

macro_rules! recordings {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let recording = include_str!(concat!("recorded/", stringify!($name), ".txt"));
            for workers in [1, 3] {
                let count = replay(workers, stringify!($name), recording);
                assert!(count > 1000, "{count}");
            }
        }
    )*};
}

recordings!(rr wrr lc wlc sed nq fo ovf sh dh mh lblc lblcr);
