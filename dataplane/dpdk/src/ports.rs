//! All ports of the director, brought up together: they share one frame pool.

use std::sync::Arc;

use weir_core::io::PortId;

use crate::device::Device;
use crate::eal::Eal;
use crate::error::PortError;
use crate::pool::{Pool, PoolSize, PoolUsage};
use crate::port::{Port, PortConfig, PortInfo};
use crate::queue::QueueSet;
use crate::rss::Wish;

/// The ports, for control: what they are, their links and counters.
///
/// They close when this and all queue sets are dropped.
#[derive(Debug)]
pub struct Ports {
    list: Vec<Port>,
    pool: Arc<Pool>,
}

impl Ports {
    /// Brings up `configs` in this order ([`PortId`] 0 first), each with one queue pair per
    /// worker. The pool holds `spare_frames` beyond what queues and threads can keep: for frames
    /// that are parked or handed from worker to worker.
    ///
    /// # Errors
    ///
    /// The first thing that fails, with the device's name; ports that were up are closed.
    pub fn bring_up(
        eal: &Eal,
        configs: &[PortConfig],
        workers: u16,
        spare_frames: u32,
    ) -> Result<(Self, Vec<QueueSet>), PortError> {
        assert!(workers > 0, "a director has a worker");
        refuse_twins(configs)?;
        let mut devices = Vec::new();
        let mut infos = Vec::new();
        let mut rss = Wish::new();
        for config in configs {
            let (device, info) = Device::open(eal, config, workers, &mut rss)?;
            devices.push(device);
            infos.push(info);
        }
        let in_rings = infos.iter().map(PortInfo::ring_frames).sum();
        let mtu = configs
            .iter()
            .map(|config| config.mtu)
            .max()
            .unwrap_or_default();
        let size = PoolSize::of(in_rings, workers, spare_frames, mtu);
        let pool = Arc::new(Pool::new(eal, size)?);
        for ((device, info), config) in devices.iter_mut().zip(&mut infos).zip(configs) {
            device.start(config, info, &pool, &rss)?;
        }
        let devices: Arc<[Device]> = devices.into();
        let list = infos
            .into_iter()
            .zip(devices.iter())
            .map(|(info, device)| Port::new(info, device.id(), &devices))
            .collect();
        let queue_sets = (0..workers)
            .map(|n| QueueSet::new(n, &devices, &pool))
            .collect();
        Ok((Self { list, pool }, queue_sets))
    }

    /// All ports, in the order of the configuration.
    #[must_use]
    pub fn list(&self) -> &[Port] {
        &self.list
    }

    /// One port, or none when there are not so many.
    #[must_use]
    pub fn get(&self, id: PortId) -> Option<&Port> {
        self.list.get(usize::from(id.0))
    }

    /// The state of the frame pool. Walks the caches of all threads: for metrics, not per packet.
    #[must_use]
    pub fn pool_usage(&self) -> PoolUsage {
        self.pool.usage()
    }
}

fn refuse_twins(configs: &[PortConfig]) -> Result<(), PortError> {
    for (n, config) in configs.iter().enumerate() {
        if configs[..n]
            .iter()
            .any(|other| other.name() == config.name())
        {
            return Err(PortError::Device {
                device: config.device.clone(),
                why: format!(
                    "`{}` is named by two ports; give each its own",
                    config.name()
                ),
            });
        }
    }
    Ok(())
}
