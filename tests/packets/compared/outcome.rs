//! What can be told of a worker after a step, and in what two such differ.

use weir_core::counters::DropReason;
use weir_core::flow::Flow;
use weir_core::io::{Frame, PortId, WorkerId};
use weir_core::next_hop::InterfaceId;
use weir_core::persist::TemplateView;
use weir_core::testing::MemFrame;
use weir_wire::Addr;

use crate::world::{World, each_counter};

/// Everything that can be told of a worker after a burst.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) sent: Vec<(PortId, Vec<u8>)>,
    punted: Vec<(PortId, Vec<u8>)>,
    handed_off: Vec<((WorkerId, PortId), Vec<u8>)>,
    solicited: Vec<(InterfaceId, Addr)>,
    dropped: Vec<(DropReason, PortId)>,
    counted: Vec<u64>,
    received: Vec<(u64, u64)>,
    half_open: usize,
    flows: Vec<Flow>,
    seconds_left: Vec<u32>,
    templates: Vec<(TemplateView, Vec<u8>)>,
}

/// Takes what happened to a worker since the last call.
pub(super) fn outcome(world: &mut World) -> (Outcome, Vec<(WorkerId, PortId, MemFrame)>) {
    let table = world.director.flows();
    let mut flows = Vec::new();
    let end = table.visit(0, usize::MAX, |flow| flows.push(*flow));
    assert_eq!((end, flows.len()), (None, table.len()));
    // Where an entry stands, and so the order of a listing, may differ.
    flows.sort_by_key(|flow| {
        let t = flow.request();
        (t.src, t.dst, t.src_port, t.dst_port, t.protocol)
    });
    let half_open = table.half_open();
    let mut counted = Vec::new();
    each_counter(world.counters(), |_, value| counted.push(value));
    let ports = world.counters().ports.iter();
    let received = ports.map(|p| (p.packets_received.get(), p.bytes_received.get()));
    let received = received.collect();
    let mut templates = Vec::new();
    for at in 0..world.templates.buckets() {
        let see = |view: &_, name: &[u8]| templates.push((*view, name.to_vec()));
        world.templates.visit(world.now, at, see);
    }
    let seconds_left = flows.iter().map(|f| f.seconds_left(world.now)).collect();
    let out = &mut world.out;
    let handed_off = std::mem::take(&mut out.handed_off);
    let outcome = Outcome {
        sent: std::mem::take(&mut out.sent),
        punted: std::mem::take(&mut out.punted),
        handed_off: handed_off
            .iter()
            .map(|(to, port, frame)| ((*to, *port), frame.bytes().to_vec()))
            .collect(),
        solicited: std::mem::take(&mut out.solicited),
        dropped: std::mem::take(&mut out.dropped),
        counted,
        received,
        half_open,
        flows,
        seconds_left,
        templates,
    };
    (outcome, handed_off)
}

fn texts<T: std::fmt::Debug>(list: &[T]) -> Vec<String> {
    list.iter().map(|item| format!("{item:?}")).collect()
}

/// The headers say what is different; the rest is long.
fn frames<T: std::fmt::Debug>(list: &[(T, Vec<u8>)]) -> Vec<String> {
    let text = |(to, bytes): &(T, Vec<u8>)| {
        let head = bytes.get(..96).unwrap_or(bytes);
        format!("{to:?}, {} bytes: {head:02x?}", bytes.len())
    };
    list.iter().map(text).collect()
}

/// In what two outcomes differ, the counters by name.
pub(super) fn difference(short: &Outcome, general: &Outcome, world: &World) -> String {
    let mut told = String::from("by the short way and by the general way:");
    let mut at = 0;
    each_counter(world.counters(), |name, _| {
        let (is, should) = (short.counted[at], general.counted[at]);
        if is != should {
            told += &format!("\n  {name}: {is}, {should}");
        }
        at += 1;
    });
    let mut lists = |what: &str, is: Vec<String>, should: Vec<String>| {
        if is != should {
            let same = is.iter().zip(&should).take_while(|(a, b)| a == b).count();
            let (a, b) = (is.get(same), should.get(same));
            told += &format!("\n  {what} {same}:\n    {a:?}\n    {b:?}");
        }
    };
    lists("sent", frames(&short.sent), frames(&general.sent));
    lists("punted", frames(&short.punted), frames(&general.punted));
    lists(
        "handed off",
        frames(&short.handed_off),
        frames(&general.handed_off),
    );
    lists(
        "solicited",
        texts(&short.solicited),
        texts(&general.solicited),
    );
    lists("dropped", texts(&short.dropped), texts(&general.dropped));
    lists("received", texts(&short.received), texts(&general.received));
    lists(
        "half open",
        texts(&[short.half_open]),
        texts(&[general.half_open]),
    );
    lists("flow", texts(&short.flows), texts(&general.flows));
    lists(
        "template",
        texts(&short.templates),
        texts(&general.templates),
    );
    told
}
