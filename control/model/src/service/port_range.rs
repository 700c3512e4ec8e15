//! Ranges of ports.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::Problem;

/// Ports from one to another, both included. Written `1024-65535`; a single one `80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub struct PortRange {
    /// The first, at least 1.
    pub first: u16,
    /// The last, no less than the first.
    pub last: u16,
}

/// The text is no range of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPortRange(String);

impl PortRange {
    /// Above the ports that only the superuser opens.
    pub(crate) const LOCAL_DEFAULT: Self = Self {
        first: 1024,
        last: 65535,
    };

    /// How many ports there are.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => first.fmt(f),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl FromStr for PortRange {
    type Err = NotAPortRange;

    fn from_str(text: &str) -> Result<Self, NotAPortRange> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if 1 <= first && first <= last => Ok(Self { first, last }),
            _ => Err(NotAPortRange(text.to_owned())),
        }
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> String {
        range.to_string()
    }
}

impl TryFrom<String> for PortRange {
    type Error = NotAPortRange;

    fn try_from(text: String) -> Result<Self, NotAPortRange> {
        text.parse()
    }
}

impl fmt::Display for NotAPortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a range of ports", self.0)
    }
}

impl std::error::Error for NotAPortRange {}

/// Reads a range of ports, with the cure when it is none.
pub(crate) fn port_range(text: &str) -> Result<PortRange, Problem> {
    let cure = "give the first and the last from 1 to 65535, such as \"1024-65535\"";
    let range = text.parse::<PortRange>();
    range.map_err(|error| Problem::new(error.to_string(), cure))
}
