//! A port as control sees it: how it is configured, what came of that, its link and counters.

use std::sync::Arc;

use dpdk_sys as ffi;

use crate::device::Device;
use crate::rss::Rss;

/// What the operator says of a port.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// What DPDK calls a device: a virtual device with its arguments (`net_tap0,iface=wan0`), or a
    /// PCI address (`0000:01:00.0`), also with arguments.
    pub device: String,
    /// Receive descriptors per queue. A device rounds them to what it can do.
    pub rx_descriptors: u16,
    /// Transmit descriptors per queue, likewise.
    pub tx_descriptors: u16,
    /// Largest IP packet in bytes, without Ethernet header and VLAN tags. It also sets how much
    /// memory a frame takes.
    pub mtu: u16,
    /// The MAC address to take on instead of the device's own.
    pub mac: Option<[u8; 6]>,
    /// Receive what is addressed to others, too, where the device can.
    pub promiscuous: bool,
    /// Let the device spread flows over the queues by addresses and ports, where it can.
    pub rss: bool,
}

impl PortConfig {
    /// The device without its arguments and without the name of its bus.
    pub(crate) fn name(&self) -> &str {
        let name = self.device.split(',').next().unwrap_or_default();
        name.strip_prefix("pci:")
            .or_else(|| name.strip_prefix("vdev:"))
            .unwrap_or(name)
    }
}

/// What a port came up with: the values in effect, which may differ from those asked for.
#[derive(Clone, Debug)]
pub struct PortInfo {
    /// The device string of the configuration.
    pub device: String,
    /// DPDK's driver: `net_tap`, `mlx5_pci`.
    pub driver: String,
    /// MAC address.
    pub mac: [u8; 6],
    /// Queue pairs, one per worker.
    pub queues: u16,
    /// Receive descriptors per queue.
    pub rx_descriptors: u16,
    /// Transmit descriptors per queue.
    pub tx_descriptors: u16,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// How packets find their queue.
    pub rss: Rss,
    /// Whether the device delivers what is addressed to others.
    pub promiscuous: bool,
    /// Whether the device delivers all multicast (ND and VRRP need it).
    pub all_multicast: bool,
    /// Whether the device checks IPv4 header checksums.
    pub rx_ipv4_checksum: bool,
}

impl PortInfo {
    /// Frames that the port's queues can hold.
    pub(crate) fn ring_frames(&self) -> u32 {
        u32::from(self.queues) * (u32::from(self.rx_descriptors) + u32::from(self.tx_descriptors))
    }
}

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether there is a carrier.
    pub up: bool,
    /// Megabits per second, where the device knows.
    pub speed_mbps: Option<u32>,
}

/// A device's own counters since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that found the receive queue full: the worker was too slow.
    pub rx_missed: u64,
    /// Packets received broken.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets that found the frame pool empty.
    pub rx_no_frame: u64,
}

/// A port that is up.
#[derive(Debug)]
pub struct Port {
    info: PortInfo,
    id: u16,
    /// Keeps the port open.
    _devices: Arc<[Device]>,
}

impl Port {
    pub(crate) fn new(info: PortInfo, id: u16, devices: &Arc<[Device]>) -> Self {
        Self {
            info,
            id,
            _devices: Arc::clone(devices),
        }
    }

    /// What it came up with.
    #[must_use]
    pub fn info(&self) -> &PortInfo {
        &self.info
    }

    /// The link as the device last saw it. A device that cannot say is taken to be up.
    #[must_use]
    pub fn link(&self) -> Link {
        let mut speed = 0;
        // SAFETY: the port is open, and `speed` is ours.
        let state = unsafe { ffi::shim_eth_link(self.id, &mut speed) };
        let known = state >= 0 && speed != 0 && speed != u32::MAX;
        Link {
            up: state != 0,
            speed_mbps: known.then_some(speed),
        }
    }

    /// The device's counters; all zero when it has none. May be asked while workers run.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        let mut raw = ffi::rte_eth_stats::default();
        // SAFETY: the port is open, and `raw` is ours. On failure it is left or set to zeroes.
        unsafe { ffi::rte_eth_stats_get(self.id, &mut raw) };
        PortStats {
            rx_packets: raw.ipackets,
            tx_packets: raw.opackets,
            rx_bytes: raw.ibytes,
            tx_bytes: raw.obytes,
            rx_missed: raw.imissed,
            rx_errors: raw.ierrors,
            tx_errors: raw.oerrors,
            rx_no_frame: raw.rx_nombuf,
        }
    }
}
