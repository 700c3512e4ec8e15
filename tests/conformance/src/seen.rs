//! What one side was seen to do at an operation.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;

/// What was seen at one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// A command was taken (0) or refused (a number of errno).
    Command(i32),
    /// A frame was sent to the director.
    Frame(Passed),
    /// So many hundredths of a second have passed.
    Advanced(u32),
    /// The connection entries, sorted.
    Entries(Vec<Entry>),
    /// The counters, sorted, after so many hundredths of a second in which they came up to date.
    Counters(u32, Vec<Counted>),
}

/// A frame and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The frame; none when there was nothing to answer.
    pub frame: Option<Bytes>,
    /// What left the director, by leg.
    pub out: [Vec<Bytes>; 2],
    /// What leaves a Linux without IPVS that has the same addresses and routes: the answer of the
    /// host to what the director leaves to it.
    pub host: [Vec<Bytes>; 2],
}

/// A connection entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// The protocol's name in the kernel's list.
    pub protocol: String,
    /// The client; port 0 of a template.
    pub client: SocketAddr,
    /// The virtual address and port.
    pub service: SocketAddr,
    /// The server.
    pub server: SocketAddr,
    /// The state's name in the kernel's list.
    pub state: String,
    /// Until it ends, in whole seconds, rounded down.
    pub seconds: u32,
    /// The persistence engine of a template and what it told its client by, with a blank between.
    pub engine: Option<String>,
}

/// The counters of a service or a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counted {
    /// The service, as scenarios write it.
    pub service: String,
    /// The server; none: the service's own.
    pub server: Option<SocketAddr>,
    /// Connections that are active, inactive and templates; of a server.
    pub connections: [u64; 3],
    /// Connections, packets in and out, bytes in and out, since the beginning.
    pub totals: [u64; 5],
    /// The same a second, as estimated and rounded.
    pub rates: [u64; 5],
}
