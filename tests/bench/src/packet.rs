//! The packets that are sent: 64 bytes on the wire, of which 4 are the device's checksum.
//!
//! The flow's number is the TCP sequence number, by which the sink knows a packet again.

use weir_wire::Mac;

/// Length of a frame as a device delivers it, without its checksum.
pub(crate) const FRAME_LEN: usize = 60;

const IP: usize = 14;
const TCP: usize = IP + 20;

/// What differs between packets of one template.
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
    bytes: [u8; FRAME_LEN],
    ip_sum: u32,
    tcp_sum: u32,
}

impl Template {
    /// An IPv4 packet of 40 bytes with these TCP flags, padded to the least frame.
    pub(crate) fn new(dst: Mac, src: Mac, flags: u8) -> Self {
        let mut bytes = [0; FRAME_LEN];
        bytes[..6].copy_from_slice(&dst.0);
        bytes[6..12].copy_from_slice(&src.0);
        bytes[12..IP].copy_from_slice(&[8, 0]);
        // Version and length; total length 40; DF; TTL 64; TCP.
        bytes[IP..IP + 10].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
        // Header length 20, flags, window.
        bytes[TCP + 12..TCP + 16].copy_from_slice(&[0x50, flags, 0xff, 0xff]);
        let pseudo_header = 6 + 20;
        Self {
            ip_sum: sum(&bytes[IP..TCP]),
            tcp_sum: sum(&bytes[TCP..TCP + 20]) + pseudo_header,
            bytes,
        }
    }

    /// Writes the packet; both checksums are right.
    #[inline]
    pub(crate) fn write(&self, frame: &mut [u8; FRAME_LEN], fields: Fields) {
        let Fields {
            src,
            dst,
            src_port,
            dst_port,
            flow,
        } = fields;
        *frame = self.bytes;
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

/// Reads an IPv4 packet with TCP and nothing after it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(packet: &[u8]) -> Result<Seen, String> {
    let (src, dst, ttl) = read_ip(packet, 6)?;
    let tcp = &packet[20..];
    if tcp.len() < 20 || !tcp.len().is_multiple_of(2) {
        return Err(format!("{} bytes of TCP", tcp.len()));
    }
    if folded(sum(tcp) + halves(src) + halves(dst) + 6 + tcp.len() as u32) != 0 {
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
        let template = Template::new(Mac([2; 6]), Mac([4; 6]), ACK);
        for flow in [0, 1, 0xffff, 0x1_0000, 0xfffe_fffe, u32::MAX] {
            let fields = Fields {
                src: flow.rotate_left(9) ^ 0x0a00_0001,
                dst: 0xc000_0264,
                src_port: flow as u16,
                dst_port: 80,
                flow,
            };
            let mut frame = [0xee; FRAME_LEN];
            template.write(&mut frame, fields);
            let seen = read(&frame[IP..TCP + 20]).expect("it is right");
            assert_eq!((seen.src, seen.dst), (fields.src, fields.dst));
            assert_eq!((seen.src_port, seen.flow), (fields.src_port, flow));
            // The director's own parser agrees.
            let parsed = weir_wire::parse(&frame, true);
            assert!(matches!(parsed, Ok(weir_wire::Parsed::Ip(_))), "{parsed:?}");
        }
    }
}
