//! TCP states as IPVS has them: a table of three directions, four events and eleven states.

use weir_wire::tcp_flag;

use super::Direction;
use crate::service::Method;

use TcpState::{
    Close as Cl, CloseWait as Cw, Established as Es, FinWait as Fw, LastAck as La, Listen as Li,
    None as No, SynAck as Sa, SynRecv as Sr, SynSent as Ss, TimeWait as Tw,
};

/// How many states there are.
pub const STATE_COUNT: usize = 11;

/// The state of a TCP flow, in the kernel's order (its numbers go over the wire in IPVS's
/// connection synchronisation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TcpState {
    /// No packet seen.
    None = 0,
    /// Both sides talk.
    Established,
    /// The server's SYN came first.
    SynSent,
    /// The client's SYN was seen.
    SynRecv,
    /// One side's FIN was seen.
    FinWait,
    /// Both FINs were seen.
    TimeWait,
    /// Reset.
    Close,
    /// The client's FIN was seen (both directions pass the director).
    CloseWait,
    /// Kept for its number.
    LastAck,
    /// An expected connection (FTP data).
    Listen,
    /// Used by the secure_tcp defence.
    SynAck,
}

/// Which way a segment went, and whether the other way is seen at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// From the client; the server's segments pass the director too.
    Request = 0,
    /// From the server.
    Reply = 1,
    /// From the client; the server answers past the director (DR, TUN).
    RequestOnly = 2,
}

impl Seen {
    /// A segment that goes this way, of a flow of this method.
    #[inline]
    #[must_use]
    pub const fn of(direction: Direction, method: Method) -> Self {
        match direction {
            Direction::Reply => Self::Reply,
            Direction::Request if method.sees_replies() => Self::Request,
            Direction::Request => Self::RequestOnly,
        }
    }
}

impl TcpState {
    /// All states in the order of their numbers.
    pub const ALL: [Self; STATE_COUNT] = [No, Es, Ss, Sr, Fw, Tw, Cl, Cw, La, Li, Sa];

    pub(super) const fn from_index(index: u8) -> Self {
        match index {
            1 => Es,
            2 => Ss,
            3 => Sr,
            4 => Fw,
            5 => Tw,
            6 => Cl,
            7 => Cw,
            8 => La,
            9 => Li,
            10 => Sa,
            _ => No,
        }
    }

    /// The name that `ipvsadm -Lc` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            No => "NONE",
            Es => "ESTABLISHED",
            Ss => "SYN_SENT",
            Sr => "SYN_RECV",
            Fw => "FIN_WAIT",
            Tw => "TIME_WAIT",
            Cl => "CLOSE",
            Cw => "CLOSE_WAIT",
            La => "LAST_ACK",
            Li => "LISTEN",
            Sa => "SYNACK",
        }
    }

    /// True when a new SYN may start the flow anew on another server: the connection has ended
    /// (IPVS: any `conn_reuse_mode` but 0).
    #[inline]
    #[must_use]
    pub const fn may_be_reused(self) -> bool {
        matches!(self, Tw | Cl)
    }

    /// True for the states that count as an active connection.
    #[inline]
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Es | Ss | Sr | Sa)
    }

    /// True while the handshake is not complete.
    #[inline]
    #[must_use]
    pub const fn is_half_open(self) -> bool {
        matches!(self, Sr | Ss | Sa)
    }

    pub(super) const fn default_timeout_seconds(self) -> u32 {
        match self {
            No => 2,
            Es => 900,
            Ss | Fw | Tw | Li | Sa => 120,
            Sr | Cw => 60,
            Cl => 10,
            La => 30,
        }
    }

    /// The state after a segment with these flags. RST counts before SYN, SYN before FIN, FIN
    /// before ACK; a segment with none of them closes. `is_secure` is for the defence `secure_tcp`,
    /// under which a SYN and its ACK from the client alone establish nothing.
    #[inline]
    #[must_use]
    pub const fn next(self, seen: Seen, flags: u8, is_secure: bool) -> Self {
        let event = if flags & tcp_flag::RST != 0 {
            3
        } else if flags & tcp_flag::SYN != 0 {
            0
        } else if flags & tcp_flag::FIN != 0 {
            1
        } else if flags & tcp_flag::ACK != 0 {
            2
        } else {
            return Cl;
        };
        let table = if is_secure { &SECURE } else { &NEXT };
        table[seen as usize][event][self as usize]
    }
}

/// By direction, event and state.
type Table = [[[TcpState; STATE_COUNT]; 4]; 3];

/// The next state by direction, event (SYN, FIN, ACK, RST) and state, in the order of their
/// numbers. The rows are those that probing a kernel gives for every state it can be brought to.
#[rustfmt::skip]
const NEXT: Table = [
    // Request:    No  Es  Ss  Sr  Fw  Tw  Cl  Cw  La  Li  Sa
    [
        /* SYN */ [Sr, Es, Es, Sr, Sr, Sr, Sr, Sr, Sr, Sr, Sr],
        /* FIN */ [Cl, Cw, Ss, Tw, Tw, Tw, Cl, Cw, La, Li, Tw],
        /* ACK */ [Es, Es, Ss, Es, Fw, Tw, Cl, Cw, Cl, Li, Es],
        /* RST */ [Cl, Cl, Cl, Sr, Cl, Cl, Cl, Cl, La, Li, Sr],
    ],
    // Reply:      No  Es  Ss  Sr  Fw  Tw  Cl  Cw  La  Li  Sa
    [
        /* SYN */ [Ss, Es, Ss, Sr, Ss, Ss, Ss, Ss, Ss, Li, Sr],
        /* FIN */ [Tw, Fw, Ss, Tw, Fw, Tw, Cl, Tw, La, Li, Tw],
        /* ACK */ [Es, Es, Ss, Es, Fw, Tw, Cl, Cw, La, Es, Es],
        /* RST */ [Cl, Cl, Ss, Cl, Cl, Tw, Cl, Cl, Cl, Cl, Cl],
    ],
    // RequestOnly: No Es  Ss  Sr  Fw  Tw  Cl  Cw  La  Li  Sa
    [
        /* SYN */ [Sr, Es, Es, Sr, Sr, Sr, Sr, Sr, Sr, Sr, Sr],
        /* FIN */ [Cl, Fw, Ss, Tw, Fw, Tw, Cl, Cw, La, Li, Tw],
        /* ACK */ [Es, Es, Ss, Es, Fw, Tw, Cl, Cw, Cl, Li, Es],
        /* RST */ [Cl, Cl, Cl, Sr, Cl, Cl, Cl, Cl, La, Li, Cl],
    ],
];

/// As [`NEXT`], under the defence `secure_tcp`.
#[rustfmt::skip]
const SECURE: Table = [
    // Request:    No  Es  Ss  Sr  Fw  Tw  Cl  Cw  La  Li  Sa
    [
        /* SYN */ [Sr, Es, Es, Sr, Sr, Sr, Sr, Sr, Sr, Sr, Sa],
        /* FIN */ [Cl, Cw, Ss, Tw, Tw, Tw, Cl, Cw, La, Li, Sa],
        /* ACK */ [Es, Es, Ss, Sr, Fw, Tw, Cl, Cw, Cl, Li, Sa],
        /* RST */ [Cl, Cl, Cl, Sr, Cl, Cl, Cl, Cl, La, Li, Cl],
    ],
    // Reply:      No  Es  Ss  Sr  Fw  Tw  Cl  Cw  La  Li  Sa
    [
        /* SYN */ [Ss, Es, Ss, Sa, Ss, Ss, Ss, Ss, Ss, Li, Sa],
        /* FIN */ [Tw, Fw, Ss, Tw, Fw, Tw, Cl, Tw, La, Li, Tw],
        /* ACK */ [Es, Es, Ss, Es, Fw, Tw, Cl, Cw, La, Es, Es],
        /* RST */ [Cl, Cl, Ss, Cl, Cl, Tw, Cl, Cl, Cl, Cl, Cl],
    ],
    // RequestOnly: No Es  Ss  Sr  Fw  Tw  Cl  Cw  La  Li  Sa
    [
        /* SYN */ [Sa, Es, Es, Sr, Sa, Sa, Sa, Sa, Sa, Sa, Sa],
        /* FIN */ [Cl, Fw, Ss, Tw, Fw, Tw, Cl, Cw, La, Li, Tw],
        /* ACK */ [Es, Es, Ss, Es, Fw, Tw, Cl, Cw, Cl, Li, Es],
        /* RST */ [Cl, Cl, Cl, Sr, Cl, Cl, Cl, Cl, La, Li, Cl],
    ],
];

#[cfg(test)]
mod tests;
