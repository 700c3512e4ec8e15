//! What FTP says on its control connection about data connections (RFC 959 §4.1.2, §4.2; RFC 2428).
//!
//! ```text
//! client: PASV                         server: 227 Entering Passive Mode (10,0,0,1,156,64).
//! client: EPSV                         server: 229 Entering Extended Passive Mode (|||40000|)
//! client: PORT 198,51,100,7,195,80     server: 200 ...
//! client: EPRT |2|2001:db8::7|50000|   server: 200 ...
//! ```
//!
//! Commands and replies are understood where what matters of a line is in one segment, as the kernel
//! does it: of numbers also what ends them. Work is bounded by the segment's length.

use core::net::IpAddr;
use core::ops::Range;

use crate::addr::Addr;

/// Most letters in an address as text.
const ADDR_TEXT_MAX: usize = 45;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The server is to say in a 227 where it listens.
    Pasv,
    /// The server is to say in a 229 at which port it listens.
    Epsv,
    /// The server is to connect to this address and port (PORT, EPRT).
    Port(Addr, u16),
}

/// What the lines of a client's segment ask for, in their order.
pub fn commands(payload: &[u8]) -> impl Iterator<Item = Command> {
    lines(payload).filter_map(|line| command(&payload[line]))
}

/// The lines with their ends; the last may have none.
fn lines(payload: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    core::iter::from_fn(move || {
        let rest = payload.get(from..).filter(|rest| !rest.is_empty())?;
        let newline = rest.iter().position(|byte| *byte == b'\n');
        let line = from..from + newline.map_or(rest.len(), |at| at + 1);
        from = line.end;
        Some(line)
    })
}

fn command(line: &[u8]) -> Option<Command> {
    let Some(whole) = line.strip_suffix(b"\n") else {
        return port(line);
    };
    let whole = whole.strip_suffix(b"\r").unwrap_or(whole);
    let (word, rest) = whole.split_at_checked(4)?;
    let argument = match rest {
        [] => None,
        [b' ', argument @ ..] => Some(argument),
        _ => return None,
    };
    let word: [u8; 4] = word.try_into().ok()?;
    match (&word.map(|letter| letter.to_ascii_uppercase()), argument) {
        (b"PASV", None) => Some(Command::Pasv),
        // `ALL` asks for nothing (RFC 2428 §4).
        (b"EPSV", None | Some([b'1' | b'2'])) => Some(Command::Epsv),
        (b"PORT", Some(_)) => port(line),
        (b"EPRT", Some(argument)) => eprt(argument),
        _ => None,
    }
}

/// A PORT, of which blanks may stand on both sides of the numbers.
fn port(line: &[u8]) -> Option<Command> {
    let (word, rest) = line.split_at_checked(4)?;
    let numbers = rest.trim_ascii_start();
    if !word.eq_ignore_ascii_case(b"PORT") || numbers.len() == rest.len() {
        return None;
    }
    let (addr, port, rest) = six_numbers(numbers)?;
    // Without anything behind it the last number may go on in the next segment.
    let is_whole = !rest.is_empty() && rest.trim_ascii().is_empty();
    is_whole.then_some(Command::Port(addr, port))
}

/// `h1,h2,h3,h4,p1,p2`, and what follows it.
fn six_numbers(text: &[u8]) -> Option<(Addr, u16, &[u8])> {
    let mut bytes = [0; 6];
    let mut rest = text;
    for (at, byte) in bytes.iter_mut().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix(b",")?;
        }
        let (value, after) = number(rest, 3)?;
        *byte = u8::try_from(value).ok()?;
        rest = after;
    }
    let [a, b, c, d, high, low] = bytes;
    let port = u16::from_be_bytes([high, low]);
    let addr = Addr::from_v4_bytes([a, b, c, d]);
    (port != 0).then_some((addr, port, rest))
}

/// A number of at most so many digits, and what follows it.
fn number(text: &[u8], digits_max: usize) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > digits_max {
        return None;
    }
    let (digits, rest) = text.split_at(digits);
    let value = digits
        .iter()
        .fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
    Some((value, rest))
}

/// `|1|198.51.100.7|50000|`, with any delimiter (RFC 2428 §2).
fn eprt(text: &[u8]) -> Option<Command> {
    let (delimiter, rest) = text.split_first()?;
    if !(33..=126).contains(delimiter) {
        return None;
    }
    let mut fields = rest.split(|byte| byte == delimiter);
    let (family, addr, port, end) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    if !end.is_empty() || fields.next().is_some() || addr.len() > ADDR_TEXT_MAX {
        return None;
    }
    let addr: IpAddr = core::str::from_utf8(addr).ok()?.parse().ok()?;
    if family != if addr.is_ipv4() { b"1" } else { b"2" } {
        return None;
    }
    Some(Command::Port(Addr::from(addr), port_number(port)?))
}

fn port_number(text: &[u8]) -> Option<u16> {
    let (port, rest) = number(text, 5)?;
    let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
    rest.is_empty().then_some(port)
}

/// Where a server listens, by a 227: where in the payload the six numbers stand, and the port among
/// them. The address is not told: behind NAT it is the server's, whatever it says.
#[must_use]
pub fn pasv_reply(payload: &[u8]) -> Option<(Range<usize>, u16)> {
    lines(payload).find_map(|line| {
        let text = payload[line.clone()].strip_prefix(b"227 ")?;
        // Some have no parenthesis (RFC 1123 §4.1.2.6).
        let paren = text.iter().position(|byte| *byte == b'(');
        let digit = || text.iter().position(u8::is_ascii_digit);
        let skipped = match paren {
            Some(paren) => paren + parentheses(&text[paren..]),
            None => digit()?,
        };
        let (_, port, rest) =
            six_numbers(&text[skipped..]).filter(|(.., rest)| !rest.is_empty())?;
        let start = line.end - text.len() + skipped;
        Some((start..line.end - rest.len(), port))
    })
}

/// The port at which a server listens, by a 229.
#[must_use]
pub fn epsv_reply(payload: &[u8]) -> Option<u16> {
    lines(payload).find_map(|line| {
        let text = payload[line].strip_prefix(b"229 ")?;
        let paren = text.iter().position(|byte| *byte == b'(')?;
        let [a, b, c, rest @ ..] = &text[paren + parentheses(&text[paren..])..] else {
            return None;
        };
        let end = rest.iter().position(|byte| byte == a)?;
        let delimits = (33..=126).contains(a) && !a.is_ascii_digit() && a == b && b == c;
        port_number(&rest[..end]).filter(|_| delimits)
    })
}

/// How many of them `text` begins with.
fn parentheses(text: &[u8]) -> usize {
    text.iter().take_while(|byte| **byte == b'(').count()
}

/// An address and port in the words of a 227.
#[derive(Clone, Copy, Debug)]
pub struct SixNumbers {
    text: [u8; 23],
    len: usize,
}

impl SixNumbers {
    /// Of an IPv4 address; of IPv6 there is no such text.
    #[must_use]
    pub fn new(addr: Addr, port: u16) -> Option<Self> {
        if !addr.is_v4() {
            return None;
        }
        let ([a, b, c, d], [high, low]) = (addr.v4_bytes(), port.to_be_bytes());
        let mut new = Self {
            text: [0; 23],
            len: 0,
        };
        for (at, byte) in [a, b, c, d, high, low].into_iter().enumerate() {
            if at > 0 {
                new.push(b',');
            }
            for (unit, digit) in [(100, byte / 100), (10, byte / 10 % 10), (1, byte % 10)] {
                if byte >= unit || unit == 1 {
                    new.push(b'0' + digit);
                }
            }
        }
        Some(new)
    }

    fn push(&mut self, letter: u8) {
        if let Some(place) = self.text.get_mut(self.len) {
            *place = letter;
            self.len += 1;
        }
    }

    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
