//! What one stage tells the next about a packet.

use weir_wire::tunnel::Tunnel;
use weir_wire::{Addr, Headers};

use crate::counters::DropReason;
use crate::io::WorkerId;
use crate::service::{Method, ServerId};

/// One packet of a burst on its way through the stages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    /// Its headers; meaningless when the verdict was given by parsing.
    pub(crate) headers: Option<Headers>,
    pub(crate) verdict: Verdict,
}

impl Note {
    /// The content of an unused place.
    pub(crate) const NONE: Self = Self {
        headers: None,
        verdict: Verdict::LookUp,
    };
}

/// What is known of a packet's fate. A stage passes over what an earlier one has decided.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// TCP, UDP, SCTP, AH or ESP that a flow may know.
    LookUp,
    /// An ICMP error that may concern a flow.
    Related,
    /// A fragment of a packet that may concern a flow.
    Fragment,
    /// Of a client, to be sent to its real server.
    Request(ToServer),
    /// Of a real server, to be sent to its client in the name of the service.
    Reply(FromServer),
    /// As a request, and what goes on is a reset; so does what goes back.
    ResetRequest(ToServer),
    /// As a reply, and what goes on is a reset; so does what goes back.
    ResetReply(FromServer),
    /// As a request, of the control connection of FTP in this place.
    ControlRequest(ToServer, u32),
    /// As a reply, likewise.
    ControlReply(FromServer, u32),
    /// As a request, without a flow.
    StatelessRequest(ToServer),
    /// As a request that counts as a connection of its own.
    OnePacket(ToServer),
    /// As a reply, without a flow.
    StatelessReply(FromServer),
    /// An ICMP error about a packet that went to the client: on to the real server.
    ErrorToServer(ToServer),
    /// An ICMP error about a packet that went to the real server: on to the client.
    ErrorToClient(FromServer, ServerId),
    /// An ICMP error about a tunnel's outer packet: the client is told in its own terms.
    ErrorInTunnel(ServerId),
    /// For Linux.
    Punt(PuntClass),
    /// For the worker that owns the flow.
    HandOff(WorkerId),
    /// Of a real server that has lost the flow: it ends here, and the server is told.
    TellServer,
    /// Refused, and the sender is told.
    Refuse(DropReason),
    /// Ends here.
    Drop(DropReason),
}

/// How a request goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToServer {
    pub(crate) server: ServerId,
    pub(crate) method: Method,
    pub(crate) addr: Addr,
    pub(crate) port: u16,
    /// The packet is of a flow, not by itself.
    pub(crate) has_flow: bool,
    /// What packets to it go inside of (TUN).
    pub(crate) tunnel: Tunnel,
    /// What stands for the client (FullNAT).
    pub(crate) local: Option<(Addr, u16)>,
}

/// In whose name a reply goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromServer {
    pub(crate) virt: Addr,
    pub(crate) virt_port: u16,
    /// Whom it is for, where its destination does not say (FullNAT).
    pub(crate) client: Option<(Addr, u16)>,
}

/// Which share of the punt budget a packet may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PuntClass {
    /// ARP, neighbour discovery, VRRP, BGP, OSPF: a flood must not starve them.
    Vital,
    /// Everything else.
    Ordinary,
}
