//! Many changes, all of them or none.
//!
//! The director takes one change at a time. So the changes are first carried out on a copy of its
//! table, where most of what can be wrong is found; then the difference is asked for step by step,
//! and if the director refuses one (a scheduler it does not have), what was done is undone. A table
//! that is cleared and filled again therefore never stands empty, and what is the same before and
//! after is not touched: its connections stay.

use weir_ipvs::client::{Channel, Client};
use weir_ipvs::{Daemon, Server, Service, ServiceKey, Timeouts};

use crate::change::{Change, Errno};

/// A service with its servers, the oldest first, and the number of the change that it is from.
#[derive(Clone, Debug)]
struct Entry {
    service: Service,
    servers: Vec<(Server, usize)>,
    from: usize,
}

/// A copy of the director's table.
#[derive(Clone, Debug, Default)]
struct Copy {
    services: Vec<Entry>,
    timeouts: Timeouts,
    daemons: Vec<Daemon>,
}

/// A step, what undoes it, and the number of the change that it is from.
struct Step {
    change: Change,
    undo: Option<Change>,
    from: usize,
}

/// Asks for all `changes`, or for none of them.
///
/// # Errors
///
/// The number of the change that failed, and its error. Nothing is changed then, unless the director
/// refuses to take back what it did.
pub fn all_or_none<C: Channel>(
    director: &mut Client<C>,
    changes: &[Change],
) -> Result<(), (usize, Errno)> {
    let held = Copy::of(director).map_err(|errno| (0, errno))?;
    let mut wanted = held.clone();
    for (from, change) in changes.iter().enumerate() {
        wanted
            .carry_out(change, from)
            .map_err(|errno| (from, errno))?;
    }
    let mut steps = held.steps_to(&wanted);
    steps.extend(others(&held, changes));
    for (done, step) in steps.iter().enumerate() {
        let Err(errno) = step.change.ask(director) else {
            continue;
        };
        for step in steps[..done].iter().rev() {
            if let Some(undo) = &step.undo {
                // It was so a moment ago; there is nothing better to do about a refusal.
                let _ = undo.ask(director);
            }
        }
        return Err((step.from, errno));
    }
    Ok(())
}

/// Changes that are no matter of services, as they stand.
fn others(held: &Copy, changes: &[Change]) -> Vec<Step> {
    let mut timeouts = held.timeouts;
    let mut steps = Vec::new();
    for (from, change) in changes.iter().enumerate() {
        let undo = match change {
            Change::SetTimeouts(new) => {
                let old = timeouts;
                timeouts = set(old, *new);
                Some(Change::SetTimeouts(old))
            }
            Change::StartDaemon(daemon) => Some(Change::StopDaemon(daemon.state)),
            Change::StopDaemon(state) => {
                let mut daemons = held.daemons.iter();
                let daemon = daemons.find(|daemon| daemon.state == *state);
                daemon.map(|daemon| Change::StartDaemon(daemon.clone()))
            }
            // What was counted cannot be had back.
            Change::Zero(_) => None,
            _ => continue,
        };
        steps.push(Step {
            change: change.clone(),
            undo,
            from,
        });
    }
    steps
}

/// 0 leaves a timeout as it is.
fn set(old: Timeouts, new: Timeouts) -> Timeouts {
    let one = |old: u32, new: u32| if new == 0 { old } else { new };
    Timeouts {
        tcp: one(old.tcp, new.tcp),
        tcp_fin: one(old.tcp_fin, new.tcp_fin),
        udp: one(old.udp, new.udp),
    }
}

impl Copy {
    fn of<C: Channel>(director: &mut Client<C>) -> Result<Self, Errno> {
        let mut copy = Copy {
            services: Vec::new(),
            timeouts: director.timeouts()?,
            daemons: director.daemons()?,
        };
        for (service, _) in director.services()? {
            // The newest comes first.
            let rows = director.servers(&service.key)?.into_iter().rev();
            let servers = rows.map(|(server, ..)| (server, 0)).collect();
            copy.services.push(Entry {
                service,
                servers,
                from: 0,
            });
        }
        Ok(copy)
    }

    fn find(&mut self, key: &ServiceKey) -> Option<&mut Entry> {
        let mut services = self.services.iter_mut();
        services.find(|entry| entry.service.key == *key)
    }

    fn carry_out(&mut self, change: &Change, from: usize) -> Result<(), Errno> {
        match change {
            Change::AddService(service) => {
                if self.find(&service.key).is_some() {
                    return Err(Errno::EEXIST);
                }
                self.services.push(Entry {
                    service: service.clone(),
                    servers: Vec::new(),
                    from,
                });
            }
            Change::EditService(service) => {
                let entry = self.find(&service.key).ok_or(Errno::ESRCH)?;
                entry.service = service.clone();
                entry.from = from;
            }
            Change::DeleteService(key) => {
                self.find(key).ok_or(Errno::ESRCH)?;
                self.services.retain(|entry| entry.service.key != *key);
            }
            Change::Flush => self.services.clear(),
            Change::AddServer(key, server) => {
                let entry = self.find(key).ok_or(Errno::ESRCH)?;
                if entry.servers.iter().any(|(own, _)| own.key == server.key) {
                    return Err(Errno::EEXIST);
                }
                entry.servers.push((*server, from));
            }
            Change::EditServer(key, server) => {
                let entry = self.find(key).ok_or(Errno::ESRCH)?;
                let mut servers = entry.servers.iter_mut();
                let own = servers.find(|(own, _)| own.key == server.key);
                *own.ok_or(Errno::ENOENT)? = (*server, from);
            }
            Change::DeleteServer(key, server) => {
                let entry = self.find(key).ok_or(Errno::ESRCH)?;
                let before = entry.servers.len();
                entry.servers.retain(|(own, _)| own.key != *server);
                if entry.servers.len() == before {
                    return Err(Errno::ENOENT);
                }
            }
            Change::Zero(Some(key)) => {
                self.find(key).ok_or(Errno::ESRCH)?;
            }
            Change::Zero(None)
            | Change::SetTimeouts(_)
            | Change::StartDaemon(_)
            | Change::StopDaemon(_) => {}
        }
        Ok(())
    }

    /// What leads from this table to another.
    fn steps_to(&self, wanted: &Copy) -> Vec<Step> {
        let mut steps = Vec::new();
        for entry in &self.services {
            let key = entry.service.key;
            if !wanted.services.iter().any(|new| new.service.key == key) {
                steps.extend(entry.removed());
            }
        }
        for new in &wanted.services {
            let mut held = self.services.iter();
            match held.find(|entry| entry.service.key == new.service.key) {
                None => steps.extend(new.added()),
                Some(old) => steps.extend(old.changed(new)),
            }
        }
        steps
    }
}

impl Entry {
    /// One server after the other, so that each can be brought back.
    fn removed(&self) -> Vec<Step> {
        let key = self.service.key;
        let servers = self.servers.iter().rev();
        let mut steps: Vec<Step> = servers
            .map(|(server, _)| removed_server(key, server))
            .collect();
        steps.push(Step {
            change: Change::DeleteService(key),
            undo: Some(Change::AddService(self.service.clone())),
            from: 0,
        });
        steps
    }

    fn added(&self) -> Vec<Step> {
        let key = self.service.key;
        let mut steps = vec![Step {
            change: Change::AddService(self.service.clone()),
            undo: Some(Change::DeleteService(key)),
            from: self.from,
        }];
        let servers = self.servers.iter();
        steps.extend(servers.map(|(server, from)| added_server(key, server, *from)));
        steps
    }

    fn changed(&self, new: &Entry) -> Vec<Step> {
        let key = self.service.key;
        let mut steps = Vec::new();
        if !is_same(&self.service, &new.service) {
            steps.push(Step {
                change: Change::EditService(new.service.clone()),
                undo: Some(Change::EditService(self.service.clone())),
                from: new.from,
            });
        }
        for (server, _) in &self.servers {
            if !new.servers.iter().any(|(own, _)| own.key == server.key) {
                steps.push(removed_server(key, server));
            }
        }
        for (server, from) in &new.servers {
            let mut held = self.servers.iter();
            match held.find(|(own, _)| own.key == server.key) {
                None => steps.push(added_server(key, server, *from)),
                Some((old, _)) if old != server => steps.push(Step {
                    change: Change::EditServer(key, *server),
                    undo: Some(Change::EditServer(key, *old)),
                    from: *from,
                }),
                Some(_) => {}
            }
        }
        steps
    }
}

fn added_server(key: ServiceKey, server: &Server, from: usize) -> Step {
    Step {
        change: Change::AddServer(key, *server),
        undo: Some(Change::DeleteServer(key, server.key)),
        from,
    }
}

fn removed_server(key: ServiceKey, server: &Server) -> Step {
    Step {
        change: Change::DeleteServer(key, server.key),
        undo: Some(Change::AddServer(key, *server)),
        from: 0,
    }
}

/// Nobody asks for the flag that says that a service is in the table.
fn is_same(held: &Service, wanted: &Service) -> bool {
    let bare = |service: &Service| Service {
        flags: service.flags & !weir_ipvs::types::service_flags::HASHED,
        ..service.clone()
    };
    bare(held) == bare(wanted)
}
