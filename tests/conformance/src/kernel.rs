//! The kernel's side: user-mode Linux guests that play batches of scenarios.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use weir_conformance::operation::Scenario;
use weir_conformance::seen::Seen;
use weir_tests::{director, uml};

/// How long a guest may take for a batch.
const PATIENCE: Duration = Duration::from_secs(900);
/// Times a second that a guest is looked after.
const LOOK: Duration = Duration::from_millis(20);

static BATCHES: AtomicUsize = AtomicUsize::new(0);

/// The program that the guest is made of.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    guest: PathBuf,
}

impl Kernel {
    /// # Errors
    /// When something of it is not there: without the kernel nothing is proven.
    pub(crate) fn find() -> Result<Self> {
        let guest = director::program("weir-conformance-guest")?;
        let version = Command::new("linux.uml")
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        let version = version.context("no linux.uml (Debian package user-mode-linux)")?;
        ensure!(version.status.success(), "linux.uml does not run");
        Ok(Self { guest })
    }

    /// Plays scenarios in one guest; what was seen at each operation of each.
    pub(crate) fn play(&self, scenarios: &[Scenario]) -> Result<Vec<Vec<Seen>>> {
        let number = BATCHES.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-conformance-{}-{number}", std::process::id());
        let dir = Dir::new(std::env::temp_dir().join(&name))?;
        let batch = dir.0.join("batch");
        let text: String = scenarios.iter().map(Scenario::to_string).collect();
        fs::write(&batch, text)?;
        let console = dir.0.join("console");
        self.boot(&dir.0, &batch, &name, &console)?;
        let said = || fs::read_to_string(&console).unwrap_or_default();
        let text = fs::read_to_string(dir.0.join("batch.seen"))
            .with_context(|| format!("the guest told nothing: {}", said()))?;
        let seen: Result<Vec<Vec<Seen>>, _> = text.lines().map(serde_json::from_str).collect();
        let seen = seen.with_context(|| format!("the guest broke off: {}", said()))?;
        let (all, wanted) = (seen.len(), scenarios.len());
        ensure!(
            all == wanted,
            "the guest played {all} of {wanted} scenarios: {}",
            said()
        );
        Ok(seen)
    }

    fn boot(&self, dir: &Path, batch: &Path, name: &str, console: &Path) -> Result<()> {
        let console = File::create(console)?;
        let mut linux = Command::new("linux.uml");
        uml::boot_from_here(&mut linux, 384, &dir.join("uml"))?;
        let mut guest = linux
            .arg(format!("umid={name}"))
            .arg(pair("init=", &self.guest))
            .arg(pair("BATCH=", batch))
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()
            .context("linux.uml (Debian package user-mode-linux)")?;
        let deadline = Instant::now() + PATIENCE;
        while guest.try_wait()?.is_none() {
            if Instant::now() > deadline {
                guest.kill()?;
                guest.wait()?;
                bail!("the guest did not end within {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// A word of the kernel's command line.
fn pair(key: &str, path: &Path) -> OsString {
    let mut pair = OsString::from(key);
    pair.push(path);
    pair
}

/// A directory that goes with its owner.
struct Dir(PathBuf);

impl Dir {
    fn new(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // What is left in /tmp is no failure.
        let _ = fs::remove_dir_all(&self.0);
    }
}
