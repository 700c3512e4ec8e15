//! Commands and attributes of the families IPVS (`linux/ip_vs.h`) and `nlctrl`
//! (`linux/genetlink.h`).

use crate::attribute::{Be16, Bytes, Name, Nest, UpTo, attributes};

/// Name of the family.
pub const FAMILY_NAME: &str = "IPVS";
/// Its number here. The kernel gives numbers as families come; clients ask for it by name.
pub const FAMILY_ID: u16 = 0x20;
/// Its version.
pub const FAMILY_VERSION: u8 = 1;
/// `nlctrl`, which tells of families.
pub const CONTROL_ID: u16 = 0x10;
/// Its version in replies.
pub const CONTROL_VERSION: u8 = 2;
/// `CTRL_CMD_NEWFAMILY`, the reply.
pub const NEW_FAMILY: u8 = 1;
/// `CTRL_CMD_GETFAMILY`
pub const GET_FAMILY: u8 = 3;
/// The version of IPVS: 1.2.1.
pub const IPVS_VERSION: u32 = 0x01_02_01;

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $number:literal $(can $flags:literal)?;)*) => {
        /// What is asked of the family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Command {
            $($(#[$doc])* $name = $number,)*
        }

        impl Command {
            /// Those that can be asked for, with what the family's description says of each:
            /// `GENL_ADMIN_PERM` 1, `GENL_CMD_CAP_DO` 2, `GENL_CMD_CAP_DUMP` 4, `GENL_CMD_CAP_HASPOL` 8.
            pub(crate) const CAPABILITIES: &[(Self, u32)] =
                &[$($((Self::$name, $flags),)?)*];

            /// The command with this number.
            #[must_use]
            pub fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    /// Adds a service; also the reply to [`Command::GetService`].
    NewService = 1 can 0xb;
    /// Changes a service.
    SetService = 2 can 0xb;
    /// Removes a service and its servers.
    DelService = 3 can 0xb;
    /// Asks for one service, or for all.
    GetService = 4 can 0xf;
    /// Adds a server; also the reply to [`Command::GetDest`].
    NewDest = 5 can 0xb;
    /// Changes a server.
    SetDest = 6 can 0xb;
    /// Removes a server.
    DelDest = 7 can 0xb;
    /// Asks for all servers of a service.
    GetDest = 8 can 0xd;
    /// Starts a synchronisation daemon; also the reply to [`Command::GetDaemon`].
    NewDaemon = 9 can 0xb;
    /// Stops one.
    DelDaemon = 10 can 0xb;
    /// Asks for those that run.
    GetDaemon = 11 can 0xd;
    /// Sets timeouts; also the reply to [`Command::GetConfig`].
    SetConfig = 12 can 0xb;
    /// Asks for the timeouts.
    GetConfig = 13 can 0xb;
    /// Only a reply, to [`Command::GetInfo`].
    SetInfo = 14;
    /// Asks for version and size of the table.
    GetInfo = 15 can 0xb;
    /// Zeroes the counters of a service, or all.
    Zero = 16 can 0xb;
    /// Removes all services.
    Flush = 17 can 0xb;
}

/// The greatest number in [`CommandAttributes`], as the family's description tells it.
pub(crate) const ATTRIBUTES_MAX: u32 = 6;

attributes! {
    /// `IPVS_CMD_ATTR_…`: what stands at the top of a message.
    CommandAttributes {
        /// The service.
        1 service: Nest<ServiceAttributes>,
        /// The server.
        2 dest: Nest<DestAttributes>,
        /// The synchronisation daemon.
        3 daemon: Nest<DaemonAttributes>,
        /// Seconds.
        4 timeout_tcp: u32,
        /// Seconds.
        5 timeout_tcp_fin: u32,
        /// Seconds.
        6 timeout_udp: u32,
    }
}

attributes! {
    /// `IPVS_SVC_ATTR_…`
    ServiceAttributes {
        /// `AF_INET` or `AF_INET6`.
        1 af: u16,
        /// Of IP.
        2 protocol: u16,
        /// The virtual address; IPv4 in the first 4 bytes, and what follows means nothing.
        3 addr: UpTo<16>,
        /// The virtual port.
        4 port: Be16,
        /// The firewall mark, instead of protocol, address and port.
        5 fwmark: u32,
        /// The scheduler.
        6 sched_name: Name<15>,
        /// The persistence engine.
        11 pe_name: Name<16>,
        /// Flags, then which of them are to be set.
        7 flags: UpTo<8>,
        /// Of persistence, in seconds.
        8 timeout: u32,
        /// Of persistence: the mask in the network's byte order, or IPv6's prefix length in this
        /// machine's.
        9 netmask: u32,
        /// What it carried.
        10 stats: Nest<Stats32>,
        /// The same.
        12 stats64: Nest<Stats64, false>,
    }
}

attributes! {
    /// `IPVS_DEST_ATTR_…`
    DestAttributes {
        /// As in [`ServiceAttributes`].
        1 addr: UpTo<16>,
        /// The server's port.
        2 port: Be16,
        /// The forwarding method, in the lowest three bits.
        3 fwd_method: u32,
        /// The weight, a number with a sign.
        4 weight: u32,
        /// `ipip` 0, `gue` 1, `gre` 2.
        13 tun_type: u8,
        /// The port of `gue`.
        14 tun_port: Be16,
        /// The tunnel's checksums.
        15 tun_flags: u16,
        /// Connections above which it gets no new ones.
        5 u_thresh: u32,
        /// Connections below which it gets some again.
        6 l_thresh: u32,
        /// Active connections.
        7 active_conns: u32,
        /// Inactive ones.
        8 inact_conns: u32,
        /// Persistence templates.
        9 persist_conns: u32,
        /// `AF_INET` or `AF_INET6`; without it the service's.
        11 addr_family: u16,
        /// What it carried.
        10 stats: Nest<Stats32>,
        /// The same.
        12 stats64: Nest<Stats64, false>,
    }
}

attributes! {
    /// `IPVS_DAEMON_ATTR_…`
    DaemonAttributes {
        /// Master 1, backup 2.
        1 state: u32,
        /// The interface.
        2 mcast_ifn: Name<15>,
        /// The synchronisation's number.
        3 sync_id: u32,
        /// Most bytes of a message.
        4 sync_maxlen: u16,
        /// UDP port.
        7 mcast_port: u16,
        /// Time to live.
        8 mcast_ttl: u8,
        /// IPv4 multicast group.
        5 mcast_group: Bytes<4>,
        /// IPv6 multicast group.
        6 mcast_group6: Bytes<16>,
    }
}

attributes! {
    /// `IPVS_STATS_ATTR_…`, mostly in 32 bits.
    Stats32 {
        /// Connections scheduled.
        1 conns: u32,
        /// Packets from clients.
        2 inpkts: u32,
        /// Packets to clients.
        3 outpkts: u32,
        /// Bytes from clients.
        4 inbytes: u64,
        /// Bytes to clients.
        5 outbytes: u64,
        /// Each a second.
        6 cps: u32,
        /// Each a second.
        7 inpps: u32,
        /// Each a second.
        8 outpps: u32,
        /// Each a second.
        9 inbps: u32,
        /// Each a second.
        10 outbps: u32,
    }
}

attributes! {
    /// `IPVS_STATS_ATTR_…`, all in 64 bits.
    Stats64 {
        /// Connections scheduled.
        1 conns: u64,
        /// Packets from clients.
        2 inpkts: u64,
        /// Packets to clients.
        3 outpkts: u64,
        /// Bytes from clients.
        4 inbytes: u64,
        /// Bytes to clients.
        5 outbytes: u64,
        /// Each a second.
        6 cps: u64,
        /// Each a second.
        7 inpps: u64,
        /// Each a second.
        8 outpps: u64,
        /// Each a second.
        9 inbps: u64,
        /// Each a second.
        10 outbps: u64,
    }
}

attributes! {
    /// `IPVS_INFO_ATTR_…`
    InfoAttributes {
        /// Of IPVS, a byte for each of its three numbers.
        1 version: u32,
        /// Size of the connection table.
        2 conn_tab_size: u32,
    }
}

attributes! {
    /// `CTRL_ATTR_…`
    ControlAttributes {
        /// The family's name.
        2 family_name: Name<15>,
        /// Its number.
        1 family_id: u16,
        /// Its version.
        3 version: u32,
        /// Bytes of its own header.
        4 hdrsize: u32,
        /// The greatest number of an attribute.
        5 maxattr: u32,
    }
}

attributes! {
    /// `CTRL_ATTR_OP_…`
    OperationAttributes {
        /// The command.
        1 id: u32,
        /// What can be done with it.
        2 flags: u32,
    }
}
