//! Many changes at one moment. They are laid over the state one after the other, each checked as if it had
//! been asked for alone, and then handed to the state as one change: workers see all of it in one
//! snapshot, or none.
//!
//! A service or server that leaves and comes back in one batch keeps what IPVS has no words for, and what
//! is the same before and after is not touched: a saved table that is put back over itself changes nothing.

use std::collections::HashMap;
use std::net::IpAddr;

use tracing::{error, info};
use weir_ipvs::batch::{Batch, Refused};
use weir_ipvs::{Changes, Daemon, DaemonState, Errno, Timeouts};
use weir_model::{Family, Operation, Rules, Server, Service, ServiceKey};

use super::table::{IpvsTable, errno};
use super::words;
use crate::change::ChangeRefused;
use crate::state::State;

/// Answers the questions of a batch, or does all of its changes or nothing; gives the datagrams of the reply.
pub(super) fn answer(state: &mut State, batch: &Batch) -> Vec<Vec<u8>> {
    if batch.is_question() {
        return batch.answers(&mut IpvsTable(state));
    }
    let mut draft = Draft::over(state);
    let laid_over = batch.lay_over(&mut draft);
    vec![batch.reply(laid_over.and_then(|()| draft.commit()))]
}

/// The state, and what changes would make of it.
struct Draft<'s> {
    under: IpvsTable<'s>,
    /// All services of the state are removed.
    is_cleared: bool,
    /// Services that are other ones; none: they are removed.
    touched: HashMap<ServiceKey, Option<Service>>,
    timeouts: weir_model::Timeouts,
    daemons: Vec<Daemon>,
    operations: Vec<Operation>,
    /// Of each operation, the number of the change it is from.
    places: Vec<usize>,
    others: Vec<Other>,
    changes: usize,
}

/// A change that is none of the configuration.
enum Other {
    Zero(Option<weir_ipvs::ServiceKey>),
    Start(Daemon),
    Stop(DaemonState),
}

impl<'s> Draft<'s> {
    fn over(state: &'s mut State) -> Self {
        let timeouts = state.config().timeouts.clone();
        let under = IpvsTable(state);
        Self {
            daemons: under.daemons(),
            under,
            is_cleared: false,
            touched: HashMap::new(),
            timeouts,
            operations: Vec::new(),
            places: Vec::new(),
            others: Vec::new(),
            changes: 0,
        }
    }

    /// A service as it was before all changes.
    fn before(&self, key: &weir_ipvs::ServiceKey) -> Option<&Service> {
        self.under.0.service(&words::key(key)?)
    }

    /// A service as it is by now.
    fn now(&self, key: &ServiceKey) -> Option<&Service> {
        match self.touched.get(key) {
            Some(touched) => touched.as_ref(),
            None if self.is_cleared => None,
            None => self.under.0.service(key),
        }
    }

    fn find(&self, key: &weir_ipvs::ServiceKey) -> Option<&Service> {
        self.now(&words::key(key)?)
    }

    /// The draft's own copy of a service that is there.
    fn own(&mut self, key: &weir_ipvs::ServiceKey) -> Result<&mut Service, Errno> {
        let key = words::key(key).ok_or(Errno::Esrch)?;
        if !self.touched.contains_key(&key) {
            let held = self.now(&key).cloned();
            self.touched.insert(key, held);
        }
        let own = self.touched.get_mut(&key).and_then(Option::as_mut);
        own.ok_or(Errno::Esrch)
    }

    fn operation(&mut self, operation: Operation) {
        self.operations.push(operation);
        self.places.push(self.changes);
        self.changes += 1;
    }

    fn other(&mut self, other: Other) {
        self.others.push(other);
        self.changes += 1;
    }

    fn commit(mut self) -> Result<(), Refused> {
        if !self.operations.is_empty()
            && let Err(refused) = self.under.change(&self.operations)
        {
            let (at, refused) = in_the_way(self.under.0, &self.operations, refused);
            return Err((self.places.get(at).copied(), errno(&refused)));
        }
        for other in self.others {
            let done = match other {
                Other::Zero(key) => {
                    self.under.zero(key.as_ref());
                    Ok(())
                }
                Other::Start(daemon) => self.under.start_daemon(daemon),
                Other::Stop(state) => self.under.stop_daemon(state),
            };
            if let Err(errno) = done {
                // It was checked, and there is no way back from what is done.
                error!("ipvs: a synchronisation daemon of a batch: {errno}");
            }
        }
        Ok(())
    }
}

/// The first of `operations` with which they can no longer be done, and why; all of them were `refused`.
/// What they come to is judged as a whole, so this is looked for by halving.
fn in_the_way(
    state: &State,
    operations: &[Operation],
    refused: ChangeRefused,
) -> (usize, ChangeRefused) {
    let (mut good, mut bad, mut why) = (0, operations.len(), refused);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        match state.preview(&operations[..middle], Rules::Ipvs) {
            Ok(_) => good = middle,
            Err(refused) => (bad, why) = (middle, refused),
        }
    }
    info!("ipvs: change {bad} of a batch is refused: {why}");
    (bad - 1, why)
}

impl Changes for Draft<'_> {
    fn has_scheduler(&self, name: &str) -> bool {
        self.under.has_scheduler(name)
    }

    fn has_engine(&self, name: &str) -> bool {
        self.under.has_engine(name)
    }

    fn is_local(&self, address: IpAddr) -> bool {
        self.under.is_local(address)
    }

    fn interface_mtu(&self, name: &str) -> Option<u32> {
        self.under.interface_mtu(name)
    }

    fn service(&self, key: &weir_ipvs::ServiceKey) -> Option<weir_ipvs::Service> {
        self.find(key).map(words::told)
    }

    fn has_server(&self, service: &weir_ipvs::ServiceKey, server: &weir_ipvs::ServerKey) -> bool {
        let server = words::server_key(server);
        self.find(service)
            .is_some_and(|service| service.server(server).is_some())
    }

    fn has_mixed_families(&self) -> bool {
        let held = self.under.0.config().services.iter();
        let held =
            held.filter(|service| !self.is_cleared && !self.touched.contains_key(&service.key));
        let mut all = held.chain(self.touched.values().flatten());
        all.any(|service| {
            let family = service.key.family();
            let mut servers = service.servers.iter();
            servers.any(|server| Family::of(server.address) != family)
        })
    }

    fn daemons(&self) -> Vec<Daemon> {
        self.daemons.clone()
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Errno> {
        self.timeouts = words::timeouts(timeouts, &self.timeouts);
        self.operation(Operation::SetTimeouts(self.timeouts.clone()));
        Ok(())
    }

    fn add_service(&mut self, service: weir_ipvs::Service) -> Result<(), Errno> {
        let mut service = words::service(&service, self.before(&service.key))?;
        service.servers.clear();
        self.touched.insert(service.key, Some(service.clone()));
        self.operation(Operation::AddService(service));
        Ok(())
    }

    fn edit_service(&mut self, service: weir_ipvs::Service) -> Result<(), Errno> {
        let service = words::service(&service, self.find(&service.key))?;
        self.touched.insert(service.key, Some(service.clone()));
        self.operation(Operation::EditService(service));
        Ok(())
    }

    fn remove_service(&mut self, key: &weir_ipvs::ServiceKey) -> Result<(), Errno> {
        let key = self.own(key)?.key;
        self.touched.insert(key, None);
        self.operation(Operation::RemoveService(key));
        Ok(())
    }

    fn add_server(
        &mut self,
        service: &weir_ipvs::ServiceKey,
        server: weir_ipvs::Server,
    ) -> Result<(), Errno> {
        let key = words::server_key(&server.key);
        let before = self.before(service).and_then(|held| held.server(key));
        let server = words::server(&server, before)?;
        let own = self.own(service)?;
        own.servers.push(server.clone());
        let key = own.key;
        self.operation(Operation::AddServer(key, server));
        Ok(())
    }

    fn edit_server(
        &mut self,
        service: &weir_ipvs::ServiceKey,
        server: weir_ipvs::Server,
    ) -> Result<(), Errno> {
        let own = self.own(service)?;
        let wanted = words::server_key(&server.key);
        let mut servers = own.servers.iter_mut();
        let held: &mut Server = servers
            .find(|held| held.key() == wanted)
            .ok_or(Errno::Enoent)?;
        *held = words::server(&server, Some(held))?;
        let (key, server) = (own.key, held.clone());
        self.operation(Operation::EditServer(key, server));
        Ok(())
    }

    fn remove_server(
        &mut self,
        service: &weir_ipvs::ServiceKey,
        server: &weir_ipvs::ServerKey,
    ) -> Result<(), Errno> {
        let own = self.own(service)?;
        let server = words::server_key(server);
        own.servers.retain(|held| held.key() != server);
        let key = own.key;
        self.operation(Operation::RemoveServer(key, server));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Errno> {
        self.is_cleared = true;
        self.touched.clear();
        self.operation(Operation::RemoveServices);
        Ok(())
    }

    fn zero(&mut self, service: Option<&weir_ipvs::ServiceKey>) {
        self.other(Other::Zero(service.copied()));
    }

    fn start_daemon(&mut self, daemon: Daemon) -> Result<(), Errno> {
        self.daemons.push(daemon.clone());
        self.other(Other::Start(daemon));
        Ok(())
    }

    fn stop_daemon(&mut self, state: DaemonState) -> Result<(), Errno> {
        self.daemons.retain(|daemon| daemon.state != state);
        self.other(Other::Stop(state));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
