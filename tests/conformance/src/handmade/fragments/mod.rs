//! Packets in fragments: in any order, of any length, and what is wrong with some.

mod faults;
mod headers;
mod kinds;
mod lengths;

use weir_conformance::answer::data;
use weir_conformance::operation::Scenario;
use weir_conformance::place::Leg;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, SYN};

use super::script::{Ends, Script, vip_at};

const METHODS: [&str; 5] = ["nat", "dr", "ipip", "gre", "gue:6080:none"];

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

pub(super) fn all(into: &mut Vec<Scenario>) {
    for is_v6 in [false, true] {
        for method in METHODS {
            lengths::orders(method, is_v6, into);
            lengths::lengths(method, is_v6, into);
            faults::faults(method, is_v6, into);
            faults::late(method, is_v6, into);
            headers::header_fields(method, is_v6, into);
            lengths::narrow(method, is_v6, into);
            kinds::without_ports(method, is_v6, into);
            kinds::errors(method, is_v6, into);
        }
        for method in ["ipip", "gre", "gue:6080:none"] {
            kinds::other_family(method, is_v6, into);
        }
        kinds::replies(is_v6, into);
    }
    for method in METHODS {
        faults::refused(method, into);
    }
}

fn case(what: &str, method: &str, is_v6: bool) -> String {
    format!("{what}, {method}, {}", if is_v6 { "IPv6" } else { "IPv4" })
}

/// A scenario with a server for TCP port 80, UDP port 53 and SCTP port 80, and connections to them.
struct Scene {
    script: Script,
    is_v6: bool,
    /// Identifications that were used.
    ids: u32,
}

impl Scene {
    fn new(what: &str, method: &str, is_v6: bool) -> Self {
        let mut script = Script::new("fragments", &case(what, method, is_v6));
        for (protocol, port) in [("tcp", 80), ("udp", 53), ("sctp", 80)] {
            script.serve(
                &format!("{protocol} {}", vip_at(port, is_v6)),
                "rr",
                1,
                method,
            );
        }
        script.send(Ends::tcp(1, 1024, is_v6), SYN, 0);
        script.send(Ends::udp(1, 1024, is_v6), 0, 4);
        Self {
            script,
            is_v6,
            ids: 0x100,
        }
    }

    /// A number for the fragments of one more packet.
    fn id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    fn ip(&mut self) -> (PacketBuilder, u32) {
        let id = self.id();
        (Ends::udp(1, 1024, self.is_v6).ip().id(id), id)
    }

    /// A datagram of a client's with so many bytes of data, and the number for its fragments.
    fn datagram(&mut self, len: u16) -> (Vec<u8>, u32) {
        let (ip, id) = self.ip();
        (ip.udp(1024, 53).payload(&data(len)).build(), id)
    }

    /// One that ends with its header, by its own length: what comes behind that is nobody's, so that it may be
    /// cut short.
    fn open_datagram(&mut self, len: u16) -> (Vec<u8>, u32) {
        let (mut frame, id) = self.datagram(len);
        let at = ETHERNET + if self.is_v6 { 40 } else { 20 } + 4;
        frame[at..at + 2].copy_from_slice(&[0, 8]);
        (frame, id)
    }

    fn segment(&mut self, len: u16) -> (Vec<u8>, u32) {
        let (ip, id) = self.ip();
        let segment = ip.tcp(1024, 80).flags(ACK).seq(1001).ack(5001);
        (segment.payload(&data(len)).build(), id)
    }

    fn send(&mut self, fragments: impl IntoIterator<Item = Vec<u8>>) {
        for fragment in fragments {
            self.script.bytes(Leg::Client, fragment);
        }
    }

    fn end(self, into: &mut Vec<Scenario>) {
        self.script.end(into);
    }
}

/// True where the first fragment of TCP over IPv6 does not have all of its header.
fn is_headless(is_v6: bool, ends: &[usize]) -> bool {
    is_v6 && ends.first().is_some_and(|end| *end < 20)
}
