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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{addr, client, server_ip, server_mac};
    use weir_wire::builder::PacketBuilder;
    use weir_wire::tcp_flag::ACK;

    const FLOW: u32 = 5_000_007;

    fn to_server(n: u8, dst: u32) -> PacketBuilder {
        let (client, _) = client(FLOW);
        PacketBuilder::eth(LAN_MAC, server_mac(n))
            .ip(addr(client), addr(dst))
            .ttl(63)
    }

    fn request(n: u8, dst: u32) -> Vec<u8> {
        let (_, port) = client(FLOW);
        let tcp = to_server(n, dst).tcp(port, SERVICE_PORT).flags(ACK);
        tcp.seq(FLOW).build()
    }

    fn reply() -> Vec<u8> {
        let (client, port) = client(FLOW);
        let ip = PacketBuilder::eth(WAN_MAC, ROUTER_MAC).ip(addr(VIP), addr(client));
        ip.ttl(63)
            .tcp(SERVICE_PORT, port)
            .flags(ACK)
            .seq(FLOW)
            .build()
    }

    fn fault(mode: Mode, port: PortId, frame: &[u8]) -> Option<String> {
        let mut checker = Checker::new(mode);
        checker.look(port, frame);
        checker.fault
    }

    #[test]
    fn right_packets_pass_and_with_any_bit_changed_they_do_not() {
        for (mode, port, right) in [
            (Mode::Dr, LAN, request(3, VIP)),
            (Mode::Nat, LAN, request(3, server_ip(3))),
            (Mode::Nat, WAN, reply()),
        ] {
            assert_eq!(fault(mode, port, &right), None);
            for bit in 0..right.len() * 8 {
                let mut wrong = right.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                // Another server's MAC address is as right, where nothing else names the server.
                let is_other_server =
                    mode == Mode::Dr && bit / 8 == 5 && (1..=SERVERS).contains(&wrong[5]);
                let has_fault = fault(mode, port, &wrong).is_some();
                assert!(has_fault != is_other_server, "{}, bit {bit}", mode.name());
            }
        }
    }

    #[test]
    fn the_wrong_port_and_the_wrong_server_are_seen() {
        assert!(fault(Mode::Dr, WAN, &request(3, VIP)).is_some());
        assert!(fault(Mode::Nat, LAN, &request(3, server_ip(4))).is_some());
        assert!(fault(Mode::Nat, LAN, &request(3, VIP)).is_some());
        assert!(fault(Mode::Tun, LAN, &request(3, VIP)).is_some());
    }

    #[test]
    fn one_server_only_is_no_spread() {
        let mut checker = Checker::new(Mode::Dr);
        for _ in 0..2000 {
            checker.look(LAN, &request(3, VIP));
        }
        assert!(checker.verdict().is_err());
        for n in (0..SERVERS).filter(|n| *n != 3) {
            for _ in 0..2000 {
                checker.look(LAN, &request(n, VIP));
            }
        }
        assert_eq!(checker.verdict(), Ok(()));
    }

    #[test]
    fn a_drop_is_told_unless_it_is_allowed() {
        let counters = WorkerCounters::new(2, 10);
        assert_eq!(lost(&counters, &[]), Ok(()));
        counters.count_drop(DropReason::HandOffRingFull);
        assert!(lost(&counters, &[]).is_err());
        assert_eq!(lost(&counters, &[DropReason::HandOffRingFull]), Ok(()));
    }
}
