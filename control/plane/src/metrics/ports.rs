//! What went through ports and their twins.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Readings;
use super::page::{Labels, Page, Result};
use crate::devices::PortReport;
use crate::host::TwinCounters;

impl Readings {
    pub(super) fn port_metrics(&self, page: &mut Page<'_>) -> Result {
        for (name, help, value) in PORT_COUNTERS {
            let mut family = page.counter(name, help)?;
            for (port, report) in &self.ports {
                family.set(Labels::new().with("port", port), value(report) as f64)?;
            }
        }
        let mut family = page.gauge("weir_port_up", "1 when the port's link carries packets.")?;
        for (port, report) in &self.ports {
            let labels = Labels::new().with("port", port);
            family.set(labels, f64::from(u8::from(report.link.up)))?;
        }
        let mut family = page.gauge(
            "weir_port_speed_bytes",
            "Speed of the port's link in bytes a second, where the device knows it.",
        )?;
        for (port, report) in &self.ports {
            if let Some(mbps) = report.link.speed_mbps {
                let labels = Labels::new().with("port", port);
                family.set(labels, f64::from(mbps) * 125_000.0)?;
            }
        }
        let buffers = &self.buffers;
        page.gauge("weir_packet_buffers", "Packet buffers of all ports.")?
            .set(Labels::new(), buffers.all as f64)?;
        page.gauge("weir_packet_buffers_free", "Packet buffers in no use.")?
            .set(Labels::new(), buffers.free as f64)
    }

    pub(super) fn twin_metrics(&self, page: &mut Page<'_>) -> Result {
        for (name, help, to_linux, from_linux) in TWIN_COUNTERS {
            let mut family = page.counter(name, help)?;
            for (port, counters) in &self.twins {
                let labels = Labels::new().with("port", port);
                for (way, counter) in [
                    ("to_linux", to_linux(counters)),
                    ("from_linux", from_linux(counters)),
                ] {
                    let value = counter.load(Ordering::Relaxed) as f64;
                    family.set(labels.clone().with("direction", way), value)?;
                }
            }
        }
        Ok(())
    }
}

type PortCounter = (&'static str, &'static str, fn(&PortReport) -> u64);

const PORT_COUNTERS: &[PortCounter] = &[
    (
        "weir_port_receive_packets_total",
        "Packets that the device received.",
        |port| port.rx_packets,
    ),
    (
        "weir_port_receive_bytes_total",
        "Bytes that the device received.",
        |port| port.rx_bytes,
    ),
    (
        "weir_port_receive_missed_total",
        "Packets lost because a receive queue was full.",
        |port| port.rx_missed,
    ),
    (
        "weir_port_receive_errors_total",
        "Packets received broken.",
        |port| port.rx_errors,
    ),
    (
        "weir_port_receive_no_buffer_total",
        "Packets lost for want of a packet buffer.",
        |port| port.rx_no_buffer,
    ),
    (
        "weir_port_transmit_packets_total",
        "Packets that the device sent.",
        |port| port.tx_packets,
    ),
    (
        "weir_port_transmit_bytes_total",
        "Bytes that the device sent.",
        |port| port.tx_bytes,
    ),
    (
        "weir_port_transmit_errors_total",
        "Packets that could not be sent.",
        |port| port.tx_errors,
    ),
];

type TwinCounter = (
    &'static str,
    &'static str,
    fn(&TwinCounters) -> &AtomicU64,
    fn(&TwinCounters) -> &AtomicU64,
);

const TWIN_COUNTERS: &[TwinCounter] = &[
    (
        "weir_twin_packets_total",
        "Packets between the port's twin in Linux and the workers.",
        |twin| &twin.packets_to_linux,
        |twin| &twin.packets_from_linux,
    ),
    (
        "weir_twin_bytes_total",
        "Bytes between the port's twin in Linux and the workers.",
        |twin| &twin.bytes_to_linux,
        |twin| &twin.bytes_from_linux,
    ),
    (
        "weir_twin_dropped_packets_total",
        "Packets that Linux or the workers did not take from the other.",
        |twin| &twin.dropped_to_linux,
        |twin| &twin.dropped_from_linux,
    ),
];
