//! Reads the configuration of other directors and tells it in Weir's words.
//!
//! [`import`] takes the text of a file as people write it, and gives Weir's configuration with a
//! comment for every line that could not be carried, and why. What such a file cannot know (ports,
//! cores) is left to be added, and said. Nothing is done to any system, and no name is looked up but
//! those of services.
//!
//! | module | what it holds |
//! |---|---|
//! | `line` | lines of files, and what is said of them |
//! | `keepalived` | keepalived.conf: its syntax, its virtual servers |
//! | `ldirectord` | ldirectord.cf |
//! | `piranha` | lvs.cf |
//! | `ipvsadm`, `sysctl` | what `ipvsadm -S` prints, scripts of such commands, and settings in them |
//! | `iptables`, `nft`, `marks` | rules that set marks, and what order means to them |
//! | `heartbeat` | haresources and ha.cf |
//! | `shared`, `value` | what several of these files have |
//! | `draft`, `settle`, `render` | what was read, what Weir takes of it, and how it is printed |
//!
//! # What is right when it matters
//!
//! - **Marks.** The last MARK of iptables and nft that matches counts, Weir's first: rules are turned
//!   round, but for those that are followed by an end (`-j ACCEPT`, `return`) of their own.
//! - **The order of servers** is kept, because schedulers begin with the one added last.
//! - **Words left out** mean what they mean to the program that reads the file: keepalived's method is
//!   NAT and its protocol UDP, ipvsadm's method DR; all of that is written out.

#![forbid(unsafe_code)]

pub mod line;

mod draft;
mod files;
mod heartbeat;
mod iptables;
mod ipvsadm;
mod keepalived;
mod ldirectord;
mod marks;
mod nft;
mod piranha;
mod render;
mod settle;
mod shared;
mod sysctl;
mod value;

pub use files::{Files, NoFiles, OnDisk};
pub use line::{Fate, Line, Remark};

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// keepalived.conf.
    Keepalived,
    /// ldirectord.cf.
    Ldirectord,
    /// Piranha's lvs.cf.
    Piranha,
    /// What `ipvsadm -S` prints.
    Ipvsadm,
    /// What iptables-save or ip6tables-save prints, or `nft list ruleset`.
    Iptables,
    /// What `nft list ruleset` prints.
    Nft,
    /// Heartbeat's haresources or ha.cf.
    Heartbeat,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::Keepalived,
        Kind::Ldirectord,
        Kind::Piranha,
        Kind::Ipvsadm,
        Kind::Iptables,
        Kind::Nft,
        Kind::Heartbeat,
    ];

    /// As the command line calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Keepalived => "keepalived",
            Kind::Ldirectord => "ldirectord",
            Kind::Piranha => "piranha",
            Kind::Ipvsadm => "ipvsadm",
            Kind::Iptables => "iptables",
            Kind::Nft => "nft",
            Kind::Heartbeat => "heartbeat",
        }
    }
}

/// How it went, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Every line was carried.
    Whole,
    /// Some lines have no counterpart in Weir.
    Partly,
    /// The program whose file it is would refuse or ignore some lines.
    Refused,
}

impl Outcome {
    /// The exit code of `weir import`: 0, 1 or 2.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Outcome::Whole => 0,
            Outcome::Partly => 1,
            Outcome::Refused => 2,
        }
    }
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Weir's configuration, with what is to be said in comments.
    pub text: String,
    /// What is to be said, in the order of the file.
    pub remarks: Vec<Remark>,
    /// How it went.
    pub outcome: Outcome,
    /// Weir's configuration alone, with ports put in so that Weir reads it: for tests.
    completed: String,
}

impl Imported {
    /// The configuration completed with stand-ins for the ports, which [`weir_model::parse`] reads.
    #[must_use]
    pub fn completed(&self) -> &str {
        &self.completed
    }
}

/// What the reader of a file is told besides it.
#[derive(Clone, Copy)]
pub struct Options<'o> {
    /// keepalived's `--config-id`, on which lines with `@` depend.
    pub config_id: Option<&'o str>,
    /// Where included files and `/etc/services` are.
    pub files: &'o dyn Files,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("config_id", &self.config_id)
            .finish_non_exhaustive()
    }
}

/// Reads `text`, the content of `file`.
#[must_use]
pub fn import(kind: Kind, file: &str, text: &str, options: Options<'_>) -> Imported {
    let mut draft = match kind {
        Kind::Keepalived => keepalived::read(file, text, options),
        Kind::Ldirectord => ldirectord::read(file, text, options),
        Kind::Piranha => piranha::read(file, text, options),
        Kind::Ipvsadm => ipvsadm::read(file, text, options),
        Kind::Iptables if nft::looks_like(text) => nft::read(file, text),
        Kind::Iptables => iptables::read(file, text, options),
        Kind::Nft => nft::read(file, text),
        Kind::Heartbeat => heartbeat::read(file, text),
    };
    settle::settle(&mut draft);
    let remarks = std::mem::take(&mut draft.remarks).into_sorted();
    let worst = remarks.iter().map(|remark| remark.fate).max();
    let outcome = match worst {
        None | Some(Fate::Carried) => Outcome::Whole,
        Some(Fate::NotCarried) => Outcome::Partly,
        Some(Fate::Refused) => Outcome::Refused,
    };
    Imported {
        text: render::whole(kind, file, &draft, &remarks),
        completed: settle::completed(&render::tables(&draft), &draft),
        remarks,
        outcome,
    }
}
