//! Workers that only exist as handles, and configurations in a line.

use weir_core::io::WorkerId;
use weir_model::{Config, ConfigFile, Service, parse};
use weir_worker::Handle;

/// Slots of each worker's counters.
pub(crate) const SERVERS: usize = 8;

/// A worker without thread: tests move its counters and let it adopt.
pub(crate) fn worker(id: u16) -> Handle {
    Handle::detached(WorkerId(id), 2, SERVERS)
}

/// A configuration with one port and these services.
pub(crate) fn config_file(services: &str) -> ConfigFile {
    let text = format!(
        "[limits]\nservers = {SERVERS}\n[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\n\
         addresses = [\"192.0.2.1/24\"]\n{services}"
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

/// The services of [`service`].
pub(crate) fn services(scheduler: &str, servers: &[(u8, u16)]) -> Vec<Service> {
    config(&service(scheduler, servers)).services
}
