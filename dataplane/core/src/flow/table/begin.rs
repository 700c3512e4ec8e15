//! A flow that begins with a plain packet, of which the table knows the home line already.

use super::pair::{attach_reply, await_reply, give_up_older};
use super::{FlowTable, Full, Half};
use crate::flow::entry::Key;
use crate::service::{Method, ServerId};
use crate::time::Tick;

/// What such a flow begins with, its keys as packets have them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainFlow<E: Half> {
    /// The key of the client's packets.
    pub(crate) request: Key<E::Ip>,
    /// Its home line.
    pub(crate) home: u32,
    /// The key of the server's packets, where they pass. FullNAT: no flow has it.
    pub(crate) reply: Option<Key<E::Ip>>,
    /// The real server's slot.
    pub(crate) server: ServerId,
    /// How packets reach it.
    pub(crate) method: Method,
    /// When it ends if no packet comes.
    pub(crate) expires: Tick,
}

impl FlowTable {
    /// Takes a flow in, as [`insert_unsettled`](Self::insert_unsettled) does with NAT and
    /// [`insert`](Self::insert) with FullNAT, and returns the place of its request.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub(crate) fn begin<E: Half>(&mut self, flow: &PlainFlow<E>) -> Result<u32, Full> {
        let (entries, count) = E::half_mut(self);
        if count.len == count.most {
            return Err(Full);
        }
        let mut entry = E::new(flow.request, flow.method, false, flow.server.0);
        entry.head_mut().expires = flow.expires;
        if let Some(reply) = &flow.reply {
            entry.note_reply(reply, flow.method);
        }
        let place = entries.insert_at(flow.home, entry)?;
        let place = match flow.reply {
            None => place,
            Some(reply) if flow.method != Method::FullNat && !entries.awaited.is_full() => {
                await_reply(entries, flow.request, place, reply);
                place
            }
            Some(reply) => {
                let home = entries.home_of(&reply);
                if flow.method != Method::FullNat {
                    give_up_older(entries, &reply, home);
                }
                let attached = attach_reply(entries, &flow.request, place, reply, home);
                attached.map_err(|_| Full)?
            }
        };
        count.len += 1;
        Ok(place)
    }
}
