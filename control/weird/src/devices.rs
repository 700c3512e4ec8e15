//! DPDK's ports as the configuration asks for them, and as control asks about them.

use std::sync::Arc;

use weir_control::devices::{Buffers, Devices, PortReport};
use weir_dpdk::{EalConfig, Port, PortConfig, Ports};
use weir_model::api::LinkView;
use weir_model::{Config, Mac};

use crate::steering;

/// EAL's command line.
pub(crate) fn eal_config(config: &Config) -> EalConfig {
    let eal = &config.eal;
    let mut args = vec!["-m".to_owned(), eal.memory_mb.to_string()];
    args.extend(["--file-prefix".to_owned(), eal.file_prefix.clone()]);
    if !eal.huge_pages {
        args.push("--no-huge".to_owned());
    }
    if !eal.pci {
        args.push("--no-pci".to_owned());
    }
    for plugin in &eal.plugins {
        args.extend(["-d".to_owned(), plugin.clone()]);
    }
    // Without these EAL would take every PCI device that a driver of DPDK fits.
    for port in config.ports.iter().filter(|port| port.is_pci()) {
        args.extend(["-a".to_owned(), port.device.clone()]);
    }
    args.extend(eal.extra_args.iter().cloned());
    EalConfig { args }
}

/// How each port is to come up.
pub(crate) fn port_configs(config: &Config) -> Vec<PortConfig> {
    let has_several_workers = config.workers.cores.len() > 1;
    let port_config = |port: &weir_model::Port| PortConfig {
        device: port.device.clone(),
        rx_descriptors: port.rx_descriptors,
        tx_descriptors: port.tx_descriptors,
        mtu: port.mtu,
        mac: port.mac.map(|mac| mac.0),
        promiscuous: port.promiscuous,
        rss: has_several_workers,
    };
    config.ports.iter().map(port_config).collect()
}

/// Frames beyond those that queues and threads keep: parked, fragments that wait for others, in the
/// rings between workers, and waiting to leave. `limits.packet_buffers` counts those of the queues too.
pub(crate) fn spare_frames(config: &Config) -> u32 {
    const HAND_OFF_RING: u32 = weir_worker::HAND_OFF_RING as u32;
    const BURST: u32 = weir_core::io::BURST_MAX as u32;
    let workers = config.workers.cores.len() as u32;
    if config.limits.packet_buffers == 0 {
        let waiting = config.limits.parked_frames + config.limits.fragments_per_worker;
        let waiting = workers * waiting;
        let handed_off = workers * (workers - 1) * HAND_OFF_RING;
        let leaving = workers * config.ports.len() as u32 * BURST;
        return waiting + handed_off + leaving;
    }
    let descriptors =
        |port: &weir_model::Port| u32::from(port.rx_descriptors) + u32::from(port.tx_descriptors);
    let in_queues = config.ports.iter().map(descriptors).sum::<u32>() * workers;
    config.limits.packet_buffers.saturating_sub(in_queues)
}

/// The ports, for control. They close when the last clone and all queues are dropped.
#[derive(Clone, Debug)]
pub(crate) struct DpdkDevices(pub(crate) Arc<Ports>);

impl Devices for DpdkDevices {
    fn ports(&self) -> Vec<PortReport> {
        self.0.list().iter().map(report).collect()
    }

    fn buffers(&self) -> Buffers {
        let usage = self.0.pool_usage();
        Buffers {
            all: usage.frames.into(),
            free: usage.free.into(),
        }
    }
}

fn report(port: &Port) -> PortReport {
    let (info, link, stats) = (port.info(), port.link(), port.stats());
    PortReport {
        driver: info.driver.clone(),
        mac: Mac(info.mac),
        mtu: info.mtu,
        queues: info.queues,
        steering: steering::of_port(info),
        link: LinkView {
            up: link.up,
            speed_mbps: link.speed_mbps,
        },
        rx_packets: stats.rx_packets,
        rx_bytes: stats.rx_bytes,
        rx_missed: stats.rx_missed,
        rx_errors: stats.rx_errors,
        rx_no_buffer: stats.rx_no_frame,
        tx_packets: stats.tx_packets,
        tx_bytes: stats.tx_bytes,
        tx_errors: stats.tx_errors,
    }
}
