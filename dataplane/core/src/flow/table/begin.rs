//! A flow that begins with a plain packet, of which the table knows the home line already.

use super::pair::{attach_reply, await_reply, give_up_older};
use super::{FlowTable, Full};
use crate::flow::entry::{Entry, Entry4, Key4};
use crate::service::{Method, ServerId};
use crate::time::Tick;

/// What such a flow begins with, its keys as packets have them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainFlow {
    /// The key of the client's packets.
    pub(crate) request: Key4,
    /// Its home line.
    pub(crate) home: u32,
    /// The key of the server's packets, where they pass. FullNAT: no flow has it.
    pub(crate) reply: Option<Key4>,
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
    pub(crate) fn begin(&mut self, flow: &PlainFlow) -> Result<u32, Full> {
        if self.of_v4.len == self.of_v4.most {
            return Err(Full);
        }
        let mut entry = Entry4::new(flow.request, flow.method, false, flow.server.0);
        entry.head.expires = flow.expires;
        if let Some(reply) = &flow.reply {
            entry.note_reply(reply, flow.method);
        }
        let place = self.v4.insert_at(flow.home, entry)?;
        let place = match flow.reply {
            None => place,
            Some(reply) if flow.method != Method::FullNat && !self.v4.awaited.is_full() => {
                await_reply(&mut self.v4, flow.request, place, reply);
                place
            }
            Some(reply) => {
                let home = self.v4.home_of(&reply);
                if flow.method != Method::FullNat {
                    give_up_older(&mut self.v4, &reply, home);
                }
                let attached = attach_reply(&mut self.v4, &flow.request, place, reply, home);
                attached.map_err(|_| Full)?
            }
        };
        self.of_v4.len += 1;
        Ok(place)
    }
}
