//! The kernel's side: user-mode Linux guests that play batches of scenarios.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use weir_conformance::operation::Scenario;
use weir_conformance::seen::Seen;

/// How long a guest may take for a batch.
const PATIENCE: Duration = Duration::from_secs(900);
/// Times a second that a guest is looked after.
const LOOK: Duration = Duration::from_millis(20);

static BATCHES: AtomicUsize = AtomicUsize::new(0);

/// Programs that the guest is made of, beside this one.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    guest: PathBuf,
    clock: PathBuf,
}

impl Kernel {
    /// # Errors
    /// When something of it is not there: without the kernel nothing is proven.
    pub(crate) fn find() -> Result<Self> {
        let here = std::env::current_exe()?;
        // A test's own program is one folder deeper.
        let dirs = here.ancestors().skip(1).take(2);
        let beside = |name: &str| {
            let mut places = dirs.clone().map(|dir| dir.join(name));
            let found = places.find(|path| path.exists());
            found.with_context(|| {
                format!(
                    "no {name} beside {}: ./x conformance builds it",
                    here.display()
                )
            })
        };
        let kernel = Self {
            guest: beside("weir-conformance-guest")?,
            clock: beside("libweir_conformance_clock.so")?,
        };
        let version = Command::new("linux.uml")
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        let version = version.context("no linux.uml (Debian package user-mode-linux)")?;
        ensure!(version.status.success(), "linux.uml does not run");
        Ok(kernel)
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
        let pair = |key: &str, value: &OsStr| {
            let mut pair = std::ffi::OsString::from(key);
            pair.push(value);
            pair
        };
        let console = File::create(console)?;
        let mut guest = Command::new("linux.uml")
            .args([
                "mem=384M",
                "root=/dev/root",
                "rootfstype=hostfs",
                "rootflags=/",
                "ro",
            ])
            .args(["con=null", "con0=null,fd:1", "quiet", "loglevel=1"])
            .arg(pair("uml_dir=", dir.join("uml").as_os_str()))
            .arg(format!("umid={name}"))
            .arg(pair("init=", self.guest.as_os_str()))
            .arg(pair("BATCH=", batch.as_os_str()))
            .env("LD_PRELOAD", &self.clock)
            .env("TMPDIR", memory_dir())
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

/// Where the guest's memory file goes: off the disk, unless programs may not be run from there, which
/// user-mode Linux needs for its memory.
fn memory_dir() -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let is_usable = mounts.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some("/dev/shm") && !fields.any(|field| field.contains("noexec"))
    });
    if is_usable {
        PathBuf::from("/dev/shm")
    } else {
        std::env::temp_dir()
    }
}
