//! What a director needs that has nothing real, for tests and examples.

#[cfg(test)]
mod small;

use std::sync::Arc;

use weir_core::io::PortId;
use weir_model::api::LinkView;
use weir_model::{ConfigFile, Mac};
use weir_worker::Handle;

use crate::devices::{Buffers, Devices, PortReport};
use crate::pulse::Alive;
use crate::state::{About, Parts};

#[cfg(test)]
pub(crate) use small::*;

/// A director of this configuration and these workers, with one device and its twin.
#[must_use]
pub fn parts(file: ConfigFile, workers: Vec<Handle>) -> Parts {
    Parts {
        file,
        workers,
        devices: Box::new(OneDevice),
        twins: vec![(PortId(0), Arc::default())],
        about: About {
            version: "0.0.0".to_owned(),
            dpdk_version: "0".to_owned(),
            steering: "by hand".to_owned(),
        },
        alive: Alive::default(),
        set_log_level: Box::new(|_| ()),
    }
}

#[derive(Debug)]
struct OneDevice;

impl Devices for OneDevice {
    fn ports(&self) -> Vec<PortReport> {
        vec![PortReport {
            driver: "net_null".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            queues: 1,
            steering: String::new(),
            link: LinkView {
                up: true,
                speed_mbps: Some(10_000),
            },
            rx_packets: 7,
            rx_bytes: 700,
            rx_missed: 0,
            rx_errors: 0,
            rx_no_buffer: 0,
            tx_packets: 5,
            tx_bytes: 500,
            tx_errors: 0,
        }]
    }

    fn buffers(&self) -> Buffers {
        Buffers { all: 10, free: 9 }
    }
}
