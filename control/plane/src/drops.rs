//! Packets that were not forwarded: the last sample of each reason, as a line to read.

use std::fmt::Write as _;
use std::time::Instant;

use etherparse::{
    ArpPacketSlice, LaxLinkExtSlice, LaxNetSlice, LaxSlicedPacket, LinkSlice, TcpSlice,
    TransportSlice,
};
use weir_core::counters::DropReason;
use weir_model::api::{DropSampleView, DropView, Drops};
use weir_wire::Mac;
use weir_worker::Handle;
use weir_worker::handle::DropSample;

/// The last sample of each reason.
#[derive(Debug)]
pub struct Samples {
    last: [Option<(Instant, DropSample)>; DropReason::ALL.len()],
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            last: [const { None }; DropReason::ALL.len()],
        }
    }
}

impl Samples {
    /// Takes what the workers have sampled; each keeps one a second and reason.
    pub fn collect(&mut self, workers: &[Handle], now: Instant) {
        for worker in workers {
            while let Some(sample) = worker.take_sample() {
                self.last[sample.reason as usize] = Some((now, sample));
            }
        }
    }

    /// Every reason, with its sum over the workers. `port_name` names a port by its number.
    #[must_use]
    pub fn view(
        &self,
        workers: &[Handle],
        now: Instant,
        port_name: impl Fn(usize) -> String,
    ) -> Drops {
        let sample = |(taken, sample): &(Instant, DropSample)| DropSampleView {
            age_seconds: now.saturating_duration_since(*taken).as_secs_f64(),
            port: port_name(usize::from(sample.port.0)),
            summary: summary(sample),
        };
        let view = |reason: &DropReason| DropView {
            reason: reason.label().to_owned(),
            help: reason.help().to_owned(),
            packets: count(workers, *reason),
            last: self.last[*reason as usize].as_ref().map(sample),
        };
        Drops {
            drops: DropReason::ALL.iter().map(view).collect(),
        }
    }
}

/// Packets of all workers that ended for `reason`.
#[must_use]
pub fn count(workers: &[Handle], reason: DropReason) -> u64 {
    let each = workers.iter().map(|worker| worker.counters().drops(reason));
    each.sum()
}

/// `eth 02:00:00:00:00:01→02:00:00:00:00:02 ipv4 198.51.100.7→192.0.2.100 ttl 64 tcp 40000→80 SYN
/// len 60`. What cannot be read is left out: such packets are dropped for just that.
fn summary(sample: &DropSample) -> String {
    let bytes = &sample.bytes[..usize::from(sample.len)];
    let mut line = String::new();
    match LaxSlicedPacket::from_ethernet(bytes) {
        Ok(packet) => describe(&mut line, &packet),
        Err(_) => line.push_str("no Ethernet header"),
    }
    // Writing to a String cannot fail, here and below.
    let _ = write!(line, " len {}", sample.frame_len);
    line
}

fn describe(line: &mut String, packet: &LaxSlicedPacket<'_>) {
    if let Some(LinkSlice::Ethernet2(eth)) = &packet.link {
        let (src, dst) = (Mac(eth.source()), Mac(eth.destination()));
        let _ = write!(line, "eth {src}→{dst}");
        if packet.net.is_none() && packet.link_exts.is_empty() {
            let _ = write!(line, " type {:#06x}", eth.ether_type().0);
        }
    }
    for extension in &packet.link_exts {
        if let LaxLinkExtSlice::Vlan(vlan) = extension {
            let _ = write!(line, " vlan {}", vlan.vlan_identifier().value());
        }
    }
    match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let (src, dst) = (header.source_addr(), header.destination_addr());
            let _ = write!(line, " ipv4 {src}→{dst} ttl {}", header.ttl());
            if header.is_fragmenting_payload() {
                let offset = u32::from(header.fragments_offset().value()) * 8;
                let _ = write!(line, " fragment at {offset}");
            }
            describe_protocol(line, packet, header.protocol().0);
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let (src, dst) = (header.source_addr(), header.destination_addr());
            let _ = write!(line, " ipv6 {src}→{dst} hop limit {}", header.hop_limit());
            describe_protocol(line, packet, header.next_header().0);
        }
        Some(LaxNetSlice::Arp(arp)) => describe_arp(line, arp),
        None => (),
    }
    if let Some((error, layer)) = &packet.stop_err {
        let _ = write!(line, " ({layer}: {error})");
    }
}

fn describe_protocol(line: &mut String, packet: &LaxSlicedPacket<'_>, protocol: u8) {
    let _ = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => write!(
            line,
            " tcp {}→{} {}",
            tcp.source_port(),
            tcp.destination_port(),
            tcp_flags(tcp)
        ),
        Some(TransportSlice::Udp(udp)) => {
            let (src, dst) = (udp.source_port(), udp.destination_port());
            write!(line, " udp {src}→{dst}")
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            let (kind, code) = (icmp.type_u8(), icmp.code_u8());
            write!(line, " icmp type {kind} code {code}")
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            let (kind, code) = (icmp.type_u8(), icmp.code_u8());
            write!(line, " icmpv6 type {kind} code {code}")
        }
        _ => write!(line, " protocol {protocol}"),
    };
}

fn tcp_flags(tcp: &TcpSlice<'_>) -> String {
    let flags = [
        (tcp.syn(), "SYN"),
        (tcp.fin(), "FIN"),
        (tcp.rst(), "RST"),
        (tcp.psh(), "PSH"),
        (tcp.ack(), "ACK"),
    ];
    let set: Vec<&str> = flags
        .iter()
        .filter_map(|(is_set, name)| is_set.then_some(*name))
        .collect();
    if set.is_empty() {
        "no flag".to_owned()
    } else {
        set.join(" ")
    }
}

fn describe_arp(line: &mut String, arp: &ArpPacketSlice<'_>) {
    let address = |bytes: &[u8]| match <[u8; 4]>::try_from(bytes) {
        Ok(octets) => std::net::Ipv4Addr::from(octets).to_string(),
        Err(_) => "?".to_owned(),
    };
    let (sender, target) = (
        address(arp.sender_protocol_addr()),
        address(arp.target_protocol_addr()),
    );
    let _ = match arp.operation().0 {
        1 => write!(line, " arp {sender} asks for {target}"),
        2 => write!(line, " arp {sender} answers {target}"),
        other => write!(line, " arp operation {other}"),
    };
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use weir_core::io::PortId;
    use weir_worker::handle::SAMPLE_BYTES;

    use super::*;

    fn sample(packet: &[u8]) -> DropSample {
        let mut bytes = [0; SAMPLE_BYTES];
        let len = packet.len().min(SAMPLE_BYTES);
        bytes[..len].copy_from_slice(&packet[..len]);
        DropSample {
            reason: DropReason::NoFlow,
            port: PortId(0),
            frame_len: packet.len() as u16,
            len: len as u8,
            bytes,
        }
    }

    fn tcp() -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([198, 51, 100, 7], [192, 0, 2, 100], 64)
            .tcp(40000, 80, 1, 1024)
            .syn()
            .write(&mut packet, &[0; 100])
            .expect("a Vec takes all");
        packet
    }

    #[test]
    fn a_tcp_packet_is_told_in_a_line() {
        assert_eq!(
            summary(&sample(&tcp())),
            "eth 02:00:00:00:00:01→02:00:00:00:00:02 ipv4 198.51.100.7→192.0.2.100 ttl 64 \
             tcp 40000→80 SYN len 154"
        );
    }

    #[test]
    fn an_arp_request_is_told_in_a_line() {
        let mut arp = vec![0xff; 6];
        arp.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        arp.extend([2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        assert_eq!(
            summary(&sample(&arp)),
            "eth 02:00:00:00:00:01→ff:ff:ff:ff:ff:ff arp 10.0.0.1 asks for 10.0.0.2 len 42"
        );
    }

    #[test]
    fn a_packet_truncated_anywhere_still_has_a_line() {
        let packet = tcp();
        for len in 0..packet.len() {
            let line = summary(&sample(&packet[..len]));
            assert!(line.ends_with(&format!("len {len}")), "{line}");
        }
    }
}
