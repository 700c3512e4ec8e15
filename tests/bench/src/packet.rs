//! The packets that are sent: 64 bytes on the wire, of which 4 are the device's checksum.
//!
//! The flow's number is the TCP sequence number, by which the sink knows a packet again.

use weir_wire::{Family, Mac};

use crate::scenario::V6_PREFIX;

/// Length of a frame of IPv4 as a device delivers it, without its checksum.
const FRAME_LEN: usize = 60;
/// The same of IPv6, which needs more than the least frame.
const FRAME_LEN_V6: usize = IP + 40 + 20;

const IP: usize = 14;
const TCP: usize = IP + 20;
const TCP_V6: usize = IP + 40;

/// What differs between packets of one template. Of addresses of IPv6 it is the last 32 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    pub(crate) src: u32,
    pub(crate) dst: u32,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    /// The TCP sequence number.
    pub(crate) flow: u32,
}

/// A frame with its fields still zero, and the sums over all the rest of it.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: [u8; FRAME_LEN_V6],
    family: Family,
    ip_sum: u32,
    tcp_sum: u32,
}

impl Template {
    /// A packet with these TCP flags and without data, padded to the least frame.
    pub(crate) fn new(family: Family, dst: Mac, src: Mac, flags: u8) -> Self {
        let mut bytes = [0; FRAME_LEN_V6];
        bytes[..6].copy_from_slice(&dst.0);
        bytes[6..12].copy_from_slice(&src.0);
        match family {
            Family::V4 => Self::of_v4(bytes, flags),
            Family::V6 => Self::of_v6(bytes, flags),
        }
    }

    fn of_v4(mut bytes: [u8; FRAME_LEN_V6], flags: u8) -> Self {
        bytes[12..IP].copy_from_slice(&[8, 0]);
        // Version and length; total length 40; DF; TTL 64; TCP.
        bytes[IP..IP + 10].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
        // Header length 20, flags, window.
        bytes[TCP + 12..TCP + 16].copy_from_slice(&[0x50, flags, 0xff, 0xff]);
        let pseudo_header = 6 + 20;
        Self {
            ip_sum: sum(&bytes[IP..TCP]),
            tcp_sum: sum(&bytes[TCP..TCP + 20]) + pseudo_header,
            family: Family::V4,
            bytes,
        }
    }

    fn of_v6(mut bytes: [u8; FRAME_LEN_V6], flags: u8) -> Self {
        bytes[12..IP].copy_from_slice(&[0x86, 0xdd]);
        // Version; length 20; TCP; hop limit 64.
        bytes[IP..IP + 8].copy_from_slice(&[0x60, 0, 0, 0, 0, 20, 6, 64]);
        bytes[IP + 8..IP + 20].copy_from_slice(&V6_PREFIX);
        bytes[IP + 24..IP + 36].copy_from_slice(&V6_PREFIX);
        bytes[TCP_V6 + 12..TCP_V6 + 16].copy_from_slice(&[0x50, flags, 0xff, 0xff]);
        let pseudo_header = 6 + 20;
        Self {
            ip_sum: 0,
            tcp_sum: sum(&bytes[IP + 8..]) + pseudo_header,
            family: Family::V6,
            bytes,
        }
    }

    /// Bytes of its frames.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        match self.family {
            Family::V4 => FRAME_LEN,
            Family::V6 => FRAME_LEN_V6,
        }
    }

    /// Writes the packet to a frame of [`len`](Self::len); its checksums are right.
    #[inline]
    pub(crate) fn write(&self, frame: &mut [u8], fields: Fields) {
        match self.family {
            Family::V4 => {
                if let Some(frame) = frame.first_chunk_mut() {
                    self.write_v4(frame, fields);
                }
            }
            Family::V6 => {
                if let Some(frame) = frame.first_chunk_mut() {
                    self.write_v6(frame, fields);
                }
            }
        }
    }

    #[inline]
    fn write_v4(&self, frame: &mut [u8; FRAME_LEN], fields: Fields) {
        let Fields {
            src,
            dst,
            src_port,
            dst_port,
            flow,
        } = fields;
        frame.copy_from_slice(&self.bytes[..FRAME_LEN]);
        let addrs = halves(src) + halves(dst);
        let ports = u32::from(src_port) + u32::from(dst_port);
        let ip = folded(self.ip_sum + addrs);
        let tcp = folded(self.tcp_sum + addrs + ports + halves(flow));
        frame[IP + 10..IP + 12].copy_from_slice(&ip.to_be_bytes());
        frame[IP + 12..IP + 16].copy_from_slice(&src.to_be_bytes());
        frame[IP + 16..TCP].copy_from_slice(&dst.to_be_bytes());
        frame[TCP..TCP + 2].copy_from_slice(&src_port.to_be_bytes());
        frame[TCP + 2..TCP + 4].copy_from_slice(&dst_port.to_be_bytes());
        frame[TCP + 4..TCP + 8].copy_from_slice(&flow.to_be_bytes());
        frame[TCP + 16..TCP + 18].copy_from_slice(&tcp.to_be_bytes());
    }

    #[inline]
    fn write_v6(&self, frame: &mut [u8; FRAME_LEN_V6], fields: Fields) {
        let Fields {
            src,
            dst,
            src_port,
            dst_port,
            flow,
        } = fields;
        *frame = self.bytes;
        let ports = u32::from(src_port) + u32::from(dst_port);
        let tcp = folded(self.tcp_sum + halves(src) + halves(dst) + ports + halves(flow));
        frame[IP + 20..IP + 24].copy_from_slice(&src.to_be_bytes());
        frame[IP + 36..TCP_V6].copy_from_slice(&dst.to_be_bytes());
        frame[TCP_V6..TCP_V6 + 2].copy_from_slice(&src_port.to_be_bytes());
        frame[TCP_V6 + 2..TCP_V6 + 4].copy_from_slice(&dst_port.to_be_bytes());
        frame[TCP_V6 + 4..TCP_V6 + 8].copy_from_slice(&flow.to_be_bytes());
        frame[TCP_V6 + 16..TCP_V6 + 18].copy_from_slice(&tcp.to_be_bytes());
    }
}

#[inline]
const fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

/// The Internet checksum (RFC 1071) of a sum of 16-bit words.
#[inline]
const fn folded(sum: u32) -> u16 {
    !(halves(halves(sum)) as u16)
}

fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(2);
    words
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum()
}

/// A packet of ours as it is found on its way: nothing is taken for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) src: u32,
    pub(crate) dst: u32,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) ttl: u8,
    pub(crate) flow: u32,
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}

/// Reads an IPv4 header without options.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_ip(packet: &[u8], protocol: u8) -> Result<(u32, u32, u8), String> {
    if packet.len() < 20 || packet[0] != 0x45 {
        return Err("no IPv4 header of 20 bytes".into());
    }
    if usize::from(be16(packet, 2)) != packet.len() {
        return Err(format!(
            "total length {} in {}",
            be16(packet, 2),
            packet.len()
        ));
    }
    if folded(sum(&packet[..20])) != 0 {
        return Err("the IPv4 header checksum is wrong".into());
    }
    if packet[9] != protocol {
        return Err(format!("protocol {}", packet[9]));
    }
    Ok((be32(packet, 12), be32(packet, 16), packet[8]))
}

/// Reads an IPv6 header without extension headers, of addresses under the one prefix.
fn read_ip_v6(packet: &[u8], protocol: u8) -> Result<(u32, u32, u8), String> {
    if packet.len() < 40 || packet[0] != 0x60 {
        return Err("no IPv6 header".into());
    }
    if 40 + usize::from(be16(packet, 4)) != packet.len() {
        return Err(format!("length {} in {}", be16(packet, 4), packet.len()));
    }
    if packet[6] != protocol {
        return Err(format!("protocol {}", packet[6]));
    }
    if packet[8..20] != V6_PREFIX || packet[24..36] != V6_PREFIX {
        return Err("an address of nobody".into());
    }
    Ok((be32(packet, 20), be32(packet, 36), packet[7]))
}

/// Reads a packet with TCP and nothing after it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(packet: &[u8]) -> Result<Seen, String> {
    let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    let (src, dst, ttl) = match is_v6 {
        false => read_ip(packet, 6)?,
        true => read_ip_v6(packet, 6)?,
    };
    let tcp = &packet[if is_v6 { 40 } else { 20 }..];
    if tcp.len() < 20 || !tcp.len().is_multiple_of(2) {
        return Err(format!("{} bytes of TCP", tcp.len()));
    }
    let prefixes = if is_v6 { 2 * sum(&V6_PREFIX) } else { 0 };
    let ends = halves(src) + halves(dst) + prefixes;
    if folded(sum(tcp) + ends + 6 + tcp.len() as u32) != 0 {
        return Err("the TCP checksum is wrong".into());
    }
    Ok(Seen {
        src,
        dst,
        src_port: be16(tcp, 0),
        dst_port: be16(tcp, 2),
        ttl,
        flow: be32(tcp, 4),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_wire::tcp_flag::ACK;

    #[test]
    fn what_is_written_is_read_again_and_its_checksums_are_right() {
        let templates = [Family::V4, Family::V6]
            .map(|family| (family, Template::new(family, Mac([2; 6]), Mac([4; 6]), ACK)));
        let flows = [0, 1, 0xffff, 0x1_0000, 0xfffe_fffe, u32::MAX];
        let all = flows
            .iter()
            .flat_map(|flow| templates.iter().map(move |t| (*flow, t)));
        for (flow, (family, template)) in all {
            let fields = Fields {
                src: flow.rotate_left(9) ^ 0x0a00_0001,
                dst: 0xc000_0264,
                src_port: flow as u16,
                dst_port: 80,
                flow,
            };
            let mut frame = vec![0xee; template.len()];
            template.write(&mut frame, fields);
            let end = match family {
                Family::V4 => TCP + 20,
                Family::V6 => TCP_V6 + 20,
            };
            let seen = read(&frame[IP..end]).expect("it is right");
            assert_eq!((seen.src, seen.dst), (fields.src, fields.dst));
            assert_eq!((seen.src_port, seen.flow), (fields.src_port, flow));
            // The director's own parser agrees.
            let parsed = weir_wire::parse(&frame, true);
            assert!(matches!(parsed, Ok(weir_wire::Parsed::Ip(_))), "{parsed:?}");
        }
    }
}
