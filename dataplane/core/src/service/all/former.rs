//! Services that were removed while flows of them live: who owns those flows is told by what is kept
//! here. They take nothing new.

use weir_wire::Addr;

use super::{Counted, Keyed, Services, Shards, tcp_port};
use crate::flow::Tuple;
use crate::service::{FTP_DATA_PORT, FTP_PORT, Protocol, ServiceKey};

/// A service that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Former {
    /// What named it.
    pub key: ServiceKey,
    /// As [`Service::by_client`](crate::service::Service::by_client).
    pub by_client: bool,
}

impl Keyed for Former {
    type Key = ServiceKey;

    #[inline]
    fn key(&self) -> ServiceKey {
        self.key
    }
}

/// All of them; nearly always none.
#[derive(Clone, Debug, Default)]
pub(super) struct Formers {
    by_key: Shards<Former>,
    addrs: Counted<Addr>,
    count: u32,
    marks: u32,
}

impl Formers {
    #[inline]
    pub(super) fn has_marks(&self) -> bool {
        self.marks != 0
    }
}

/// By packets.
impl Services {
    /// True while flows of removed services may live.
    #[inline]
    #[must_use]
    pub fn has_formers(&self) -> bool {
        self.formers.count != 0
    }

    /// True when a removed service whose flows may live had this address.
    #[inline]
    #[must_use]
    pub fn was_virtual(&self, addr: Addr) -> bool {
        self.has_formers() && self.formers.addrs.contains(addr)
    }

    /// The removed service that took a client's packet with this mark, 0 for none, when none takes
    /// it now; looked for in the order of [`find_for`](Self::find_for).
    #[must_use]
    pub fn find_former(&self, request: &Tuple, mark: u32) -> Option<&Former> {
        if !self.has_formers() {
            return None;
        }
        let by_key = |key| self.formers.by_key.find(key);
        let key = request.service_key();
        let of_mark = (mark != 0).then(|| ServiceKey::of_mark(mark, request.dst.family()));
        let may_be_ftp =
            key.protocol == Protocol::Tcp && (key.port == FTP_DATA_PORT || key.port >= 1024);
        let of_ftp = may_be_ftp.then_some(ServiceKey {
            port: FTP_PORT,
            ..key
        });
        let of_any = Some(ServiceKey { port: 0, ..key });
        let all = [of_mark, Some(key), of_ftp, of_any];
        all.into_iter().flatten().find_map(by_key)
    }
}

/// By control.
impl Services {
    /// The removed service that had this key, if flows of it may live.
    #[must_use]
    pub fn former(&self, key: ServiceKey) -> Option<&Former> {
        self.formers.by_key.find(key)
    }

    /// Remembers a service that was removed; one with its key there is no more.
    pub fn put_former(&mut self, former: Former) {
        self.remove_former(former.key);
        self.formers.by_key.put(former);
        self.formers.count += 1;
        match former.key.mark {
            0 => self.formers.addrs.count(former.key.addr),
            _ => self.formers.marks += 1,
        }
        if let Some(port) = tcp_port(&former.key) {
            self.tcp_ports.count(port);
        }
    }

    /// Forgets a removed service: no flow of it lives, or it is back.
    pub fn remove_former(&mut self, key: ServiceKey) {
        if self.formers.by_key.remove(key).is_none() {
            return;
        }
        self.formers.count -= 1;
        match key.mark {
            0 => self.formers.addrs.uncount(key.addr),
            _ => self.formers.marks -= 1,
        }
        if let Some(port) = tcp_port(&key) {
            self.tcp_ports.uncount(port);
        }
    }
}
