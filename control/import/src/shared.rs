//! What several of these programs have in common: reasons, ports by name, settings of a service.

use weir_ipvs::types::{TCP, UDP};
use weir_ipvsadm::Names;
use weir_ipvsadm::address::number;

use crate::draft::{Protocol, Service};
use crate::line::{Line, Remarks};
use crate::value::{is_scheduler, v4_mask};

/// Of what watches servers.
pub(crate) const CHECKS: &str = "Weir does not check servers itself: let a checker set weights";
/// Of a server for when all are down.
pub(crate) const SORRY: &str = "Weir has no server that steps in when all others are gone";

/// Of a rule of a packet filter that is about something else.
pub(crate) const NO_MARK: &str = "it sets no mark, and Weir is no packet filter";

/// Of a host that is given by its name.
pub(crate) fn by_name(host: &str) -> String {
    format!("host names are not looked up: give the address of {host}")
}

/// A port by number or by name.
pub(crate) fn port_of(text: &str, protocol: Protocol, names: &Names) -> Option<u16> {
    let transport = match protocol {
        Protocol::Udp => UDP,
        _ => TCP,
    };
    match number(text, 0..=65_535) {
        Some(port) => u16::try_from(port).ok(),
        None => names.port(text, transport),
    }
}

impl Service {
    /// Takes a scheduler that ipvsadm is to be asked for.
    pub(crate) fn take_scheduler(&mut self, line: &Line, name: &str, remarks: &mut Remarks) {
        if is_scheduler(name) {
            self.scheduler = Some(name.to_owned());
        } else {
            remarks.refused(line, "ipvsadm has no such scheduler");
        }
    }

    /// Takes the mask of persistence of IPv4 clients.
    pub(crate) fn take_v4_mask(&mut self, line: &Line, mask: &str, remarks: &mut Remarks) {
        match mask.parse() {
            Ok(mask) => self.persistence_mask = v4_mask(mask),
            Err(_) => remarks.refused(line, "it is no netmask such as 255.255.255.0"),
        }
    }
}
