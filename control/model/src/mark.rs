//! `[[mark]]`: which packets carry which firewall mark.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::Problem;
use crate::reader::{Placed, Section};
use crate::service::{Family, PortRange, Protocol, port_range};

/// `[[mark]]`: packets of which all that is given is true get this mark. The first rule that is
/// true of a packet counts. What is absent is true of every packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkRule {
    /// The mark, 1 to 4 294 967 295; must be given.
    pub mark: u32,
    /// The family of the packets; default that of `source` or `destination`, else both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// The transport protocol; default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Where packets come from; default anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpNet>,
    /// Where packets go to; default anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpNet>,
    /// The ports they come from, a port or a range each; default any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_ports: Vec<PortRange>,
    /// The ports they go to, a port or a range each; default any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destination_ports: Vec<PortRange>,
    /// The [`Port::name`](crate::Port::name) they come in by; default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// It is true of packets for other hosts, too, which are taken from their way as a transparent
    /// cache wants it; else of those for the director only. Default `false`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub any_destination: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl MarkRule {
    pub(crate) fn read(s: Section<'_>) -> Option<Placed<MarkRule>> {
        let mark = s.required_number("mark", "a mark", 1..=u32::MAX);
        let family = s.optional_choice("family");
        let protocol = s.optional_choice("protocol");
        let source = s.optional("source", network);
        let destination = s.optional("destination", network);
        let source_ports = s.one_or_more("source_ports", port_range);
        let destination_ports = s.one_or_more("destination_ports", port_range);
        let interface = s.optional("interface", |name| Ok(name.to_owned()));
        let any_destination = s.bool("any_destination", false);
        let value = MarkRule {
            // Any mark will do for what else is wrong.
            mark: mark.unwrap_or(1),
            family,
            protocol,
            source,
            destination,
            source_ports,
            destination_ports,
            interface,
            any_destination,
        };
        for (key, problem) in value.faults() {
            s.fault(key, problem);
        }
        let path = s.path().clone();
        s.finish();
        mark?;
        let value = value.with_family();
        Some(Placed { path, value })
    }

    /// The same, with the family that follows from its source or destination.
    #[must_use]
    pub fn with_family(self) -> Self {
        let first = self.families().next();
        let family = first.map(|(_, family)| family);
        Self { family, ..self }
    }

    /// The families that it names, and where.
    fn families(&self) -> impl Iterator<Item = (&'static str, Family)> + use<> {
        let of = |net: Option<IpNet>| net.map(|net| Family::of(net.addr()));
        let families = [
            ("family", self.family),
            ("source", of(self.source)),
            ("destination", of(self.destination)),
        ];
        families
            .into_iter()
            .filter_map(|(key, family)| Some((key, family?)))
    }

    /// What is wrong with it, by key. Whether there is such a port is not looked at.
    pub(crate) fn faults(&self) -> Vec<(&'static str, Problem)> {
        let mut told = Vec::new();
        if self.mark == 0 {
            let cure = "give a mark from 1 to 4294967295";
            told.push(("mark", Problem::new("0 is no mark", cure)));
        }
        let mut given = self.families();
        if let Some((key, family)) = given.next()
            && let Some((other, _)) = given.find(|(_, other)| *other != family)
        {
            let problem = format!("is of another family than {key}, {}", family.title());
            told.push((other, Problem::new(problem, "give a rule for each family")));
        }
        let ports = [
            ("source_ports", &self.source_ports),
            ("destination_ports", &self.destination_ports),
        ];
        for (key, _) in ports.into_iter().filter(|(_, ports)| !ports.is_empty()) {
            if self.protocol.is_none() {
                let problem = "without a protocol there are no ports";
                let cure = "give protocol = \"tcp\", \"udp\" or \"sctp\", a rule for each";
                told.push((key, Problem::new(problem, cure)));
            }
        }
        told
    }
}

impl fmt::Display for MarkRule {
    /// `mark 10: tcp from 198.51.100.0/24 to 192.0.2.100/32 ports 80,443 by wan`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mark {}:", self.mark)?;
        match (self.protocol, self.family) {
            (Some(protocol), _) => write!(f, " {protocol}")?,
            (None, Some(family)) => write!(f, " {family}")?,
            (None, None) => f.write_str(" all")?,
        }
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        ports(f, &self.source_ports)?;
        if let Some(destination) = self.destination {
            write!(f, " to {destination}")?;
        } else if !self.destination_ports.is_empty() {
            f.write_str(" to")?;
        }
        ports(f, &self.destination_ports)?;
        if let Some(interface) = &self.interface {
            write!(f, " by {interface}")?;
        }
        match self.any_destination {
            true => f.write_str(", for other hosts too"),
            false => Ok(()),
        }
    }
}

fn ports(f: &mut fmt::Formatter<'_>, ports: &[PortRange]) -> fmt::Result {
    if ports.is_empty() {
        return Ok(());
    }
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    write!(f, " ports {}", ports.join(","))
}

/// An address is a network of one.
fn network(text: &str) -> Result<IpNet, Problem> {
    let net = text.parse::<IpNet>();
    let net = net.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let net = net.map_err(|_| {
        let cure = "give one such as \"192.0.2.0/24\" or \"2001:db8::/32\"";
        Problem::new(format!("{text:?} is no network"), cure)
    })?;
    if net != net.trunc() {
        let cure = format!("give {}", net.trunc());
        return Err(Problem::new(
            format!("{net} has bits beyond its prefix"),
            cure,
        ));
    }
    Ok(net)
}
