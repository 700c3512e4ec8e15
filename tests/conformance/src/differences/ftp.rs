//! What is wanted otherwise of FTP's helper.

use std::net::{IpAddr, SocketAddr};

use weir_conformance::operation::Operation;
use weir_conformance::place;
use weir_conformance::seen::{Counted, Entry, Passed, Seen};
use weir_wire::{Headers, Parsed, protocol, segment};

use super::Case;

/// The kernel helps with words that are none of FTP's, or does not see those that are not the first of
/// their segment.
pub(super) fn are_other_words_helped(case: &Case<'_>) -> bool {
    let odd = || -> Vec<&[u8]> {
        let said = case.before.iter().filter_map(|operation| match operation {
            Operation::Frame { bytes, .. } => Some(&bytes.0[..]),
            _ => None,
        });
        said.filter(|frame| is_odd(frame)).collect()
    };
    match (case.kernel, case.weir) {
        (Seen::Frame(kernel), Seen::Frame(weir)) => {
            kernel.frame.as_ref().is_some_and(|came| is_odd(&came.0))
                && (is_left_alone(weir) || is_left_alone(kernel))
                && are_same_but_for_text(kernel, weir)
        }
        (Seen::Entries(kernel), Seen::Entries(weir)) => {
            let odd = odd();
            let both = [(kernel, weir), (weir, kernel)];
            both.iter().all(|(all, others)| {
                let mut only = all.iter().filter(|entry| !others.contains(entry));
                only.all(|entry| odd.iter().any(|said| may_announce(said, entry)))
            })
        }
        (Seen::Counters(_, kernel), Seen::Counters(_, weir)) => {
            let most = odd().len() as u64;
            kernel.len() == weir.len()
                && kernel
                    .iter()
                    .zip(weir)
                    .all(|(k, w)| k == w || (is_of_ftp(k) && are_alike_but_for(most, k, w)))
        }
        _ => false,
    }
}

/// One segment left on either side, and what a helper does not touch is the same in both.
fn are_same_but_for_text(kernel: &Passed, weir: &Passed) -> bool {
    let untouched = |passed: &Passed| {
        let [client, server] = &passed.out;
        let (leg, frame) = match (&client[..], &server[..]) {
            ([only], []) => (0, &only.0),
            ([], [only]) => (1, &only.0),
            _ => return None,
        };
        let h = headers(frame)?;
        let numbers = frame.get(usize::from(h.l4)..usize::from(h.l4) + 16)?;
        let to = frame.get(..12)?;
        Some((
            leg,
            to.to_vec(),
            h.src,
            h.dst,
            h.ttl,
            h.tos,
            numbers.to_vec(),
        ))
    };
    untouched(kernel).is_some() && untouched(kernel) == untouched(weir)
}

/// True when this segment, read as lightly as can be, may have announced the connection.
fn may_announce(said: &[u8], entry: &Entry) -> bool {
    let Some((headers, text)) = text(said) else {
        return false;
    };
    let is_clients = place::FTP_PORTS.contains(&headers.dst_port);
    let is_named = match is_clients {
        true => {
            let client = entry.client.ip();
            let may_be = client == headers.src.ip() || names_address(text, client);
            may_be
                && entry.service.port() + 1 == headers.dst_port
                && names_port(text, entry.client.port())
        }
        false => {
            entry.client == SocketAddr::new(headers.dst.ip(), 0)
                && names_port(text, entry.server.port())
        }
    };
    entry.state == "LISTEN" && is_named
}

/// True when somebody may read this address in a text: as it is written, or in four numbers modulo 256.
fn names_address(text: &str, address: IpAddr) -> bool {
    let is_in_numbers = |octets: &[u8]| {
        bytes_in(text).windows(4).any(|four| {
            let [(_, first), middle @ .., (last, _)] = four else {
                return false;
            };
            let middle = middle.iter().map(|(byte, _)| *byte);
            [*first]
                .into_iter()
                .chain(middle)
                .chain([*last])
                .eq(octets.iter().copied())
        })
    };
    text.contains(&address.to_string())
        || matches!(address, IpAddr::V4(address) if is_in_numbers(&address.octets()))
}

/// The same of a port: modulo 65536, or in two numbers modulo 256.
fn names_port(text: &str, port: u16) -> bool {
    let number = |digits: &str| {
        digits.bytes().fold(0_u16, |sum, digit| {
            sum.wrapping_mul(10).wrapping_add(u16::from(digit - b'0'))
        })
    };
    let mut single = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty());
    let mut pairs = bytes_in(text).into_iter();
    let mut before = pairs.next();
    single.any(|digits| number(digits) == port)
        || pairs.any(|field| {
            let high = before.replace(field).map_or(0, |(_, high)| high);
            u16::from_be_bytes([high, field.0]) == port
        })
}

/// The numbers between commas modulo 256, each as it is read from the front and from the back of its field.
/// None is 0.
fn bytes_in(text: &str) -> Vec<(u8, u8)> {
    let byte = |digits: Option<&str>| {
        digits.unwrap_or_default().bytes().fold(0_u8, |sum, digit| {
            sum.wrapping_mul(10).wrapping_add(digit - b'0')
        })
    };
    let is_no_digit = |c: char| !c.is_ascii_digit();
    let fields = text.split(',');
    fields
        .map(|field| {
            let (mut front, mut back) = (field.split(is_no_digit), field.rsplit(is_no_digit));
            (byte(front.next()), byte(back.next()))
        })
        .collect()
}

fn is_of_ftp(counted: &Counted) -> bool {
    let is_at = |port: &u16| counted.service.ends_with(&format!(":{port}"));
    counted.service.starts_with("tcp ") && place::FTP_PORTS.iter().any(is_at)
}

/// So many announced connections may be one side's only, and each may have made a reply longer or shorter by
/// an address.
fn are_alike_but_for(most: u64, kernel: &Counted, weir: &Counted) -> bool {
    /// Digits and commas of two numbers more than those of another, with leading zeros and some more.
    const TEXT: u64 = 24;
    let bytes = kernel.totals[4].abs_diff(weir.totals[4]);
    kernel.connections[1].abs_diff(weir.connections[1]) <= most
        && bytes <= most * TEXT
        && kernel.rates[4].abs_diff(weir.rates[4]) <= bytes
        && without_announced(kernel) == without_announced(weir)
}

/// A control connection of IPv6 gets through.
pub(super) fn is_control_of_ipv6(kernel: &Passed, weir: &Passed) -> bool {
    let is_control = kernel
        .frame
        .as_ref()
        .and_then(|came| headers(&came.0))
        .is_some_and(|h| !h.is_v4() && is_control(&h));
    is_control
        && kernel.out.iter().all(Vec::is_empty)
        && weir.out.iter().map(Vec::len).sum::<usize>() == 1
}

/// Both tell the server that its reply, which would become longer, is too big.
pub(super) fn is_reply_too_big(kernel: &Passed, weir: &Passed) -> bool {
    let is_told = |passed: &Passed| {
        let [client, server] = &passed.out;
        let told = server.first().and_then(|frame| headers(&frame.0));
        client.is_empty()
            && server.len() == 1
            && told
                .is_some_and(|h| (h.protocol, h.icmp_type, h.icmp_code) == (protocol::ICMP, 3, 4))
    };
    let came = kernel.frame.as_ref().and_then(|came| headers(&came.0));
    came.is_some_and(|h| is_control(&h)) && is_told(kernel) && is_told(weir)
}

fn is_control(headers: &Headers) -> bool {
    let is_port = |port| place::FTP_PORTS.contains(&port);
    headers.protocol == protocol::TCP && (is_port(headers.src_port) || is_port(headers.dst_port))
}

/// The text of a segment; none of what is no segment.
fn text(frame: &[u8]) -> Option<(Headers, &str)> {
    let headers = headers(frame).filter(|headers| headers.protocol == protocol::TCP)?;
    let text = frame.get(segment::payload(frame, &headers))?;
    Some((headers, std::str::from_utf8(text).ok()?))
}

fn is_left_alone(passed: &Passed) -> bool {
    let [client, server] = &passed.out;
    let left = client.iter().chain(server).next();
    let both = left.zip(passed.frame.as_ref());
    both.is_some_and(|(left, came)| {
        let text = |frame| text(frame).map(|(_, text)| text);
        text(&left.0).is_some() && text(&left.0) == text(&came.0)
    })
}

/// Counters without what an announced connection and a longer reply add.
fn without_announced(counted: &Counted) -> Counted {
    let mut counted = counted.clone();
    counted.connections[1] = 0;
    counted.totals[4] = 0;
    counted.rates[4] = 0;
    counted
}

/// A segment with words of data connections that is not one line of RFC 959 or RFC 2428 with an address
/// of who says it and a port that may be one.
fn is_odd(frame: &[u8]) -> bool {
    let Some((headers, text)) = text(frame) else {
        return false;
    };
    let has_word = |line: &str| {
        let word = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        ["PORT", "EPRT"].contains(&&*word) || word.starts_with("227") || word.starts_with("229")
    };
    text.lines().any(has_word) && !is_plain(text, headers.src.ip())
}

fn is_plain(text: &str, from: IpAddr) -> bool {
    let Some(line) = text
        .strip_suffix("\r\n")
        .filter(|line| !line.contains('\n'))
    else {
        return false;
    };
    let (word, rest) = line.split_at_checked(4).unwrap_or_default();
    let inside = || {
        rest.split_once('(')?
            .1
            .split_once(')')
            .map(|(inside, _)| inside)
    };
    let found = match &*word.to_ascii_uppercase() {
        "PORT" => rest.strip_prefix(' ').and_then(six_numbers),
        "EPRT" => rest.strip_prefix(' ').and_then(eprt),
        "227 " => inside().and_then(six_numbers),
        "229 " => inside().and_then(|fields| {
            let port = fields.strip_prefix("|||")?.strip_suffix('|')?;
            Some((from, port.parse().ok()?))
        }),
        _ => None,
    };
    found.is_some_and(|(address, port)| {
        address == from && port > 0 && !place::FTP_PORTS.contains(&port)
    })
}

fn six_numbers(text: &str) -> Option<(IpAddr, u16)> {
    let numbers: Result<Vec<u8>, _> = text.split(',').map(str::parse).collect();
    let [a, b, c, d, high, low] = numbers.ok()?[..] else {
        return None;
    };
    Some((IpAddr::from([a, b, c, d]), u16::from_be_bytes([high, low])))
}

fn eprt(text: &str) -> Option<(IpAddr, u16)> {
    let fields: Vec<&str> = text.split('|').collect();
    let ["", family, address, port, ""] = fields[..] else {
        return None;
    };
    let address: IpAddr = address.parse().ok()?;
    let is_family = family == if address.is_ipv4() { "1" } else { "2" };
    Some((address, port.parse().ok()?)).filter(|_| is_family)
}

fn headers(frame: &[u8]) -> Option<Headers> {
    match weir_wire::parse(frame, false) {
        Ok(Parsed::Ip(headers)) => Some(headers),
        _ => None,
    }
}
