//! Any text on a control connection of FTP: both ends see one stream without gap or overlap, whatever
//! the director puts in or takes out. Driven by the bytes of a property test or a fuzzer.

use weir_core::counters::DropReason;
use weir_core::service::Method;
use weir_wire::builder::PacketBuilder;
use weir_wire::tcp_flag::{ACK, PSH, SYN};
use weir_wire::{Headers, Parsed, segment};

use crate::world::{Described, LAN, Net, WAN, World};

const CLIENT_PORT: u16 = 5000;

/// What either side may say, besides the input's own bytes.
const TEXTS: [&[u8]; 12] = [
    b"PASV\r\n",
    b"EPSV\r\n",
    b"NOOP\r\nPASV\r\n",
    b"PORT 198,51,100,7,195,80\r\n",
    b"EPRT |1|198.51.100.7|50001|\r\n",
    b"227 Entering Passive Mode (10,0,0,1,156,64)\r\n",
    b"227 (10,0,0,1,1,1)\r\n",
    b"227 (255,255,255,255,255,255)\r\n",
    b"150 Wait\r\n227 10,0,0,1,200,2\r\n226 Then\r\n",
    b"229 Entering Extended Passive Mode (|||40001|)\r\n",
    b"227 Entering Passive Mode (10,0,0,1",
    b"",
];

/// One side's numbers, as it counts them and as the other side does.
#[derive(Clone, Copy)]
struct Side {
    own: u32,
    seen: u32,
}

/// A control connection between a client and a server.
pub(crate) struct Stream {
    world: World,
    net: Net,
    client: Side,
    server: Side,
    /// The server's last segment: its numbers, text, and the text that the client saw.
    last: Option<(Side, Vec<u8>, Vec<u8>)>,
}

impl Stream {
    pub(crate) fn new(net: Net) -> Self {
        let mut service = Described::web(&net, Method::Nat);
        service.key.port = 21;
        service.servers = vec![(1, 21, 1)];
        let mut stream = Self {
            world: World::new(&[service]),
            net,
            client: Side {
                own: 1000,
                seen: 1000,
            },
            // Numbers that come round.
            server: Side {
                own: 0xffff_fff0,
                seen: 0xffff_fff0,
            },
            last: None,
        };
        stream.client_says(SYN, b"");
        stream.client = Side {
            own: 1001,
            seen: 1001,
        };
        stream.server_says(SYN | ACK, stream.server, b"");
        let next = 0xffff_fff1;
        stream.server = Side {
            own: next,
            seen: next,
        };
        stream.last = None;
        stream.client_says(ACK, b"");
        stream
    }

    /// Takes every step of `input`.
    ///
    /// # Panics
    /// When one end would see another stream.
    pub(crate) fn run(mut self, mut input: &[u8]) {
        while let [step, rest @ ..] = input {
            input = rest;
            let text = match step >> 4 {
                0..=11 => TEXTS[usize::from(step >> 4)].to_vec(),
                n => {
                    let (text, rest) = input.split_at(input.len().min(usize::from(n - 11) * 12));
                    input = rest;
                    text.to_vec()
                }
            };
            match step & 7 {
                0..=2 => self.client_says(PSH | ACK, &text),
                3..=5 => self.server_says(PSH | ACK, self.server, &text),
                6 => self.again(),
                _ => {
                    self.world.later(u32::from(*step));
                    self.world.housekeep();
                }
            }
            assert!(self.world.director.flows().len() < 200, "flows are bounded");
        }
    }

    /// The client speaks and acknowledges all that it has seen.
    fn client_says(&mut self, flags: u8, text: &[u8]) {
        let tcp = self.net.client_frame().tcp(CLIENT_PORT, 21).flags(flags);
        let tcp = tcp.seq(self.client.own).ack(self.server.seen);
        self.world.receive(WAN, &[tcp.payload(text).build()]);
        let Some((seq, ack, told)) = self.left() else {
            return;
        };
        assert_eq!(told, text, "a client's words go on as they are");
        assert_eq!(seq, self.client.seen);
        if flags != SYN {
            assert_eq!(ack, self.server.own, "all of it is acknowledged");
        }
        let len = text.len() as u32;
        self.client.own = self.client.own.wrapping_add(len);
        self.client.seen = self.client.seen.wrapping_add(len);
    }

    fn server_says(&mut self, flags: u8, side: Side, text: &[u8]) {
        let mut frame = self.net.server_frame(1).tcp(21, CLIENT_PORT).flags(flags);
        frame = frame.seq(side.own).ack(self.client.own).payload(text);
        let padded: PacketBuilder = frame.pad_to(60);
        self.world.receive(LAN, &[padded.build()]);
        let Some((seq, _, told)) = self.left() else {
            return;
        };
        assert_eq!(seq, side.seen, "it follows what the client has");
        if let Some((_, before, seen)) = self.last.take()
            && side.own != self.server.own
            && before == text
        {
            assert_eq!(told, seen, "sent again, it is the same");
        }
        if side.own == self.server.own {
            self.server.own = side.own.wrapping_add(text.len() as u32);
            self.server.seen = side.seen.wrapping_add(told.len() as u32);
        }
        self.last = Some((side, text.to_vec(), told));
    }

    /// The server's last segment gets lost and is sent again.
    fn again(&mut self) {
        if let Some((side, text, _)) = self.last.clone().filter(|(_, text, _)| !text.is_empty()) {
            self.server_says(PSH | ACK, side, &text);
        }
    }

    /// Numbers and text of what left; none when the connection's time is over.
    fn left(&mut self) -> Option<(u32, u32, Vec<u8>)> {
        let sent = self.world.sent();
        let dropped = std::mem::take(&mut self.world.out.dropped);
        assert!(
            dropped
                .iter()
                .all(|(reason, _)| *reason == DropReason::NoFlow)
        );
        let (_, frame) = sent.into_iter().next()?;
        let Ok(Parsed::Ip(h)) = weir_wire::parse(&frame, true) else {
            panic!("what left is no IP packet");
        };
        let h: Headers = h;
        if h.is_icmp() || h.tcp_flags & weir_wire::tcp_flag::RST != 0 {
            return None;
        }
        assert!(segment::checksum_ok(&frame, &h), "its checksum is right");
        assert!(h.packet_len() <= 1500);
        let l4 = usize::from(h.l4);
        let number = |at: usize| {
            let field = frame[l4 + at..l4 + at + 4].try_into();
            u32::from_be_bytes(field.expect("four bytes"))
        };
        let text = frame[segment::payload(&frame, &h)].to_vec();
        Some((number(4), number(8), text))
    }
}
