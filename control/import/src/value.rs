//! Values that several of these files have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// An address, in brackets or not.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// A network, or an address alone; bits beyond the prefix are cleared.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpNet>() {
        Ok(net) => Some(net.trunc()),
        Err(_) => text.parse::<IpAddr>().ok().map(IpNet::from),
    }
}

/// `HOST:PORT` or `HOST`: the host, and the port's text.
pub(crate) fn host_and_port(text: &str) -> (&str, Option<&str>) {
    if let Some(end) = text.rfind(']') {
        let (host, rest) = text.split_at(end + 1);
        return (host, rest.strip_prefix(':'));
    }
    match text.split_once(':') {
        // More than one colon and no brackets: IPv6 alone.
        Some((_, rest)) if rest.contains(':') => (text, None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

/// What a mask leaves: the text for `persistence_mask`, or `None` for the whole address.
pub(crate) fn v4_mask(mask: Ipv4Addr) -> Option<String> {
    (mask.to_bits() != u32::MAX).then(|| mask.to_string())
}

/// The addresses from `first` to `last`, at most `most` of them. `None` when they are of two
/// families, in the wrong order, or too many.
pub(crate) fn range(first: IpAddr, last: IpAddr, most: u32) -> Option<Vec<IpAddr>> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (first.to_bits(), last.to_bits());
            if first > last || last - first >= most {
                return None;
            }
            let all = (first..=last).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
            Some(all.collect())
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (first, last) = (first.to_bits(), last.to_bits());
            if first > last || last - first >= u128::from(most) {
                return None;
            }
            let all = (first..=last).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
            Some(all.collect())
        }
        _ => None,
    }
}

/// The scheduler's name, if Weir has it.
pub(crate) fn is_scheduler(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh",
        "twos",
    ];
    NAMES.contains(&name)
}

/// A name for a service or server: printable and short, or none.
pub(crate) fn label(text: &str) -> Option<String> {
    let text = text.trim();
    let is_good = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    is_good.then(|| text.to_owned())
}

/// Whether a list of words, parted by blanks, has one.
pub(crate) fn has(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|own| own == word)
}
