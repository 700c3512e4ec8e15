//! Takes a lab away again, whatever happened to the process that made it.
//!
//! A small shell waits on a pipe. When the lab's process ends, by return, panic, Ctrl-C or SIGKILL
//! alike, the kernel closes the pipe, and the shell kills what still runs in the lab's
//! namespaces, deletes them and the run directory. So there is one clean-up and no
//! signal handler. Should the shell itself have died, the next lab sweeps.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::netns::run;

/// `$1` is the lab's name, `$2` its run directory.
const CLEAN_UP: &str = r#"
namespaces=$(ip netns list | sed -n "s/^\($1-[a-z0-9]*\).*/\1/p")
for ns in $namespaces; do ip netns pids "$ns"; done | xargs -r kill -9 2>/dev/null
for ns in $namespaces; do ip netns del "$ns"; done
rm -rf "$2" "/run/dpdk/$1"
"#;

/// The waiting shell. Dropping it cleans up and waits until that is done.
#[derive(Debug)]
pub(crate) struct Reaper(Child);

impl Reaper {
    /// Starts the shell that waits for this process to end.
    pub(crate) fn start(name: &str, dir: &Path) -> Result<Self> {
        let child = Command::new("sh")
            .args(["-c", &format!("read -r _; {CLEAN_UP}"), "sh", name])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("sh, to clean up the lab")?;
        Ok(Self(child))
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Nothing can be done about a failure here; the next lab sweeps.
        let _ = self.0.wait();
    }
}

/// Removes the lab of this name, at once.
///
/// # Errors
/// When `ip` or the shell cannot be run.
pub(crate) fn remove(name: &str, dir: &Path) -> Result<()> {
    run(Command::new("sh")
        .args(["-c", CLEAN_UP, "sh", name])
        .arg(dir))?;
    Ok(())
}

/// The name of a process's lab, from number 0. No name is the beginning of another's.
pub(crate) fn name(pid: u32, number: u32) -> String {
    format!("wl{pid}x{number}")
}

/// Removes labs whose maker no longer lives: those of [`name`] without a process `pid`.
///
/// # Errors
/// When `ip` cannot be run.
pub(crate) fn sweep() -> Result<()> {
    for name in names()? {
        let pid = name
            .strip_prefix("wl")
            .and_then(|rest| rest.split_once('x'));
        let Some(pid) = pid.and_then(|(pid, _)| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            remove(&name, &crate::lab::run_dir(&name))?;
        }
    }
    Ok(())
}

/// Names of all labs that have a namespace now, without repeats.
pub(crate) fn names() -> Result<Vec<String>> {
    let list = run(Command::new("ip").args(["netns", "list"]))?;
    let mut names: Vec<String> = list
        .lines()
        .filter_map(|line| {
            Some(
                line.split_whitespace()
                    .next()?
                    .split_once('-')?
                    .0
                    .to_owned(),
            )
        })
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}
