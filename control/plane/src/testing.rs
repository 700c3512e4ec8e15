//! Workers that only exist as handles, and configurations in a line.

use std::sync::Arc;

use weir_core::io::{PortId, WorkerId};
use weir_core::load::Connections;
use weir_model::api::LinkView;
use weir_model::{Config, ConfigFile, Mac, Service, parse};
use weir_worker::Handle;

use crate::devices::{Buffers, Devices, PortReport};
use crate::state::{About, Parts, State, Ways};

/// Slots of each worker's counters.
pub(crate) const SERVERS: usize = 8;

/// A worker without thread: tests move its counters and let it adopt.
pub(crate) fn worker(id: u16) -> Handle {
    worker_of(id, SERVERS)
}

/// The same with so many slots.
pub(crate) fn worker_of(id: u16, slots: usize) -> Handle {
    Handle::detached(WorkerId(id), 2, slots)
}

/// So many active connections.
pub(crate) fn active(count: u32) -> Connections {
    Connections {
        active: count,
        inactive: 0,
    }
}

/// A configuration with one port and these services, which keeps nothing unless told where.
pub(crate) fn config_file(services: &str) -> ConfigFile {
    let control = match services.contains("[control]") {
        true => "",
        false => "[control]\nstate_directory = false\n",
    };
    let text = format!(
        "[limits]\nservers = {SERVERS}\n[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\n\
         twin = false\naddresses = [\"192.0.2.1/24\"]\n{control}{services}"
    );
    parse(&text, "test.toml").expect("the test's configuration is valid")
}

/// As [`config_file`], without its text.
pub(crate) fn config(services: &str) -> Config {
    config_file(services).config
}

/// A NAT service on 192.0.2.100:80 with servers 10.0.0.N of these weights, in the file's order.
pub(crate) fn service(scheduler: &str, servers: &[(u8, u16)]) -> String {
    let mut text = format!(
        "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.100\"\nport = 80\n\
         scheduler = \"{scheduler}\"\nname = \"web\"\n"
    );
    for (number, weight) in servers {
        text += &format!(
            "[[service.server]]\naddress = \"10.0.0.{number}\"\nweight = {weight}\nmethod = \"nat\"\n"
        );
    }
    text
}

/// A FullNAT service on 192.0.2.100:`port` with server 10.0.0.1:80, local address 10.0.0.200 and
/// so many local ports.
pub(crate) fn fullnat_service(port: u16, local_ports: u16) -> String {
    let last = 1023 + local_ports;
    format!(
        "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.100\"\nport = {port}\n\
         local_addresses = [\"10.0.0.200\"]\nlocal_ports = \"1024-{last}\"\n\
         [[service.server]]\naddress = \"10.0.0.1\"\nport = 80\nmethod = \"fullnat\"\n"
    )
}

/// The services of [`service`].
pub(crate) fn services(scheduler: &str, servers: &[(u8, u16)]) -> Vec<Service> {
    config(&service(scheduler, servers)).services
}

/// A director with this configuration and these workers, nothing of it real.
pub(crate) fn state(services: &str, workers: Vec<Handle>) -> State {
    state_of(config_file(services), workers)
}

/// As [`state`], of a whole configuration.
pub(crate) fn state_of(file: ConfigFile, workers: Vec<Handle>) -> State {
    let parts = Parts {
        file,
        workers,
        devices: Box::new(OneDevice),
        twins: vec![(PortId(0), Arc::default())],
        about: About {
            version: "0.0.0".to_owned(),
            dpdk_version: "0".to_owned(),
            steering: "by hand".to_owned(),
        },
        set_log_level: Box::new(|_| ()),
    };
    State::start(parts, Ways::default()).expect("the configuration has room")
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
