//! The director's network in the guest: two cables whose far ends are raw sockets. Nothing but the
//! director has an IP stack, so every frame that comes out of a cable was sent by the director.

use std::io;
use std::net::IpAddr;

use weir_conformance::bytes::Bytes;
use weir_conformance::place::{self, Leg};
use weir_wire::Mac;

use crate::netlink::{CREATE, Message, Netlink};
use crate::sys::{self, Socket};

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const NEW_NEIGHBOUR: u16 = 28;
const NEW_RULE: u16 = 32;

/// The table of what is for the director whatever its destination.
const TABLE: u8 = 100;

/// Biggest frame at a far end, which is to limit nothing.
const FAR_MTU: u32 = 9000;

const UP: u32 = libc::IFF_UP as u32;
const NO_ARP: u32 = libc::IFF_NOARP as u32;

/// Settings of a namespace without which the kernel does more than is asked, or less.
const SETTINGS: &[(&str, &str)] = &[
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv4/icmp_ratemask", "0"),
    ("ipv4/icmp_msgs_per_sec", "1000000"),
    ("ipv4/icmp_msgs_burst", "1000000"),
    ("ipv6/icmp/ratelimit", "0"),
    ("ipv6/icmp/ratemask", ""),
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
];

/// A director's network. It is as long as its sockets are, whatever network this thread is in.
pub(crate) struct Network {
    route: Netlink,
    /// By leg: the far end.
    far: [Socket; 2],
    buffer: Vec<u8>,
}

fn near_name(leg: Leg) -> &'static str {
    ["cl0", "rs0"][leg.index()]
}

fn far_name(leg: Leg) -> &'static str {
    ["hc0", "hr0"][leg.index()]
}

impl Network {
    /// Makes one in a new namespace, which this thread is in afterwards.
    pub(crate) fn new() -> io::Result<Self> {
        sys::new_network()?;
        for (name, value) in SETTINGS {
            std::fs::write(format!("/proc/sys/net/{name}"), value)?;
        }
        let mut route = Netlink::new(libc::NETLINK_ROUTE)?;
        let mut links = Message::default();
        link_flags(&mut links, "lo", UP);
        Leg::ALL.iter().for_each(|leg| cable(&mut links, *leg));
        route.all(&links)?;
        for leg in Leg::ALL {
            // The far end is to say nothing of its own.
            let name = far_name(leg);
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1")?;
            sys::offloads_off(name)?;
            sys::offloads_off(near_name(leg))?;
        }
        let mut rest = Message::default();
        for leg in Leg::ALL {
            link_flags(&mut rest, far_name(leg), UP | NO_ARP);
            link_flags(&mut rest, near_name(leg), UP);
        }
        route.all(&rest)?;
        let mut rest = Message::default();
        for leg in Leg::ALL {
            let index = sys::interface(near_name(leg))?;
            for (address, len) in leg.addresses() {
                new_address(&mut rest, index, address, len);
            }
        }
        for (leg, address, mac) in place::neighbours() {
            new_neighbour(&mut rest, sys::interface(near_name(leg))?, address, mac);
        }
        for (prefix, len, leg) in place::routes() {
            let [via_v4, via_v6] = leg.routers();
            let via = if prefix.is_ipv4() { via_v4 } else { via_v6 };
            new_route(&mut rest, prefix, len, via);
        }
        let lo = sys::interface("lo")?;
        for family in [libc::AF_INET, libc::AF_INET6] {
            new_rule(&mut rest, family as u8);
            new_local_default(&mut rest, family as u8, lo);
        }
        route.all(&rest)?;
        let [client, server] = Leg::ALL.map(|leg| Socket::of_interface(far_name(leg)));
        let mut network = Self {
            route,
            far: [client?, server?],
            buffer: Vec::new(),
        };
        network.collect()?;
        Ok(network)
    }

    pub(crate) fn set_mtu(&mut self, leg: Leg, mtu: u16) -> io::Result<()> {
        let mut message = Message::default();
        message.begin(NEW_LINK, 0, &link_header(0, 0));
        message.attribute(libc::IFLA_IFNAME, &zero_ended(near_name(leg)));
        message.attribute(libc::IFLA_MTU, &u32::from(mtu).to_ne_bytes());
        self.route.all(&message)
    }

    /// The firewall mark of frames that arrive from now on.
    pub(crate) fn set_mark(&self, mark: u32) -> io::Result<()> {
        self.far.iter().try_for_each(|far| far.set_mark(mark))
    }

    /// A frame reaches the director, which has dealt with it when this returns. What left, by leg;
    /// none when the frame is too big for the leg and reaches nobody.
    pub(crate) fn pass(&mut self, leg: Leg, frame: &[u8]) -> io::Result<Option<[Vec<Bytes>; 2]>> {
        match self.far[leg.index()].send(frame) {
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(None),
            Err(error) => Err(error),
            Ok(()) => self.collect().map(Some),
        }
    }

    /// Does away with what has left the director unasked.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        self.collect().map(|_| ())
    }

    /// What has left the director, by leg.
    fn collect(&mut self) -> io::Result<[Vec<Bytes>; 2]> {
        let mut left = [Vec::new(), Vec::new()];
        for (far, left) in self.far.iter().zip(&mut left) {
            while let Some(len) = far.receive(&mut self.buffer)? {
                let frame = &self.buffer[..len];
                if !is_housekeeping(frame) {
                    left.push(Bytes(frame.to_vec()));
                }
            }
        }
        Ok(left)
    }
}

/// What Linux says on its own account: ARP, IGMP, neighbour and multicast listener discovery.
fn is_housekeeping(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x06]) => true,
        Some([0x08, 0x00]) => frame.get(23) == Some(&2),
        Some([0x86, 0xdd]) => match (frame.get(20), frame.get(54)) {
            (Some(0), _) => frame.get(38) == Some(&0xff),
            (Some(58), Some(kind)) => matches!(kind, 130..=136 | 143),
            _ => false,
        },
        _ => false,
    }
}

fn zero_ended(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// struct ifinfomsg.
fn link_header(flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0; 8];
    header.extend(flags.to_ne_bytes());
    header.extend(change.to_ne_bytes());
    header
}

fn link_flags(message: &mut Message, name: &str, flags: u32) {
    message.begin(NEW_LINK, 0, &link_header(flags, flags));
    message.attribute(libc::IFLA_IFNAME, &zero_ended(name));
}

/// A pair of veths.
fn cable(message: &mut Message, leg: Leg) {
    const PEER: u16 = 1;
    message.begin(NEW_LINK, CREATE, &link_header(0, 0));
    message.attribute(libc::IFLA_IFNAME, &zero_ended(near_name(leg)));
    message.attribute(libc::IFLA_ADDRESS, &leg.director().0);
    message.attribute(libc::IFLA_MTU, &1500_u32.to_ne_bytes());
    message.nested(libc::IFLA_LINKINFO, |info| {
        info.attribute(libc::IFLA_INFO_KIND, b"veth");
        info.nested(libc::IFLA_INFO_DATA, |data| {
            data.nested(PEER, |peer| {
                peer.raw(&link_header(0, 0));
                peer.attribute(libc::IFLA_IFNAME, &zero_ended(far_name(leg)));
                peer.attribute(libc::IFLA_MTU, &FAR_MTU.to_ne_bytes());
            });
        });
    });
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

/// The bytes of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn new_address(message: &mut Message, interface: u32, address: IpAddr, len: u8) {
    const NO_DETECTION: u8 = libc::IFA_F_NODAD as u8;
    let mut header = vec![family(address), len, NO_DETECTION, 0];
    header.extend(interface.to_ne_bytes());
    message.begin(NEW_ADDRESS, CREATE, &header);
    message.attribute(libc::IFA_LOCAL, &octets(address));
    message.attribute(libc::IFA_ADDRESS, &octets(address));
}

fn new_neighbour(message: &mut Message, interface: u32, address: IpAddr, mac: Mac) {
    const DESTINATION: u16 = 1;
    const LINK_ADDRESS: u16 = 2;
    const PERMANENT: u16 = 0x80;
    let mut header = vec![family(address), 0, 0, 0];
    header.extend(interface.to_ne_bytes());
    header.extend(PERMANENT.to_ne_bytes());
    header.extend([0, 0]);
    message.begin(NEW_NEIGHBOUR, CREATE, &header);
    message.attribute(DESTINATION, &octets(address));
    message.attribute(LINK_ADDRESS, &mac.0);
}

fn new_route(message: &mut Message, prefix: IpAddr, len: u8, via: IpAddr) {
    const UNICAST: u8 = 1;
    const STATIC: u8 = 4;
    let table = libc::RT_TABLE_MAIN;
    let header = [
        family(prefix),
        len,
        0,
        0,
        table,
        STATIC,
        0,
        UNICAST,
        0,
        0,
        0,
        0,
    ];
    message.begin(NEW_ROUTE, CREATE, &header);
    if len > 0 {
        message.attribute(libc::RTA_DST, &octets(prefix));
    }
    message.attribute(libc::RTA_GATEWAY, &octets(via));
}

/// What has a mark of the kind is looked up in the table of its own.
fn new_rule(message: &mut Message, family: u8) {
    const TO_TABLE: u8 = 1;
    const MARK: u16 = 10;
    const MASK: u16 = 16;
    let header = [family, 0, 0, 0, TABLE, 0, 0, TO_TABLE, 0, 0, 0, 0];
    message.begin(NEW_RULE, CREATE, &header);
    for kind in [MARK, MASK] {
        message.attribute(kind, &place::ANY_DESTINATION.to_ne_bytes());
    }
}

/// All that is looked up there is for this host.
fn new_local_default(message: &mut Message, family: u8, lo: u32) {
    const LOCAL: u8 = 2;
    const STATIC: u8 = 4;
    const HOST: u8 = 254;
    let header = [family, 0, 0, 0, TABLE, STATIC, HOST, LOCAL, 0, 0, 0, 0];
    message.begin(NEW_ROUTE, CREATE, &header);
    message.attribute(libc::RTA_OIF, &lo.to_ne_bytes());
}
