//! The director in a box: `weird` in its namespace, its ports on the bridges.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::config::{self, Config, METRICS, PORTS};
use crate::lab::Lab;
use crate::netns::{run, wait_for};

/// How long the director may take to come up or to go.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running `weird`. Dropping it ends it by SIGTERM.
#[derive(Debug)]
pub struct Director<'a> {
    lab: &'a Lab,
    child: Child,
    is_kept: bool,
}

impl Lab {
    /// Starts the director, which remembers nothing, and waits until it answers and its ports hang on
    /// the bridges.
    ///
    /// # Errors
    /// When it does not come up; the text ends with its log.
    pub fn director(&self, config: &Config) -> Result<Director<'_>> {
        let state = config::state(self.dir());
        if state.exists() {
            fs::remove_dir_all(state)?;
        }
        self.director_again(config)
    }

    /// As [`Lab::director`], after another one whose changes at run time it finds.
    ///
    /// # Errors
    /// As [`Lab::director`].
    pub fn director_again(&self, config: &Config) -> Result<Director<'_>> {
        fs::write(self.config_path(), self.toml(config))?;
        let log = File::create(self.log_path())?;
        let child = self
            .director_netns()
            .command(program("weird")?)
            .arg("--config")
            .arg(self.config_path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("weird")?;
        let mut director = Director {
            lab: self,
            child,
            is_kept: false,
        };
        match director.plug_in() {
            Ok(()) => Ok(director),
            Err(error) => bail!("{error:#}\n--- weird's log:\n{}", director.log()),
        }
    }

    /// The text of a configuration as the director would get it.
    pub fn toml(&self, config: &Config) -> String {
        config.to_toml(self.name(), self.dir())
    }

    /// The director's configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.dir().join("weir.toml")
    }

    fn log_path(&self) -> PathBuf {
        self.dir().join("weird.log")
    }
}

impl Director<'_> {
    /// What the client `weir` prints for these arguments.
    ///
    /// # Errors
    /// When it ends with another status than zero.
    pub fn weir(&self, args: &[&str]) -> Result<String> {
        run(self
            .lab
            .director_netns()
            .command(program("weir")?)
            .arg("--socket")
            .arg(config::socket(self.lab.dir()))
            .args(args))
    }

    /// Gives the director another configuration and has it applied.
    ///
    /// # Errors
    /// When it is refused.
    pub fn reload(&self, config: &Config) -> Result<()> {
        self.reload_text(&self.lab.toml(config))
    }

    /// Gives the director any text for its configuration file and has it applied.
    ///
    /// # Errors
    /// When it is refused; the text has the director's words.
    pub fn reload_text(&self, text: &str) -> Result<()> {
        fs::write(self.lab.config_path(), text)?;
        self.weir(&["reload"]).map(drop)
    }

    /// Sends the director a signal, by name without `SIG`.
    ///
    /// # Errors
    /// When it no longer runs.
    pub fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        run(Command::new("kill").args(["-s", name, &pid])).map(drop)
    }

    /// What `/metrics` answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn metrics(&self) -> Result<String> {
        let line = format!("curl -sSf -m 5 http://{METRICS}/metrics");
        self.lab.director_netns().run(&line)
    }

    /// Sum of all series of a metric whose labels contain each of `labels` (as `name="value"`).
    ///
    /// # Errors
    /// When the metrics cannot be fetched or no series fits.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let text = self.metrics()?;
        let values: Vec<f64> = text
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        if values.is_empty() {
            bail!("no series {name} with {labels:?} in\n{text}");
        }
        Ok(values.iter().sum())
    }

    /// What the director has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.lab.log_path()).unwrap_or_default()
    }

    /// Ends the director by SIGTERM and gives how it ended.
    ///
    /// # Errors
    /// When it is still there after some seconds.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.end()
    }

    /// Ends the director by SIGKILL.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it had ended: {status}\n{}", self.log());
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets the director run on when this handle and its process are gone.
    pub fn keep(mut self) {
        self.is_kept = true;
    }

    fn end(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal("TERM")?;
        let child = &mut self.child;
        wait_for("the end of weird", PATIENCE, || child.try_wait().ok()?)
    }

    /// Joins the kernel side of each port to its bridge, as a cable would.
    ///
    /// `net_tap` gives the kernel side the very MAC address of the DPDK port. A bridge takes its
    /// ports' addresses for its own and would keep every frame that is meant for the director, so the entry
    /// is replaced by one that says: behind this port. The address itself is left alone, because
    /// DPDK sets it again whenever the port starts.
    fn plug_in(&mut self) -> Result<()> {
        let netns = self.lab.director_netns();
        for port in PORTS {
            let tap = format!("tap-{port}");
            self.wait(&tap, || netns.has_device(&tap).then_some(()))?;
            netns.sysctl(&[&format!("net.ipv6.conf.{tap}.disable_ipv6=1")])?;
            netns.ip(&format!("link set {tap} master br-{port} up"))?;
        }
        self.wait("the control socket", || {
            run(Command::new(program("weir").ok()?)
                .arg("--socket")
                .arg(config::socket(self.lab.dir()))
                .arg("status"))
            .ok()
        })?;
        for port in PORTS {
            let mac = config::mac(port);
            netns.run(&format!(
                "bridge fdb replace {mac} dev tap-{port} master static"
            ))?;
        }
        Ok(())
    }

    fn wait<T>(&self, what: &str, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
        let pid = self.child.id();
        // A process that ended stays a zombie until it is waited for.
        let has_ended = || {
            fs::read_to_string(format!("/proc/{pid}/stat"))
                .map_or(true, |stat| stat.contains(") Z "))
        };
        wait_for(what, PATIENCE, || match ready() {
            Some(value) => Some(Some(value)),
            None => has_ended().then_some(None),
        })?
        .with_context(|| format!("{what}: weird ended before it was there"))
    }
}

impl Drop for Director<'_> {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if std::thread::panicking() {
            eprintln_log(&self.log());
        }
        if self.end().is_err() {
            // It did not mind SIGTERM. The next director needs its interfaces' names.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A failed test shows what the director had to say.
#[allow(clippy::print_stderr)]
fn eprintln_log(log: &str) {
    eprintln!("--- weird's log:\n{log}");
}

/// The path of one of our programs: in `$WEIR_BIN`, or else where this one was built.
///
/// # Errors
/// When it is not there.
pub fn program(name: &str) -> Result<PathBuf> {
    let dir = match std::env::var_os("WEIR_BIN") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let own = std::env::current_exe()?;
            // target/<profile>/weir-lab, target/<profile>/deps/e2e-0123456789abcdef
            let dir = own.parent().context("no directory")?;
            let dir = if dir.ends_with("deps") {
                dir.parent().context("no directory")?
            } else {
                dir
            };
            dir.to_owned()
        }
    };
    let path = dir.join(name);
    if !path.exists() {
        bail!("{} is not built: ./x test builds it", path.display());
    }
    Ok(path)
}
