//! `[ipvs]`: the switches of the kernel's director under the kernel's names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::Problem;
use crate::reader::Section;

/// `[ipvs]`: `net.ipv4.vs.*`, with the kernel's defaults. All of it can change on a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ipvs {
    /// What a new SYN on a known connection does, a sum: 1: one that has ended is scheduled anew;
    /// 2: so is one in FIN_WAIT whose replies are not seen. 0: it stays. Default 1.
    pub conn_reuse_mode: u8,
    /// Connections to a removed server end at once instead of being silent. Default `false`.
    pub expire_nodest_conn: bool,
    /// A persistent client of a server of weight 0 is scheduled anew. Default `false`.
    pub expire_quiescent_template: bool,
    /// A connection may begin with any TCP segment but a RST. Default `false`.
    pub sloppy_tcp: bool,
    /// A connection may begin with any SCTP chunk but an ABORT. Default `false`.
    pub sloppy_sctp: bool,
    /// A real server's packet that belongs to no connection is answered with ICMP port
    /// unreachable. Default `false`.
    pub nat_icmp_send: bool,
    /// An ICMP error about an unknown connection begins one. Default `false`.
    pub schedule_icmp: bool,
    /// A packet for another host ([`MarkRule::any_destination`](crate::MarkRule::any_destination)) whose
    /// mark has a service, but no server for it, goes where it was sent to. Default `false`.
    pub cache_bypass: bool,
    /// Stricter TCP states: 0 never; 1 and 2 when the flow table is nearly full; 3 always.
    /// Default 0.
    pub secure_tcp: u8,
    /// Half-open connections give way: as `secure_tcp`. Default 0.
    pub drop_entry: u8,
    /// Some packets that would begin a connection are dropped: as `secure_tcp`. Default 0.
    pub drop_packet: u8,
    /// With `drop_packet = 3`: one of how many, at least 1. Default 10.
    pub am_droprate: u32,
    /// A flow table with room for fewer flows than these is nearly full; the kernel has pages of
    /// free memory here. Default 1024.
    pub amemthresh: u32,
    /// Rates are estimated. Default `true`.
    pub run_estimation: bool,
    /// NAT replies are routed by their new source; taken and without meaning here, where routes
    /// go by destination. Default `true`.
    pub snat_reroute: bool,
    /// Packets out of tunnels are not balanced again; taken and without meaning here. Default
    /// `false`.
    pub ignore_tunneled: bool,
    /// Seconds after which `lblc` forgets an address. Default 86 400.
    pub lblc_expiration: u32,
    /// Seconds after which `lblcr` makes a set smaller. Default 86 400.
    pub lblcr_expiration: u32,
    /// TCP ports of services whose connections are read as FTP's control ones; up to 8. Default
    /// `[21]`.
    pub ftp_ports: Vec<u16>,
}

impl Ipvs {
    /// Most ports of FTP, which is the kernel's bound.
    const FTP_PORTS_MAX: usize = 8;

    pub(crate) fn read(s: Section<'_>) -> Self {
        let level = |name| s.number(name, "a level", 0, 0..=3);
        let seconds = |name| s.number(name, "seconds", 86_400, 1..=u32::MAX / 100);
        let ipvs = Ipvs {
            conn_reuse_mode: s.number("conn_reuse_mode", "a sum of 1 and 2", 1, 0..=3),
            expire_nodest_conn: s.bool("expire_nodest_conn", false),
            expire_quiescent_template: s.bool("expire_quiescent_template", false),
            sloppy_tcp: s.bool("sloppy_tcp", false),
            sloppy_sctp: s.bool("sloppy_sctp", false),
            nat_icmp_send: s.bool("nat_icmp_send", false),
            schedule_icmp: s.bool("schedule_icmp", false),
            cache_bypass: s.bool("cache_bypass", false),
            secure_tcp: level("secure_tcp"),
            drop_entry: level("drop_entry"),
            drop_packet: level("drop_packet"),
            am_droprate: s.number("am_droprate", "packets", 10, 1..=u32::MAX),
            amemthresh: s.number("amemthresh", "flows", 1024, 0..=u32::MAX),
            run_estimation: s.bool("run_estimation", true),
            snat_reroute: s.bool("snat_reroute", true),
            ignore_tunneled: s.bool("ignore_tunneled", false),
            lblc_expiration: seconds("lblc_expiration"),
            lblcr_expiration: seconds("lblcr_expiration"),
            ftp_ports: s.numbers("ftp_ports", "ports", &[21], 1..=u16::MAX),
        };
        if ipvs.ftp_ports.len() > Self::FTP_PORTS_MAX {
            let problem = format!("has {} ports", ipvs.ftp_ports.len());
            let cure = format!("give at most {}", Self::FTP_PORTS_MAX);
            s.fault("ftp_ports", Problem::new(problem, cure));
        }
        s.finish();
        ipvs
    }

    /// Each setting's name and value, always the same ones in the same order.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let ports: Vec<_> = self.ftp_ports.iter().map(ToString::to_string).collect();
        vec![
            ("conn_reuse_mode", self.conn_reuse_mode.to_string()),
            ("expire_nodest_conn", self.expire_nodest_conn.to_string()),
            (
                "expire_quiescent_template",
                self.expire_quiescent_template.to_string(),
            ),
            ("sloppy_tcp", self.sloppy_tcp.to_string()),
            ("sloppy_sctp", self.sloppy_sctp.to_string()),
            ("nat_icmp_send", self.nat_icmp_send.to_string()),
            ("schedule_icmp", self.schedule_icmp.to_string()),
            ("cache_bypass", self.cache_bypass.to_string()),
            ("secure_tcp", self.secure_tcp.to_string()),
            ("drop_entry", self.drop_entry.to_string()),
            ("drop_packet", self.drop_packet.to_string()),
            ("am_droprate", self.am_droprate.to_string()),
            ("amemthresh", self.amemthresh.to_string()),
            ("run_estimation", self.run_estimation.to_string()),
            ("snat_reroute", self.snat_reroute.to_string()),
            ("ignore_tunneled", self.ignore_tunneled.to_string()),
            ("lblc_expiration", self.lblc_expiration.to_string()),
            ("lblcr_expiration", self.lblcr_expiration.to_string()),
            ("ftp_ports", format!("[{}]", ports.join(", "))),
        ]
    }
}
