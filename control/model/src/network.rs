//! `[[port]]`, `[[route]]` and `[[neighbour]]`: the network as the director sees it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::Problem;
use crate::reader::{OrFalse, Placed, Section};

/// `[[port]]`: a device of DPDK. Only its addresses change on a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What routes and metrics call it: 1 to 15 letters, digits, `_`, `-` or `.`.
    pub name: String,
    /// Any DPDK device string (`net_tap0,iface=dtap0`) or PCI address (`0000:01:00.0`).
    pub device: String,
    /// Largest IP packet, in bytes; 576 to 9 216, default 1 500.
    pub mtu: u16,
    /// Its MAC address; `None`: the device's own.
    pub mac: Option<Mac>,
    /// The tap interface in Linux that stands for the port; default `weir-<name>`. `None`,
    /// written `false`: Linux sees nothing of the port.
    pub twin: Option<String>,
    /// The device takes frames for any MAC address. Default `false`.
    pub promiscuous: bool,
    /// Slots of each receive queue; 64 to 32 768, default 1 024. The device may round them.
    pub rx_descriptors: u16,
    /// Slots of each transmit queue; 64 to 32 768, default 1 024. The device may round them.
    pub tx_descriptors: u16,
    /// Addresses with their prefixes. Weir puts them on the twin at start and takes them off at
    /// the end; without a twin they are the sources of what Weir itself sends. Default none.
    pub addresses: Vec<IpNet>,
    /// Its VLANs, in the order of the file.
    pub vlans: Vec<Vlan>,
}

/// `[[port.vlan]]`: a tagged network on a port; in Linux the interface `<twin>.<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// VLAN identifier, 1 to 4 094.
    pub id: u16,
    /// As [`Port::addresses`].
    pub addresses: Vec<IpNet>,
}

/// `[[route]]`: a route besides those followed from Linux.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destinations.
    pub to: IpNet,
    /// The next hop; `None`: the destinations are on the link.
    pub via: Option<IpAddr>,
    /// The [`Port::name`] it leaves by.
    pub port: String,
    /// The VLAN it leaves by; `None`: untagged.
    pub vlan: Option<u16>,
}

/// `[[neighbour]]`: a MAC address that need not be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its IP address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: Mac,
    /// The [`Port::name`] it is on.
    pub port: String,
    /// The VLAN it is on; `None`: untagged.
    pub vlan: Option<u16>,
}

/// A MAC address. Written `02:00:00:00:00:fe`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

/// The text is not six pairs of hexadecimal digits with colons between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMac;

impl Port {
    /// Longest name of an interface in Linux: IFNAMSIZ less the NUL.
    pub const INTERFACE_NAME_MAX: usize = 15;

    pub(crate) fn read(s: Section<'_>) -> Option<Placed<Port>> {
        let name = s.required("name", "a name of your choice", port_name);
        let device = s.required(
            "device",
            "a DPDK device such as \"net_tap0,iface=dtap0\" or a PCI address",
            device,
        );
        let mtu = s.number("mtu", "bytes", 1500, 576..=9216);
        let mac = s.optional("mac", unicast_mac);
        let twin = match s.text_or_false("twin", None, interface_name) {
            OrFalse::Given(twin) => Some(twin),
            OrFalse::False => None,
            OrFalse::Absent => name.as_deref().and_then(|name| default_twin(&s, name)),
        };
        let promiscuous = s.bool("promiscuous", false);
        let rx_descriptors = s.number("rx_descriptors", "slots", 1024, 64..=32_768);
        let tx_descriptors = s.number("tx_descriptors", "slots", 1024, 64..=32_768);
        let addresses = read_addresses(&s, mtu);
        let vlans = read_vlans(&s, twin.as_deref(), mtu);
        let path = s.path().clone();
        s.finish();
        let value = Port {
            name: name?,
            device: device?,
            mtu,
            mac,
            twin,
            promiscuous,
            rx_descriptors,
            tx_descriptors,
            addresses,
            vlans,
        };
        Some(Placed { path, value })
    }

    /// The device's name without its arguments: what DPDK tells devices apart by.
    #[must_use]
    pub fn device_name(&self) -> &str {
        let name = self.device.split(',').next().unwrap_or_default();
        // DPDK takes PCI addresses without their domain too.
        match name.strip_prefix("0000:") {
            Some(short) if is_pci(name) => short,
            _ => name,
        }
    }

    /// The device is a PCI address.
    #[must_use]
    pub fn is_pci(&self) -> bool {
        is_pci(self.device_name())
    }

    /// Every address on the port, with the VLAN it is on.
    pub fn all_addresses(&self) -> impl Iterator<Item = (Option<u16>, IpNet)> + '_ {
        let untagged = self.addresses.iter().map(|address| (None, *address));
        let tagged = self.vlans.iter().flat_map(|vlan| {
            vlan.addresses
                .iter()
                .map(|address| (Some(vlan.id), *address))
        });
        untagged.chain(tagged)
    }
}

impl Route {
    pub(crate) fn read(s: Section<'_>) -> Option<Placed<Route>> {
        let to = s.required("to", "a network such as \"0.0.0.0/0\"", network);
        let via = s.optional("via", |text| unicast_or_link_local(text, "a next hop"));
        let port = s.required("port", "the name of a [[port]]", port_name);
        let vlan = s.optional_number("vlan", "a VLAN", 1..=4094);
        if let (Some(to), Some(via)) = (to, via)
            && to.addr().is_ipv4() != via.is_ipv4()
        {
            let problem = format!("{via} is not of the same family as {to}");
            s.fault(
                "via",
                Problem::new(problem, "give a next hop of the route's family"),
            );
        }
        let path = s.path().clone();
        s.finish();
        let value = Route {
            to: to?,
            via,
            port: port?,
            vlan,
        };
        Some(Placed { path, value })
    }
}

impl Neighbour {
    pub(crate) fn read(s: Section<'_>) -> Option<Placed<Neighbour>> {
        let address = s.required("address", "the neighbour's IP address", |text| {
            unicast_or_link_local(text, "a neighbour")
        });
        let mac = s.required("mac", "its MAC address", unicast_mac);
        let port = s.required("port", "the name of a [[port]]", port_name);
        let vlan = s.optional_number("vlan", "a VLAN", 1..=4094);
        let path = s.path().clone();
        s.finish();
        let value = Neighbour {
            address: address?,
            mac: mac?,
            port: port?,
            vlan,
        };
        Some(Placed { path, value })
    }
}

fn read_vlans(s: &Section<'_>, twin: Option<&str>, mtu: u16) -> Vec<Vlan> {
    let mut vlans: Vec<Vlan> = Vec::new();
    for vlan in s.sections("vlan") {
        let id = vlan.required_number("id", "a VLAN", 1..=4094);
        let addresses = read_addresses(&vlan, mtu);
        if let Some(id) = id {
            if vlans.iter().any(|other| other.id == id) {
                let problem = format!("the port has VLAN {id} already");
                let cure = "give each VLAN once, with all its addresses";
                vlan.fault("id", Problem::new(problem, cure));
            } else {
                check_vlan_name(&vlan, id, twin);
                vlans.push(Vlan { id, addresses });
            }
        }
        vlan.finish();
    }
    vlans
}

fn check_vlan_name(s: &Section<'_>, id: u16, twin: Option<&str>) {
    let name = format!("{}.{id}", twin.unwrap_or_default());
    if twin.is_some() && name.len() > Port::INTERFACE_NAME_MAX {
        let problem = format!("its interface would be {name:?}, longer than 15 characters");
        s.fault("id", Problem::new(problem, "give the port a shorter twin"));
    }
}

fn read_addresses(s: &Section<'_>, mtu: u16) -> Vec<IpNet> {
    let placed = s.placed_texts("addresses", interface_address);
    for address in &placed {
        if address.value.addr().is_ipv6() && mtu < 1280 {
            // RFC 8200 §5: every link that carries IPv6 has an MTU of 1280 or more.
            let problem = format!("IPv6 needs an mtu of at least 1280, and the port's is {mtu}");
            s.fault_at(&address.path, Problem::new(problem, "raise the mtu"));
        }
    }
    placed.into_iter().map(|placed| placed.value).collect()
}

fn default_twin(s: &Section<'_>, name: &str) -> Option<String> {
    let twin = format!("weir-{name}");
    if twin.len() > Port::INTERFACE_NAME_MAX {
        let problem = format!("its twin would be {twin:?}, longer than 15 characters");
        s.fault(
            "name",
            Problem::new(problem, "shorten it, or give twin a name of its own"),
        );
        return None;
    }
    Some(twin)
}

fn port_name(text: &str) -> Result<String, Problem> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !(1..=Port::INTERFACE_NAME_MAX).contains(&text.len()) || !text.chars().all(is_plain) {
        return Err(Problem::new(
            format!("{text:?} is not a port's name"),
            "give 1 to 15 letters, digits, '_', '-' or '.'",
        ));
    }
    Ok(text.to_owned())
}

/// What Linux takes as an interface's name (`dev_valid_name`).
fn interface_name(text: &str) -> Result<String, Problem> {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':');
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > Port::INTERFACE_NAME_MAX {
        format!("{text:?} is longer than 15 characters")
    } else if matches!(text, "." | ".." | "lo") || text.contains(is_bad) {
        format!("{text:?} cannot be an interface's name")
    } else {
        return Ok(text.to_owned());
    };
    Err(Problem::new(
        problem,
        "give 1 to 15 characters without blank, '/' and ':', or false for no twin",
    ))
}

fn device(text: &str) -> Result<String, Problem> {
    let name = text.split(',').next().unwrap_or_default();
    if name.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Problem::new(
            format!("{text:?} is not a DPDK device"),
            "give a device string without blanks, such as \"net_tap0,iface=dtap0\", or a PCI address",
        ));
    }
    Ok(text.to_owned())
}

/// `0000:01:00.0` or `01:00.0`.
fn is_pci(name: &str) -> bool {
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let Some((bus_device, function)) = name.rsplit_once('.') else {
        return false;
    };
    let parts: Vec<&str> = bus_device.split(':').collect();
    let is_address = match parts[..] {
        [domain, bus, device] => is_hex(domain, 4) && is_hex(bus, 2) && is_hex(device, 2),
        [bus, device] => is_hex(bus, 2) && is_hex(device, 2),
        _ => false,
    };
    is_address && is_hex(function, 1)
}

/// An address that a packet can be sent to from another machine; `noun` is who has it.
pub(crate) fn unicast(text: &str, noun: &str) -> Result<IpAddr, Problem> {
    let address = unicast_or_link_local(text, noun)?;
    unicast_address(address, noun).map(|()| address)
}

/// As [`unicast`], or loopback: a server that is the director itself.
pub(crate) fn server_address(text: &str) -> Result<IpAddr, Problem> {
    match text.parse() {
        Ok(address) if IpAddr::is_loopback(&address) => Ok(address),
        _ => unicast(text, "a server"),
    }
}

/// As [`unicast_address`], or loopback.
pub(crate) fn is_servers(address: IpAddr) -> Result<(), Problem> {
    match address.is_loopback() {
        true => Ok(()),
        false => unicast_address(address, "a server"),
    }
}

/// As [`unicast`], of an address that was read already.
pub(crate) fn unicast_address(address: IpAddr, noun: &str) -> Result<(), Problem> {
    possible(address, noun)?;
    if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return Err(Problem::new(
            format!("{address} is link-local and {noun} cannot have it"),
            "give a global or unique local address",
        ));
    }
    Ok(())
}

fn unicast_or_link_local(text: &str, noun: &str) -> Result<IpAddr, Problem> {
    let Ok(address) = text.parse::<IpAddr>() else {
        let cure = match text.split_once('/') {
            Some((bare, _)) if bare.parse::<IpAddr>().is_ok() => format!("give {bare:?}"),
            _ => "give one such as \"192.0.2.1\" or \"2001:db8::1\"".to_owned(),
        };
        return Err(Problem::new(format!("{text:?} is not an IP address"), cure));
    };
    possible(address, noun).map(|()| address)
}

fn possible(address: IpAddr, noun: &str) -> Result<(), Problem> {
    match impossible(address) {
        Some(kind) => Err(Problem::new(
            format!("{address} is {kind} and {noun} cannot have it"),
            "give a unicast address",
        )),
        None => Ok(()),
    }
}

/// Why no machine on a wire has this address.
fn impossible(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_multicast() => Some("multicast"),
        _ if address.is_loopback() => Some("loopback"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("broadcast"),
        // RFC 1122 §3.2.1.3 (a): "this network".
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("in 0.0.0.0/8"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("IPv4-mapped"),
        _ => None,
    }
}

/// An address with its prefix length, which an interface can have.
fn interface_address(text: &str) -> Result<IpNet, Problem> {
    let Ok(net) = text.parse::<IpNet>() else {
        let cure = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => format!("give its prefix too, such as \"{text}/24\""),
            Ok(IpAddr::V6(_)) => format!("give its prefix too, such as \"{text}/64\""),
            Err(_) => "give one such as \"192.0.2.1/24\" or \"2001:db8::1/64\"".to_owned(),
        };
        let problem = format!("{text:?} is not an address with a prefix");
        return Err(Problem::new(problem, cure));
    };
    let kind = match net {
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.network() => {
            Some("its network's own address")
        }
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.broadcast() => {
            Some("its network's broadcast address")
        }
        _ => impossible(net.addr()),
    };
    match kind {
        Some(kind) => Err(Problem::new(
            format!("{net} is {kind}"),
            "give the address of a machine in it",
        )),
        None => Ok(net),
    }
}

fn network(text: &str) -> Result<IpNet, Problem> {
    let Ok(net) = text.parse::<IpNet>() else {
        return Err(Problem::new(
            format!("{text:?} is not a network"),
            "give one such as \"10.0.0.0/8\" or \"::/0\"",
        ));
    };
    if net != net.trunc() {
        return Err(Problem::new(
            format!("{net} has bits set beyond its prefix"),
            format!("give \"{}\"", net.trunc()),
        ));
    }
    if net.prefix_len() > 0 && net.addr().is_multicast() {
        return Err(Problem::new(
            format!("{net} is multicast"),
            "give a unicast network",
        ));
    }
    Ok(net)
}

fn unicast_mac(text: &str) -> Result<Mac, Problem> {
    let Ok(mac) = text.parse::<Mac>() else {
        return Err(Problem::new(
            format!("{text:?} is not a MAC address"),
            "give one such as \"02:00:00:00:00:fe\"",
        ));
    };
    // The lowest bit of the first byte marks a group address.
    if mac.0[0] & 1 == 1 || mac.0 == [0; 6] {
        return Err(Problem::new(
            format!("{mac} is not the address of one machine"),
            "give one whose first byte is even, such as \"02:00:00:00:00:fe\"",
        ));
    }
    Ok(mac)
}

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let mut bytes = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            let pair = pairs.next().ok_or(NotAMac)?;
            if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(NotAMac);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAMac)?;
        }
        match pairs.next() {
            None => Ok(Mac(bytes)),
            Some(_) => Err(NotAMac),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for NotAMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a MAC address such as 02:00:00:00:00:fe")
    }
}

impl std::error::Error for NotAMac {}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = NotAMac;

    fn try_from(text: String) -> Result<Self, NotAMac> {
        text.parse()
    }
}
