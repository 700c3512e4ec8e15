//! Statistics.

use crate::attribute::Nest;
use crate::errno::Errno;
use crate::tables::{Stats32, Stats64};

/// What a service or server carried, and each a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Connections a second.
    pub connections_rate: u64,
    /// Packets from clients a second.
    pub packets_in_rate: u64,
    /// Packets to clients a second.
    pub packets_out_rate: u64,
    /// Bytes from clients a second.
    pub bytes_in_rate: u64,
    /// Bytes to clients a second.
    pub bytes_out_rate: u64,
}

impl Stats {
    pub(super) fn in_64_bits(&self) -> Stats64 {
        Stats64 {
            conns: Some(self.connections),
            inpkts: Some(self.packets_in),
            outpkts: Some(self.packets_out),
            inbytes: Some(self.bytes_in),
            outbytes: Some(self.bytes_out),
            cps: Some(self.connections_rate),
            inpps: Some(self.packets_in_rate),
            outpps: Some(self.packets_out_rate),
            inbps: Some(self.bytes_in_rate),
            outbps: Some(self.bytes_out_rate),
        }
    }

    /// The lower halves, as the kernel does it.
    pub(super) fn in_32_bits(&self) -> Stats32 {
        let low = |number: u64| Some(number as u32);
        Stats32 {
            conns: low(self.connections),
            inpkts: low(self.packets_in),
            outpkts: low(self.packets_out),
            inbytes: Some(self.bytes_in),
            outbytes: Some(self.bytes_out),
            cps: low(self.connections_rate),
            inpps: low(self.packets_in_rate),
            outpps: low(self.packets_out_rate),
            inbps: low(self.bytes_in_rate),
            outbps: low(self.bytes_out_rate),
        }
    }

    /// What was told in 64 bits, or where it was not, in 32.
    ///
    /// # Errors
    /// `EINVAL` for a broken nest.
    pub fn read(
        wide: Option<&Nest<Stats64, false>>,
        narrow: Option<&Nest<Stats32>>,
    ) -> Result<Self, Errno> {
        if let Some(stats) = wide {
            let stats = stats.parse()?;
            return Ok(Self {
                connections: stats.conns.unwrap_or_default(),
                packets_in: stats.inpkts.unwrap_or_default(),
                packets_out: stats.outpkts.unwrap_or_default(),
                bytes_in: stats.inbytes.unwrap_or_default(),
                bytes_out: stats.outbytes.unwrap_or_default(),
                connections_rate: stats.cps.unwrap_or_default(),
                packets_in_rate: stats.inpps.unwrap_or_default(),
                packets_out_rate: stats.outpps.unwrap_or_default(),
                bytes_in_rate: stats.inbps.unwrap_or_default(),
                bytes_out_rate: stats.outbps.unwrap_or_default(),
            });
        }
        let stats = narrow.map(Nest::parse).transpose()?.unwrap_or_default();
        let wide = |number: Option<u32>| u64::from(number.unwrap_or_default());
        Ok(Self {
            connections: wide(stats.conns),
            packets_in: wide(stats.inpkts),
            packets_out: wide(stats.outpkts),
            bytes_in: stats.inbytes.unwrap_or_default(),
            bytes_out: stats.outbytes.unwrap_or_default(),
            connections_rate: wide(stats.cps),
            packets_in_rate: wide(stats.inpps),
            packets_out_rate: wide(stats.outpps),
            bytes_in_rate: wide(stats.inbps),
            bytes_out_rate: wide(stats.outbps),
        })
    }
}
