//! The devices as control asks for them. The daemon answers from DPDK, tests from memory.

use weir_model::Mac;
use weir_model::api::LinkView;

/// All devices.
pub trait Devices {
    /// Every port as it is now, in the order of the configuration.
    fn ports(&self) -> Vec<PortReport>;

    /// The packet buffers, which all ports share.
    fn buffers(&self) -> Buffers;
}

/// A port as it is now. Counters are the device's own, since start.
#[derive(Clone, Debug)]
pub struct PortReport {
    /// DPDK's driver.
    pub driver: String,
    /// MAC address in effect.
    pub mac: Mac,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Queue pairs.
    pub queues: u16,
    /// How the device spreads packets over its queues.
    pub steering: String,
    /// The link.
    pub link: LinkView,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets lost because a receive queue was full.
    pub rx_missed: u64,
    /// Packets received broken.
    pub rx_errors: u64,
    /// Packets lost for want of a buffer.
    pub rx_no_buffer: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

/// Packet buffers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Buffers {
    /// All there are.
    pub all: u64,
    /// Those in no use.
    pub free: u64,
}
