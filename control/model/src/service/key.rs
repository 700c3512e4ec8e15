//! What tells services and servers apart.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Protocol, display_as_word};
use crate::reader::Choice;

/// A family of addresses.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of `address`.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// As people write it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }
}

impl Choice for Family {
    const NOUN: &'static str = "family";
    const WORDS: &'static [(&'static str, Self)] =
        &[("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)];
}
display_as_word!(Family);

/// What tells services apart: the packets that are theirs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(untagged)]
pub enum ServiceKey {
    /// Packets of a protocol to an address and a port.
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// The virtual address (VIP).
        address: IpAddr,
        /// The virtual port; 0: every port that has no service of its own.
        port: u16,
    },
    /// Packets with a mark, whatever their protocol, address and port.
    Mark {
        /// The mark, 1 to 4 294 967 295.
        mark: u32,
        /// The family of the packets.
        family: Family,
    },
}

impl ServiceKey {
    /// The family of its packets.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(*address),
            Self::Mark { family, .. } => *family,
        }
    }

    /// The protocol of its packets; none: any.
    #[must_use]
    pub const fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Address { protocol, .. } => Some(*protocol),
            Self::Mark { .. } => None,
        }
    }

    /// The virtual address; none: any.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address { address, .. } => Some(*address),
            Self::Mark { .. } => None,
        }
    }

    /// The virtual port; 0: any.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address { port, .. } => *port,
            Self::Mark { .. } => 0,
        }
    }

    /// The mark of its packets; none: it goes by address.
    #[must_use]
    pub const fn mark(&self) -> Option<u32> {
        match self {
            Self::Address { .. } => None,
            Self::Mark { mark, .. } => Some(*mark),
        }
    }
}

/// The text names no service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAServiceKey(String);

impl ServiceKey {
    /// The key in one word, as it stands in the API's paths: `tcp:192.0.2.100:80`,
    /// `udp:[2001:db8::1]:53`, `mark:10`, `mark:10:ipv6`.
    #[must_use]
    pub fn word(&self) -> String {
        self.to_string().replace(' ', ":")
    }
}

impl FromStr for ServiceKey {
    type Err = NotAServiceKey;

    /// Reads what [`word`](Self::word) and `Display` write.
    fn from_str(text: &str) -> Result<Self, NotAServiceKey> {
        let key = || {
            let (kind, rest) = text.split_once([':', ' '])?;
            if kind == "mark" {
                let (mark, family) = match rest.split_once([':', ' ']) {
                    Some((mark, word)) => (mark, by_word(word)?),
                    None => (rest, Family::Ipv4),
                };
                let mark = mark.parse().ok().filter(|mark| *mark != 0)?;
                return Some(Self::Mark { mark, family });
            }
            let at: SocketAddr = rest.parse().ok()?;
            Some(Self::Address {
                protocol: by_word(kind)?,
                address: at.ip(),
                port: at.port(),
            })
        };
        key().ok_or_else(|| NotAServiceKey(text.to_owned()))
    }
}

fn by_word<T: Choice>(word: &str) -> Option<T> {
    let known = T::WORDS.iter().find(|(known, _)| *known == word);
    known.map(|(_, value)| *value)
}

impl fmt::Display for NotAServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no service; give one such as tcp:192.0.2.100:80 or mark:10",
            self.0
        )
    }
}

impl std::error::Error for NotAServiceKey {}

/// What tells the servers of one service apart.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct ServerKey {
    /// The real server's address.
    pub address: IpAddr,
    /// The real server's port; 0: the one that the client asked for.
    pub port: u16,
}

impl fmt::Display for ServiceKey {
    /// `tcp 192.0.2.100:80`, `udp [2001:db8::1]:53`, `mark 10`, `mark 10 ipv6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address {
                protocol,
                address,
                port,
            } => write!(f, "{protocol} {}", SocketAddr::new(address, port)),
            Self::Mark {
                mark,
                family: Family::Ipv4,
            } => write!(f, "mark {mark}"),
            Self::Mark { mark, family } => write!(f, "mark {mark} {family}"),
        }
    }
}

impl fmt::Display for ServerKey {
    /// `10.0.0.1:80`, `[2001:db8::1]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_word_and_its_words() {
        for text in [
            "tcp 192.0.2.100:80",
            "sctp [2001:db8::1]:53",
            "mark 10",
            "mark 4294967295 ipv6",
        ] {
            let key: ServiceKey = text.parse().expect(text);
            assert_eq!(key.to_string(), text);
            assert_eq!(key.word().parse(), Ok(key));
        }
        for text in [
            "",
            "web",
            "tcp",
            "tcp:192.0.2.1",
            "mark:0",
            "mark:1:ipv5",
            "icmp:1.2.3.4:5",
        ] {
            assert!(text.parse::<ServiceKey>().is_err(), "{text}");
        }
    }
}
