//! What a persistent service takes for one client.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Family, display_as_word};
use crate::reader::Choice;

/// The part of an address that tells clients apart. Written `255.255.255.0` for IPv4, and as the
/// length of a prefix, `64`, for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub enum PersistenceMask {
    /// The bits of an IPv4 address that count; any bits.
    V4(Ipv4Addr),
    /// How many leading bits of an IPv6 address count, 1 to 128.
    V6(u8),
}

impl PersistenceMask {
    /// The whole address.
    #[must_use]
    pub const fn whole(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::Ipv6 => Self::V6(128),
        }
    }

    /// The family of addresses that it is for.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::V4(_) => Family::Ipv4,
            Self::V6(_) => Family::Ipv6,
        }
    }

    /// True when the whole address counts.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self == Self::whole(self.family())
    }
}

/// The text is no mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAMask(String);

impl fmt::Display for PersistenceMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(mask) => mask.fmt(f),
            Self::V6(length) => length.fmt(f),
        }
    }
}

impl FromStr for PersistenceMask {
    type Err = NotAMask;

    fn from_str(text: &str) -> Result<Self, NotAMask> {
        if let Ok(mask) = text.parse() {
            return Ok(Self::V4(mask));
        }
        match text.parse() {
            Ok(length @ 1..=128) => Ok(Self::V6(length)),
            _ => Err(NotAMask(text.to_owned())),
        }
    }
}

impl From<PersistenceMask> for String {
    fn from(mask: PersistenceMask) -> String {
        mask.to_string()
    }
}

impl TryFrom<String> for PersistenceMask {
    type Error = NotAMask;

    fn try_from(text: String) -> Result<Self, NotAMask> {
        text.parse()
    }
}

impl fmt::Display for NotAMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is neither an IPv4 mask nor the length of an IPv6 prefix",
            self.0
        )
    }
}

impl std::error::Error for NotAMask {}

/// What reads from a datagram whose it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PersistenceEngine {
    /// By the Call-ID of SIP (RFC 3261 §8.1.1.4).
    Sip,
}

impl Choice for PersistenceEngine {
    const NOUN: &'static str = "persistence engine";
    const WORDS: &'static [(&'static str, Self)] = &[("sip", PersistenceEngine::Sip)];
}
display_as_word!(PersistenceEngine);
