//! SCTP states as IPVS has them: a table of three directions, ten events and fourteen states.

use weir_wire::sctp::SctpEvent;

use super::tcp::Seen;

use SctpState::{
    Closed as Cl, Cookie as Co, CookieEchoed as Ce, CookieReplied as Cr, CookieSent as Cs,
    CookieWait as Cw, Established as Es, Init as In, Init1 as I1, None as No, Rejected as Re,
    ShutdownAckSent as Sa, ShutdownReceived as Sr, ShutdownSent as Ss,
};

/// How many states there are.
pub const STATE_COUNT: usize = 14;

/// The state of an SCTP flow, in the kernel's order (its numbers go over the wire in IPVS's
/// connection synchronisation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SctpState {
    /// No packet seen.
    None = 0,
    /// The client's first INIT was seen.
    Init1,
    /// Another INIT was seen.
    Init,
    /// The server's INIT ACK was seen.
    CookieSent,
    /// The client has sent the cookie back.
    CookieReplied,
    /// The server's INIT was seen, or INIT ACK from the client.
    CookieWait,
    /// The client has granted what the server asked for.
    Cookie,
    /// The server has sent the cookie back.
    CookieEchoed,
    /// Both sides talk.
    Established,
    /// The server wants to end it.
    ShutdownSent,
    /// The client wants to end it.
    ShutdownReceived,
    /// The server wants to end it, too.
    ShutdownAckSent,
    /// Aborted before it stood.
    Rejected,
    /// Ended.
    Closed,
}

impl SctpState {
    /// All states in the order of their numbers.
    pub const ALL: [Self; STATE_COUNT] = [No, I1, In, Cs, Cr, Cw, Co, Ce, Es, Ss, Sr, Sa, Re, Cl];

    pub(super) const fn from_index(index: u8) -> Self {
        if (index as usize) < STATE_COUNT {
            Self::ALL[index as usize]
        } else {
            No
        }
    }

    /// The name that `ipvsadm -Lc` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            No => "NONE",
            I1 => "INIT1",
            In => "INIT",
            Cs => "C-SENT",
            Cr => "C-REPLIED",
            Cw => "C-WAIT",
            Co => "COOKIE",
            Ce => "C-ECHOED",
            Es => "ESTABLISHED",
            Ss => "S-SENT",
            Sr => "S-RECEIVED",
            Sa => "S-ACK-SENT",
            Re => "REJECTED",
            Cl => "CLOSED",
        }
    }

    /// True for the state that counts as an active connection.
    #[inline]
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Es)
    }

    /// True while the handshake is not complete.
    #[inline]
    #[must_use]
    pub const fn is_half_open(self) -> bool {
        matches!(self, I1 | In | Cs | Cr | Cw | Co | Ce)
    }

    /// True when a new INIT may start the flow anew on another server.
    #[inline]
    #[must_use]
    pub const fn may_be_reused(self) -> bool {
        matches!(self, Cl)
    }

    pub(super) const fn default_timeout_seconds(self) -> u32 {
        match self {
            No => 2,
            I1 | Re => 4,
            Es => 900,
            In | Cs | Cr | Cw | Co | Ce | Ss | Sr | Sa | Cl => 61,
        }
    }

    /// The state after a packet that tells `event`; one without any leaves the state.
    #[inline]
    #[must_use]
    pub const fn next(self, seen: Seen, event: Option<SctpEvent>) -> Self {
        match event {
            Some(event) => NEXT[seen as usize][event as usize][self as usize],
            None => self,
        }
    }
}

/// The next state by direction, event and state, in the order of their numbers. The rows are those
/// that probing a kernel gives for every state it can be brought to.
#[rustfmt::skip]
const NEXT: [[[SctpState; STATE_COUNT]; SctpEvent::ALL.len()]; 3] = [
    // Request:                  No  I1  In  Cs  Cr  Cw  Co  Ce  Es  Ss  Sr  Sa  Re  Cl
    [
        /* DATA */              [Es, I1, In, Cs, Cr, Cw, Co, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* INIT */              [I1, In, In, Cs, Cr, Cw, Co, Ce, Es, Ss, Sr, Sa, In, In],
        /* INIT-ACK */          [Cw, Cw, Cw, Cs, Cr, Co, Co, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* COOKIE-ECHO */       [Cr, In, In, Cr, Cr, Cw, Co, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* COOKIE-ACK */        [Es, I1, In, Cs, Cr, Cw, Co, Es, Es, Ss, Sr, Sa, Re, Cl],
        /* SHUTDOWN */          [Sr, I1, In, Cs, Cr, Cw, Co, Ce, Sr, Ss, Sr, Sa, Re, Cl],
        /* SHUTDOWN-ACK */      [Cl, In, In, Cs, Cr, Cw, Co, Ce, Es, Cl, Sr, Cl, Re, Cl],
        /* SHUTDOWN-COMPLETE */ [Cl, Cl, Cl, Cs, Cr, Cw, Co, Ce, Es, Ss, Sr, Cl, Re, Cl],
        /* ERROR */             [Cl, I1, In, Cs, Cr, Cw, Co, Cl, Es, Ss, Sr, Sa, Re, Cl],
        /* ABORT */             [Cl, Cl, Cl, Cl, Cl, Re, Cl, Cl, Cl, Cl, Cl, Cl, Cl, Cl],
    ],
    // Reply:                    No  I1  In  Cs  Cr  Cw  Co  Ce  Es  Ss  Sr  Sa  Re  Cl
    [
        /* DATA */              [Es, I1, In, Cs, Cr, Cw, Co, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* INIT */              [Cw, Cw, Cw, Cw, Cw, Cw, Cw, Cw, Es, Cw, Cw, Cw, Cw, Cw],
        /* INIT-ACK */          [Cs, Cs, Cs, Cs, Cr, Cw, Co, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* COOKIE-ECHO */       [Ce, Ce, Ce, Ce, Ce, Ce, Ce, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* COOKIE-ACK */        [Es, Es, Es, Es, Es, Es, Es, Es, Es, Ss, Sr, Sa, Re, Cl],
        /* SHUTDOWN */          [Ss, Ss, Ss, Ss, Ss, Ss, Ss, Ss, Ss, Ss, Sr, Sa, Re, Cl],
        /* SHUTDOWN-ACK */      [Sa, Sa, Sa, Sa, Sa, Cw, Co, Ce, Es, Sa, Sa, Sa, Re, Cl],
        /* SHUTDOWN-COMPLETE */ [Cl, I1, In, Cs, Cr, Cw, Co, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* ERROR */             [Cl, Cl, Cl, Cl, Cl, Cw, Co, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* ABORT */             [Cl, Re, Cl, Cl, Cl, Cl, Cl, Cl, Cl, Cl, Cl, Cl, Cl, Cl],
    ],
    // RequestOnly:              No  I1  In  Cs  Cr  Cw  Co  Ce  Es  Ss  Sr  Sa  Re  Cl
    [
        /* DATA */              [Es, I1, In, Cs, Cr, Es, Co, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* INIT */              [I1, In, In, In, In, In, Co, Ce, Es, Ss, Sr, Sa, In, In],
        /* INIT-ACK */          [Ce, Ce, Ce, Ce, Ce, Ce, Co, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* COOKIE-ECHO */       [Es, Es, Es, Es, Es, Es, Co, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* COOKIE-ACK */        [Es, I1, In, Es, Es, Cw, Es, Es, Es, Ss, Sr, Sa, Re, Cl],
        /* SHUTDOWN */          [Sr, I1, In, Cs, Cr, Cw, Co, Ce, Sr, Ss, Sr, Sa, Re, Cl],
        /* SHUTDOWN-ACK */      [Cl, In, In, Cs, Cr, Cw, Co, Ce, Cl, Cl, Sr, Cl, Re, Cl],
        /* SHUTDOWN-COMPLETE */ [Cl, Cl, Cl, Cl, Cl, Cw, Co, Ce, Es, Ss, Cl, Cl, Re, Cl],
        /* ERROR */             [Cl, I1, In, Cs, Cr, Cw, Co, Ce, Es, Ss, Sr, Sa, Re, Cl],
        /* ABORT */             [Cl, Cl, Cl, Cl, Cl, Re, Cl, Cl, Cl, Cl, Cl, Cl, Cl, Cl],
    ],
];

#[cfg(test)]
mod tests;
