//! Receive-side scaling: what devices are told at start, and what they say they do.
//!
//! All ports are told the same: a random key, the kinds of packet that all of them can hash, and an
//! indirection table in which every queue comes as often as every other. What counts is what is read
//! back; a device that says nothing of it is not reckoned with.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use dpdk_sys as ffi;
use weir_core::steer::device::{DeviceRss, Fields, Hashed};
use weir_core::steer::toeplitz::{KEY_BYTES, Key, draw_key};

use crate::error::detail;
use crate::log;

/// How a device spreads packets over its receive queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rss {
    /// There is one queue, or it was not asked for.
    Off,
    /// It was asked for and the device has none: what is in which queue is the device's secret.
    Unsupported,
    /// The device has it and does not tell what it does; why so, for people: `it tells no key (…)`.
    Untold(String),
    /// By what was read back.
    Known(DeviceRss),
}

/// Kinds of packet (`RTE_ETH_RSS_*`) that are wanted to be hashed, if the device can.
const WANTED: u64 = ffi::SHIM_RSS_IP | ffi::SHIM_RSS_TCP | ffi::SHIM_RSS_UDP;

/// By parts of addresses or ports, or by an inner header: not what is predicted.
const OTHERWISE: u64 = ffi::SHIM_RSS_PARTS;

/// A key as long as a device may want it: the length is told in a byte.
pub(crate) type LongKey = [u8; u8::MAX as usize];

/// What a device can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    /// Kinds of packet, of those that are wanted; 0: it has no RSS.
    pub(crate) types: u64,
    /// Bytes of its key; 0 when it does not say.
    key_bytes: u8,
    /// Places of its indirection table; 0 when it has none.
    pub(crate) places: u16,
}

impl Offer {
    pub(crate) fn of(limits: &ffi::rte_eth_dev_info) -> Self {
        Self {
            types: limits.flow_type_rss_offloads & WANTED,
            key_bytes: limits.hash_key_size,
            places: limits.reta_size,
        }
    }
}

/// What all devices are told.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    key: Arc<LongKey>,
    /// Kinds of packet that all devices with RSS can hash; 0 when they have none in common.
    types: u64,
    /// Places after which the table begins again: those of the shortest.
    period: u16,
}

impl Wish {
    /// A random key, and nothing known of the devices.
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        let mut count = 0_u64;
        let start = draw_key(|| {
            count += 1;
            random.hash_one(count)
        });
        let mut key: LongKey = [0; _];
        for (to, from) in key.iter_mut().zip(start.iter().cycle()) {
            *to = *from;
        }
        Self {
            key: Arc::new(key),
            types: WANTED,
            period: u16::MAX,
        }
    }

    /// Wishes no more than this device can do, too.
    pub(crate) fn narrow(&mut self, offer: &Offer) {
        if offer.types != 0 {
            self.types &= offer.types;
        }
        if offer.places != 0 {
            self.period = self.period.min(offer.places);
        }
    }

    /// Writes it into what a device is configured by. `offer` is the device's own. The device
    /// reads the key that is returned until it is closed.
    pub(crate) fn put(&self, offer: &Offer, conf: &mut ffi::rte_eth_conf) -> Arc<LongKey> {
        conf.rxmode.mq_mode = ffi::SHIM_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = self.types_for(offer);
        if usize::from(offer.key_bytes) >= KEY_BYTES {
            conf.rx_adv_conf.rss_conf.rss_key = Arc::as_ptr(&self.key).cast::<u8>().cast_mut();
            conf.rx_adv_conf.rss_conf.rss_key_len = offer.key_bytes;
        }
        Arc::clone(&self.key)
    }

    /// Without any in common, what there is.
    fn types_for(&self, offer: &Offer) -> u64 {
        match self.types & offer.types {
            0 => offer.types,
            types => types,
        }
    }
}

/// Tells the started port `id` what is wished, where that can be read back, and reads it back.
pub(crate) fn settle(id: u16, queues: u16, offer: &Offer, wish: &Wish) -> Rss {
    match (read_hash(id, offer), offer.places) {
        (Err(why), _) => Rss::Untold(why),
        (Ok(_), 0) => Rss::Untold("it has no indirection table".to_owned()),
        (Ok(told), places) => {
            let mut told = Ok(told);
            let types = wish.types_for(offer);
            if told != Ok((key_of(&wish.key), types)) {
                // Whether it took it will be read.
                let _ = write_hash(id, offer, wish, types);
                told = read_hash(id, offer);
            }
            let table = (0..places).map(|at| at % wish.period % queues);
            let _ = write_table(id, &table.collect::<Vec<u16>>());
            let known = told.and_then(|(key, types)| {
                Ok(DeviceRss {
                    key,
                    hashed: hashed(types),
                    table: read_table(id, places)?,
                })
            });
            known.map_or_else(Rss::Untold, Rss::Known)
        }
    }
}

fn key_of(bytes: &LongKey) -> Key {
    let start = bytes.first_chunk();
    *start.expect("the longest key is longer")
}

/// What is hashed of TCP and UDP when these kinds of packet are.
fn hashed(types: u64) -> Hashed {
    let fields = |with_ports: u64, without: u64| match () {
        () if types & OTHERWISE != 0 => Fields::Nothing,
        () if types & with_ports != 0 => Fields::AddressesAndPorts,
        () if types & without != 0 => Fields::Addresses,
        () => Fields::Nothing,
    };
    Hashed {
        tcp_v4: fields(ffi::SHIM_RSS_IPV4_TCP, ffi::SHIM_RSS_IPV4),
        udp_v4: fields(ffi::SHIM_RSS_IPV4_UDP, ffi::SHIM_RSS_IPV4),
        tcp_v6: fields(ffi::SHIM_RSS_IPV6_TCP, ffi::SHIM_RSS_IPV6),
        udp_v6: fields(ffi::SHIM_RSS_IPV6_UDP, ffi::SHIM_RSS_IPV6),
    }
}

/// Bytes of key to exchange with a device.
fn key_len(offer: &Offer) -> Result<u8, String> {
    match usize::from(offer.key_bytes) {
        0 => Ok(KEY_BYTES as u8),
        KEY_BYTES.. => Ok(offer.key_bytes),
        bytes => Err(format!("its key has {bytes} bytes only")),
    }
}

fn read_hash(id: u16, offer: &Offer) -> Result<(Key, u64), String> {
    let mut key: LongKey = [0; _];
    let mut conf = ffi::rte_eth_rss_conf {
        rss_key: key.as_mut_ptr(),
        rss_key_len: key_len(offer)?,
        rss_hf: 0,
    };
    let (code, lines) = log::record(|| {
        // SAFETY: the port is open; `key` is longer than any key and outlives the call.
        unsafe { ffi::rte_eth_dev_rss_hash_conf_get(id, &mut conf) }
    });
    match code {
        0 => Ok((key_of(&key), conf.rss_hf)),
        code => Err(format!("it tells no key: {}", detail(code, &lines))),
    }
}

fn write_hash(id: u16, offer: &Offer, wish: &Wish, types: u64) -> Result<(), String> {
    let mut key: LongKey = *wish.key;
    let mut conf = ffi::rte_eth_rss_conf {
        rss_key: key.as_mut_ptr(),
        rss_key_len: key_len(offer)?,
        rss_hf: types,
    };
    let (code, lines) = log::record(|| {
        // SAFETY: the port is open; the key is as long as said and outlives the call, which copies it.
        unsafe { ffi::rte_eth_dev_rss_hash_update(id, &mut conf) }
    });
    done(code, &lines)
}

/// Entries of the table are exchanged in groups of 64, each with a mask of those that are meant.
const GROUP: usize = ffi::SHIM_RETA_GROUP as usize;

fn groups(table: &[u16]) -> Vec<ffi::rte_eth_rss_reta_entry64> {
    let group = |entries: &[u16]| {
        let mut group = ffi::rte_eth_rss_reta_entry64::default();
        group.reta[..entries.len()].copy_from_slice(entries);
        group.mask = u64::MAX >> (GROUP - entries.len());
        group
    };
    table.chunks(GROUP).map(group).collect()
}

fn write_table(id: u16, table: &[u16]) -> Result<(), String> {
    let mut groups = groups(table);
    let (code, lines) = log::record(|| {
        // SAFETY: the port is open; the groups hold as many entries as said.
        unsafe { ffi::rte_eth_dev_rss_reta_update(id, groups.as_mut_ptr(), table.len() as u16) }
    });
    done(code, &lines)
}

fn read_table(id: u16, places: u16) -> Result<Vec<u16>, String> {
    // Numbers of no queue, should the device leave some out.
    let mut groups = groups(&vec![u16::MAX; usize::from(places)]);
    let (code, lines) = log::record(|| {
        // SAFETY: the port is open; the groups hold as many entries as said.
        unsafe { ffi::rte_eth_dev_rss_reta_query(id, groups.as_mut_ptr(), places) }
    });
    if code != 0 {
        return Err(format!(
            "it tells no indirection table: {}",
            detail(code, &lines)
        ));
    }
    let entries = groups.iter().flat_map(|group| group.reta);
    Ok(entries.take(usize::from(places)).collect())
}

fn done(code: i32, lines: &[String]) -> Result<(), String> {
    match code {
        0 => Ok(()),
        code => Err(detail(code, lines)),
    }
}
