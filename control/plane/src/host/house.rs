//! The host's network on behalf of the director: twins made and filled, Linux followed, neighbours
//! asked for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ipnet::IpNet;
use tokio::sync::watch;
use weir_core::io::PortId;
use weir_model::Config;
use weir_worker::Handle;
use weir_worker::rings::{Doorbell, TwinLink};

use super::assemble::{Interfaces, PortFacts, assemble};
use super::follow::{LinuxNetwork, Netlink};
use super::pump::{Pump, TwinCounters};
use super::twin::{Twin, TwinPlan};
use crate::state::Ways;

/// How often the workers' requests for neighbours are looked for.
pub const SOLICIT: Duration = Duration::from_millis(5);

/// Twins, their thread, and the view of Linux. Dropping it takes the twins away.
#[derive(Debug)]
pub struct Host {
    // The thread goes before its taps.
    pump: Pump,
    twins: Vec<(PortId, Twin)>,
    netlink: Netlink,
    linux: watch::Receiver<LinuxNetwork>,
    facts: Vec<PortFacts>,
    interfaces: Interfaces,
}

impl Host {
    /// Makes the twins of `config`'s ports, which are up with these MAC addresses and MTUs, starts
    /// their thread over the workers' links, and follows Linux. On the running tokio runtime.
    ///
    /// # Errors
    /// What Linux refuses, in a sentence with its cure; what was made is gone then.
    pub async fn start(
        config: &Config,
        ports: &[([u8; 6], u16)],
        links: Vec<TwinLink>,
        doorbell: Arc<Doorbell>,
    ) -> anyhow::Result<Self> {
        let netlink = Netlink::open().context("Linux gives no netlink socket")?;
        let mut twins = Vec::new();
        let mut facts = Vec::new();
        for (at, (port, (mac, mtu))) in config.ports.iter().zip(ports).enumerate() {
            let mut twin_index = None;
            if let Some(name) = &port.twin {
                let plan = TwinPlan {
                    name,
                    mac: *mac,
                    mtu: *mtu,
                    addresses: &port.addresses,
                    vlans: port
                        .vlans
                        .iter()
                        .map(|vlan| (vlan.id, vlan.addresses.as_slice()))
                        .collect(),
                };
                let twin = Twin::create(netlink.handle(), &plan).await?;
                twin_index = Some(twin.index);
                twins.push((PortId(at as u16), twin));
            }
            facts.push(PortFacts {
                mac: *mac,
                mtu: *mtu,
                twin: twin_index,
            });
        }
        let pump = Pump::start(&twins, links, doorbell).context("the twins' thread")?;
        let indexes = twins.iter().map(|(_, twin)| twin.index).collect();
        let linux = netlink.follow(indexes).await?;
        Ok(Self {
            pump,
            twins,
            netlink,
            linux,
            facts,
            interfaces: Interfaces::default(),
        })
    }

    /// By port: what went through its twin.
    #[must_use]
    pub fn twin_counters(&self) -> &[(PortId, Arc<TwinCounters>)] {
        self.pump.counters()
    }

    /// Waits until Linux's network has changed. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.linux.changed().await.is_err() {
            // Nobody follows any more: what is known stays.
            std::future::pending::<()>().await;
        }
    }

    /// The ways of packets as Linux and `config` have them now.
    pub fn ways(&mut self, config: &Config) -> Ways {
        let (ways, interfaces) = assemble(config, &self.facts, &self.linux.borrow_and_update());
        self.interfaces = interfaces;
        ways
    }

    /// Asks Linux for the neighbours that the workers wait for, without waiting for it.
    pub fn solicit(&self, workers: &[Handle]) {
        let mut wanted: Vec<(u32, IpAddr)> = workers
            .iter()
            .flat_map(|worker| std::iter::from_fn(|| worker.take_solicitation()))
            .filter_map(|asked| {
                let link = self.interfaces.link_of(asked.interface)?;
                Some((link, asked.neighbour.into()))
            })
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return;
        }
        let netlink = self.netlink.clone();
        tokio::spawn(async move {
            for (link, neighbour) in wanted {
                netlink.solicit(link, neighbour).await;
            }
        });
    }

    /// Brings the twins' addresses from those of `held` to those of `wanted`; nothing else of the
    /// ports can change while they run.
    pub async fn change_addresses(&self, held: &Config, wanted: &Config) {
        let ports = held.ports.iter().zip(&wanted.ports).enumerate();
        for (at, (old, new)) in ports {
            let twin = self
                .twins
                .iter()
                .find(|(port, _)| usize::from(port.0) == at);
            let Some((_, twin)) = twin else { continue };
            self.change(twin, Some(twin.index), &old.addresses, &new.addresses)
                .await;
            for vlan in &new.vlans {
                let before = old.vlans.iter().find(|before| before.id == vlan.id);
                let before = before.map_or(&[][..], |before| &before.addresses);
                let link = self.linux.borrow().links.iter().find_map(|(index, link)| {
                    (link.vlan == Some((twin.index, vlan.id))).then_some(*index)
                });
                self.change(twin, link, before, &vlan.addresses).await;
            }
        }
    }

    async fn change(&self, twin: &Twin, link: Option<u32>, old: &[IpNet], new: &[IpNet]) {
        let Some(link) = link else { return };
        let netlink = self.netlink.handle();
        for address in new.iter().filter(|address| !old.contains(address)) {
            if let Err(error) = twin.add_address(netlink, link, *address).await {
                tracing::error!("{error}");
            }
        }
        for address in old.iter().filter(|address| !new.contains(address)) {
            twin.remove_address(netlink, link, *address).await;
        }
    }
}
