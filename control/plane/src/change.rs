//! Changes at run time: all of them or none, through difference and compiler as a reload.

use std::sync::Arc;

use weir_model::{ChangeFault, Operation, Planned, Rules, Service, ServiceKey, Wanted};

use crate::compile;
use crate::difference::{self, ServiceStep};
use crate::slots::NoSlots;
use crate::state::{Applied, State, free_elsewhere};

/// Why a change was refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeRefused {
    /// It cannot be done, or what would come of it is not valid.
    #[error(transparent)]
    Fault(#[from] ChangeFault),
    /// Removed servers still take the room of new ones.
    #[error(transparent)]
    NoSlots(#[from] NoSlots),
}

impl State {
    /// A service of the configuration.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.wanted.service(key)
    }

    /// What `operations` would change, in words.
    ///
    /// # Errors
    /// What speaks against it.
    pub fn preview(
        &self,
        operations: &[Operation],
        rules: Rules,
    ) -> Result<Applied, ChangeRefused> {
        let planned = self.wanted.plan(operations, rules)?;
        let steps = steps(&self.wanted, &planned);
        self.compiler.check_room(&steps)?;
        Ok(Applied {
            epoch: self.epoch(),
            changes: difference::planned(&steps, self.wanted.config(), &planned),
            flows_touched: self.flows_touched(&steps),
        })
    }

    /// Does all of `operations`, one after the other, and keeps them for the next start; or none of
    /// them. Takes time in proportion to the services that change.
    ///
    /// # Errors
    /// What speaks against it; nothing was changed then.
    pub fn change(
        &mut self,
        operations: &[Operation],
        rules: Rules,
    ) -> Result<Applied, ChangeRefused> {
        let planned = self.wanted.plan(operations, rules)?;
        let steps = steps(&self.wanted, &planned);
        self.compiler.check_room(&steps)?;
        let changes = difference::planned(&steps, self.wanted.config(), &planned);
        let flows_touched = self.flows_touched(&steps);
        if changes.count() == 0 {
            self.touch(operations);
        } else {
            self.revision += 1;
            let are_other_marks = planned.marks.is_some();
            let epoch = self.publisher.next_epoch();
            let workers = self.publisher.workers();
            let mut is_other = self.compiler.apply(&steps, workers, epoch);
            is_other |= self.drains.keep_those_of(&steps, &mut self.compiler);
            free_elsewhere(self.wanted.put(planned));
            self.publish_services(is_other, are_other_marks);
            let now = self.wanted.config();
            self.kept.note(operations, &self.file.config, now);
            self.keep_beside();
        }
        let epoch = self.epoch();
        Ok(Applied {
            epoch,
            changes,
            flows_touched,
        })
    }

    /// Servers were edited to what they were.
    fn touch(&mut self, operations: &[Operation]) {
        let mut is_other = false;
        for operation in operations {
            if let Operation::EditServer(key, _) = operation {
                is_other |= self.compiler.touch(*key);
            }
        }
        self.publish_services(is_other, false);
    }

    /// Publishes settings that differ, and services and rules for marks if they do.
    pub(crate) fn publish_services(&mut self, is_other: bool, are_other_marks: bool) {
        let services = is_other.then(|| self.compiler.services());
        let settings = compile::settings(self.config());
        let marks = are_other_marks.then(|| Arc::new(compile::marks(self.config())));
        let is_changed = services.is_some() || marks.is_some();
        if is_changed || settings != self.publisher.newest().settings {
            self.publisher.publish(|snapshot| {
                snapshot.settings = settings;
                if let Some(marks) = marks {
                    snapshot.marks = marks;
                }
                if let Some(services) = services {
                    snapshot.services = services;
                }
            });
        }
    }
}

fn steps<'s>(wanted: &'s Wanted, planned: &'s Planned) -> Vec<ServiceStep<'s>> {
    let services = planned.services.iter();
    let step = |(key, service): &'s (ServiceKey, Option<Service>)| {
        difference::service(wanted.service(key), service.as_ref())
    };
    services.filter_map(step).collect()
}

#[cfg(test)]
mod tests;
