//! Network namespaces and the commands run in them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A named network namespace, as `ip netns` shows it. The reaper removes it, not this handle.
#[derive(Clone, Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes the namespace with its loopback up and the defaults every host of the lab needs.
    ///
    /// # Errors
    /// When `ip` fails, most often for want of root.
    pub fn create(name: &str) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", name]))?;
        let netns = Self { name: name.into() };
        netns.ip("link set lo up")?;
        // Replies of DR and TUN come back another way than requests went, so no reverse path
        // filter; duplicate address detection would make every IPv6 address wait for a second.
        netns.sysctl(&[
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.default.rp_filter=0",
            "net.ipv6.conf.default.accept_dad=0",
            "net.ipv6.conf.default.accept_ra=0",
            "net.ipv6.conf.default.router_solicitations=0",
        ])?;
        Ok(netns)
    }

    /// The name in `ip netns list`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside, in a process group of its own: Ctrl-C on the terminal
    /// is for the lab to handle, in order, not for all its children at once.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command.process_group(0);
        command
    }

    /// Runs `work` on a thread of its own inside: sockets that it makes belong there.
    ///
    /// # Errors
    /// When the namespace is gone, or what `work` says.
    pub fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> JoinHandle<Result<T>> {
        let path = format!("/run/netns/{}", self.name);
        thread::spawn(move || {
            let netns = File::open(&path).context(path)?;
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        })
    }

    /// Runs a command line inside, split at blanks, and gives its standard output.
    ///
    /// # Errors
    /// When it cannot be run or ends with another status than zero; the text has its words.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        run(self.command(program).args(words))
    }

    /// Runs lines of `ip` commands (without the word `ip`) inside, in one batch.
    ///
    /// # Errors
    /// At the first line that fails; the earlier ones stay done.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("ip")?;
        let mut input = child.stdin.take().expect("stdin was asked for");
        input.write_all(lines.as_bytes())?;
        input.write_all(b"\n")?;
        drop(input);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("ip -n {} -batch: {error}{lines}", self.name);
        }
        Ok(())
    }

    /// Sets kernel parameters inside, each as `name=value`.
    ///
    /// # Errors
    /// When a name is unknown or root is missing.
    pub fn sysctl(&self, settings: &[&str]) -> Result<()> {
        run(self.command("sysctl").arg("-qw").args(settings))?;
        Ok(())
    }

    /// Says whether a network device of this name exists inside.
    pub fn has_device(&self, device: &str) -> bool {
        self.run(&format!("ip link show dev {device}")).is_ok()
    }
}

/// Runs a command to its end and gives its standard output.
///
/// # Errors
/// When it cannot be run or ends with another status than zero; the text has its words.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}\n{error}{text}", output.status);
    }
    Ok(text)
}

/// Asks every 20 ms until `ready` gives a value.
///
/// # Errors
/// After `limit`, naming `what` was waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("{what}: not there after {} s", limit.as_secs());
        }
        sleep(Duration::from_millis(20));
    }
}
