//! A device of DPDK from its string to running queues, and back.
//!
//! Devices are plugged in after EAL has started, one by one, so that what fails is said of the
//! port it belongs to.

use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;

use dpdk_sys as ffi;

use crate::eal::Eal;
use crate::error::{PortError, detail};
use crate::log;
use crate::pool::Pool;
use crate::port::{PortConfig, PortInfo};
use crate::rss::{self, LongKey, Offer, Rss, Wish};

/// An open port of DPDK. Dropping it stops and closes the port and unplugs its device.
#[derive(Debug)]
pub(crate) struct Device {
    id: u16,
    /// The key by which it was configured to spread packets over its queues. DPDK keeps a pointer to
    /// it and drivers read it when they like: freed after `drop` has closed the port.
    rss_key: Option<Arc<LongKey>>,
    /// Receive queues are filled from it. Freed after `drop` has closed the port.
    pool: Option<Arc<Pool>>,
    _eal: Eal,
}

impl Device {
    /// Plugs the device in and configures it with `queues` queue pairs; no memory is needed yet.
    /// What it cannot do of RSS is taken out of `rss`.
    pub(crate) fn open(
        eal: &Eal,
        config: &PortConfig,
        queues: u16,
        rss: &mut Wish,
    ) -> Result<(Self, PortInfo), PortError> {
        let id = attach(config)?;
        let mut device = Self {
            id,
            rss_key: None,
            pool: None,
            _eal: eal.clone(),
        };
        let limits = device.limits(config)?;
        check(config, queues, &limits)?;
        let mut info = PortInfo {
            device: config.device.clone(),
            driver: driver_name(&limits),
            mac: [0; 6],
            queues,
            rx_descriptors: config.rx_descriptors,
            tx_descriptors: config.tx_descriptors,
            mtu: config.mtu,
            rss: Rss::Off,
            promiscuous: false,
            all_multicast: false,
            rx_ipv4_checksum: limits.rx_offload_capa & ffi::SHIM_RX_OFFLOAD_IPV4_CKSUM != 0,
        };
        let offer = Offer::of(&limits);
        let has_rss = queues > 1 && config.rss && offer.types != 0;
        if has_rss {
            rss.narrow(&offer);
        } else if queues > 1 && config.rss {
            info.rss = Rss::Unsupported;
        }
        device.configure(config, queues, &limits, has_rss.then_some(&*rss))?;
        let step = format!(
            "setting {} receive and {} transmit descriptors",
            config.rx_descriptors, config.tx_descriptors
        );
        // SAFETY: the port is configured; both numbers are ours.
        attempt(config, step, || unsafe {
            ffi::rte_eth_dev_adjust_nb_rx_tx_desc(
                id,
                &mut info.rx_descriptors,
                &mut info.tx_descriptors,
            )
        })?;
        Ok((device, info))
    }

    /// DPDK's number of the port.
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    /// Sets up the queues, which receive into `pool`, and starts the port. What it came up with
    /// is completed in `info`.
    pub(crate) fn start(
        &mut self,
        config: &PortConfig,
        info: &mut PortInfo,
        pool: &Arc<Pool>,
        rss: &Wish,
    ) -> Result<(), PortError> {
        let id = self.id;
        self.pool = Some(Arc::clone(pool));
        self.set_up_queues(config, info, pool)?;
        if let Some(mac) = config.mac {
            let mut address = ffi::rte_ether_addr { addr_bytes: mac };
            let step = format!("taking the MAC address {}", mac_text(mac));
            // SAFETY: the port is configured; the address is ours.
            attempt(config, step, || unsafe {
                ffi::rte_eth_dev_default_mac_addr_set(id, &mut address)
            })?;
        }
        let step = format!("setting mtu {}", config.mtu);
        attempt(config, step, || {
            // SAFETY: the port is configured.
            match unsafe { ffi::rte_eth_dev_set_mtu(id, config.mtu) } {
                // A device without the notion (rings, pcap files) takes what `configure` accepted.
                code if code == -libc::ENOTSUP => 0,
                code => code,
            }
        })?;
        // SAFETY: the port is configured and all its queues are set up.
        attempt(config, "starting".to_string(), || unsafe {
            ffi::rte_eth_dev_start(id)
        })?;
        if self.rss_key.is_some() {
            // Asked again: the table of some devices gets its length with the queues.
            let offer = Offer::of(&self.limits(config)?);
            info.rss = rss::settle(id, info.queues, &offer, rss);
        }
        self.widen_reception(config, info);
        let mut address = ffi::rte_ether_addr::default();
        // SAFETY: the port is open; the address is ours.
        attempt(config, "reading the MAC address".to_string(), || unsafe {
            ffi::rte_eth_macaddr_get(id, &mut address)
        })?;
        info.mac = address.addr_bytes;
        Ok(())
    }

    fn limits(&self, config: &PortConfig) -> Result<ffi::rte_eth_dev_info, PortError> {
        let mut limits = ffi::rte_eth_dev_info::default();
        // SAFETY: the port exists; `limits` is ours.
        attempt(config, "asking for its limits".to_string(), || unsafe {
            ffi::rte_eth_dev_info_get(self.id, &mut limits)
        })?;
        Ok(limits)
    }

    fn configure(
        &mut self,
        config: &PortConfig,
        queues: u16,
        limits: &ffi::rte_eth_dev_info,
        rss: Option<&Wish>,
    ) -> Result<(), PortError> {
        let mut conf = ffi::rte_eth_conf::default();
        conf.rxmode.mtu = u32::from(config.mtu);
        conf.rxmode.mq_mode = ffi::SHIM_MQ_RX_NONE;
        conf.rxmode.offloads = limits.rx_offload_capa & ffi::SHIM_RX_OFFLOAD_IPV4_CKSUM;
        // All frames come from one pool and have one owner (see pool.rs), as this demands.
        conf.txmode.offloads = limits.tx_offload_capa & ffi::SHIM_TX_OFFLOAD_MBUF_FAST_FREE;
        self.rss_key = rss.map(|rss| rss.put(&Offer::of(limits), &mut conf));
        let step = format!("configuring {queues} queue pair(s) and mtu {}", config.mtu);
        // SAFETY: the port exists and is not started; DPDK copies the configuration, and the key to
        // which that points outlives the port (`self.rss_key`) and is not written.
        attempt(config, step, || unsafe {
            ffi::rte_eth_dev_configure(self.id, queues, queues, &conf)
        })
    }

    fn set_up_queues(
        &self,
        config: &PortConfig,
        info: &PortInfo,
        pool: &Pool,
    ) -> Result<(), PortError> {
        let id = self.id;
        // SAFETY: the port exists. A negative number means that the device is near no socket,
        // which as an unsigned number is DPDK's SOCKET_ID_ANY.
        let socket = unsafe { ffi::rte_eth_dev_socket_id(id) } as u32;
        for queue in 0..info.queues {
            let step = format!("setting up receive queue {queue}");
            // SAFETY: the port is configured with this queue; null asks for the driver's own
            // settings; the pool lives until the port is closed (`self.pool`).
            attempt(config, step, || unsafe {
                ffi::rte_eth_rx_queue_setup(
                    id,
                    queue,
                    info.rx_descriptors,
                    socket,
                    std::ptr::null(),
                    pool.as_ptr(),
                )
            })?;
            let step = format!("setting up transmit queue {queue}");
            // SAFETY: as above.
            attempt(config, step, || unsafe {
                ffi::rte_eth_tx_queue_setup(
                    id,
                    queue,
                    info.tx_descriptors,
                    socket,
                    std::ptr::null(),
                )
            })?;
        }
        Ok(())
    }

    /// All multicast, and promiscuous if wanted. Devices that cannot are no error: in-memory ones
    /// deliver everything anyway, and `info` says what is in effect.
    fn widen_reception(&self, config: &PortConfig, info: &mut PortInfo) {
        let ((), _lines) = log::record(|| {
            // SAFETY: the port is open.
            info.all_multicast = unsafe { ffi::rte_eth_allmulticast_enable(self.id) } == 0;
            if config.promiscuous {
                // SAFETY: the port is open.
                info.promiscuous = unsafe { ffi::rte_eth_promiscuous_enable(self.id) } == 0;
            }
        });
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let ((), _lines) = log::record(|| {
            let device = device_of(self.id);
            // SAFETY: the port is open, and no queue set is left to use it.
            unsafe { ffi::rte_eth_dev_stop(self.id) };
            // SAFETY: as above; it is stopped. This frees what its queues hold.
            unsafe { ffi::rte_eth_dev_close(self.id) };
            // One device may have several ports: the last takes it with it.
            if let Some(device) = device
                && !port_ids().any(|id| device_of(id) == Some(device))
            {
                // SAFETY: the device was plugged in, and none of its ports is open.
                unsafe { ffi::rte_dev_remove(device) };
            }
        });
    }
}

/// Plugs the device in, unless EAL has it already, and finds its port.
fn attach(config: &PortConfig) -> Result<u16, PortError> {
    let invalid = |why: &str| PortError::Device {
        device: config.device.replace('\0', "\\0"),
        why: why.to_string(),
    };
    if config.name().is_empty() {
        return Err(invalid("it names no device; give a PCI address or `net_…`"));
    }
    let text = CString::new(config.device.as_str())
        .map_err(|_| invalid("it holds a NUL byte; remove it"))?;
    // SAFETY: EAL is initialised; the string is copied.
    let (code, lines) = log::record(|| unsafe { ffi::rte_dev_probe(text.as_ptr()) });
    if code != 0 && code != -libc::EEXIST {
        return Err(PortError::Attach {
            device: config.device.clone(),
            detail: detail(code, &lines),
            cure: cure(config, &lines),
        });
    }
    let name = config.name();
    let ports: Vec<u16> = port_ids()
        .filter(|&id| device_of(id).is_some_and(|device| is_called(device, name)))
        .collect();
    match ports[..] {
        [id] => Ok(id),
        [] => Err(invalid(
            "its driver made no Ethernet port of it; is it another kind of device?",
        )),
        _ => Err(invalid(
            "it has several ports; choose one by the driver's own arguments",
        )),
    }
}

/// All ports of DPDK.
fn port_ids() -> impl Iterator<Item = u16> {
    let next = |after: u16| {
        // SAFETY: EAL is initialised; any number may be asked.
        let id = unsafe { ffi::rte_eth_find_next(after) };
        (id < ffi::SHIM_NO_PORT).then_some(id)
    };
    std::iter::successors(next(0), move |id| next(id + 1))
}

/// The device that a port belongs to.
fn device_of(id: u16) -> Option<*mut ffi::rte_device> {
    let mut limits = ffi::rte_eth_dev_info::default();
    // SAFETY: `limits` is ours; a port that does not exist is answered by an error.
    let code = unsafe { ffi::rte_eth_dev_info_get(id, &mut limits) };
    (code == 0 && !limits.device.is_null()).then_some(limits.device)
}

fn is_called(device: *mut ffi::rte_device, name: &str) -> bool {
    // SAFETY: the device belongs to an open port, so it and its name exist.
    let called = unsafe { CStr::from_ptr(ffi::rte_dev_name(device)) };
    // PCI addresses may be given without their domain.
    called
        .to_str()
        .is_ok_and(|called| called == name || called.strip_prefix("0000:") == Some(name))
}

/// What to try when a device cannot be attached.
fn cure(config: &PortConfig, lines: &[String]) -> &'static str {
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    if has("not permitted") || has("Permission denied") {
        "run as root or give the process CAP_NET_ADMIN and CAP_NET_RAW"
    } else if config.name().contains(':') {
        "is the address right (`lspci -D`), the device bound (`dpdk-devbind.py -b vfio-pci …`) \
         and EAL without `--no-pci`?"
    } else if lines
        .iter()
        .any(|line| line.contains("failed to parse device"))
    {
        "no driver of DPDK has this name: correct it, or load its plug-in by EAL's `-d PATH`"
    } else {
        "are the arguments after its name right, and what they name free?"
    }
}

fn check(
    config: &PortConfig,
    queues: u16,
    limits: &ffi::rte_eth_dev_info,
) -> Result<(), PortError> {
    let device = config.device.clone();
    let has = limits.max_rx_queues.min(limits.max_tx_queues);
    if queues > has {
        return Err(PortError::Queues {
            device,
            asked: queues,
            has,
        });
    }
    let (min, max) = (limits.min_mtu, limits.max_mtu);
    if config.mtu < min || config.mtu > max {
        return Err(PortError::Mtu {
            device,
            mtu: config.mtu,
            min,
            max,
        });
    }
    Ok(())
}

fn driver_name(limits: &ffi::rte_eth_dev_info) -> String {
    if limits.driver_name.is_null() {
        return String::new();
    }
    // SAFETY: not null, so it is the name in the driver's static memory.
    unsafe { CStr::from_ptr(limits.driver_name) }
        .to_string_lossy()
        .into_owned()
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Makes one call of DPDK that returns 0 or a negative error number.
fn attempt(
    config: &PortConfig,
    step: String,
    call: impl FnOnce() -> c_int,
) -> Result<(), PortError> {
    let (code, lines) = log::record(call);
    if code == 0 {
        return Ok(());
    }
    Err(PortError::Step {
        device: config.device.clone(),
        step,
        detail: detail(code, &lines),
    })
}
