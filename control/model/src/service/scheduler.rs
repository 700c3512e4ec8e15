//! Schedulers and their flags.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::display_as_word;
use crate::reader::Choice;

/// How a server is chosen for a new flow: IPVS's schedulers under its names, and one more.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SchedulerName {
    /// Each in turn.
    Rr,
    /// Each in turn, as often as its weight says.
    Wrr,
    /// The one with the fewest connections.
    Lc,
    /// The one with the fewest connections for its weight.
    Wlc,
    /// By the address that the client asked for, kept while it is not overloaded.
    Lblc,
    /// As `lblc`, with a set of servers for each address.
    Lblcr,
    /// By a hash of the address that the client asked for.
    Dh,
    /// By a hash of the client's address.
    Sh,
    /// The shortest expected delay.
    Sed,
    /// An idle one, else as `sed`.
    Nq,
    /// The one with the highest weight.
    Fo,
    /// The one with the highest weight until it is full.
    Ovf,
    /// By IPVS's Maglev hash of the client's address.
    Mh,
    /// The better of two that are drawn by weight.
    Twos,
    /// By a Maglev hash of the client's address and port over a table that is even for a thousand
    /// servers; Weir's own.
    Maglev,
    /// No server is chosen: nothing new begins.
    None,
}

impl Choice for SchedulerName {
    const NOUN: &'static str = "scheduler";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("rr", Self::Rr),
        ("wrr", Self::Wrr),
        ("lc", Self::Lc),
        ("wlc", Self::Wlc),
        ("lblc", Self::Lblc),
        ("lblcr", Self::Lblcr),
        ("dh", Self::Dh),
        ("sh", Self::Sh),
        ("sed", Self::Sed),
        ("nq", Self::Nq),
        ("fo", Self::Fo),
        ("ovf", Self::Ovf),
        ("mh", Self::Mh),
        ("twos", Self::Twos),
        ("maglev", Self::Maglev),
        ("none", Self::None),
    ];
}
display_as_word!(SchedulerName);

impl SchedulerName {
    /// Every scheduler.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::WORDS.iter().map(|(_, name)| *name)
    }

    /// The scheduler of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|known| known.word() == name)
    }
}

/// One switch of a scheduler, by any of ipvsadm's names for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchedulerFlag {
    /// `flag-1`; of `sh` and `mh`: when the server hashed to cannot be used, another one is.
    One,
    /// `flag-2`; of `sh` and `mh`: the client's port is hashed, too.
    Two,
    /// `flag-3`, which no scheduler knows.
    Three,
}

impl SchedulerFlag {
    /// The flag's word for `scheduler`.
    #[must_use]
    pub const fn word(self, scheduler: SchedulerName) -> &'static str {
        match (self, scheduler) {
            (Self::One, SchedulerName::Sh) => "sh-fallback",
            (Self::Two, SchedulerName::Sh) => "sh-port",
            (Self::One, SchedulerName::Mh) => "mh-fallback",
            (Self::Two, SchedulerName::Mh) => "mh-port",
            (Self::One, _) => "flag-1",
            (Self::Two, _) => "flag-2",
            (Self::Three, _) => "flag-3",
        }
    }

    /// The flag that `word` is for `scheduler`.
    #[must_use]
    pub fn of_word(word: &str, scheduler: SchedulerName) -> Option<Self> {
        let plain = |flag: &Self| flag.word(SchedulerName::None) == word;
        let own = |flag: &Self| flag.word(scheduler) == word;
        let all = [Self::One, Self::Two, Self::Three];
        all.into_iter().find(|flag| plain(flag) || own(flag))
    }
}

/// The switches of a service's scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct SchedulerFlags {
    bits: u8,
}

impl SchedulerFlags {
    /// With `flag` too.
    #[must_use]
    pub const fn with(self, flag: SchedulerFlag) -> Self {
        Self {
            bits: self.bits | 1 << flag as u8,
        }
    }

    /// Whether `flag` is on.
    #[must_use]
    pub const fn has(self, flag: SchedulerFlag) -> bool {
        self.bits & 1 << flag as u8 != 0
    }

    /// True when no flag is on.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// The words for `scheduler`, in ipvsadm's order.
    #[must_use]
    pub fn words(self, scheduler: SchedulerName) -> Vec<&'static str> {
        let all = [SchedulerFlag::One, SchedulerFlag::Two, SchedulerFlag::Three];
        let on = all.into_iter().filter(|flag| self.has(*flag));
        on.map(|flag| flag.word(scheduler)).collect()
    }
}

impl From<SchedulerFlags> for Vec<String> {
    fn from(flags: SchedulerFlags) -> Self {
        let words = flags.words(SchedulerName::None).into_iter();
        words.map(str::to_owned).collect()
    }
}

impl TryFrom<Vec<String>> for SchedulerFlags {
    type Error = NotAFlag;

    fn try_from(words: Vec<String>) -> Result<Self, NotAFlag> {
        words.iter().try_fold(Self::default(), |flags, word| {
            let flag = SchedulerFlag::of_word(word, SchedulerName::None);
            flag.map(|flag| flags.with(flag)).ok_or(NotAFlag)
        })
    }
}

/// The word is no scheduler's flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFlag;

impl fmt::Display for NotAFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a flag is one of flag-1, flag-2 and flag-3")
    }
}

impl std::error::Error for NotAFlag {}

impl fmt::Display for SchedulerFlags {
    /// `flag-1,flag-2`; nothing when none is on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.words(SchedulerName::None).join(","))
    }
}
