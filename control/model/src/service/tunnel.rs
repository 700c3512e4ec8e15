//! What wraps packets on their way to a server that is reached by a tunnel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::display_as_word;
use crate::reader::Choice;

/// What wraps the packets.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TunnelKind {
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213).
    #[default]
    Ipip,
    /// Generic UDP encapsulation, variant 0.
    Gue,
    /// Generic routing encapsulation (RFC 2784).
    Gre,
}

impl Choice for TunnelKind {
    const NOUN: &'static str = "kind of tunnel";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("ipip", TunnelKind::Ipip),
        ("gue", TunnelKind::Gue),
        ("gre", TunnelKind::Gre),
    ];
}

/// The checksum in the outer header.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TunnelChecksum {
    /// There is none (`ipvsadm --tun-nocsum`).
    #[default]
    None,
    /// Over all that is wrapped (`ipvsadm --tun-csum`).
    Full,
    /// The inner packet's is offloaded to the far end (`gue` only, `ipvsadm --tun-remcsum`).
    Remote,
}

impl Choice for TunnelChecksum {
    const NOUN: &'static str = "checksum of a tunnel";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", TunnelChecksum::None),
        ("full", TunnelChecksum::Full),
        ("remote", TunnelChecksum::Remote),
    ];
}
display_as_word!(TunnelKind, TunnelChecksum);
