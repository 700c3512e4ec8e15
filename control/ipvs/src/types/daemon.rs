//! Synchronisation daemons.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::attribute::{Bytes, Name};
use crate::errno::Errno;
use crate::tables::DaemonAttributes;

/// What a synchronisation daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DaemonState {
    /// Sends.
    Master,
    /// Listens.
    Backup,
}

impl DaemonState {
    /// `IP_VS_STATE_…`
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Master => 1,
            Self::Backup => 2,
        }
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Master, Self::Backup]
            .into_iter()
            .find(|state| state.number() == number)
    }
}

impl fmt::Display for DaemonState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// A synchronisation daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// What it does.
    pub state: DaemonState,
    /// The interface it speaks by.
    pub interface: String,
    /// The synchronisation's number.
    pub sync_id: u32,
    /// Most bytes of a message; 0 in a request: what fits.
    pub max_length: u16,
    /// The multicast group; none in a request: 224.0.0.81.
    pub group: Option<IpAddr>,
    /// UDP port; 0 in a request: 8848.
    pub port: u16,
    /// Time to live; 0 in a request: 1.
    pub ttl: u8,
}

impl Daemon {
    /// As a client writes it, which leaves out what is not given.
    #[must_use]
    pub fn attributes(&self) -> DaemonAttributes {
        let given = |is_given: bool| is_given.then_some(());
        let mut attributes = DaemonAttributes {
            state: Some(self.state.number()),
            mcast_ifn: Some(Name(self.interface.clone())),
            sync_id: Some(self.sync_id),
            sync_maxlen: given(self.max_length != 0).map(|()| self.max_length),
            mcast_port: given(self.port != 0).map(|()| self.port),
            mcast_ttl: given(self.ttl != 0).map(|()| self.ttl),
            ..DaemonAttributes::default()
        };
        match self.group {
            Some(IpAddr::V4(group)) => attributes.mcast_group = Some(Bytes(group.octets())),
            Some(IpAddr::V6(group)) => attributes.mcast_group6 = Some(Bytes(group.octets())),
            None => {}
        }
        attributes
    }

    /// Reads a daemon with what is missing filled in, for an interface of this MTU.
    pub(crate) fn told(mut self, mtu: u32) -> Self {
        let group = *self.group.get_or_insert(DEFAULT_GROUP);
        let headers = if group.is_ipv4() { 28 } else { 48 };
        let most = u32::from(u16::MAX) - headers;
        let (mtu, least) = match self.state {
            DaemonState::Master => (1500, 1),
            DaemonState::Backup => (mtu.clamp(1500, u32::from(u16::MAX)), 1024),
        };
        let length = match self.max_length {
            0 => mtu - headers,
            length => u32::from(length).clamp(least, most),
        };
        self.max_length = length as u16;
        if self.port == 0 {
            self.port = DEFAULT_PORT;
        }
        self.ttl = self.ttl.max(1);
        self
    }

    /// Reads a daemon as a client or the kernel tells it; its state as a number, because the kernel
    /// looks at that last.
    ///
    /// # Errors
    /// `EINVAL` when something is missing, or the group is none.
    pub(crate) fn read(from: &DaemonAttributes) -> Result<(u32, Self), Errno> {
        let (Some(state), Some(Name(interface)), Some(sync_id)) =
            (from.state, &from.mcast_ifn, from.sync_id)
        else {
            return Err(Errno::Einval);
        };
        let group = match (from.mcast_group, from.mcast_group6) {
            (Some(Bytes(group)), _) => Some(IpAddr::from(group)),
            (None, Some(Bytes(group))) => Some(IpAddr::from(group)),
            (None, None) => None,
        };
        if group.is_some_and(|group| !group.is_multicast()) {
            return Err(Errno::Einval);
        }
        let daemon = Self {
            state: DaemonState::from_number(state).unwrap_or(DaemonState::Backup),
            interface: interface.clone(),
            sync_id,
            max_length: from.sync_maxlen.unwrap_or_default(),
            group,
            port: from.mcast_port.unwrap_or_default(),
            ttl: from.mcast_ttl.unwrap_or_default(),
        };
        Ok((state, daemon))
    }
}

/// 224.0.0.81
const DEFAULT_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
const DEFAULT_PORT: u16 = 8848;
