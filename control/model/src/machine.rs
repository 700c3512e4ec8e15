//! What a machine must have for a configuration. The daemon looks, this module judges.

use std::path::PathBuf;

use crate::config::ConfigFile;
use crate::fault::{Faults, Finding, Problem};

/// What the daemon found on the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineFacts {
    /// Cores this process may run on.
    pub cores: Vec<u16>,
    /// Huge pages of the machine, free or not, in MiB. (Free ones would refuse the configuration
    /// of a director that is running.)
    pub huge_pages_mb: u64,
    /// Memory of the machine, in MiB.
    pub memory_mb: u64,
    /// Of the paths that [`ConfigFile::paths_needed`] names, those that do not exist.
    pub paths_missing: Vec<PathBuf>,
}

impl ConfigFile {
    /// Paths that must exist: the control socket's directory, and plug-ins given with a slash.
    #[must_use]
    pub fn paths_needed(&self) -> Vec<PathBuf> {
        let plugins = self.config.eal.plugins.iter();
        let plugins = plugins
            .filter(|plugin| plugin.contains('/'))
            .map(PathBuf::from);
        let directory = self.config.control.socket.parent().map(PathBuf::from);
        plugins.chain(directory).collect()
    }

    /// Holds the configuration against a machine.
    ///
    /// # Errors
    ///
    /// Everything the machine lacks, at the key that asks for it.
    pub fn check_machine(&self, facts: &MachineFacts) -> Result<(), Faults> {
        let mut findings = Vec::new();
        let mut add = |path: String, problem: String, cure: String| {
            findings.push(Finding {
                path,
                problem: Problem::new(problem, cure),
                at_key: false,
            });
        };
        let config = &self.config;
        for (index, core) in config.workers.cores.iter().enumerate() {
            if !facts.cores.contains(core) {
                let cure = format!("this process may use {}", ranges(&facts.cores));
                add(
                    format!("workers.cores[{index}]"),
                    format!("there is no core {core}"),
                    cure,
                );
            }
        }
        let wanted = u64::from(config.eal.memory_mb);
        if config.eal.huge_pages && facts.huge_pages_mb < wanted {
            let problem = format!(
                "{wanted} MiB are wanted and the machine has {} MiB of huge pages",
                facts.huge_pages_mb
            );
            let cure = format!(
                "reserve them (sysctl vm.nr_hugepages={}), or set eal.huge_pages = false",
                wanted.div_ceil(2)
            );
            add("eal.memory_mb".to_owned(), problem, cure);
        }
        if !config.eal.huge_pages && facts.memory_mb < wanted {
            let problem = format!(
                "{wanted} MiB are wanted and the machine has {} MiB of memory",
                facts.memory_mb
            );
            add("eal.memory_mb".to_owned(), problem, "lower it".to_owned());
        }
        for path in &facts.paths_missing {
            let shown = path.display();
            let plugin = |plugin: &String| path.as_os_str() == plugin.as_str();
            match config.eal.plugins.iter().position(plugin) {
                Some(index) => add(
                    format!("eal.plugins[{index}]"),
                    format!("there is no file {shown}"),
                    "install the driver, or correct the path".to_owned(),
                ),
                None => add(
                    "control.socket".to_owned(),
                    format!("there is no directory {shown}"),
                    format!("make it (mkdir -p {shown}), or give another path"),
                ),
            }
        }
        self.locate(findings)
    }
}

/// `cores 0-3,8`.
fn ranges(cores: &[u16]) -> String {
    let mut sorted = cores.to_vec();
    sorted.sort_unstable();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for core in sorted {
        match ranges.last_mut() {
            Some((_, last)) if core <= last.saturating_add(1) => *last = core,
            _ => ranges.push((core, core)),
        }
    }
    let shown: Vec<String> = ranges
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    format!("cores {}", shown.join(","))
}
