//! How long a flow in each state lives without a packet.

use super::sctp::{self, SctpState};
use super::state::State;
use super::tcp::{self, TcpState};
use crate::time::seconds;

/// Lifetimes in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// By TCP state.
    pub tcp: [u32; tcp::STATE_COUNT],
    /// By SCTP state.
    pub sctp: [u32; sctp::STATE_COUNT],
    /// Of UDP flows.
    pub udp: u32,
    /// Of a flow before its first packet has moved its state.
    pub new: u32,
}

impl Default for Timeouts {
    /// The kernel's.
    fn default() -> Self {
        Self {
            tcp: TcpState::ALL.map(|state| seconds(state.default_timeout_seconds())),
            sctp: SctpState::ALL.map(|state| seconds(state.default_timeout_seconds())),
            udp: seconds(300),
            new: seconds(3),
        }
    }
}

impl Timeouts {
    /// Of a flow in this state.
    #[inline]
    #[must_use]
    pub const fn of(&self, state: State) -> u32 {
        match state {
            State::Tcp(state) => self.tcp[state as usize],
            State::Udp => self.udp,
            State::Sctp(state) => self.sctp[state as usize],
        }
    }

    /// How long a connection of which nothing is known may still be alive.
    #[must_use]
    pub fn longest(&self) -> u32 {
        let all = self.tcp.iter().chain(&self.sctp);
        all.copied().fold(self.udp, u32::max)
    }

    /// With the three that `ipvsadm --set` changes, in seconds: `tcp` is ESTABLISHED only and
    /// `tcp_fin` FIN_WAIT only, as in the kernel.
    #[must_use]
    pub fn with(tcp: u32, tcp_fin: u32, udp: u32) -> Self {
        let mut timeouts = Self::default();
        timeouts.tcp[TcpState::Established as usize] = seconds(tcp);
        timeouts.tcp[TcpState::FinWait as usize] = seconds(tcp_fin);
        timeouts.udp = seconds(udp);
        timeouts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds in each state, as a kernel was seen to have them.
    #[test]
    fn lifetimes_are_the_kernels() {
        let timeouts = Timeouts::default();
        let tcp = [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120];
        for (state, expected) in TcpState::ALL.into_iter().zip(tcp) {
            assert_eq!(
                timeouts.of(State::Tcp(state)),
                seconds(expected),
                "{state:?}"
            );
        }
        let sctp = [2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61];
        for (state, expected) in SctpState::ALL.into_iter().zip(sctp) {
            assert_eq!(
                timeouts.of(State::Sctp(state)),
                seconds(expected),
                "{state:?}"
            );
        }
        assert_eq!(timeouts.of(State::Udp), seconds(300));
        assert_eq!(timeouts.new, seconds(3));
    }

    /// `ipvsadm --set 7 8 9`.
    #[test]
    fn only_three_states_have_lifetimes_that_can_be_set() {
        let set = Timeouts::with(7, 8, 9);
        let mut expected = Timeouts::default();
        expected.tcp[TcpState::Established as usize] = seconds(7);
        expected.tcp[TcpState::FinWait as usize] = seconds(8);
        expected.udp = seconds(9);
        assert_eq!(set, expected);
    }

    #[test]
    fn active_states_are_the_kernels() {
        use TcpState::{Established, SynAck, SynRecv, SynSent};
        for state in TcpState::ALL {
            let expected = matches!(state, Established | SynSent | SynRecv | SynAck);
            assert_eq!(State::Tcp(state).is_active(), expected, "{state:?}");
        }
        for state in SctpState::ALL {
            let expected = state == SctpState::Established;
            assert_eq!(State::Sctp(state).is_active(), expected, "{state:?}");
        }
        assert!(!State::Udp.is_active());
    }
}
