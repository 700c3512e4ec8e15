//! Flows without a server, by `cache_bypass`: a service of a mark that stands before the caches of other
//! hosts has none to give, and the packet goes by routing to the host that it was sent to, as the
//! packets of its connection after it, whatever servers come. It is the kernel's bypass connection.
//!
//! Such a flow has no slot; its method is NAT, whose states the kernel gives it, though nothing is
//! rewritten and no reply passes.

use crate::counters::{DropReason, Overflow};
use crate::director::Director;
use crate::flow::table::Full;
use crate::flow::{FlowId, NewFlow, Tuple};
use crate::io::Frame;
use crate::note::{ToServer, Verdict};
use crate::service::{Method, Protocol, ServerId, Service, ServiceId, Tunnel};
use crate::time::Tick;

impl<F: Frame> Director<F> {
    /// True when a packet for which `service` has no server goes where it was sent to. The kernel
    /// takes the director's own IPv6 addresses for other hosts', and drops the packet then.
    pub(crate) fn bypasses(&self, tuple: &Tuple, service: &Service) -> bool {
        let is_own = self.snapshot.network.is_local(tuple.dst) && tuple.dst.is_v4();
        self.snapshot.settings.ipvs.cache_bypass && service.key.mark != 0 && !is_own
    }

    /// What becomes of a packet for which the service at `id` has no server, and which would be
    /// `refused` for that.
    ///
    /// # Errors
    /// That, or where it goes when no flow begins.
    #[cold]
    pub(crate) fn without_server(
        &mut self,
        now: Tick,
        tuple: &Tuple,
        id: ServiceId,
        refused: Verdict,
    ) -> Result<FlowId, Verdict> {
        let is_for_want_of_one = matches!(refused, Verdict::Refuse(DropReason::NoServer));
        let service = self.snapshot.services.service(id);
        let service = service.filter(|service| is_for_want_of_one && self.bypasses(tuple, service));
        let Some(service) = service else {
            return Err(refused);
        };
        if service.one_packet && tuple.protocol == Protocol::Udp {
            let to = self.to_destination(tuple, false);
            return Err(to.map_or(Verdict::Drop(DropReason::NoServer), Verdict::OnePacket));
        }
        let kept = self.keep_bypass(now, tuple);
        kept.map_err(|Full| self.not_kept(now, tuple, id, Overflow::Table))
    }

    /// How a packet that was sent to `tuple.dst` goes there; none when that is the director.
    pub(crate) fn to_destination(&self, tuple: &Tuple, has_flow: bool) -> Option<ToServer> {
        let is_own = self.snapshot.network.is_local(tuple.dst);
        (!is_own).then_some(ToServer {
            server: ServerId::NONE,
            method: Method::Dr,
            addr: tuple.dst,
            port: tuple.dst_port,
            has_flow,
            tunnel: Tunnel::Ipip,
            local: None,
        })
    }

    /// Begins a flow without a server.
    fn keep_bypass(&mut self, now: Tick, tuple: &Tuple) -> Result<FlowId, Full> {
        let kept = self.flows.insert_unsettled(&NewFlow {
            request: *tuple,
            reply: None,
            server: ServerId::NONE,
            method: Method::Nat,
            expires: now.after(self.snapshot.settings.timeouts.new),
            is_controlled: false,
            template: None,
        })?;
        self.counters.flows_created.add(1);
        Ok(kept)
    }
}
