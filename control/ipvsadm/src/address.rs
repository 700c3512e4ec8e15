//! `HOST[:PORT]` and numbers, as the original's C library reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::names::Names;

/// An address with a port, if one was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: Option<u16>,
}

/// Reads `192.0.2.1`, `192.0.2.1:80`, `192.0.2.1:http`, `[2001:db8::1]:80`, `2001:db8::1`,
/// `name:80`. An IPv6 address in brackets needs a port, and a word of digits is nothing.
#[must_use]
pub fn host(text: &str, protocol: Option<u16>, names: &Names) -> Option<Host> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port = port.strip_prefix(':')?;
        return match address.parse::<Ipv6Addr>() {
            Ok(ipv6) => Some(Host {
                address: IpAddr::V6(ipv6),
                port: Some(port_of(port, protocol, names)?),
            }),
            // What is behind the brackets is lost then.
            Err(_) => v4(address, protocol, names),
        };
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        let address = IpAddr::V6(address);
        return Some(Host {
            address,
            port: None,
        });
    }
    v4(text, protocol, names)
}

fn v4(text: &str, protocol: Option<u16>, names: &Names) -> Option<Host> {
    let (address, port) = match text.rsplit_once(':') {
        Some((address, port)) => (address, Some(port)),
        None => (text, None),
    };
    let address = v4_or_name(address, names)?;
    let port = match port {
        Some(port) => Some(port_of(port, protocol, names)?),
        None => None,
    };
    Some(Host { address, port })
}

fn v4_or_name(text: &str, names: &Names) -> Option<IpAddr> {
    match inet_aton(text) {
        Some(address) => Some(IpAddr::V4(address)),
        None => names.address(text),
    }
}

fn port_of(text: &str, protocol: Option<u16>, names: &Names) -> Option<u16> {
    match number(text, 0..=65_535) {
        Some(port) => u16::try_from(port).ok(),
        None => names.port(text, protocol?),
    }
}

/// A whole number as `strtol` reads it in base 10: blanks before it and a sign are allowed.
#[must_use]
pub fn number(text: &str, range: RangeInclusive<i64>) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| range.contains(number))
}

/// An IPv4 address as `inet_aton` reads it: one to four parts, each decimal, octal (`010`) or
/// hexadecimal (`0x10`), the last of which fills the bytes that are left.
#[must_use]
pub fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(|c: char| c.is_ascii_whitespace()).next()?;
    let parts: Vec<u32> = text.split('.').map(c_number).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|part| *part > 255) {
        return None;
    }
    let left = 8 * (4 - u32::try_from(leading.len()).ok()?);
    if left < 32 && *last >= 1 << left {
        return None;
    }
    let mut bits = *last;
    for (index, part) in leading.iter().enumerate() {
        bits |= part << (24 - 8 * index);
    }
    Some(Ipv4Addr::from_bits(bits))
}

fn c_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}
