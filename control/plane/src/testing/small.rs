//! Workers that only exist as handles, and configurations in a line.

use weir_core::io::WorkerId;
use weir_core::load::Connections;
use weir_model::{Config, ConfigFile, Service, parse};
use weir_worker::Handle;

use super::parts;
use crate::state::{State, Ways};

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
    let parts = parts(file, workers);
    State::start(parts, Ways::default()).expect("the configuration has room")
}
