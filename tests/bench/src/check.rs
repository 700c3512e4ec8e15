//! Whether what left is right: a benchmark whose packets are wrong measures nothing.

use weir_core::counters::{DropReason, WorkerCounters};
use weir_core::io::PortId;
use weir_wire::Mac;

use crate::packet::{self, Seen};
use crate::scenario::{
    self, DIRECTOR_LAN, LAN, LAN_MAC, Mode, ROUTER_MAC, SERVERS, SERVICE_PORT, VIP, WAN, WAN_MAC,
};

/// Looks at packets that left, and remembers the first that was wrong.
#[derive(Debug)]
pub(crate) struct Checker {
    mode: Mode,
    /// Packets to each real server.
    to_server: [u64; SERVERS as usize],
    replies: u64,
    fault: Option<String>,
}

impl Checker {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            to_server: [0; SERVERS as usize],
            replies: 0,
            fault: None,
        }
    }

    /// Looks at a frame that left by `port`.
    pub(crate) fn look(&mut self, port: PortId, frame: &[u8]) {
        if self.fault.is_none()
            && let Err(why) = self.judge(port, frame)
        {
            self.fault = Some(format!("{why}; port {}, frame {frame:02x?}", port.0));
        }
    }

    /// The first fault, or that too little was seen, or of one server only.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let all: u64 = self.to_server.iter().sum();
        // Visits are random: each server's share is near to a tenth, not exactly.
        let share = all / u64::from(SERVERS);
        let is_even = self.to_server.iter().all(|n| n.abs_diff(share) < share / 2);
        if all < 1000 || !is_even {
            return Err(format!("packets by server: {:?}", self.to_server));
        }
        if self.mode.has_replies() && self.replies == 0 {
            return Err("no reply came through".into());
        }
        Ok(())
    }

    fn judge(&mut self, port: PortId, frame: &[u8]) -> Result<(), String> {
        let (link, packet) = frame.split_at_checked(14).ok_or("shorter than Ethernet")?;
        if link[12..] != [8, 0] {
            return Err("not IPv4".into());
        }
        let link = (port, &link[..6], &link[6..12]);
        if self.mode.has_replies() && port == WAN {
            self.replies += 1;
            let seen = packet::read(packet)?;
            let (client, client_port) = scenario::client(seen.flow);
            let wanted = wanted(seen.flow, VIP, client, SERVICE_PORT, client_port);
            same_link(link, WAN, ROUTER_MAC, WAN_MAC)?;
            return same(seen, wanted);
        }
        let (seen, outer) = match self.mode {
            Mode::Tun => {
                let (src, dst, _) = packet::read_ip(packet, 4)?;
                if src != DIRECTOR_LAN {
                    return Err("the tunnel does not begin here".into());
                }
                (packet::read(&packet[20..])?, Some(dst))
            }
            _ => (packet::read(packet)?, None),
        };
        let by_mac = link.1[5].wrapping_sub(1);
        if by_mac >= SERVERS {
            return Err("to no real server's MAC address".into());
        }
        same_link(link, LAN, scenario::server_mac(by_mac), LAN_MAC)?;
        let server = scenario::server_ip(by_mac);
        if outer.is_some_and(|dst| dst != server) {
            return Err("the tunnel's end is not the server of the MAC address".into());
        }
        self.to_server[usize::from(by_mac)] += 1;
        let (client, client_port) = scenario::client(seen.flow);
        let dst = match self.mode {
            Mode::Nat | Mode::FullNat => server,
            _ => VIP,
        };
        let mut wanted = wanted(seen.flow, client, dst, client_port, SERVICE_PORT);
        if self.mode == Mode::FullNat {
            // Whatever local address and port the director chose.
            (wanted.src, wanted.src_port) = (seen.src, seen.src_port);
        }
        same(seen, wanted)
    }
}

/// The packet of `flow` as it should be, one hop on.
fn wanted(flow: u32, src: u32, dst: u32, src_port: u16, dst_port: u16) -> Seen {
    Seen {
        src,
        dst,
        src_port,
        dst_port,
        ttl: 63,
        flow,
    }
}

fn same_link(
    (port, dst, src): (PortId, &[u8], &[u8]),
    wanted_port: PortId,
    wanted_dst: Mac,
    wanted_src: Mac,
) -> Result<(), String> {
    if port != wanted_port || dst != wanted_dst.0 || src != wanted_src.0 {
        return Err(format!("not from {wanted_src} to {wanted_dst}"));
    }
    Ok(())
}

fn same(seen: Seen, wanted: Seen) -> Result<(), String> {
    if seen == wanted {
        Ok(())
    } else {
        Err(format!("{seen:x?} where {wanted:x?} should be"))
    }
}

/// What of the counters says that a packet did not go through: nothing may, but for `allowed`.
pub(crate) fn lost(counters: &WorkerCounters, allowed: &[DropReason]) -> Result<(), String> {
    for reason in DropReason::ALL.iter().filter(|r| !allowed.contains(r)) {
        let count = counters.drops(*reason);
        if count > 0 {
            return Err(format!("{count} packets dropped as {}", reason.label()));
        }
    }
    Ok(())
}

/// Round robin is exact: no server has two flows more than another.
pub(crate) fn spread(counters: &WorkerCounters) -> Result<(), String> {
    let flows: Vec<u64> = counters
        .servers
        .iter()
        .map(|server| server.connections.get())
        .filter(|flows| *flows > 0)
        .collect();
    let (least, most) = (flows.iter().min(), flows.iter().max());
    match (least, most) {
        (Some(least), Some(most)) if most - least <= 1 => Ok(()),
        _ => Err(format!("flows by server: {flows:?}")),
    }
}
