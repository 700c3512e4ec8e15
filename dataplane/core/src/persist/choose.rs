//! The real server of a new flow, and the template that it lives under.

use weir_wire::Addr;

use super::{End, Engine, Persistence, TemplateId, TemplateKey, addr_of_mark, sip};
use crate::counters::DropReason;
use crate::director::Director;
use crate::flow::{FlowId, Tuple};
use crate::io::Frame;
use crate::note::{FromServer, PuntClass, Verdict};
use crate::schedule::{Arrival, Scheduler};
use crate::service::{FTP_PORT, Method, Protocol, Server, ServerId, Service, ServiceId};
use crate::time::Tick;

/// Where a new flow goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen {
    pub(crate) id: ServerId,
    pub(crate) server: Server,
    /// The port its packets go to.
    pub(crate) port: u16,
    /// It counts as a child of this.
    pub(crate) template: Option<TemplateId>,
}

/// What begins with a server's packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begun {
    /// A flow.
    Flow(FlowId),
    /// Nothing that stays: the packet leaves in this name, and counts for the server.
    OnePacket(ServerId, FromServer),
}

impl Service {
    /// The template key of a client's packet, but for what an engine finds in it.
    fn template_key(&self, persistence: &Persistence, request: &Tuple) -> TemplateKey<'static> {
        let of_port = request.dst_port == self.key.port && self.key.port != FTP_PORT;
        let (virt, port, protocol) = match self.key.mark {
            0 if of_port => (request.dst, self.key.port, request.protocol.number()),
            // All ports of the address, or all that FTP may use.
            0 => (request.dst, 0, request.protocol.number()),
            mark => (addr_of_mark(mark, request.src.family()), 0, 0),
        };
        TemplateKey {
            client: Addr(request.src.0 & persistence.mask),
            virt,
            port,
            protocol,
            name: None,
        }
    }

    /// The port that a packet goes to at `server`: the server's where it stands for the service's,
    /// else the packet's own.
    pub(crate) fn dest_port(&self, server: &Server, request: &Tuple) -> u16 {
        let is_mapped = self.persistence.is_none() || request.dst_port == self.key.port;
        match server.port {
            port if port != 0 && is_mapped => port,
            _ => request.dst_port,
        }
    }

    /// True when nothing can be said of a packet without its payload.
    pub(crate) fn has_engine(&self) -> bool {
        self.persistence.is_some_and(|p| p.engine.is_some())
    }

    /// True when the service takes the packet for another port's sake: it is FTP's.
    fn is_beside(&self, request: &Tuple) -> bool {
        self.key.mark == 0 && self.key.port == FTP_PORT && request.dst_port != FTP_PORT
    }
}

/// What an engine tells clients apart by.
fn name_of(
    engine: Option<Engine>,
    protocol: Protocol,
    payload: &[u8],
) -> Result<Option<&[u8]>, Verdict> {
    match engine {
        None => Ok(None),
        Some(Engine::Sip) => {
            let name = sip::call_id(payload).filter(|_| protocol == Protocol::Udp);
            name.map(Some).ok_or(Verdict::Drop(DropReason::NoCallId))
        }
    }
}

impl<F: Frame> Director<F> {
    /// Chooses a server for a new flow of the service at `id`. `payload` is what the datagram
    /// carries.
    ///
    /// # Errors
    /// What becomes of the packet when there is none.
    #[inline]
    pub(crate) fn choose(
        &self,
        now: Tick,
        tuple: &Tuple,
        id: ServiceId,
        payload: &[u8],
    ) -> Result<Chosen, Verdict> {
        const NONE: Verdict = Verdict::Refuse(DropReason::NoServer);
        let service = self.snapshot.services.service(id).ok_or(NONE)?;
        if service.persistence.is_none() && !service.is_beside(tuple) {
            return self.schedule(now, tuple, service).ok_or(NONE);
        }
        self.choose_by_template(now, tuple, service, payload)
    }

    /// The same where a template may know, or another port than the service's is asked for.
    #[inline(never)]
    fn choose_by_template(
        &self,
        now: Tick,
        tuple: &Tuple,
        service: &Service,
        payload: &[u8],
    ) -> Result<Chosen, Verdict> {
        let none = match service.is_beside(tuple) {
            true => Verdict::Punt(PuntClass::Ordinary),
            false => Verdict::Refuse(DropReason::NoServer),
        };
        let Some(persistence) = &service.persistence else {
            return Err(none);
        };
        let name = name_of(persistence.engine, tuple.protocol, payload)?;
        let key = TemplateKey {
            name,
            ..service.template_key(persistence, tuple)
        };
        let (templates, usable) = (&self.snapshot.templates, |id| self.is_usable(id));
        let refusal = match templates.attach(now, &key, usable) {
            Ok(Some(found)) => return self.under(tuple, service, found).ok_or(none),
            Ok(None) => None,
            Err(refusal) => Some(refusal),
        };
        let chosen = self.schedule(now, tuple, service).ok_or(none)?;
        let refusal = match refusal {
            Some(refusal) => refusal,
            None => {
                let port = if key.port == 0 { 0 } else { chosen.port };
                let leads_to = (chosen.id, port);
                match templates.create(now, &key, persistence.lifetime, leads_to, usable) {
                    Ok(made) => return self.under(tuple, service, made).ok_or(none),
                    Err(refusal) => refusal,
                }
            }
        };
        self.counters.count_no_template(refusal);
        Ok(chosen)
    }

    /// The scheduler's choice.
    #[inline]
    fn schedule(&self, now: Tick, tuple: &Tuple, service: &Service) -> Option<Chosen> {
        let snapshot = &self.snapshot;
        let services = &snapshot.services;
        let arrival = Arrival {
            request: tuple,
            now,
            loads: &snapshot.loads,
            settings: &snapshot.settings,
            random: &self.random,
        };
        let id = Scheduler::pick(service, services, &arrival)?;
        let server = *services.server(id)?;
        Some(Chosen {
            id,
            server,
            port: service.dest_port(&server, tuple),
            template: None,
        })
    }

    /// A flow that lives under a template.
    fn under(&self, tuple: &Tuple, service: &Service, at: super::Attached) -> Option<Chosen> {
        let server = *self.snapshot.services.server(at.server)?;
        Some(Chosen {
            id: at.server,
            server,
            port: service.dest_port(&server, tuple),
            template: Some(at.id),
        })
    }

    /// True for a server that a template may lead to.
    fn is_usable(&self, id: ServerId) -> bool {
        let expires = self.snapshot.settings.ipvs.expire_quiescent_template;
        let server = self.snapshot.services.server(id);
        let is_reset = self.has_resets && self.snapshot.services.resets(id);
        server.is_some_and(|s| s.is_available && (s.weight != 0 || !expires) && !is_reset)
    }

    /// The server that a client is known to have, without a flow that begins.
    pub(crate) fn remembered(
        &self,
        now: Tick,
        tuple: &Tuple,
        service: &Service,
    ) -> Option<ServerId> {
        let persistence = service.persistence.as_ref()?;
        let key = service.template_key(persistence, tuple);
        let id = self.snapshot.templates.peek(now, &key)?;
        self.is_usable(id).then_some(id)
    }

    /// Takes back what [`choose`](Self::choose) has counted for a flow that does not begin.
    pub(crate) fn unchoose(&self, now: Tick, chosen: &Chosen) {
        if let Some(template) = chosen.template {
            self.snapshot.templates.release(now, template, End::InTime);
        }
    }

    /// A datagram of a real server that no flow knows: where an engine tells calls apart, a server
    /// may begin one, and what begins is as if its peer had begun it. None when it may not.
    pub(crate) fn open_from_server(
        &mut self,
        now: Tick,
        tuple: &Tuple,
        payload: &[u8],
    ) -> Option<Begun> {
        let services = &self.snapshot.services;
        if !services.has_engines() || tuple.protocol != Protocol::Udp {
            return None;
        }
        let (id, server) = services.nat_server(tuple.protocol, tuple.src, tuple.src_port)?;
        let server = *server;
        if !server.is_available || server.method != Method::Nat {
            return None;
        }
        let service = services.service(server.service)?;
        let persistence = service.persistence.as_ref()?;
        let name = name_of(persistence.engine, tuple.protocol, payload).ok()??;
        if service.key.mark != 0 || self.owner_of_reply(tuple) != self.id {
            return None;
        }
        let virt_port = match service.key.port {
            0 => tuple.src_port,
            port => port,
        };
        let request = Tuple {
            dst: service.key.addr,
            dst_port: virt_port,
            ..tuple.reversed()
        };
        let key = TemplateKey {
            name: Some(name),
            ..service.template_key(persistence, &request)
        };
        let leads_to = (id, if key.port == 0 { 0 } else { tuple.src_port });
        let (templates, lifetime) = (&self.snapshot.templates, persistence.lifetime);
        // One that leads to another server is in the way.
        let made = templates.create(now, &key, lifetime, leads_to, |theirs| theirs == id);
        let template = match made {
            Ok(made) => Some(made.id),
            Err(refusal) => {
                self.counters.count_no_template(refusal);
                None
            }
        };
        let chosen = Chosen {
            id,
            server,
            port: tuple.src_port,
            template,
        };
        if service.one_packet {
            // The server itself has spoken, which vouches for the client as an answer does.
            if let Some(template) = template {
                self.snapshot.templates.assure(template);
            }
            self.unchoose(now, &chosen);
            if let Some(counters) = self.counters.servers.get(id.0 as usize) {
                counters.connections.add(1);
            }
            let from = FromServer {
                virt: request.dst,
                virt_port: request.dst_port,
                client: None,
            };
            return Some(Begun::OnePacket(id, from));
        }
        let kept = self.keep(now, &request, &chosen, (request.src, request.src_port));
        kept.ok().map(Begun::Flow)
    }
}
