//! What is known of a device's receive-side scaling (RSS), and what follows for one packet.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::flow::Tuple;
use crate::io::WorkerId;
use crate::service::Protocol;

use super::toeplitz::{Key, Toeplitz, dst_port_reaches_all};

/// What a device hashes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// Nothing, or what is not known.
    #[default]
    Nothing,
    /// Source and destination address.
    Addresses,
    /// Addresses and ports.
    AddressesAndPorts,
}

/// What a device hashes, by kind of packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashed {
    /// TCP over IPv4.
    pub tcp_v4: Fields,
    /// UDP over IPv4.
    pub udp_v4: Fields,
    /// TCP over IPv6.
    pub tcp_v6: Fields,
    /// UDP over IPv6.
    pub udp_v6: Fields,
}

impl Hashed {
    /// Of packets of this kind.
    #[inline]
    #[must_use]
    pub fn of(&self, is_v4: bool, protocol: Protocol) -> Fields {
        match (is_v4, protocol) {
            (true, Protocol::Tcp) => self.tcp_v4,
            (true, Protocol::Udp) => self.udp_v4,
            (false, Protocol::Tcp) => self.tcp_v6,
            (false, Protocol::Udp) => self.udp_v6,
            // Few devices look for its ports, and none is asked to.
            (_, Protocol::Sctp) => Fields::Nothing,
        }
    }
}

/// How a device chooses the receive queue of a packet: `table[toeplitz(fields) % table.len()]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRss {
    /// The key of the hash.
    pub key: Key,
    /// What is hashed.
    pub hashed: Hashed,
    /// The indirection table: numbers of queues. Its length is a power of two.
    pub table: Vec<u16>,
}

/// In what two devices differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The keys of their hashes.
    Key,
    /// What they hash.
    Hashed,
    /// Their indirection tables.
    Table,
}

impl DeviceRss {
    /// Whether both put every packet into the queue of the same number. The tables may be of
    /// different length.
    ///
    /// # Errors
    /// What speaks against it first.
    pub fn same_as(&self, other: &Self) -> Result<(), Difference> {
        let len = self.table.len().max(other.table.len());
        let cycled = |rss: &Self| rss.table.clone().into_iter().cycle().take(len);
        if self.key != other.key {
            Err(Difference::Key)
        } else if self.hashed != other.hashed {
            Err(Difference::Hashed)
        } else if !cycled(self).eq(cycled(other)) {
            Err(Difference::Table)
        } else {
            Ok(())
        }
    }
}

/// A [`DeviceRss`] made ready for packets.
#[derive(Debug)]
pub(super) struct Prediction {
    pub(super) hash: Toeplitz,
    hashed: Hashed,
    table: Box<[WorkerId]>,
    /// By family, IPv6 first: whether destination ports lead to every place of the table.
    is_reached_by_dst_port: [bool; 2],
}

impl Prediction {
    /// None when the table is not one of a power of two of existing queues, of every one at least
    /// one.
    pub(super) fn new(workers: u16, rss: &DeviceRss) -> Option<Self> {
        let table = &rss.table;
        let has_all = (0..workers).all(|worker| table.contains(&worker));
        let has_only = table.iter().all(|queue| *queue < workers);
        if !table.len().is_power_of_two() || !has_all || !has_only {
            return None;
        }
        let reaches_all = |is_v4| dst_port_reaches_all(&rss.key, is_v4, table.len());
        Some(Self {
            hash: Toeplitz::new(&rss.key),
            hashed: rss.hashed,
            table: table.iter().copied().map(WorkerId).collect(),
            is_reached_by_dst_port: [false, true].map(reaches_all),
        })
    }

    /// The worker to whom the device gives this packet, when that can be told.
    #[inline]
    pub(super) fn receiver(&self, packet: &Tuple) -> Option<WorkerId> {
        let is_v4 = packet.src.is_v4();
        let hash = match self.hashed.of(is_v4, packet.protocol) {
            Fields::Nothing => return None,
            Fields::Addresses => self.hash.addresses(packet.src, packet.dst),
            Fields::AddressesAndPorts => {
                self.hash.addresses(packet.src, packet.dst)
                    ^ self.hash.src_port(is_v4, packet.src_port)
                    ^ self.hash.dst_port(is_v4, packet.dst_port)
            }
        };
        Some(self.queue_of(hash))
    }

    /// True when any worker can be made the receiver of a packet by its destination port.
    #[inline]
    pub(super) fn reaches_all_by_dst_port(&self, is_v4: bool, protocol: Protocol) -> bool {
        self.hashed.of(is_v4, protocol) == Fields::AddressesAndPorts
            && self.is_reached_by_dst_port[usize::from(is_v4)]
    }

    #[inline]
    pub(super) fn queue_of(&self, hash: u32) -> WorkerId {
        self.table[hash as usize & (self.table.len() - 1)]
    }
}
