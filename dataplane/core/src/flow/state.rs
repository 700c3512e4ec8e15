//! The state of a flow of any protocol, and what of a packet moves it.

use weir_wire::sctp::SctpEvent;
use weir_wire::{Headers, tcp_flag};

use super::sctp::SctpState;
use super::tcp::{Seen, TcpState};
use crate::service::{Method, Protocol};

/// Where a flow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Of TCP.
    Tcp(TcpState),
    /// UDP has one only.
    Udp,
    /// Of SCTP.
    Sctp(SctpState),
}

impl State {
    /// That of a flow no packet of which was seen.
    #[must_use]
    pub const fn first(protocol: Protocol) -> Self {
        Self::of(protocol, 0)
    }

    /// The state with this number among those of `protocol`.
    #[inline]
    pub(super) const fn of(protocol: Protocol, index: u8) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp(TcpState::from_index(index)),
            Protocol::Udp => Self::Udp,
            Protocol::Sctp => Self::Sctp(SctpState::from_index(index)),
        }
    }

    /// Its number among those of its protocol.
    #[inline]
    pub(super) const fn index(self) -> u8 {
        match self {
            Self::Tcp(state) => state as u8,
            Self::Udp => 0,
            Self::Sctp(state) => state as u8,
        }
    }

    /// The name that `ipvsadm -Lc` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp(state) => state.name(),
            Self::Udp => "UDP",
            Self::Sctp(state) => state.name(),
        }
    }

    /// True for the states that count as an active connection: opening or established TCP,
    /// established SCTP. UDP never is.
    #[inline]
    #[must_use]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Tcp(state) => state.is_active(),
            Self::Udp => false,
            Self::Sctp(state) => state.is_active(),
        }
    }

    /// True while both sides talk.
    #[inline]
    #[must_use]
    pub const fn is_established(self) -> bool {
        matches!(
            self,
            Self::Tcp(TcpState::Established) | Self::Sctp(SctpState::Established)
        )
    }

    /// True while a handshake is not complete.
    #[inline]
    #[must_use]
    pub const fn is_half_open(self) -> bool {
        match self {
            Self::Tcp(state) => state.is_half_open(),
            Self::Udp => false,
            Self::Sctp(state) => state.is_half_open(),
        }
    }

    /// True when a packet that opens a connection may start the flow anew on another server: the
    /// connection it remembers has ended. `mode` is `net.ipv4.vs.conn_reuse_mode`: 0 never; with
    /// bit 2, FIN_WAIT counts as ended where the director does not see the server's FIN.
    #[inline]
    #[must_use]
    pub const fn may_be_reused(self, mode: u8, method: Method) -> bool {
        let has_ended = match self {
            Self::Tcp(TcpState::FinWait) => mode & 2 != 0 && !method.sees_replies(),
            Self::Tcp(state) => state.may_be_reused(),
            Self::Udp => false,
            Self::Sctp(state) => state.may_be_reused(),
        };
        mode != 0 && has_ended
    }

    /// The state after a packet; `is_secure` chooses TCP's table under `secure_tcp`.
    #[inline]
    #[must_use]
    pub const fn next(self, seen: Seen, signal: Signal, is_secure: bool) -> Self {
        match self {
            Self::Tcp(state) => Self::Tcp(state.next(seen, signal.tcp_flags, is_secure)),
            Self::Udp => Self::Udp,
            Self::Sctp(state) => Self::Sctp(state.next(seen, signal.sctp)),
        }
    }
}

/// What of a packet moves its flow's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// TCP's flags.
    pub tcp_flags: u8,
    /// What SCTP's chunks tell.
    pub sctp: Option<SctpEvent>,
}

impl Signal {
    /// Of a packet with these headers.
    #[inline]
    #[must_use]
    pub const fn of(headers: &Headers) -> Self {
        Self {
            tcp_flags: headers.tcp_flags,
            sctp: headers.sctp,
        }
    }

    /// Of a TCP segment with these flags, or of a datagram.
    #[inline]
    #[must_use]
    pub const fn tcp(tcp_flags: u8) -> Self {
        Self {
            tcp_flags,
            sctp: None,
        }
    }

    /// Of an SCTP packet.
    #[inline]
    #[must_use]
    pub const fn sctp(event: SctpEvent) -> Self {
        Self {
            tcp_flags: 0,
            sctp: Some(event),
        }
    }

    /// True for what opens a connection of `protocol`: a SYN, whatever its other flags, or an INIT.
    #[inline]
    #[must_use]
    pub const fn opens(self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Tcp => self.tcp_flags & tcp_flag::SYN != 0,
            Protocol::Udp => false,
            Protocol::Sctp => matches!(self.sctp, Some(SctpEvent::Init)),
        }
    }

    /// True for a reset or an abort.
    #[inline]
    #[must_use]
    pub const fn aborts(self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Tcp => self.tcp_flags & tcp_flag::RST != 0,
            Protocol::Udp => false,
            Protocol::Sctp => matches!(self.sctp, Some(SctpEvent::Abort)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TcpState::{Close, Established, FinWait, TimeWait};

    #[test]
    fn modes_of_reuse_are_the_kernels() {
        for tcp in TcpState::ALL {
            for mode in 0..4 {
                for method in [Method::Nat, Method::Dr, Method::Tun, Method::FullNat] {
                    let ended = matches!(tcp, TimeWait | Close)
                        || (tcp == FinWait && mode >= 2 && !method.sees_replies());
                    let expected = mode != 0 && ended;
                    let is = State::Tcp(tcp).may_be_reused(mode, method);
                    assert_eq!(is, expected, "{tcp:?}, mode {mode}, {method:?}");
                }
            }
        }
        for sctp in SctpState::ALL {
            for mode in 0..4 {
                let expected = mode != 0 && sctp == SctpState::Closed;
                assert_eq!(State::Sctp(sctp).may_be_reused(mode, Method::Dr), expected);
            }
        }
        assert!(!State::Udp.may_be_reused(3, Method::Dr));
        assert!(!State::Tcp(Established).may_be_reused(3, Method::Dr));
    }
}
