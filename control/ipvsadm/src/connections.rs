//! `-L -c`: the text of `/proc/net/ip_vs_conn` as people read it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_ipvs::types::TCP;

use crate::command::Format;
use crate::list::address_and_port;
use crate::names::{Names, protocol_of};

/// The whole listing.
///
/// # Errors
///
/// The line that is not one of that file.
pub fn list(text: &str, format: Format, names: &Names) -> Result<String, String> {
    let mut out = String::from("IPVS connection entries\n");
    let [expire, state, source, virtual_, destination] =
        ["pro expire", "state", "source", "virtual", "destination"];
    let _ = if format.persistent {
        let (name, data) = ("pe name", "pe_data");
        writeln!(
            out,
            "{expire} {state:<11} {source:<18} {virtual_:<18} {destination:<18} {name:<16} {data}"
        )
    } else {
        writeln!(
            out,
            "{expire} {state:<11} {source:<18} {virtual_:<18} {destination}"
        )
    };
    for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let entry = Entry::parse(line).ok_or_else(|| line.to_owned())?;
        entry.write(&mut out, format, names);
    }
    Ok(out)
}

struct Entry<'t> {
    protocol: &'t str,
    ends: [(IpAddr, u16); 3],
    state: &'t str,
    expires: u64,
    engine: Option<(&'t str, &'t str)>,
}

impl<'t> Entry<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let protocol = words.next()?;
        let mut end = || Some((address(words.next()?)?, port(words.next()?)?));
        let ends = [end()?, end()?, end()?];
        let state = words.next()?;
        let expires = words.next()?.parse().ok()?;
        let engine = words.next().zip(words.next());
        Some(Entry {
            protocol,
            ends,
            state,
            expires,
            engine,
        })
    }

    fn write(&self, out: &mut String, format: Format, names: &Names) {
        // The protocol of a mark's template is no protocol, and its ports have no names.
        let protocol = protocol_of(self.protocol);
        let numeric = format.numeric || protocol.is_none();
        let protocol = protocol.unwrap_or(TCP);
        let [source, virtual_, destination] = self
            .ends
            .map(|(address, port)| address_and_port(address, port, protocol, numeric, names));
        let expires = format!("{:02}:{:02}", self.expires / 60, self.expires % 60);
        let head = format!("{:<3} {expires:<6} {:<11}", self.protocol, self.state);
        let _ = match self.engine {
            Some((name, data)) if format.persistent => writeln!(
                out,
                "{head} {source:<18} {virtual_:<18} {destination:<16} {name:<18} {data}"
            ),
            _ => writeln!(out, "{head} {source:<18} {virtual_:<18} {destination}"),
        };
    }
}

/// Eight hexadecimal digits, or IPv6's eight groups.
fn address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let bits = u32::from_str_radix(text, 16).ok()?;
    Some(IpAddr::V4(Ipv4Addr::from_bits(bits)))
}

fn port(text: &str) -> Option<u16> {
    u16::from_str_radix(text, 16).ok()
}
