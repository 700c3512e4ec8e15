//! Random scenarios from a seed. Each has a theme, which is a row of the conformance page.

mod packet;
mod random;
mod themes;

use std::net::{IpAddr, SocketAddr};

use weir_conformance::operation::{
    Key, MarkRule, Method, Operation, Protocol, Scenario, Server, Service,
};
use weir_conformance::place::{self, Leg};

use self::packet::Flow;
use self::random::Random;
pub(crate) use self::themes::{SCHEDULERS, THEMES, Theme};

/// Operations of a random scenario.
const LENGTH: u32 = 80;
/// Marks, from 1.
const MARKS: u32 = 3;
/// Connections that are remembered to be gone on with.
const FLOWS: usize = 12;

/// Scenario number `number` of a seed; the themes take turns.
pub(crate) fn scenario(seed: u64, number: usize) -> Scenario {
    let theme = &THEMES[number % THEMES.len()];
    let mixed = Random::new(seed).next() ^ (number as u64).wrapping_mul(0xd134_2543_de82_ef95);
    let mut making = Making {
        theme,
        random: Random::new(mixed),
        services: Vec::new(),
        flows: Vec::new(),
        operations: Vec::new(),
        frames: 0,
    };
    making.begin();
    for _ in 0..LENGTH {
        making.step();
    }
    making
        .operations
        .extend([Operation::Entries, Operation::Counters]);
    Scenario {
        name: format!("{}/random {seed}.{number}", theme.name),
        operations: making.operations,
    }
}

/// A service as the scenario has it now.
struct Known {
    service: Service,
    servers: Vec<Server>,
}

struct Making {
    theme: &'static Theme,
    random: Random,
    services: Vec<Known>,
    flows: Vec<Flow>,
    operations: Vec<Operation>,
    /// Numbers of frames that are taken.
    frames: u32,
}

impl Making {
    fn begin(&mut self) {
        if self.random.chance(self.theme.timeouts) {
            let seconds = self.timeouts();
            self.operations.push(Operation::Timeouts(seconds));
        }
        for (name, values) in self.theme.sysctls {
            if self.random.chance(60) {
                let value = self.random.one_of(values);
                self.operations
                    .push(Operation::Sysctl((*name).to_owned(), value));
            }
        }
        for leg in Leg::ALL {
            if self.random.chance(self.theme.mtus) {
                let mtu = self.random.one_of(&[1280_u16, 1300, 1400, 1480]);
                self.operations.push(Operation::Mtu(leg, mtu));
            }
        }
        if self.theme.marks > 0 {
            for _ in 0..self.random.between(1, 4) {
                let rule = self.mark_rule();
                self.operations.push(Operation::Mark(rule));
            }
        }
        for _ in 0..self.random.between(1, self.theme.services) {
            self.add_service();
            for _ in 0..self.random.between(1, 4) {
                self.add_server();
            }
        }
    }

    fn step(&mut self) {
        let theme = self.theme;
        match self.random.between(1, 100) {
            1..=25 => self.new_flow(),
            26..=48 => self.go_on(),
            49..=68 => self.answer(),
            69..=73 => self.odd_packet(),
            74..=78 if theme.icmp => self.icmp(),
            79..=86 => self.change(),
            87..=94 => self.advance(),
            95..=98 => self.operations.push(Operation::Entries),
            99 => self.operations.push(Operation::Counters),
            _ => self.new_flow(),
        }
    }

    /// Of TCP, of TCP after a FIN, of UDP. Templates are to outlive connections, so that they end: with
    /// connections they begin again when their time is up, as late as the kernel's timers are.
    fn timeouts(&mut self) -> [u32; 3] {
        let (least, most) = match self.theme.persistence {
            0 => (0, 50),
            _ => (5, 30),
        };
        [0; 3].map(|_| self.random.between(least, most))
    }

    fn number(&mut self) -> u32 {
        self.frames += 1;
        self.frames
    }

    // ---- what the director is told ---------------------------------------------------------------

    fn key(&mut self) -> Key {
        let is_v6 = self.random.one_of(self.theme.families);
        if self.random.chance(self.theme.marks) {
            return Key::Mark(self.random.between(1, MARKS), is_v6);
        }
        let protocol = self.random.one_of(self.theme.protocols);
        let port = match self.random.chance(self.theme.any_port) {
            true => 0,
            false => self.random.one_of(self.theme.ports),
        };
        Key::Address(protocol, SocketAddr::new(self.vip(is_v6), port))
    }

    fn vip(&mut self, is_v6: bool) -> IpAddr {
        let at = usize::from(self.random.chance(30));
        match is_v6 {
            true => IpAddr::V6(place::vips_v6()[at]),
            false => IpAddr::V4(place::VIPS_V4[at]),
        }
    }

    /// Where packets for a service may go.
    fn ends(&mut self, key: Key) -> (Protocol, SocketAddr) {
        match key {
            Key::Address(protocol, at) if at.port() > 0 => (protocol, at),
            Key::Address(protocol, at) => {
                let port = self.random.one_of(&[80, 443, 5000]);
                (protocol, SocketAddr::new(at.ip(), port))
            }
            Key::Mark(_, is_v6) => {
                let protocol = self.random.one_of(self.theme.protocols);
                let port = self.random.one_of(self.theme.ports);
                (protocol, SocketAddr::new(self.vip(is_v6), port))
            }
        }
    }

    /// A rule that gives a mark to some of the packets for virtual addresses.
    fn mark_rule(&mut self) -> MarkRule {
        let is_v6 = self.random.one_of(self.theme.families);
        let protocol = self.random.one_of(self.theme.protocols);
        let destination = (self.vip(is_v6), if is_v6 { 128 } else { 32 });
        let first = self.random.one_of(self.theme.ports);
        let last = first.max(self.random.one_of(self.theme.ports));
        MarkRule {
            mark: self.random.between(1, MARKS),
            protocol: Some(protocol),
            source: None,
            destination: Some(destination),
            source_ports: None,
            destination_ports: self.random.chance(60).then_some((first, last)),
            leg: self.random.chance(30).then_some(Leg::Client),
        }
    }

    fn service(&mut self, key: Key) -> Service {
        let (scheduler, flags) = self.random.one_of(self.theme.schedulers);
        let flags = flags.iter().filter(|_| self.random.chance(50));
        let flags = flags.map(|flag| (*flag).to_owned()).collect();
        let is_any_port = matches!(key, Key::Address(_, at) if at.port() == 0);
        let persistence = (is_any_port || self.random.chance(self.theme.persistence))
            .then(|| self.random.between(130, 200));
        let mask = (persistence.is_some() && self.random.chance(40)).then(|| {
            let all: &[u8] = if key.is_v6() {
                &[64, 125, 126]
            } else {
                &[0, 24, 29, 30]
            };
            self.random.one_of(all)
        });
        let is_datagrams = !matches!(key, Key::Address(Protocol::Tcp | Protocol::Sctp, _));
        let one_packet = is_datagrams && self.random.chance(self.theme.one_packet);
        Service {
            key,
            scheduler: scheduler.to_owned(),
            flags,
            one_packet,
            persistence,
            mask,
            engine: None,
        }
    }

    fn add_service(&mut self) {
        let key = self.key();
        let service = self.service(key);
        if self.services.iter().all(|known| known.service.key != key) {
            self.services.push(Known {
                service: service.clone(),
                servers: Vec::new(),
            });
        }
        self.operations.push(Operation::AddService(service));
    }

    /// Which service to change; none when there is none.
    fn some_service(&mut self) -> Option<usize> {
        let last = self.services.len().checked_sub(1)?;
        Some(self.random.between(0, last as u32) as usize)
    }

    fn server(&mut self, key: Key) -> Server {
        let method = self.random.one_of(self.theme.methods);
        let n = self.random.between(1, 6) as u8;
        let is_other = matches!(method, Method::Tun(_)) && self.random.chance(self.theme.mixed);
        let is_v6 = key.is_v6() ^ is_other;
        let address = match self.random.chance(self.theme.routed) {
            false => place::server(n, is_v6),
            true if is_v6 => IpAddr::V6([0x2001, 0xdb8, 0xff, 0, 0, 0, 0, n.into()].into()),
            true => IpAddr::V4([172, 16, 0, n].into()),
        };
        let port = match key {
            Key::Address(_, at)
                if method != Method::Nat || at.port() == 0 || self.random.chance(60) =>
            {
                at.port()
            }
            Key::Address(..) => self.random.one_of(&[8080, 8081]),
            Key::Mark(..) => 0,
        };
        let weight = match self.random.chance(self.theme.weights) {
            false => 1,
            true => self.random.one_of(&[0, 1, 2, 3, 5, 10, 100]),
        };
        let (mut upper, mut lower) = (0, 0);
        if self.random.chance(self.theme.thresholds) {
            upper = self.random.between(1, 6);
            lower = self.random.between(0, upper);
        }
        Server {
            at: SocketAddr::new(address, port),
            method,
            weight,
            upper,
            lower,
        }
    }

    fn add_server(&mut self) {
        let Some(at) = self.some_service() else {
            return;
        };
        let key = self.services[at].service.key;
        let server = self.server(key);
        let servers = &mut self.services[at].servers;
        if servers.iter().all(|known| known.at != server.at) {
            servers.push(server);
        }
        self.operations.push(Operation::AddServer(key, server));
    }

    fn change(&mut self) {
        if !self.random.chance(self.theme.changes) {
            return self.new_flow();
        }
        let Some(at) = self.some_service() else {
            self.add_service();
            return self.add_server();
        };
        let key = self.services[at].service.key;
        match self.random.between(1, 100) {
            1..=35 => self.add_server(),
            36..=60 => self.edit_server(at),
            61..=80 => self.delete_server(at),
            81..=88 => {
                let service = self.service(key);
                self.services[at].service = service.clone();
                self.operations.push(Operation::EditService(service));
            }
            89..=93 => {
                self.services.remove(at);
                self.operations.push(Operation::DeleteService(key));
            }
            94..=95 => {
                self.services.clear();
                self.operations.push(Operation::Flush);
            }
            96..=98 if self.theme.timeouts > 0 => {
                let seconds = self.timeouts();
                self.operations.push(Operation::Timeouts(seconds));
            }
            _ => {
                self.add_service();
                self.add_server();
            }
        }
    }

    fn some_server(&mut self, at: usize) -> Option<usize> {
        let last = self.services[at].servers.len().checked_sub(1)?;
        Some(self.random.between(0, last as u32) as usize)
    }

    fn edit_server(&mut self, at: usize) {
        let Some(which) = self.some_server(at) else {
            return self.add_server();
        };
        let key = self.services[at].service.key;
        let old = self.services[at].servers[which];
        let new = self.server(key);
        let server = Server {
            at: old.at,
            // Another method with flows under way is a kernel oddity of its own.
            method: old.method,
            ..new
        };
        self.services[at].servers[which] = server;
        self.operations.push(Operation::EditServer(key, server));
    }

    fn delete_server(&mut self, at: usize) {
        let Some(which) = self.some_server(at) else {
            return self.add_server();
        };
        let key = self.services[at].service.key;
        let server = self.services[at].servers.remove(which);
        self.operations
            .push(Operation::DeleteServer(key, server.at));
    }

    // ---- packets and time ------------------------------------------------------------------------

    fn send(&mut self, leg: Leg, bytes: Vec<u8>) -> u32 {
        let id = self.number();
        let bytes = weir_conformance::bytes::Bytes(bytes);
        self.operations.push(Operation::Frame { id, leg, bytes });
        id
    }

    fn new_flow(&mut self) {
        let Some(at) = self.some_service() else {
            return self.add_service();
        };
        let (protocol, service) = self.ends(self.services[at].service.key);
        let mut flow = Flow::new(&mut self.random, protocol, service);
        let frame = flow.first(&mut self.random);
        flow.last = Some(self.send(Leg::Client, frame));
        if self.flows.len() == FLOWS {
            self.flows.remove(0);
        }
        self.flows.push(flow);
    }

    fn some_flow(&mut self) -> Option<usize> {
        let last = self.flows.len().checked_sub(1)?;
        Some(self.random.between(0, last as u32) as usize)
    }

    fn go_on(&mut self) {
        let Some(at) = self.some_flow() else {
            return self.new_flow();
        };
        if self.random.chance(self.theme.fragments) {
            for piece in self.flows[at].in_pieces(&mut self.random) {
                let id = self.send(Leg::Client, piece);
                self.flows[at].last = Some(id);
            }
            return;
        }
        let frame = self.flows[at].next(&mut self.random, self.theme.big);
        let id = self.send(Leg::Client, frame);
        self.flows[at].last = Some(id);
    }

    /// The server of some flow answers.
    fn answer(&mut self) {
        let Some(at) = self.some_flow() else {
            return self.new_flow();
        };
        let Some(to) = self.flows[at].last else {
            return;
        };
        let big = self.theme.big;
        let answer = packet::answer(&mut self.random, self.flows[at].protocol, big);
        let id = self.number();
        self.flows[at].answered = Some(id);
        self.operations.push(Operation::Answer {
            id,
            to,
            from: Leg::Server,
            answer,
        });
    }

    /// An ICMP error about what a server or a client was sent.
    fn icmp(&mut self) {
        let Some(at) = self.some_flow() else {
            return self.new_flow();
        };
        let flow = &self.flows[at];
        let from = if self.random.chance(60) {
            Leg::Server
        } else {
            Leg::Client
        };
        let to = match from {
            Leg::Server => flow.last,
            Leg::Client => flow.answered,
        };
        let Some(to) = to else {
            return;
        };
        let answer = packet::icmp(&mut self.random, flow.service.is_ipv6());
        let id = self.number();
        self.operations.push(Operation::Answer {
            id,
            to,
            from,
            answer,
        });
    }

    fn odd_packet(&mut self) {
        let known = self.some_flow().map(|at| self.flows[at].clone());
        let flow = match (known, self.some_service()) {
            (Some(flow), _) if self.random.chance(50) => flow,
            (_, Some(at)) => {
                let (protocol, at) = self.ends(self.services[at].service.key);
                Flow::new(&mut self.random, protocol, at)
            }
            _ => return self.add_service(),
        };
        let frame = flow.odd(&mut self.random, self.theme);
        self.send(Leg::Client, frame);
    }

    fn advance(&mut self) {
        let ticks = match self.random.between(1, 100) {
            1..=40 => self.random.between(1, 300),
            41..=75 => self.random.between(300, 3000),
            76..=92 => self.random.between(3000, 14_000),
            _ => self.random.between(14_000, 95_000),
        };
        self.operations.push(Operation::Advance(ticks));
    }
}
