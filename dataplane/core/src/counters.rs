//! What is counted: one list gives a reason its name, its label and its help text; a worker alone
//! writes its numbers and anyone may read them.

use alloc::boxed::Box;

use crate::io::PortId;
use crate::load::Load;
use crate::persist::Refusal;
use crate::sync::{AtomicU64, Ordering};

/// A number that one worker writes and anyone may read.
///
/// It is an atomic for the reader's sake only: the writer loads and stores, it never locks the bus.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        let next = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(next, Ordering::Relaxed);
    }

    /// Takes `n` off a gauge. Only the owning worker may call this.
    #[inline]
    pub fn sub(&self, n: u64) {
        let next = self.0.load(Ordering::Relaxed).wrapping_sub(n);
        self.0.store(next, Ordering::Relaxed);
    }

    /// Sets a gauge. Only the owning worker may call this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value as last written.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $help:literal;)*) => {
        /// Why a packet was not forwarded. Every packet that ends here is counted under exactly one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $help] $name,)* }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)*];

            /// The value of the `reason` label in metrics.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(DropReason::$name => $label,)* }
            }

            /// What the reason means and what to do about it, in a sentence.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(DropReason::$name => $help,)* }
            }
        }
    };
}

drop_reasons! {
    Truncated = "truncated", "The packet is shorter than one of its headers says or needs.";
    NotLinear = "not_linear", "The device delivered the packet in several pieces: raise the port's mtu.";
    IpHeader = "ip_header", "The IP version, header length or total length is impossible.";
    IpChecksum = "ip_checksum", "The IPv4 header checksum is wrong.";
    SourceRoute = "source_route", "The sender prescribes the route, which is not obeyed.";
    ExtensionChain = "extension_chain", "The IPv6 extension headers are malformed or too many.";
    TransportHeader = "transport_header", "The TCP, UDP or SCTP header is malformed.";
    TransportChecksum = "transport_checksum", "The TCP checksum is wrong in a control connection of FTP, whose content is read and changed.";
    Martian = "martian", "The source or destination address cannot be on a wire.";
    VlanTags = "vlan_tags", "The frame carries more VLAN tags than are understood.";
    OtherMac = "other_mac", "The frame is for another machine's MAC address.";
    Fragment = "fragment", "The IP fragment is malformed, or makes a packet that is: empty, not cut at 8 bytes, or with marks of congestion that exclude each other.";
    FragmentOverlap = "fragment_overlap", "The fragments of a packet overlap or contradict each other; all of them are dropped.";
    FragmentAgain = "fragment_again", "The fragment was there already.";
    FragmentTimeout = "fragment_timeout", "The other fragments of the packet did not come in time.";
    FragmentLimit = "fragment_limit", "More fragments wait than limits.fragments_per_worker, or more of one packet than 128; what has waited longest is given up.";
    TtlExceeded = "ttl_exceeded", "The TTL or hop limit ran out; the sender was told.";
    TooBig = "too_big", "The packet is bigger than the path's MTU and must not be fragmented; the sender was told.";
    NoServer = "no_server", "The service has no usable real server; the client was told.";
    NoFlow = "no_flow", "The packet belongs to no flow and may not start one; a TCP client got a reset.";
    NoCallId = "no_call_id", "The service tells calls apart by SIP's Call-ID, and the packet is no datagram with one.";
    ServerRemoved = "server_removed", "The flow's real server was removed from the service.";
    ServerDrained = "server_drained", "The time is over that the flow's real server had to drain: a datagram's flow ends; of TCP both ends get a reset, more of them only within limits.icmp_per_second.";
    ServerWithoutFlow = "server_without_flow", "A NAT server's packet belongs to no flow; the server was told (ipvs.nat_icmp_send).";
    DropPacket = "drop_packet", "A packet that would have begun a flow was dropped by the defence ipvs.drop_packet.";
    FlowTableFull = "flow_table_full", "A new flow was not kept (weir_flows_not_kept_total tells why), and FullNAT cannot forward without one.";
    LocalPortsExhausted = "local_ports_exhausted", "Every local port that the service may use with the FullNAT server is taken: give it more local_addresses.";
    Unreachable = "unreachable", "No route to the real server or client; the sender was told, unless a tunnel is too narrow for any packet.";
    NeighbourQueueFull = "neighbour_queue_full", "Too many packets waited for the same neighbour; the oldest is given up.";
    NeighbourTimeout = "neighbour_timeout", "The next hop did not answer ARP or neighbour discovery; a client whose request it was is told.";
    IcmpUnrelated = "icmp_unrelated", "An ICMP error that concerns no flow.";
    PuntLimit = "punt_limit", "More packets for Linux than limits.punt_packets_per_second.";
    PuntRingFull = "punt_ring_full", "Linux did not take its packets fast enough.";
    NoTwin = "no_twin", "The packet is for Linux, and the port has no twin interface.";
    HandOffRingFull = "hand_off_ring_full", "The worker that owns the flow did not keep up.";
    NoBuffer = "no_buffer", "No packet buffer or no headroom to build a packet: raise limits.packet_buffers.";
    TransmitFull = "transmit_full", "The port's transmit queue was full.";
    PortGone = "port_gone", "The packet should leave by a port that does not exist.";
}

/// Why a new flow was not kept. Its packets are forwarded all the same, to a server chosen by
/// consistent hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Overflow {
    /// The flow table has no room.
    Table,
    /// So many handshakes are open as `limits.half_open_per_worker` allows: a SYN flood.
    HalfOpen,
    /// The service's `new_flows_per_second_max` is used up.
    Rate,
}

impl Overflow {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 3] = [Self::Table, Self::HalfOpen, Self::Rate];

    /// The value of the `cause` label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Table => "table_full",
            Self::HalfOpen => "half_open",
            Self::Rate => "rate",
        }
    }
}

/// Counters of one real server on one worker.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ServerCounters {
    /// Flows ever scheduled to it.
    pub connections: Counter,
    /// Packets from clients.
    pub packets_in: Counter,
    /// Bytes from clients, counted from the IP header.
    pub bytes_in: Counter,
    /// Packets to clients, where replies pass the director.
    pub packets_out: Counter,
    /// Bytes to clients, counted from the IP header.
    pub bytes_out: Counter,
}

/// Counters of one port on one worker.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct PortCounters {
    /// Packets taken from the receive queue.
    pub packets_received: Counter,
    /// Bytes of those, from the Ethernet header.
    pub bytes_received: Counter,
    /// Packets the transmit queue took.
    pub packets_sent: Counter,
    /// Bytes of those, from the Ethernet header.
    pub bytes_sent: Counter,
}

/// Everything one worker counts. The worker writes, anyone reads.
#[derive(Debug)]
#[repr(align(64))]
pub struct WorkerCounters {
    drops: [Counter; DropReason::ALL.len()],
    /// Packets of a flow or new flow that were sent on to a real server or client.
    pub forwarded: Counter,
    /// Packets given to Linux through a twin.
    pub punted: Counter,
    /// Packets from Linux that were sent out of a port.
    pub from_linux: Counter,
    /// Packets handed to the worker that owns their flow.
    pub handed_off: Counter,
    /// Packets that other workers handed to this one.
    pub taken_over: Counter,
    /// Packets that waited for a neighbour and were then sent.
    pub unparked: Counter,
    /// ICMP errors that Weir made.
    pub icmp_sent: Counter,
    /// TCP resets that Weir made.
    pub resets_sent: Counter,
    /// ICMP errors and TCP resets that were due but over limits.icmp_per_second.
    pub answers_suppressed: Counter,
    /// IP fragments that Weir made of packets bigger than the MTU, or that came in fragments.
    pub fragments_sent: Counter,
    /// Packets that Weir put together from fragments.
    pub reassembled: Counter,
    /// Flows in the table now.
    pub flows: Counter,
    /// Those of IPv6 among them.
    pub flows_v6: Counter,
    /// Flows made since start.
    pub flows_created: Counter,
    /// Flows that timed out since start, or that a defence or the removal of their server ended.
    pub flows_expired: Counter,
    /// Flows that were ended by resets to both ends, because their server's time to drain was over.
    pub drained_reset: Counter,
    /// Flows that ended for the same reason without a reset: their ends did not answer, or are not TCP's.
    pub drained_removed: Counter,
    /// Probes sent to the ends of such flows.
    pub drain_probes: Counter,
    /// New flows that were not kept, by [`Overflow`].
    not_kept: [Counter; Overflow::ALL.len()],
    /// Packets that were forwarded without a flow.
    pub stateless: Counter,
    /// Control and data connections of FTP that got no help: no room for them, or not allowed.
    pub ftp_unaided: Counter,
    /// Flows made of connections that began while flows were not kept.
    pub adopted: Counter,
    /// TCP and SCTP flows now whose handshake is not complete.
    pub half_open: Counter,
    /// New flows of persistent services that got no template, by [`Refusal`].
    no_template: [Counter; Refusal::ALL.len()],
    /// Turns of the worker loop.
    pub turns: Counter,
    /// Turns in which there was a packet.
    pub turns_busy: Counter,
    /// The longest turn since start, in nanoseconds.
    pub turn_longest_ns: Counter,
    /// Time asleep in adaptive idle mode, in nanoseconds.
    pub slept_ns: Counter,
    /// By port.
    pub ports: Box<[PortCounters]>,
    /// By real-server slot.
    pub servers: Box<[ServerCounters]>,
    /// By real-server slot: eight to a cache line, because schedulers read those of a whole list.
    pub loads: Box<[Load]>,
}

impl WorkerCounters {
    /// Zeroed counters for so many ports and real-server slots.
    #[must_use]
    pub fn new(ports: usize, servers: usize) -> Self {
        Self {
            drops: core::array::from_fn(|_| Counter::default()),
            forwarded: Counter::default(),
            punted: Counter::default(),
            from_linux: Counter::default(),
            handed_off: Counter::default(),
            taken_over: Counter::default(),
            unparked: Counter::default(),
            icmp_sent: Counter::default(),
            resets_sent: Counter::default(),
            answers_suppressed: Counter::default(),
            fragments_sent: Counter::default(),
            reassembled: Counter::default(),
            flows: Counter::default(),
            flows_v6: Counter::default(),
            flows_created: Counter::default(),
            flows_expired: Counter::default(),
            drained_reset: Counter::default(),
            drained_removed: Counter::default(),
            drain_probes: Counter::default(),
            not_kept: core::array::from_fn(|_| Counter::default()),
            stateless: Counter::default(),
            ftp_unaided: Counter::default(),
            adopted: Counter::default(),
            half_open: Counter::default(),
            no_template: core::array::from_fn(|_| Counter::default()),
            turns: Counter::default(),
            turns_busy: Counter::default(),
            turn_longest_ns: Counter::default(),
            slept_ns: Counter::default(),
            ports: (0..ports).map(|_| PortCounters::default()).collect(),
            servers: (0..servers).map(|_| ServerCounters::default()).collect(),
            loads: (0..servers).map(|_| Load::default()).collect(),
        }
    }

    /// Counts one packet that ended for `reason`.
    #[inline]
    pub fn count_drop(&self, reason: DropReason) {
        self.drops[reason as usize].add(1);
    }

    /// Packets that ended for `reason` so far.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].get()
    }

    /// Packets taken from the receive queues of all ports.
    #[must_use]
    pub fn packets_received(&self) -> u64 {
        let ports = self.ports.iter();
        ports.map(|port| port.packets_received.get()).sum()
    }

    /// Counts one new flow that was not kept.
    #[inline]
    pub(crate) fn count_not_kept(&self, cause: Overflow) {
        self.not_kept[cause as usize].add(1);
    }

    /// New flows that were not kept for this cause so far.
    #[must_use]
    pub fn not_kept(&self, cause: Overflow) -> u64 {
        self.not_kept[cause as usize].get()
    }

    /// Counts one new flow without the template that it should have had.
    #[inline]
    pub(crate) fn count_no_template(&self, cause: Refusal) {
        self.no_template[cause as usize].add(1);
    }

    /// New flows without a template for this cause so far.
    #[must_use]
    pub fn no_template(&self, cause: Refusal) -> u64 {
        self.no_template[cause as usize].get()
    }

    /// The counters of `port`, if there is such a port.
    #[inline]
    #[must_use]
    pub fn port(&self, port: PortId) -> Option<&PortCounters> {
        self.ports.get(usize::from(port.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn every_reason_has_its_own_label_and_a_sentence() {
        let labels: BTreeSet<_> = DropReason::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), DropReason::ALL.len());
        for (slot, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, slot);
            assert!(reason.help().ends_with('.'), "{}", reason.help());
            assert!(
                reason
                    .label()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
        }
    }

    #[test]
    fn counting_one_reason_moves_no_other() {
        let counters = WorkerCounters::new(1, 1);
        counters.count_drop(DropReason::Fragment);
        for reason in DropReason::ALL {
            assert_eq!(
                counters.drops(*reason),
                u64::from(*reason == DropReason::Fragment)
            );
        }
    }
}
