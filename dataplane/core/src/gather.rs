//! Fragments: they come together at one worker, and go on as the packet that they were.
//!
//! A later fragment shows neither ports nor flow, and those of a packet may arrive at different
//! workers. So all go to the worker that addresses and identification lead to. It puts them together,
//! finds the flow of the whole, and hands the fragments over, in order, when another worker owns that:
//! there they come together again. The whole is made in a buffer of the worker's own, large enough
//! for any packet, and treated like one that came in a frame; only that it leaves in fragments.

use alloc::boxed::Box;
use alloc::vec;

use weir_wire::{Addr, Headers, Parsed, fragment, icmp, protocol};

use crate::classify::punt_class;
use crate::counters::DropReason;
use crate::director::Director;
use crate::flow::Tuple;
use crate::forward::{Came, Packet, Way, Whole};
use crate::io::{Frame, Outlet, PortId, WorkerId};
use crate::ipsec::is_ipsec;
use crate::note::{PuntClass, Verdict};
use crate::reassemble::{Complete, Ends, Frames, Key, Part};
use crate::service::{Protocol, ServerId};
use crate::snapshot::Snapshot;
use crate::time::Tick;

/// Room for the headers of a packet that is put together, and what a tunnel puts before them.
const HEADERS_MAX: usize = 1024;
const ROOM: usize = HEADERS_MAX + 128;
/// Packets whose time is up that one turn ends.
const LATE_MAX: usize = 16;
/// The longest payload.
const PAYLOAD_MAX: usize = 0xffff;

/// What packets are put together in.
pub(crate) fn buffer() -> Box<[u8]> {
    vec![0; ROOM + PAYLOAD_MAX].into_boxed_slice()
}

/// True for a fragment, and for a packet of IPv6 that has a fragment header though it is whole.
pub(crate) fn is_to_be_gathered(headers: &Headers, bytes: &[u8]) -> bool {
    headers.bits.fragment() || fragment::atomic(bytes, headers).is_some()
}

/// True for a fragment of IPv6 that its sender should not have sent: of a length that no other can follow, or a
/// first one that does not have all headers (RFC 8200 §4.5, RFC 7112 §5).
fn is_faulty(headers: &Headers, part: &Part) -> bool {
    let header_len = match headers.protocol {
        protocol::TCP => 20,
        protocol::UDP | protocol::ICMPV6 => 8,
        _ => 0,
    };
    let is_headless = part.offset == 0 && headers.end.saturating_sub(headers.l4) < header_len;
    part.more && (is_headless || !part.end.is_multiple_of(8))
}

impl<F: Frame> Director<F> {
    /// Takes a fragment that may be of a flow.
    #[inline(never)]
    pub(crate) fn gather<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        is_handed_off: bool,
        headers: &Headers,
        frame: F,
        outlet: &mut O,
    ) {
        let bytes = frame.bytes();
        let info = fragment::info(bytes, headers).or_else(|| fragment::atomic(bytes, headers));
        let part = info.and_then(|info| {
            let len = headers.end.checked_sub(info.at)?;
            Some(Part {
                offset: info.offset,
                end: info.offset.checked_add(len)?,
                more: info.more,
                at: info.at,
                packet_len: headers.packet_len() as u16,
                tos: headers.tos,
                dont_fragment: headers.bits.dont_fragment(),
            })
        });
        let (Some(info), Some(part)) = (info, part) else {
            return self.end(DropReason::Fragment, port, &frame, outlet);
        };
        // Linux tells the sender what is wrong with it (RFC 8200 §4.5), or, of IPv4 on its way through, why
        // it goes no further: there each fragment counts by itself.
        let is_linuxs = match headers.is_v4() {
            false => is_faulty(headers, &part),
            true => !self.is_own(headers.dst) && self.is_stuck(headers, part.packet_len),
        };
        if is_linuxs {
            if let Err(reason) = self.try_punt(now, port, PuntClass::Ordinary, &frame, outlet) {
                self.end(reason, port, &frame, outlet);
            }
            return;
        }
        let (src, dst) = (headers.src, headers.dst);
        // What is whole already need not meet others first.
        let gatherer = match headers.bits.fragment() {
            true => self.steering.gatherer(src, dst, info.id),
            false => self.id,
        };
        if gatherer != self.id && !is_handed_off {
            return self.hand_off(gatherer, port, frame, outlet);
        }
        // Handed over by the worker that gathers: it has found this one to own the flow.
        let is_owner = gatherer != self.id || (is_handed_off && !headers.bits.fragment());
        let key = Key {
            src,
            dst,
            id: info.id,
            protocol: if headers.is_v4() { headers.protocol } else { 0 },
        };
        let counters = &self.counters;
        let frame = (port, frame);
        let complete = self
            .reassembly
            .add(now, &key, part, frame, |reason, port, frame| {
                counters.count_drop(reason);
                outlet.dropped(reason, port, &frame);
            });
        if let Some(complete) = complete {
            self.join(now, port, gatherer, is_owner, complete, outlet);
        }
    }

    /// True for an address of the director's, of its services or of its own.
    fn is_own(&self, addr: Addr) -> bool {
        let Snapshot {
            services, network, ..
        } = &*self.snapshot;
        services.is_virtual(addr) || services.is_local(addr) || network.is_local(addr)
    }

    /// Gives up the packets whose fragments have not come in time. Who sent them is told when the
    /// first is among them (RFC 1122 §3.3.2, RFC 8200 §4.5).
    pub(crate) fn give_up_fragments<O: Outlet<Frame = F>>(&mut self, now: Tick, outlet: &mut O) {
        let mut frames = Frames::new();
        for _ in 0..LATE_MAX {
            let Some((port, is_first)) = self.reassembly.take_late(now, &mut frames) else {
                return;
            };
            if let Some(first) = frames.first().filter(|_| is_first)
                && let Ok(Parsed::Ip(headers)) = weir_wire::parse(first.bytes(), false)
                && self.snapshot.services.is_virtual(headers.dst)
            {
                let server = self.server_of_first(first.bytes(), &headers);
                let mut way = Way {
                    director: self,
                    outlet,
                    now,
                    port,
                    headers,
                };
                way.tell_of_time(first, server);
            }
            for frame in frames.drain(..) {
                self.end(DropReason::FragmentTimeout, port, &frame, outlet);
            }
        }
    }

    /// The server to whose flow a first fragment belongs, where the director sees no replies.
    fn server_of_first(&self, bytes: &[u8], headers: &Headers) -> Option<ServerId> {
        let at = usize::from(fragment::info(bytes, headers)?.at);
        let ports: &[u8; 4] = bytes.get(at..)?.first_chunk()?;
        let tuple = Tuple {
            src: headers.src,
            dst: headers.dst,
            src_port: u16::from_be_bytes([ports[0], ports[1]]),
            dst_port: u16::from_be_bytes([ports[2], ports[3]]),
            protocol: Protocol::from_number(headers.protocol)?,
        };
        let (id, _) = self.flows.find(&tuple, self.flows.hash(&tuple))?;
        let flow = self.flows.get(id);
        (!flow.method().sees_replies()).then_some(flow.server())
    }

    fn join<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        gatherer: WorkerId,
        is_owner: bool,
        complete: Complete,
        outlet: &mut O,
    ) {
        let Some(mut buffer) = self.whole.take() else {
            debug_assert!(false, "a packet within a packet");
            return;
        };
        let (mut frames, mut ends) = (Frames::new(), Ends::new());
        let payload = buffer.get_mut(ROOM..).unwrap_or_default();
        let summary = self
            .reassembly
            .take(complete, payload, &mut frames, &mut ends);
        let headers = frames.first().and_then(|first| {
            let Ok(Parsed::Ip(first_headers)) = weir_wire::parse(first.bytes(), false) else {
                return None;
            };
            let (ecn, front) = (summary.ecn.whole()?, buffer.get_mut(..HEADERS_MAX)?);
            let (len, df) = (summary.len, summary.dont_fragment);
            let len = fragment::write_header(front, first.bytes(), &first_headers, len, ecn, df);
            buffer.copy_within(..len, ROOM - len);
            let whole = buffer.get(ROOM - len..ROOM + summary.len)?;
            let headers = weir_wire::parse_ip(whole, 0, false).ok()?;
            let vlan = first_headers.vlan;
            (len > 0).then_some((Headers { vlan, ..headers }, ROOM - len))
        });
        match headers {
            Some((headers, start)) => {
                let range = start..ROOM + summary.len;
                let bytes = buffer.get(range.clone()).unwrap_or_default();
                let verdict = self.decide(now, &headers, bytes, summary.longest, is_owner);
                let verdict = match verdict {
                    // It has looked already, when the packet came together there.
                    Verdict::HandOff(owner) if is_owner && owner == gatherer => {
                        Verdict::Punt(PuntClass::Ordinary)
                    }
                    verdict => verdict,
                };
                if let Verdict::HandOff(owner) = verdict {
                    for frame in frames {
                        self.hand_off(owner, port, frame, outlet);
                    }
                } else {
                    self.counters.reassembled.add(1);
                    let came = Came {
                        frames: &frames,
                        payload_at: ROOM,
                        ends: &ends,
                        longest: summary.longest,
                    };
                    let whole = Whole::new(&mut buffer, range, came);
                    if let Some(mut whole) = whole {
                        if headers.is_v4() && self.is_own(headers.dst) {
                            // Of what is for its own addresses Linux keeps only IPv6's apart.
                            Packet::<F>::join_front(&mut whole, usize::MAX);
                        }
                        self.finish_whole(now, port, headers, verdict, whole, outlet);
                    }
                }
            }
            None => {
                for frame in frames {
                    self.end(DropReason::Fragment, port, &frame, outlet);
                }
            }
        }
        self.whole = Some(buffer);
    }

    /// What becomes of a packet put together, whose longest fragment had so many bytes.
    fn decide(
        &mut self,
        now: Tick,
        headers: &Headers,
        bytes: &[u8],
        longest: u16,
        is_owner: bool,
    ) -> Verdict {
        let may_have_flow = Protocol::from_number(headers.protocol).is_some();
        if may_have_flow || is_ipsec(headers) {
            self.track(now, headers, bytes, longest, is_owner)
        } else if headers.is_icmp() && icmp::is_related_error(headers.family(), headers.icmp_type) {
            self.relate(now, headers, bytes, is_owner)
        } else {
            Verdict::Punt(punt_class(headers))
        }
    }

    fn finish_whole<O: Outlet<Frame = F>>(
        &mut self,
        now: Tick,
        port: PortId,
        headers: Headers,
        verdict: Verdict,
        whole: Whole<'_, F>,
        outlet: &mut O,
    ) {
        let mut way = Way {
            director: self,
            outlet,
            now,
            port,
            headers,
        };
        match verdict {
            Verdict::Request(to) => way.request(whole, to),
            Verdict::Reply(from) => way.reply(whole, from),
            Verdict::ResetRequest(to) => way.reset_request(whole, to),
            Verdict::ResetReply(from) => way.reset_reply(whole, from),
            Verdict::ControlRequest(to, control) => way.control_request(whole, to, control),
            Verdict::ControlReply(from, control) => way.control_reply(whole, from, control),
            Verdict::StatelessRequest(to) => {
                way.count_stateless(to.server);
                way.request(whole, to);
            }
            Verdict::OnePacket(to) => {
                way.count_one_packet(to.server);
                way.request(whole, to);
            }
            Verdict::StatelessReply(from) => {
                way.director.counters.stateless.add(1);
                way.reply(whole, from);
            }
            Verdict::ErrorToServer(to) => way.error_to_server(whole, to),
            Verdict::ErrorToClient(from, server) => way.error_to_client(whole, from, server),
            Verdict::ErrorInTunnel(server) => way.error_in_tunnel(whole, server),
            Verdict::TellServer => way.tell_server(whole),
            Verdict::Refuse(reason) => way.refuse(whole, reason),
            Verdict::Punt(PuntClass::Ordinary) => way.punt_or_refuse(whole),
            Verdict::Punt(class) => way.punt(whole, class),
            Verdict::Drop(reason) => way.end(&whole, reason),
            other => debug_assert!(false, "no verdict of a whole packet: {other:?}"),
        }
    }
}
