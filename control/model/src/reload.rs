//! What a reload cannot change, because it is allocated, opened or pinned at start.

use crate::config::{Config, ConfigFile};
use crate::fault::{Faults, Finding, Problem};
use crate::limits::Limits;
use crate::network::Port;
use crate::operation::{Control, Metrics};
use crate::runtime::{Eal, Workers};

impl ConfigFile {
    /// Whether this file can take the place of the running configuration without a restart.
    ///
    /// # Errors
    ///
    /// Every changed key that needs a restart, with its place in this file.
    pub fn check_reload(&self, running: &Config) -> Result<(), Faults> {
        let cure = "restart weird, or put the old value back";
        let findings = restart_needed(running, &self.config).into_iter();
        let findings = findings.map(|path| Finding {
            path,
            problem: Problem::new("a reload cannot change it", cure),
            at_key: false,
        });
        self.locate(findings.collect())
    }
}

/// The keys (numbered as in `new`) whose change from `old` to `new` needs a restart: `[eal]`,
/// `[workers]`, `[limits]`, `[metrics]`, `[control]`, and ports but for their addresses.
///
/// What is left can be reloaded: services, servers, routes, neighbours, addresses, timeouts,
/// settings and the log level.
#[must_use]
pub fn restart_needed(old: &Config, new: &Config) -> Vec<String> {
    let mut changed = Vec::new();
    // Each key is named, and the pattern has no `..`: a new key does not compile until somebody
    // decides whether it reloads.
    macro_rules! compare {
        ($prefix:expr, $old:expr, $new:expr, $type:ident { $($key:ident),* ; $($reloads:ident),* }) => {
            let $type { $($key: _,)* $($reloads: _,)* } = $new;
            $(if $old.$key != $new.$key {
                changed.push(format!("{}.{}", $prefix, stringify!($key)));
            })*
        };
    }
    compare!("eal", &old.eal, &new.eal, Eal {
        huge_pages, memory_mb, file_prefix, pci, plugins, extra_args;
    });
    compare!("workers", &old.workers, &new.workers, Workers {
        cores, idle, idle_sleep_us_max;
    });
    compare!("limits", &old.limits, &new.limits, Limits {
        flows_per_worker, flows_v6_per_worker, half_open_per_worker, services, servers, punt_packets_per_second, punt_reserved_percent,
        icmp_per_second, parked_frames, parked_per_neighbour, fragments_per_worker,
        persistence_templates, packet_buffers;
    });
    compare!("metrics", &old.metrics, &new.metrics, Metrics { listen; });
    compare!("control", &old.control, &new.control, Control {
        socket, socket_mode, ipvs_socket, ipvs_proc_socket, state_directory, remote;
    });
    if old.ports.len() != new.ports.len() {
        changed.push("port".to_owned());
        return changed;
    }
    for (index, (old, new)) in old.ports.iter().zip(&new.ports).enumerate() {
        let prefix = format!("port[{index}]");
        compare!(prefix, old, new, Port {
            name, device, mtu, mac, twin, promiscuous, rx_descriptors, tx_descriptors;
            addresses, vlans
        });
        let vlans = |port: &Port| port.vlans.iter().map(|vlan| vlan.id).collect::<Vec<_>>();
        if vlans(old) != vlans(new) {
            changed.push(format!("{prefix}.vlan"));
        }
    }
    changed
}
