//! What a change means for live flows, and what is told of the configuration as a whole.

use weir_model::{Server, ServerKey, ServiceKey};

use crate::difference::{Edit, ServiceStep};
use crate::slots::SlotKey;
use crate::state::State;
use crate::totals::FlowCounts;

impl State {
    /// The configuration's revision: another one after each change of it and after a restart.
    #[must_use]
    pub fn revision(&self) -> String {
        let started = self.started.duration_since(std::time::UNIX_EPOCH);
        let started = started.map_or(0, |since| since.as_millis());
        format!("{started:x}-{}", self.revision)
    }

    /// Live flows of servers that leave or are reached in another way.
    pub(crate) fn flows_touched(&self, steps: &[ServiceStep<'_>]) -> u64 {
        let of_step = |step: &ServiceStep<'_>| match step {
            ServiceStep::Add(_) => 0,
            ServiceStep::Remove(service) => {
                let servers = service.servers.iter().map(Server::key);
                self.flows_of(service.key, servers)
            }
            ServiceStep::Edit(edit) => self.flows_of(edit.new.key, touched(edit).into_iter()),
        };
        steps.iter().map(of_step).sum()
    }

    fn flows_of(&self, service: ServiceKey, servers: impl Iterator<Item = ServerKey>) -> u64 {
        let keys = servers.map(|server| SlotKey { service, server });
        let flows = keys.map(|key| self.flow_counts(key));
        flows.map(|flows| flows.active + flows.inactive).sum()
    }

    /// The flows of one server.
    pub(crate) fn flow_counts(&self, key: SlotKey) -> FlowCounts {
        let slot = self.compiler.slots().find(key);
        slot.map_or_else(FlowCounts::default, |(id, _)| {
            FlowCounts::of_slot(self.workers(), id)
        })
    }
}

fn touched(edit: &Edit<'_>) -> Vec<ServerKey> {
    let way = |server: &Server| {
        let tunnel = (server.tunnel, server.tunnel_port, server.tunnel_checksum);
        (server.method, tunnel)
    };
    let edited = edit.edited.iter().filter(|(old, new)| way(old) != way(new));
    let edited = edited.map(|(_, new)| new.key());
    let removed = edit.removed.iter().map(|server| server.key());
    removed.chain(edited).collect()
}
