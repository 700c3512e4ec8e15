//! The programs of the LVS world as Debian ships them, led to the director by the library.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::director::program;
use crate::lab::Lab;
use crate::netns::{run, wait_for};

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_secs(15);

impl Lab {
    /// A command in the director's namespace that finds the director where it looks for the kernel.
    ///
    /// # Errors
    /// When the library was not built.
    pub fn stock(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = self.director_netns().command(program);
        command
            .env("LC_ALL", "C")
            .env("LD_PRELOAD", library()?)
            .env("WEIR_IPVS_SOCKET", self.dir().join("ipvs.sock"))
            .env("WEIR_IPVS_PROC_SOCKET", self.dir().join("ipvs-proc.sock"));
        Ok(command)
    }

    /// What `ipvsadm` prints for these arguments.
    ///
    /// # Errors
    /// When it ends with another status than zero; the text has its words.
    pub fn ipvsadm(&self, line: &str) -> Result<String> {
        run(self.stock("ipvsadm")?.args(line.split_whitespace()))
    }

    /// `weir` under one of ipvsadm's names, as `ipvsadm -L -n`.
    ///
    /// # Errors
    /// When it was not built, or the link cannot be made.
    pub fn weir_as(&self, line: &str) -> Result<Command> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let link = self.dir().join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(program("weir")?, &link)?;
        }
        let mut command = self.stock(link)?;
        command.args(rest.split_whitespace());
        Ok(command)
    }

    /// Starts `keepalived` with this configuration, for health checks only.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn keepalived(&self, config: &str) -> Result<Keepalived<'_>> {
        let path = self.dir().join("keepalived.conf");
        fs::write(&path, config)?;
        let log = File::create(self.dir().join("keepalived.log"))?;
        let pid = |name: &str| self.dir().join(format!("{name}.pid"));
        let child = self
            .stock("keepalived")?
            .args(["--dont-fork", "--log-console", "--log-detail", "--check"])
            .arg("--use-file")
            .arg(&path)
            .arg("--pid")
            .arg(pid("keepalived"))
            .arg("--checkers_pid")
            .arg(pid("checkers"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("keepalived")?;
        Ok(Keepalived { lab: self, child })
    }
}

impl Lab {
    /// Starts `ldirectord` with this configuration in its debug mode, in which it takes the `ipvsadm`
    /// beside it: `weir` under that name if it `is_ours`, else Debian's.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn ldirectord(&self, config: &str, is_ours: bool) -> Result<Ldirectord<'_>> {
        let dir = self.dir().join("ldirectord");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("ldirectord.cf"), config)?;
        if is_ours {
            std::os::unix::fs::symlink(program("weir")?, dir.join("ipvsadm"))?;
        }
        let log = File::create(dir.join("ldirectord.log"))?;
        let mut command = self.stock("ldirectord")?;
        let child = command
            .current_dir(&dir)
            .arg("-d")
            .arg(dir.join("ldirectord.cf"))
            .arg("start")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("ldirectord")?;
        Ok(Ldirectord { lab: self, child })
    }
}

impl Lab {
    /// What a boot does with a rules file once the director is there: `weir` under ipvsadm's names by the
    /// command of the package's unit if it `is_ours`, else Debian's init script with Debian's ipvsadm.
    ///
    /// # Errors
    /// When the rules are not taken; the text has the program's words.
    pub fn load_rules_at_boot(&self, rules: &str, is_ours: bool) -> Result<()> {
        let dir = self.dir().join("boot");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        let (file, defaults) = (dir.join("ipvsadm.rules"), dir.join("ipvsadm"));
        fs::write(&file, format!("# ipvsadm.rules\n{rules}"))?;
        fs::write(&defaults, "AUTO=\"true\"\nDAEMON=\"none\"\n")?;
        if is_ours {
            let sbin = dir.join("sbin");
            fs::create_dir(&sbin)?;
            for name in ["ipvsadm", "ipvsadm-restore"] {
                std::os::unix::fs::symlink(program("weir")?, sbin.join(name))?;
            }
            let script =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/ipvsadm/ipvsadm-rules");
            let mut command = self.stock(script)?;
            command.env("WEIR_SBIN", sbin).env("WEIR_RULES", file);
            run(command.env("WEIR_DEFAULTS", defaults).arg("start"))?;
            return Ok(());
        }
        let boot = "mount --bind \"$1\" /etc/ipvsadm.rules && mount --bind \"$2\" /etc/default/ipvsadm \
                    && exec /etc/init.d/ipvsadm start";
        let mut command = self.stock("unshare")?;
        command.args(["--mount", "sh", "-c", boot, "sh"]);
        run(command.arg(file).arg(defaults))?;
        Ok(())
    }
}

/// A running `ldirectord`. Dropping it ends it by SIGTERM.
#[derive(Debug)]
pub struct Ldirectord<'l> {
    lab: &'l Lab,
    child: Child,
}

impl Ldirectord<'_> {
    /// What it has said so far.
    pub fn log(&self) -> String {
        let log = self.lab.dir().join("ldirectord/ldirectord.log");
        fs::read_to_string(log).unwrap_or_default()
    }

    /// Ends it by SIGTERM.
    ///
    /// # Errors
    /// When it is still there after some seconds.
    pub fn stop(mut self) -> Result<ExitStatus> {
        end(&mut self.child, "ldirectord")
    }
}

impl Drop for Ldirectord<'_> {
    fn drop(&mut self) {
        // The lab's end takes what is still there.
        let _ = end(&mut self.child, "ldirectord");
    }
}

/// Ends a program by SIGTERM.
fn end(child: &mut Child, name: &str) -> Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    signal(child, "TERM")?;
    let what = format!("the end of {name}");
    wait_for(&what, PATIENCE, || child.try_wait().ok()?)
}

fn signal(child: &Child, name: &str) -> Result<()> {
    let pid = child.id().to_string();
    run(Command::new("kill").args(["-s", name, &pid])).map(drop)
}

/// A running `keepalived`. Dropping it ends it by SIGTERM.
#[derive(Debug)]
pub struct Keepalived<'l> {
    lab: &'l Lab,
    child: Child,
}

impl Keepalived<'_> {
    /// Gives it another configuration, by SIGHUP.
    ///
    /// # Errors
    /// When it no longer runs.
    pub fn reload(&self, config: &str) -> Result<()> {
        fs::write(self.lab.dir().join("keepalived.conf"), config)?;
        signal(&self.child, "HUP")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.lab.dir().join("keepalived.log")).unwrap_or_default()
    }

    /// Ends it by SIGTERM and gives how it ended.
    ///
    /// # Errors
    /// When it is still there after some seconds.
    pub fn stop(mut self) -> Result<ExitStatus> {
        end(&mut self.child, "keepalived")
    }
}

impl Drop for Keepalived<'_> {
    fn drop(&mut self) {
        // The lab's end takes what is still there.
        let _ = end(&mut self.child, "keepalived");
    }
}

/// `libweir_ipvs_preload.so`, which is built beside the programs.
fn library() -> Result<PathBuf> {
    let library = program("weird")?.with_file_name("libweir_ipvs_preload.so");
    if !library.exists() {
        bail!(
            "{} is missing: cargo build -p weir-preload",
            library.display()
        );
    }
    Ok(library)
}
