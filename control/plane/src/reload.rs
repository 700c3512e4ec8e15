//! From the file, on SIGHUP or by the API: read, check whole, then apply the difference or change
//! nothing and say why.

use std::time::SystemTime;

use tracing::{error, info};
use weir_model::api::{Problem, Reloaded};
use weir_model::{ChangeFault, Faults, parse};

use crate::http::{SecretError, Secured};
use crate::slots::NoSlots;
use crate::state::{Applied, State};

/// Why a configuration was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The file cannot be read.
    #[error("{file} cannot be read: {cause}")]
    Unreadable {
        /// The file as the operator named it.
        file: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The file has faults, or changes what needs a restart.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// Removed servers still take the room of new ones.
    #[error(transparent)]
    NoSlots(#[from] NoSlots),
    /// The API on TCP cannot be served with what its files hold now.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The file does not go together with what was changed at run time.
    #[error("with what was changed at run time: {0}")]
    Change(#[from] ChangeFault),
}

impl Refused {
    /// As the API tells it.
    #[must_use]
    pub fn problem(self) -> Problem {
        match self {
            Self::Faults(faults) => Problem::invalid_config(faults),
            Self::NoSlots(_) => {
                let title = "There is no room for the new servers yet";
                Problem::new(409, title, self.to_string())
            }
            Self::Change(_) => {
                let title = "The file does not go together with changes at run time";
                Problem::new(409, title, self.to_string())
            }
            Self::Unreadable { .. } | Self::Secret(_) => {
                Problem::new(422, "A file cannot be used", self.to_string())
            }
        }
    }
}

impl State {
    /// Reads the file again and applies what is different. Logs the steps, or the faults.
    ///
    /// # Errors
    /// What speaks against it; nothing was changed then.
    pub fn reload(&mut self) -> Result<Reloaded, Refused> {
        let result = self.read_and_apply();
        self.last_reload.is_ok = result.is_ok();
        match result {
            Ok(applied) => {
                self.last_reload.succeeded = SystemTime::now();
                let count = match applied.changes.count() {
                    1 => "1 change".to_owned(),
                    count => format!("{count} changes"),
                };
                let changes = applied.changes.into_vec();
                for change in &changes {
                    info!("reload: {change}");
                }
                info!("reloaded {}: {count}", self.file_name());
                let epoch = applied.epoch;
                Ok(Reloaded { epoch, changes })
            }
            Err(refused) => {
                for line in refused.to_string().lines() {
                    error!("reload: {line}");
                }
                error!("not reloaded: nothing was changed");
                Err(refused)
            }
        }
    }

    fn read_and_apply(&mut self) -> Result<Applied, Refused> {
        let name = self.file_name().to_owned();
        let text = match std::fs::read_to_string(&name) {
            Ok(text) => text,
            Err(cause) => return Err(Refused::Unreadable { file: name, cause }),
        };
        let file = parse(&text, &name)?;
        let remote = file.config.control.remote.as_ref();
        let remote = remote.filter(|_| self.secured.is_some());
        let secured = remote.map(Secured::read).transpose()?;
        let mut applied = self.apply(file)?;
        if let (Some(in_force), Some(secured)) = (&self.secured, secured) {
            for sentence in in_force.replace(secured) {
                applied.changes.push(|| sentence.to_owned());
            }
        }
        Ok(applied)
    }
}
