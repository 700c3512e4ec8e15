//! Settings that hold for all services, under the names that the kernel's IPVS has for them
//! (`net.ipv4.vs`).

use crate::flow::Timeouts;
use crate::time::seconds;

/// Settings that hold for all services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Lifetimes of flows by state.
    pub timeouts: Timeouts,
    /// Path-MTU discovery through tunnels: copy DF to the outer header and tell the client when a
    /// packet is too big (`pmtu_disc`, on by default).
    pub pmtu_disc: bool,
    /// What becomes of connections.
    pub ipvs: Ipvs,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            pmtu_disc: true,
            ipvs: Ipvs::default(),
        }
    }
}

/// What becomes of connections. The names, values and defaults are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipvs {
    /// Whether a SYN or INIT starts a flow anew whose connection has ended: 0 never, 1 after
    /// TIME_WAIT, CLOSE and CLOSED, 2 and 3 also after FIN_WAIT where the server's FIN is not seen.
    pub conn_reuse_mode: u8,
    /// Flows of a server that was removed end at once, and a SYN on a flow whose server has weight
    /// 0 is scheduled anew.
    pub expire_nodest_conn: bool,
    /// A template that leads to a server of weight 0 leads nowhere any more.
    pub expire_quiescent_template: bool,
    /// Any segment without RST begins a flow.
    pub sloppy_tcp: bool,
    /// Any packet whose first chunk is no ABORT begins a flow.
    pub sloppy_sctp: bool,
    /// A NAT server whose packet belongs to no flow is told so by ICMP.
    pub nat_icmp_send: bool,
    /// An ICMP error may begin the flow of the packet that it quotes.
    pub schedule_icmp: bool,
    /// A packet for another host that has a service by its mark, which has no server for it, goes where
    /// it was sent to, and so does the rest of its connection.
    pub cache_bypass: bool,
    /// TCP's table of the defence: see [`Defence`].
    pub secure_tcp: Defence,
    /// Half-open flows are ended at random, and idle ones whose clients have sent few packets.
    pub drop_entry: Defence,
    /// Every so many packets that would begin a flow are dropped.
    pub drop_packet: Defence,
    /// With `drop_packet` always on: one of so many; 0 for none.
    pub am_droprate: u32,
    /// A flow table with room for fewer flows is nearly full. The kernel has free pages of memory
    /// here; a worker's memory is all taken at start.
    pub amemthresh: u32,
    /// TCP ports of services whose connections by NAT are read as FTP's control connections (the
    /// kernel has them as a parameter of `ip_vs_ftp`).
    pub ftp_ports: FtpPorts,
    /// How long `lblc` remembers the server of a destination that nobody asks for, in ticks.
    pub lblc_expiration: u32,
    /// The same of `lblcr`, which gives a destination's servers up one by one when they have been the
    /// same ones for so long.
    pub lblcr_expiration: u32,
}

const DAY_SECONDS: u32 = 86_400;

impl Default for Ipvs {
    fn default() -> Self {
        Self {
            conn_reuse_mode: 1,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            sloppy_tcp: false,
            sloppy_sctp: false,
            nat_icmp_send: false,
            schedule_icmp: false,
            cache_bypass: false,
            secure_tcp: Defence::Never,
            drop_entry: Defence::Never,
            drop_packet: Defence::Never,
            am_droprate: 10,
            amemthresh: 1024,
            ftp_ports: FtpPorts::new(&[21]),
            lblc_expiration: seconds(DAY_SECONDS),
            lblcr_expiration: seconds(DAY_SECONDS),
        }
    }
}

/// When a defence against floods is on. The kernel shows by 1 and 2 whether an automatic one is on
/// just now; here both mean the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Defence {
    /// 0.
    #[default]
    Never,
    /// 1 and 2: while the flow table is nearly full, see [`Ipvs::amemthresh`].
    Auto,
    /// 3 and more.
    Always,
}

impl Defence {
    /// By the kernel's number.
    #[must_use]
    pub const fn from_level(level: u8) -> Self {
        match level {
            0 => Self::Never,
            1 | 2 => Self::Auto,
            _ => Self::Always,
        }
    }

    /// Whether it is on when the table is nearly full, or is not.
    #[must_use]
    pub const fn is_on(self, is_nearly_full: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Auto => is_nearly_full,
            Self::Always => true,
        }
    }
}

/// Ports of FTP's control connections, few enough to look at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FtpPorts([u16; Self::MAX]);

impl FtpPorts {
    /// Most of them, as in the kernel.
    pub const MAX: usize = 8;

    /// No port.
    pub const NONE: Self = Self([0; Self::MAX]);

    /// The first eight of `ports`; 0 is none.
    #[must_use]
    pub fn new(ports: &[u16]) -> Self {
        let mut all = Self::NONE;
        for (place, port) in all.0.iter_mut().zip(ports) {
            *place = *port;
        }
        all
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().copied().filter(|port| *port != 0)
    }

    /// True when `port` is one of them.
    #[inline]
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        port != 0 && self.0.contains(&port)
    }

    /// True when there is none.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0[0] == 0
    }
}
