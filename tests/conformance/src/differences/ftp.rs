//! What is wanted otherwise of FTP's helper.

use std::net::IpAddr;

use weir_conformance::operation::Operation;
use weir_conformance::place;
use weir_conformance::seen::{Counted, Entry, Passed, Seen};
use weir_wire::{Headers, Parsed, protocol, segment};

use super::Case;

/// The kernel helps with words that are none of FTP's, or does not see those that are not the first of
/// their segment.
pub(super) fn are_other_words_helped(case: &Case<'_>) -> bool {
    let has_odd = || {
        case.before.iter().any(|operation| match operation {
            Operation::Frame { bytes, .. } => is_odd(&bytes.0),
            _ => false,
        })
    };
    match (case.kernel, case.weir) {
        (Seen::Frame(kernel), Seen::Frame(weir)) => {
            kernel.frame.as_ref().is_some_and(|came| is_odd(&came.0))
                && (is_left_alone(weir) || is_left_alone(kernel))
        }
        (Seen::Entries(kernel), Seen::Entries(weir)) => {
            has_odd() && not_announced(kernel).eq(not_announced(weir))
        }
        (Seen::Counters(_, kernel), Seen::Counters(_, weir)) => {
            has_odd()
                && kernel
                    .iter()
                    .map(without_announced)
                    .eq(weir.iter().map(without_announced))
        }
        _ => false,
    }
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

fn not_announced(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    entries.iter().filter(|entry| entry.state != "LISTEN")
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
