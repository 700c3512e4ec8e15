//! Packets that ICMP errors quote: cut, old, and written by anybody.

use super::{V4_LEN, V6_LEN, addr_v6, walk_extensions};
use crate::addr::Addr;
use crate::bytes::get_u16;
use crate::headers::{Embedded, protocol};

/// Reads the packet quoted at `offset` of a frame, of which nothing at or after `limit` belongs to
/// the quote.
///
/// Lengths in it may exceed what is there or make no sense, and its checksums are not looked at. None when even
/// addresses and ports are missing, when it is a later fragment, or when it makes no sense.
#[must_use]
pub fn parse_embedded(frame: &[u8], offset: usize, limit: usize) -> Option<Embedded> {
    let quote = frame.get(offset..limit.min(frame.len()))?;
    let (src, dst, protocol, header_len, total_len) = match quote.first()? >> 4 {
        4 => embedded_v4(quote)?,
        6 => embedded_v6(quote)?,
        _ => return None,
    };
    // A length that leaves no room for ports is no length: there are hosts that turn it round.
    let is_told = total_len >= header_len + PORTS_LEN;
    let quote = quote.get(..total_len).filter(|_| is_told).unwrap_or(quote);
    let payload = quote.get(header_len..)?;
    let has_ports = matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let (src_port, dst_port) = if has_ports {
        (get_u16(payload, 0)?, get_u16(payload, 2)?)
    } else {
        (0, 0)
    };
    Some(Embedded {
        src,
        dst,
        src_port,
        dst_port,
        l3: u16::try_from(offset).ok()?,
        l4: u16::try_from(offset + header_len).ok()?,
        end: u16::try_from(offset + quote.len()).ok()?,
        protocol,
    })
}

/// True when the packet quoted there is of TCP, UDP or SCTP and is cut before its ports.
#[must_use]
pub fn is_cut_before_ports(frame: &[u8], offset: usize, limit: usize) -> bool {
    let read = || {
        let quote = frame.get(offset..limit.min(frame.len()))?;
        let (_, _, protocol, header_len, _) = match quote.first()? >> 4 {
            4 => embedded_v4(quote)?,
            6 => embedded_v6(quote)?,
            _ => return None,
        };
        let has_ports = matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
        Some(has_ports && quote.len() < header_len + PORTS_LEN)
    };
    read().unwrap_or(false)
}

/// Bytes of two ports.
const PORTS_LEN: usize = 4;

/// Addresses, protocol, and the lengths of header and packet.
type Quoted = (Addr, Addr, u8, usize, usize);

fn embedded_v4(quote: &[u8]) -> Option<Quoted> {
    let ip: &[u8; V4_LEN] = quote.first_chunk()?;
    let header_len = usize::from(ip[0] & 0xf) * 4;
    let total_len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let offset = u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff;
    if header_len < V4_LEN || offset != 0 {
        return None;
    }
    let src = Addr::from_v4_bytes([ip[12], ip[13], ip[14], ip[15]]);
    let dst = Addr::from_v4_bytes([ip[16], ip[17], ip[18], ip[19]]);
    Some((src, dst, ip[9], header_len, total_len))
}

fn embedded_v6(quote: &[u8]) -> Option<Quoted> {
    let ip: &[u8; V6_LEN] = quote.first_chunk()?;
    let total_len = usize::from(u16::from_be_bytes([ip[4], ip[5]])) + V6_LEN;
    let chain = walk_extensions(quote, ip[6]).ok()?;
    let (src, dst) = (addr_v6(ip, 8), addr_v6(ip, 24));
    if chain.bits.later_fragment() || src.is_v4() || dst.is_v4() {
        return None;
    }
    Some((src, dst, chain.protocol, chain.end, total_len))
}
