//! What a reload cannot change, because it is allocated, opened or pinned at start.

use crate::config::{Config, ConfigFile};
use crate::fault::{Faults, Finding, Problem};
use crate::network::Port;

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
    macro_rules! compare {
        ($prefix:expr, $old:expr, $new:expr, [$($key:ident),* $(,)?]) => {
            $(if $old.$key != $new.$key {
                changed.push(format!("{}.{}", $prefix, stringify!($key)));
            })*
        };
    }
    compare!(
        "eal",
        old.eal,
        new.eal,
        [huge_pages, memory_mb, file_prefix, pci, plugins, extra_args,]
    );
    compare!(
        "workers",
        old.workers,
        new.workers,
        [cores, idle, idle_sleep_us_max]
    );
    compare!(
        "limits",
        old.limits,
        new.limits,
        [
            flows_per_worker,
            services,
            servers,
            punt_packets_per_second,
            punt_reserved_percent,
            icmp_per_second,
            parked_frames,
            parked_per_neighbour,
            packet_buffers,
        ]
    );
    compare!("metrics", old.metrics, new.metrics, [listen]);
    compare!("control", old.control, new.control, [socket, socket_mode]);
    if old.ports.len() != new.ports.len() {
        changed.push("port".to_owned());
        return changed;
    }
    for (index, (old, new)) in old.ports.iter().zip(&new.ports).enumerate() {
        let prefix = format!("port[{index}]");
        compare!(
            prefix,
            old,
            new,
            [
                name,
                device,
                mtu,
                mac,
                twin,
                promiscuous,
                rx_descriptors,
                tx_descriptors,
            ]
        );
        let vlans = |port: &Port| port.vlans.iter().map(|vlan| vlan.id).collect::<Vec<_>>();
        if vlans(old) != vlans(new) {
            changed.push(format!("{prefix}.vlan"));
        }
    }
    changed
}
