//! Scenarios as text.
//!
//! ```text
//! scenario nat/one connection
//! service add tcp 192.0.2.100:80 rr persist=360 mask=24 flags=sh-port,sh-fallback ops pe=sip
//! server add tcp 192.0.2.100:80 10.0.0.1:80 nat weight=1 upper=10 lower=5
//! server add mark 7 ipv4 10.0.0.1:0 gue:6080:none
//! frame 1 client 020000000101…
//! answer 2 to 1 from server tcp SA 0
//! advance 100
//! entries
//! ```

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::{FromStr, SplitWhitespace};

use crate::answer::Answer;
use crate::operation::{
    GueChecksum, Key, MarkRule, Method, Operation, Protocol, Scenario, Server, Service, Tunnel,
};

/// TCP's flags by letter, from the lowest bit on.
const FLAGS: [u8; 8] = *b"FSRPAUEC";

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "scenario {}", self.name)?;
        self.operations
            .iter()
            .try_for_each(|op| writeln!(f, "{op}"))
    }
}

/// All scenarios of a text. Empty lines and what follows a `#` do not count.
///
/// # Errors
/// Which line is none, and why.
pub fn scenarios(text: &str) -> Result<Vec<Scenario>, String> {
    let mut all: Vec<Scenario> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix("scenario ") {
            all.push(Scenario {
                name: name.to_owned(),
                operations: Vec::new(),
            });
            continue;
        }
        let operation = line.parse();
        let operation = operation.map_err(|why| format!("line {}: {why}: {line}", number + 1))?;
        if all.is_empty() {
            all.push(Scenario::default());
        }
        all.last_mut()
            .expect("there is one")
            .operations
            .push(operation);
    }
    Ok(all)
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(protocol, at) => write!(f, "{protocol} {at}"),
            Self::Mark(mark, is_v6) => {
                write!(f, "mark {mark} {}", if *is_v6 { "ipv6" } else { "ipv4" })
            }
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.scheduler)?;
        if !self.flags.is_empty() {
            write!(f, " flags={}", self.flags.join(","))?;
        }
        if self.one_packet {
            f.write_str(" ops")?;
        }
        if let Some(seconds) = self.persistence {
            write!(f, " persist={seconds}")?;
        }
        if let Some(bits) = self.mask {
            write!(f, " mask={bits}")?;
        }
        if let Some(engine) = &self.engine {
            write!(f, " pe={engine}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nat => f.write_str("nat"),
            Self::Dr => f.write_str("dr"),
            Self::Tun(Tunnel::Ipip) => f.write_str("ipip"),
            Self::Tun(Tunnel::Gre(false)) => f.write_str("gre"),
            Self::Tun(Tunnel::Gre(true)) => f.write_str("gre:full"),
            Self::Tun(Tunnel::Gue(port, checksum)) => {
                let checksum = match checksum {
                    GueChecksum::None => "none",
                    GueChecksum::Full => "full",
                    GueChecksum::Remote => "remote",
                };
                write!(f, "gue:{port}:{checksum}")
            }
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} weight={}", self.at, self.method, self.weight)?;
        if (self.upper, self.lower) != (0, 0) {
            write!(f, " upper={} lower={}", self.upper, self.lower)?;
        }
        Ok(())
    }
}

impl fmt::Display for MarkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mark)?;
        if let Some(protocol) = self.protocol {
            write!(f, " protocol={protocol}")?;
        }
        if let Some((prefix, len)) = self.source {
            write!(f, " source={prefix}/{len}")?;
        }
        if let Some((prefix, len)) = self.destination {
            write!(f, " destination={prefix}/{len}")?;
        }
        if let Some((first, last)) = self.source_ports {
            write!(f, " source_ports={first}-{last}")?;
        }
        if let Some((first, last)) = self.destination_ports {
            write!(f, " destination_ports={first}-{last}")?;
        }
        if let Some(leg) = self.leg {
            write!(f, " leg={leg}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { flags, data } => write!(f, "tcp {} {data}", flag_letters(*flags)),
            Self::Udp { data, has_checksum } => {
                write!(
                    f,
                    "udp {data}{}",
                    if *has_checksum { "" } else { " nocsum" }
                )
            }
            Self::Sctp { chunk } => write!(f, "sctp {chunk}"),
            Self::Icmp {
                icmp_type,
                code,
                word,
                quoted,
                is_from_router,
            } => {
                let from = if *is_from_router { " router" } else { "" };
                write!(f, "icmp {icmp_type} {code} {word} {quoted}{from}")
            }
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(service) => write!(f, "service add {service}"),
            Self::EditService(service) => write!(f, "service edit {service}"),
            Self::DeleteService(key) => write!(f, "service del {key}"),
            Self::AddServer(key, server) => write!(f, "server add {key} {server}"),
            Self::EditServer(key, server) => write!(f, "server edit {key} {server}"),
            Self::DeleteServer(key, at) => write!(f, "server del {key} {at}"),
            Self::Flush => f.write_str("flush"),
            Self::Zero(None) => f.write_str("zero"),
            Self::Zero(Some(key)) => write!(f, "zero {key}"),
            Self::Timeouts([tcp, fin, udp]) => write!(f, "timeouts {tcp} {fin} {udp}"),
            Self::Sysctl(name, value) => write!(f, "sysctl {name} {value}"),
            Self::Mtu(leg, mtu) => write!(f, "mtu {leg} {mtu}"),
            Self::Mark(rule) => write!(f, "mark {rule}"),
            Self::Frame { id, leg, bytes } => {
                write!(f, "frame {id} {leg} {bytes} # {}", summary(&bytes.0))
            }
            Self::Answer {
                id,
                to,
                from,
                answer,
            } => write!(f, "answer {id} to {to} from {from} {answer}"),
            Self::Advance(ticks) => write!(f, "advance {ticks}"),
            Self::Entries => f.write_str("entries"),
            Self::Counters => f.write_str("counters"),
        }
    }
}

/// The letters of TCP flags, `.` for none.
#[must_use]
pub fn flag_letters(flags: u8) -> String {
    let set = FLAGS
        .iter()
        .enumerate()
        .filter(|(bit, _)| flags >> bit & 1 == 1);
    let letters: String = set.map(|(_, letter)| char::from(*letter)).collect();
    if letters.is_empty() {
        ".".to_owned()
    } else {
        letters
    }
}

fn flags_of(letters: &str) -> Result<u8, String> {
    let bit = |letter: u8| FLAGS.iter().position(|flag| *flag == letter);
    let mut flags = 0;
    for letter in letters.bytes().filter(|letter| *letter != b'.') {
        flags |= 1 << bit(letter).ok_or_else(|| format!("{letters:?} are no TCP flags"))?;
    }
    Ok(flags)
}

/// A frame in a few words.
#[must_use]
pub fn summary(frame: &[u8]) -> String {
    let Ok(weir_wire::Parsed::Ip(headers)) = weir_wire::parse(frame, false) else {
        return format!("{} bytes", frame.len());
    };
    packet_summary(frame, &headers)
}

fn packet_summary(frame: &[u8], headers: &weir_wire::Headers) -> String {
    use weir_wire::protocol;
    let ends = |a: String, b: String| format!("{a} > {b}");
    let plain = ends(headers.src.ip().to_string(), headers.dst.ip().to_string());
    let with_ports = || {
        let at = |addr: weir_wire::Addr, port| SocketAddr::new(addr.ip(), port).to_string();
        ends(
            at(headers.src, headers.src_port),
            at(headers.dst, headers.dst_port),
        )
    };
    let inner = |at: usize| match weir_wire::parse_ip(frame, at, false) {
        Ok(inner) => format!(" [{}]", packet_summary(frame, &inner)),
        Err(_) => String::new(),
    };
    let l4 = usize::from(headers.l4);
    let what = match headers.protocol {
        protocol::TCP => format!("{} tcp {}", with_ports(), flag_letters(headers.tcp_flags)),
        protocol::UDP => format!("{} udp", with_ports()),
        protocol::SCTP => format!("{} sctp", with_ports()),
        protocol::IPIP | protocol::IPV6 => format!("{plain} ipip{}", inner(l4)),
        protocol::ICMP | protocol::ICMPV6 => {
            let (icmp_type, code) = (headers.icmp_type, headers.icmp_code);
            format!("{plain} icmp {icmp_type}/{code}{}", inner(l4 + 8))
        }
        other => format!("{plain} protocol {other}"),
    };
    let (ttl, len) = (
        headers.ttl,
        usize::from(headers.end) - usize::from(headers.l3),
    );
    format!("{what} ttl {ttl} len {len}")
}

/// The words of a line, one after the other.
struct Words<'t>(SplitWhitespace<'t>);

impl<'t> Words<'t> {
    fn word(&mut self) -> Result<&'t str, String> {
        self.0.next().ok_or_else(|| "a word is missing".to_owned())
    }

    fn value<T: FromStr>(&mut self) -> Result<T, String> {
        value(self.word()?)
    }

    fn key(&mut self) -> Result<Key, String> {
        match self.word()? {
            "mark" => {
                let mark = self.value()?;
                Ok(Key::Mark(mark, self.word()? == "ipv6"))
            }
            word => Ok(Key::Address(protocol(word)?, self.value()?)),
        }
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        let word = self.word()?;
        if word == wanted {
            Ok(())
        } else {
            Err(format!("{word:?} is not {wanted:?}"))
        }
    }

    fn service(&mut self) -> Result<Service, String> {
        let mut service = Service {
            key: self.key()?,
            scheduler: self.value()?,
            flags: Vec::new(),
            one_packet: false,
            persistence: None,
            mask: None,
            engine: None,
        };
        for word in self.0.by_ref() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("flags", flags) => service.flags = flags.split(',').map(str::to_owned).collect(),
                ("ops", _) => service.one_packet = true,
                ("persist", seconds) => service.persistence = Some(value(seconds)?),
                ("mask", bits) => service.mask = Some(value(bits)?),
                ("pe", engine) => service.engine = Some(engine.to_owned()),
                _ => return Err(format!("{word:?} is nothing of a service")),
            }
        }
        Ok(service)
    }

    fn server(&mut self) -> Result<Server, String> {
        let mut server = Server {
            at: self.value()?,
            method: method(self.word()?)?,
            weight: 1,
            upper: 0,
            lower: 0,
        };
        for word in self.0.by_ref() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("weight", weight) => server.weight = value(weight)?,
                ("upper", upper) => server.upper = value(upper)?,
                ("lower", lower) => server.lower = value(lower)?,
                _ => return Err(format!("{word:?} is nothing of a server")),
            }
        }
        Ok(server)
    }

    fn mark_rule(&mut self) -> Result<MarkRule, String> {
        let mut rule = MarkRule {
            mark: self.value()?,
            protocol: None,
            source: None,
            destination: None,
            source_ports: None,
            destination_ports: None,
            leg: None,
        };
        for word in self.0.by_ref() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("protocol", word) => rule.protocol = Some(protocol(word)?),
                ("source", word) => rule.source = Some(prefix(word)?),
                ("destination", word) => rule.destination = Some(prefix(word)?),
                ("source_ports", word) => rule.source_ports = Some(ports(word)?),
                ("destination_ports", word) => rule.destination_ports = Some(ports(word)?),
                ("leg", word) => rule.leg = Some(word.parse()?),
                _ => return Err(format!("{word:?} is nothing of a mark rule")),
            }
        }
        Ok(rule)
    }

    fn answer(&mut self) -> Result<Answer, String> {
        match self.word()? {
            "tcp" => Ok(Answer::Tcp {
                flags: flags_of(self.word()?)?,
                data: self.value()?,
            }),
            "udp" => Ok(Answer::Udp {
                data: self.value()?,
                has_checksum: self.0.next() != Some("nocsum"),
            }),
            "sctp" => Ok(Answer::Sctp {
                chunk: self.value()?,
            }),
            "icmp" => Ok(Answer::Icmp {
                icmp_type: self.value()?,
                code: self.value()?,
                word: self.value()?,
                quoted: self.value()?,
                is_from_router: self.0.next() == Some("router"),
            }),
            other => Err(format!("{other:?} is no answer")),
        }
    }
}

fn value<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not what is wanted here"))
}

fn protocol(word: &str) -> Result<Protocol, String> {
    match word {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(format!("{word:?} is no protocol")),
    }
}

fn prefix(word: &str) -> Result<(IpAddr, u8), String> {
    let (address, len) = word
        .split_once('/')
        .ok_or_else(|| format!("{word:?} is no prefix"))?;
    Ok((value(address)?, value(len)?))
}

fn ports(word: &str) -> Result<(u16, u16), String> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Ok((value(first)?, value(last)?))
}

fn method(word: &str) -> Result<Method, String> {
    let parts: Vec<&str> = word.split(':').collect();
    match parts[..] {
        ["nat"] => Ok(Method::Nat),
        ["dr"] => Ok(Method::Dr),
        ["ipip"] => Ok(Method::Tun(Tunnel::Ipip)),
        ["gre"] => Ok(Method::Tun(Tunnel::Gre(false))),
        ["gre", "full"] => Ok(Method::Tun(Tunnel::Gre(true))),
        ["gue", port, checksum] => {
            let checksum = match checksum {
                "none" => GueChecksum::None,
                "full" => GueChecksum::Full,
                "remote" => GueChecksum::Remote,
                _ => return Err(format!("{checksum:?} is no mode of GUE's checksum")),
            };
            Ok(Method::Tun(Tunnel::Gue(value(port)?, checksum)))
        }
        _ => Err(format!("{word:?} is no forwarding method")),
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = Words(line.split_whitespace());
        match words.word()? {
            "service" => match words.word()? {
                "add" => Ok(Self::AddService(words.service()?)),
                "edit" => Ok(Self::EditService(words.service()?)),
                "del" => Ok(Self::DeleteService(words.key()?)),
                other => Err(format!("nothing {other:?}s a service")),
            },
            "server" => match words.word()? {
                "add" => Ok(Self::AddServer(words.key()?, words.server()?)),
                "edit" => Ok(Self::EditServer(words.key()?, words.server()?)),
                "del" => Ok(Self::DeleteServer(words.key()?, words.value()?)),
                other => Err(format!("nothing {other:?}s a server")),
            },
            "flush" => Ok(Self::Flush),
            "zero" if words.0.clone().next().is_none() => Ok(Self::Zero(None)),
            "zero" => Ok(Self::Zero(Some(words.key()?))),
            "timeouts" => Ok(Self::Timeouts([
                words.value()?,
                words.value()?,
                words.value()?,
            ])),
            "sysctl" => Ok(Self::Sysctl(words.value()?, words.value()?)),
            "mtu" => Ok(Self::Mtu(words.value()?, words.value()?)),
            "mark" => Ok(Self::Mark(words.mark_rule()?)),
            "frame" => Ok(Self::Frame {
                id: words.value()?,
                leg: words.value()?,
                bytes: words.value()?,
            }),
            "answer" => {
                let id = words.value()?;
                words.expect("to")?;
                let to = words.value()?;
                words.expect("from")?;
                let from = words.value()?;
                let answer = words.answer()?;
                Ok(Self::Answer {
                    id,
                    to,
                    from,
                    answer,
                })
            }
            "advance" => Ok(Self::Advance(words.value()?)),
            "entries" => Ok(Self::Entries),
            "counters" => Ok(Self::Counters),
            other => Err(format!("{other:?} is no operation")),
        }
    }
}
