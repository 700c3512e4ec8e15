//! Draining a server: it gets no new flows, and what is left of its flows at a deadline is ended.
//!
//! From the deadline on the workers answer the next packet of each flow, from either side, with a reset,
//! and send it on as one; ends of silent flows are asked for such a packet, and what does not answer is
//! forgotten (`weir_core`'s `drain.rs`). So a drain is over some seconds after its deadline. It is kept
//! over a restart, with the deadline by the wall clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::info;
use weir_model::api::{DrainState, DrainView};
use weir_model::{Operation, Rules, Server, ServerKey, ServiceKey};

use crate::change::ChangeRefused;
use crate::compile::Compiler;
use crate::difference::ServiceStep;
use crate::kept::beside::{Beside, KeptDaemon, KeptDrain, Moment};
use crate::slots::SlotKey;
use crate::state::State;

/// The servers that are being drained.
#[derive(Debug, Default)]
pub(crate) struct Drains(BTreeMap<SlotKey, Drain>);

#[derive(Clone, Copy, Debug)]
struct Drain {
    weight_before: u32,
    flows_at_start: u64,
    deadline: Option<Deadline>,
    /// Flows that were left at the deadline.
    forced: Option<u64>,
}

/// By two clocks: this run's, which nobody sets, and the wall's, which outlives it.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    kept: Moment,
}

impl Drains {
    /// Forgets those of servers that left or got a weight again. True when the workers need to know.
    pub(crate) fn keep_those_of(
        &mut self,
        steps: &[ServiceStep<'_>],
        compiler: &mut Compiler,
    ) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let mut is_changed = false;
        for step in steps {
            match step {
                // What is removed goes on to be reset as long as flows remember it.
                ServiceStep::Remove(service) => self.0.retain(|key, _| key.service != service.key),
                ServiceStep::Add(_) => {}
                ServiceStep::Edit(edit) => {
                    let key = |server| SlotKey {
                        service: edit.new.key,
                        server,
                    };
                    for server in &edit.removed {
                        self.0.remove(&key(server.key()));
                    }
                    for (_, server) in edit.edited.iter().filter(|(_, new)| new.weight > 0) {
                        let key = key(server.key());
                        if self.0.remove(&key).is_some() {
                            is_changed |= compiler.set_resets(key, false);
                        }
                    }
                }
            }
        }
        is_changed
    }
}

impl State {
    /// Begins to drain a server, or gives its drain another deadline: so long from now, or none.
    ///
    /// # Errors
    /// [`ChangeRefused`] as by any change.
    ///
    /// # Panics
    /// When the configuration has no such server.
    pub fn drain(
        &mut self,
        key: SlotKey,
        deadline: Option<Duration>,
        now: Instant,
    ) -> Result<DrainView, ChangeRefused> {
        let server = self.service(&key.service);
        let server = server.and_then(|service| service.server(key.server));
        let weight_before = server.expect("its caller found it").weight;
        let flows = self.flow_counts(key);
        let held = self.drains.0.get(&key).copied();
        let drain = Drain {
            deadline: deadline.map(|time| Deadline {
                at: now + time,
                kept: Moment::after(time),
            }),
            forced: None,
            ..held.unwrap_or(Drain {
                weight_before,
                flows_at_start: flows.active + flows.inactive,
                deadline: None,
                forced: None,
            })
        };
        self.drains.0.insert(key, drain);
        // Before the weight: a drain of a server that has one is forgotten at a start.
        self.keep_beside();
        if weight_before > 0
            && let Err(refused) = self.set_weight(key, 0)
        {
            self.drains.0.remove(&key);
            self.drains.0.extend(held.map(|held| (key, held)));
            self.keep_beside();
            return Err(refused);
        }
        if held.is_some_and(|held| held.forced.is_some()) && self.compiler.set_resets(key, false) {
            self.publish_services(true, false);
        }
        info!("service {}: server {} drains", key.service, key.server);
        self.end_drains(now);
        Ok(self.drain_view(key, now).expect("it was begun above"))
    }

    /// Has what holds beside the configuration kept, if it is another.
    pub(crate) fn keep_beside(&mut self) {
        let drains = self.drains.0.iter().map(|(key, drain)| KeptDrain {
            service: key.service,
            server: key.server,
            weight_before: drain.weight_before,
            flows_at_start: drain.flows_at_start,
            deadline: drain.deadline.map(|deadline| deadline.kept),
            forced: drain.forced,
        });
        let daemons = self.sync_daemons.iter().cloned();
        let beside = Beside {
            drains: drains.collect(),
            sync_daemons: daemons.map(KeptDaemon).collect(),
        };
        let (file, now) = (&self.file.config, self.wanted.config());
        self.kept.note_beside(beside, file, now);
    }

    /// Takes up what was kept of that. A drain whose server is gone or has a weight is over.
    pub(crate) fn take_up_beside(&mut self) {
        let Beside {
            drains,
            sync_daemons,
        } = self.kept.beside().clone();
        self.sync_daemons = sync_daemons.into_iter().map(|kept| kept.0).collect();
        for kept in drains {
            let key = slot_key(kept.service, kept.server);
            let service = self.service(&key.service);
            let server = service.and_then(|service| service.server(key.server));
            if server.is_none_or(|server| server.weight > 0) {
                continue;
            }
            info!(
                "service {}: server {} still drains",
                key.service, key.server
            );
            let drain = Drain {
                weight_before: kept.weight_before,
                flows_at_start: kept.flows_at_start,
                deadline: kept.deadline.map(|kept| Deadline {
                    at: kept.as_instant(Instant::now()),
                    kept,
                }),
                forced: kept.forced,
            };
            self.drains.0.insert(key, drain);
        }
        self.keep_beside();
    }

    /// How the drain of a server goes; none: it is not drained.
    #[must_use]
    pub fn drain_view(&self, key: SlotKey, now: Instant) -> Option<DrainView> {
        let drain = self.drains.0.get(&key)?;
        let flows = self.flow_counts(key);
        let is_over = drain.forced.is_some();
        Some(DrainView {
            state: match drain.forced {
                Some(_) if flows.is_none() => DrainState::Forced,
                Some(_) => DrainState::Ending,
                None if flows.is_none() => DrainState::Drained,
                None => DrainState::Draining,
            },
            weight_before: drain.weight_before,
            active: flows.active,
            inactive: flows.inactive,
            flows_at_start: drain.flows_at_start,
            flows_reset: drain.forced.unwrap_or(0),
            seconds_left: {
                let left = |deadline: Deadline| deadline.at.saturating_duration_since(now);
                let left = drain.deadline.filter(|_| !is_over).map(left);
                left.map(|left| left.as_secs_f64().ceil() as u64)
            },
        })
    }

    /// Calls the drain of a server off: it gets its weight back. False when it is not drained.
    ///
    /// # Errors
    /// [`ChangeRefused`] as by any change.
    pub fn stop_draining(&mut self, key: SlotKey) -> Result<bool, ChangeRefused> {
        let Some(drain) = self.drains.0.get(&key).copied() else {
            return Ok(false);
        };
        self.set_weight(key, drain.weight_before)?;
        self.drains.0.remove(&key);
        if self.compiler.set_resets(key, false) {
            self.publish_services(true, false);
        }
        info!(
            "service {}: server {} drains no longer, weight {}",
            key.service, key.server, drain.weight_before
        );
        Ok(true)
    }

    fn set_weight(&mut self, key: SlotKey, weight: u32) -> Result<(), ChangeRefused> {
        let service = self.service(&key.service);
        let server = service.and_then(|service| service.server(key.server));
        let operations = server.map(|server| {
            let server = Server {
                weight,
                ..server.clone()
            };
            Operation::EditServer(key.service, server)
        });
        // What holds already needs to be no worse than it was.
        self.change(operations.as_slice(), Rules::Ipvs).map(drop)
    }

    /// Has the workers end the flows of servers whose deadline has passed.
    pub(crate) fn end_drains(&mut self, now: Instant) {
        let due = |drain: &Drain| {
            let deadline = drain.deadline.filter(|_| drain.forced.is_none());
            deadline.is_some_and(|deadline| deadline.at <= now)
        };
        let due = self.drains.0.iter().filter(|(_, drain)| due(drain));
        let due: Vec<SlotKey> = due.map(|(key, _)| *key).collect();
        let mut is_changed = false;
        for key in due {
            let flows = self.flow_counts(key);
            let left = flows.active + flows.inactive;
            if left == 0 {
                continue;
            }
            if let Some(drain) = self.drains.0.get_mut(&key) {
                drain.forced = Some(left);
            }
            is_changed |= self.compiler.set_resets(key, true);
            info!(
                "service {}: server {} had its time to drain; {left} flows are left and are reset",
                key.service, key.server
            );
        }
        if is_changed {
            self.publish_services(true, false);
        }
        // That it was forced is for the next start, too.
        self.keep_beside();
    }
}

/// Whose drain is meant.
#[must_use]
pub fn slot_key(service: ServiceKey, server: ServerKey) -> SlotKey {
    SlotKey { service, server }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{active, service, state, worker};

    fn key(state: &State) -> SlotKey {
        let service = &state.config().services[0];
        slot_key(service.key, service.servers[0].key())
    }

    #[test]
    fn a_drain_takes_the_weight_and_is_over_when_no_flow_is_left() {
        let worker = worker(0);
        let mut state = state(&service("rr", &[(1, 5), (2, 1)]), vec![worker.clone()]);
        let (key, now) = (key(&state), Instant::now());
        worker.counters().loads[0].add(active(3));
        let view = state.drain(key, Some(Duration::from_secs(60)), now);
        let view = view.expect("it is taken");
        assert_eq!(view.state, DrainState::Draining);
        assert_eq!((view.flows_at_start, view.seconds_left), (3, Some(60)));
        assert_eq!(state.config().services[0].servers[0].weight, 0);
        worker.counters().loads[0].sub(active(3));
        let view = state.drain_view(key, now).expect("it goes on");
        assert_eq!(view.state, DrainState::Drained);
        // With nothing left there is nothing to force.
        state.keep_house(now + Duration::from_secs(61));
        let view = state.drain_view(key, now).expect("it goes on");
        assert_eq!(view.state, DrainState::Drained);
        assert!(state.stop_draining(key).expect("it is taken"));
        assert_eq!(state.config().services[0].servers[0].weight, 5);
        assert!(state.drain_view(key, now).is_none());
    }

    #[test]
    fn at_the_deadline_the_workers_are_told_to_reset_what_is_left() {
        let worker = worker(0);
        let mut state = state(&service("rr", &[(1, 5), (2, 1)]), vec![worker.clone()]);
        let (key, now) = (key(&state), Instant::now());
        let resets = || {
            let snapshot = worker.adopt_newest().expect("something was published");
            snapshot.services.has_resets()
        };
        worker.counters().loads[0].add(active(2));
        let minute = Duration::from_secs(60);
        state.drain(key, Some(minute), now).expect("it is taken");
        assert!(!resets());
        state.keep_house(now + minute);
        assert!(resets());
        let view = state.drain_view(key, now + minute).expect("it is known");
        assert_eq!((view.state, view.flows_reset), (DrainState::Ending, 2));
        worker.counters().loads[0].sub(active(2));
        let view = state.drain_view(key, now + minute).expect("it is known");
        assert_eq!((view.state, view.flows_reset), (DrainState::Forced, 2));
        // A weight given by hand ends it.
        state.set_weight(key, 1).expect("it is taken");
        assert!(!resets());
        assert!(state.drain_view(key, now).is_none());
    }

    /// A director that keeps its state, as the next one of the same file finds it.
    fn kept_in(directory: &std::path::Path, servers: &[(u8, u16)]) -> State {
        let control = format!("[control]\nstate_directory = {directory:?}\n");
        state(&(service("rr", servers) + &control), vec![worker(0)])
    }

    #[test]
    fn a_drain_outlives_the_daemon_with_its_deadline_and_its_weight() {
        let dir = tempfile::tempdir().expect("a directory");
        let servers = [(1, 5), (2, 1)];
        let minute = Duration::from_secs(60);
        let mut first = kept_in(dir.path(), &servers);
        let (key, now) = (key(&first), Instant::now());
        first.drain(key, Some(minute), now).expect("it is taken");
        // Nothing is told to it: it was killed.
        let mut second = kept_in(dir.path(), &servers);
        assert_eq!(second.config().services[0].servers[0].weight, 0);
        let now = Instant::now();
        let view = second.drain_view(key, now).expect("it goes on");
        let left = view.seconds_left.expect("it has a deadline");
        assert!((55..=60).contains(&left), "{left}");
        assert_eq!((view.state, view.weight_before), (DrainState::Drained, 5));
        second.workers()[0].counters().loads[0].add(active(2));
        second.keep_house(now + minute);
        let view = second.drain_view(key, now).expect("it goes on");
        assert_eq!((view.state, view.flows_reset), (DrainState::Ending, 2));
        // That it was forced is known to the next, too; called off, nothing is.
        let mut third = kept_in(dir.path(), &servers);
        let view = third.drain_view(key, now).expect("it goes on");
        assert_eq!((view.state, view.flows_reset), (DrainState::Forced, 2));
        third.stop_draining(key).expect("it is taken");
        let fourth = kept_in(dir.path(), &servers);
        assert!(fourth.drain_view(key, now).is_none());
        assert_eq!(fourth.config().services[0].servers[0].weight, 5);
    }

    #[test]
    fn a_deadline_that_passed_while_no_daemon_ran_has_passed() {
        let dir = tempfile::tempdir().expect("a directory");
        let servers = [(1, 5), (2, 1)];
        let mut first = kept_in(dir.path(), &servers);
        let (key, now) = (key(&first), Instant::now());
        let soon = Some(Duration::from_millis(1));
        first.drain(key, soon, now).expect("it is taken");
        std::thread::sleep(Duration::from_millis(10));
        let mut second = kept_in(dir.path(), &servers);
        second.workers()[0].counters().loads[0].add(active(1));
        second.keep_house(Instant::now());
        let view = second.drain_view(key, Instant::now()).expect("it goes on");
        assert_eq!(view.state, DrainState::Ending);
    }

    #[test]
    fn a_drain_of_a_server_that_the_file_has_no_more_or_weighs_is_over() {
        for servers in [&[(2, 1)][..], &[(1, 7), (2, 1)]] {
            let dir = tempfile::tempdir().expect("a directory");
            let mut first = kept_in(dir.path(), &[(1, 5), (2, 1)]);
            let (key, now) = (key(&first), Instant::now());
            first.drain(key, None, now).expect("it is taken");
            let second = kept_in(dir.path(), servers);
            assert!(second.drain_view(key, now).is_none());
        }
    }

    #[test]
    fn a_removed_server_goes_on_to_be_reset() {
        let worker = worker(0);
        let mut state = state(&service("rr", &[(1, 5), (2, 1)]), vec![worker.clone()]);
        let (key, now) = (key(&state), Instant::now());
        worker.counters().loads[0].add(active(1));
        state
            .drain(key, Some(Duration::ZERO), now)
            .expect("it is taken");
        let remove = Operation::RemoveServer(key.service, key.server);
        state.change(&[remove], Rules::File).expect("it is taken");
        let snapshot = worker.adopt_newest().expect("something was published");
        assert!(snapshot.services.has_resets());
        assert!(state.drain_view(key, now).is_none());
    }
}
