//! How long a flow in each state lives without a packet.

use super::tcp::{STATE_COUNT, TcpState};
use crate::time::seconds;

/// Lifetimes in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// By TCP state.
    pub tcp: [u32; STATE_COUNT],
    /// Of UDP flows.
    pub udp: u32,
    /// Of a flow before its first packet has moved its state.
    pub new: u32,
}

impl Default for Timeouts {
    /// The kernel's.
    fn default() -> Self {
        let mut tcp = [0; STATE_COUNT];
        for state in TcpState::ALL {
            tcp[state as usize] = seconds(state.default_timeout_seconds());
        }
        Self {
            tcp,
            udp: seconds(300),
            new: seconds(3),
        }
    }
}

impl Timeouts {
    /// How long a connection of which nothing is known may still be alive.
    #[must_use]
    pub fn longest(&self) -> u32 {
        self.tcp.iter().copied().fold(self.udp, u32::max)
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
