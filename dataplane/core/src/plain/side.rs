//! What a director keeps for plain packets, for those of each family by itself.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::{OPENINGS, Opening, Target};
use crate::flow::entry::{Entry, Entry4, Entry6};
use crate::flow::table::Half;
use crate::next_hop::Routed;
use crate::service::ServerId;

/// For the plain packets of one family.
#[derive(Debug)]
pub(crate) struct Short<E: Side> {
    /// By server.
    pub(super) targets: Vec<Target<E::Ip>>,
    /// Services for which flows begin the short way.
    pub(super) openings: Box<[Opening<E::Ip>]>,
    /// The version of the flow table's entries that the burst under way was looked up in.
    pub(super) looked_up: u32,
}

impl<E: Side> Short<E> {
    fn new(servers: usize) -> Self {
        Self {
            targets: vec![Target::UNSET; servers],
            openings: vec![Opening::UNSET; OPENINGS].into_boxed_slice(),
            looked_up: 0,
        }
    }

    fn forget_target(&mut self, id: ServerId) {
        if let Some(target) = self.targets.get_mut(id.0 as usize) {
            *target = Target::UNSET;
        }
    }
}

/// For those of both.
#[derive(Debug)]
pub(crate) struct Shorts {
    v4: Short<Entry4>,
    v6: Short<Entry6>,
}

impl Shorts {
    /// For so many servers.
    pub(crate) fn new(servers: usize) -> Self {
        Self {
            v4: Short::new(servers),
            v6: Short::new(servers),
        }
    }

    /// Has what is known of a server made anew.
    pub(crate) fn forget_target(&mut self, id: ServerId) {
        self.v4.forget_target(id);
        self.v6.forget_target(id);
    }
}

/// The entries of a family whose plain packets go the short way.
pub(crate) trait Side: Half + Entry<Ip: Routed> {
    fn short(shorts: &Shorts) -> &Short<Self>;
    fn short_mut(shorts: &mut Shorts) -> &mut Short<Self>;
}

impl Side for Entry4 {
    #[inline(always)]
    fn short(shorts: &Shorts) -> &Short<Self> {
        &shorts.v4
    }

    #[inline(always)]
    fn short_mut(shorts: &mut Shorts) -> &mut Short<Self> {
        &mut shorts.v4
    }
}

impl Side for Entry6 {
    #[inline(always)]
    fn short(shorts: &Shorts) -> &Short<Self> {
        &shorts.v6
    }

    #[inline(always)]
    fn short_mut(shorts: &mut Shorts) -> &mut Short<Self> {
        &mut shorts.v6
    }
}
