//! The entries of one flow: its request's, and its reply's where replies pass.

use weir_wire::Addr;

use super::{Direction, Full, NewFlow};
use crate::flow::Flow;
use crate::flow::entry::{Entry, Head, Key, NONE};
use crate::flow::family::{Awaited, Family};
use crate::persist::TemplateId;
use crate::service::{Method, Protocol};

/// The place of the request that `key` leads to.
#[inline]
pub(super) fn find_in<E: Entry>(
    entries: &Family<E>,
    key: &Key<E::Ip>,
    hash: u64,
) -> Option<(u32, Direction)> {
    let place = entries.find(key, hash)?;
    let head = entries.get(place).head();
    if head.is_reply() {
        Some((head.link, Direction::Reply))
    } else {
        Some((place, Direction::Request))
    }
}

pub(super) fn insert_in<E: Entry>(entries: &mut Family<E>, flow: &NewFlow) -> Result<u32, Full> {
    let (request, place) = insert_request(entries, flow)?;
    let Some(reply) = flow.reply else {
        return Ok(place);
    };
    let reply = Key::of(&reply);
    let home = entries.home_of(&reply);
    give_up_older(entries, &reply, home);
    let place = attach_reply(entries, &request, place, reply, home).map_err(|_| Full)?;
    if let (Method::FullNat, Some(template)) = (flow.method, flow.template) {
        let link = entries.get(place).head().link;
        entries.get_mut(link).head_mut().set_template(template);
    }
    Ok(place)
}

pub(super) fn insert_unsettled_in<E: Entry>(
    entries: &mut Family<E>,
    flow: &NewFlow,
) -> Result<u32, Full> {
    if entries.awaited.is_full() {
        return insert_in(entries, flow);
    }
    let (request, place) = insert_request(entries, flow)?;
    if let Some(reply) = flow.reply {
        await_reply(entries, request, place, Key::of(&reply));
    }
    Ok(place)
}

/// Puts the reply's entry off, for which there is room among those that are awaited, and asks for its
/// line.
#[inline]
pub(super) fn await_reply<E: Entry>(
    entries: &mut Family<E>,
    request: Key<E::Ip>,
    place: u32,
    reply: Key<E::Ip>,
) {
    let home = entries.prefetch_home(entries.hash(&reply));
    entries.awaited.push(Awaited {
        request,
        place,
        reply,
        home,
    });
}

/// The flow whose reply found no place, which is taken out.
pub(super) fn settle_in<E: Entry>(entries: &mut Family<E>, at: usize) -> Option<Flow> {
    let Awaited {
        request,
        place,
        reply,
        home,
    } = entries.awaited[at];
    let place = match entries.get(place).is_under(&request) {
        true => place,
        false => entries.find(&request, entries.hash(&request))?,
    };
    give_up_older(entries, &reply, home);
    attach_reply(entries, &request, place, reply, home).err()
}

fn insert_request<E: Entry>(
    entries: &mut Family<E>,
    flow: &NewFlow,
) -> Result<(Key<E::Ip>, u32), Full> {
    let request = Key::of(&flow.request);
    let mut entry = E::new(request, flow.method, false, flow.server.0);
    entry.head_mut().expires = flow.expires;
    if flow.is_controlled {
        entry.head_mut().set_controlled();
    }
    if let Some(reply) = &flow.reply {
        entry.note_reply(&Key::of(reply), flow.method);
    }
    if let Some(template) = flow.template {
        let head = entry.head_mut();
        if flow.method != Method::FullNat {
            head.set_template(template);
        }
        if flow.request.protocol == Protocol::Udp {
            head.set_awaits_reply(true);
        }
    }
    Ok((request, entries.insert(entry)?))
}

/// Takes the reply's entry, whose home line is `home`, from the older flow that has it, if one has.
pub(super) fn give_up_older<E: Entry>(entries: &mut Family<E>, reply: &Key<E::Ip>, home: u32) {
    if let Some(older) = entries.find_from(home, reply)
        && entries.get(older).head().is_reply()
    {
        let of = entries.remove(older).head().link;
        entries.get_mut(of).head_mut().link = NONE;
    }
}

/// Makes the entry of the reply, which no other flow has and whose home line is `home`, to the request
/// at `place`. Returns the request's place, which may be another by then; or the flow, taken out,
/// when the reply has no place.
pub(super) fn attach_reply<E: Entry>(
    entries: &mut Family<E>,
    request: &Key<E::Ip>,
    place: u32,
    reply: Key<E::Ip>,
    home: u32,
) -> Result<u32, Flow> {
    let head = entries.get(place).head();
    let added = entries.insert_at(home, E::new(reply, head.method(), true, head.slot()));
    // The reply may have pushed the request to another place.
    let place = match entries.get(place).is_under(request) {
        true => place,
        false => {
            let pushed = entries.find(request, entries.hash(request));
            debug_assert!(pushed.is_some(), "what is pushed goes to one of its lines");
            pushed.unwrap_or(place)
        }
    };
    match added {
        Ok(reply) => {
            entries.get_mut(reply).head_mut().link = place;
            entries.get_mut(place).head_mut().link = reply;
            Ok(place)
        }
        Err(Full) => Err(remove_from(entries, place)),
    }
}

pub(super) fn remove_from<E: Entry>(entries: &mut Family<E>, place: u32) -> Flow {
    let flow = flow_at(entries, place);
    let link = entries.remove(place).head().link;
    if link != NONE {
        entries.remove(link);
    }
    flow
}

pub(super) fn live_flow<E: Entry>(entries: &Family<E>, place: u32) -> Option<Flow> {
    let is_flow = entries.get(place).head().is_request();
    is_flow.then(|| flow_at(entries, place))
}

pub(super) fn flow_at<E: Entry>(entries: &Family<E>, place: u32) -> Flow {
    let entry = entries.get(place);
    let head = entry.head();
    let has_local = matches!(head.method(), Method::FullNat) && head.link != NONE;
    let (local_addr, local_port) = match has_local {
        true => local_end(entries, head.link),
        false => (Addr(0), 0),
    };
    Flow {
        request: entry.tuple(),
        server: head.server(),
        method: head.method(),
        state: head.state(),
        is_controlled: head.is_controlled(),
        role: head.role(),
        has_data: false,
        packets: head.packets(),
        expires: head.expires,
        has_local,
        local_port,
        local_addr,
        nat_port: u16::from_be(head.other_port()),
        template: template_of(entries, head),
    }
}

/// The template of the request with this head.
pub(super) fn template_of<E: Entry>(entries: &Family<E>, head: &Head) -> Option<TemplateId> {
    match head.method() {
        Method::FullNat if head.link == NONE => None,
        Method::FullNat => entries.get(head.link).head().template(),
        _ => head.template(),
    }
}

/// FullNAT: where the reply at `link` is sent to.
fn local_end<E: Entry>(entries: &Family<E>, link: u32) -> (Addr, u16) {
    let reply = entries.get(link).tuple();
    (reply.dst, reply.dst_port)
}
