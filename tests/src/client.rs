//! The client: real curl, ping and dig in its own namespace.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, bail};

use crate::lab::url;
use crate::netns::Netns;

/// Seconds a single request may take.
const REQUEST_TIMEOUT_S: &str = "5";

/// The host requests come from.
#[derive(Clone, Debug)]
pub struct Client {
    netns: Netns,
}

impl Client {
    pub(crate) fn new(netns: Netns) -> Self {
        Self { netns }
    }

    /// The client's namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Who answered each of `count` requests to port 80, sent one after the other, each on a
    /// connection of its own.
    ///
    /// # Errors
    /// When a request fails.
    pub fn names(&self, vip: IpAddr, count: u32) -> Result<Vec<String>> {
        self.curl(vip, count, &["-m", REQUEST_TIMEOUT_S])
    }

    /// As [`Client::names`], with all requests open at once; the order says nothing.
    ///
    /// # Errors
    /// When a request fails.
    pub fn names_at_once(&self, vip: IpAddr, count: u32) -> Result<Vec<String>> {
        let count_text = count.to_string();
        let parallel = [
            "-m",
            "15",
            "--parallel",
            "--parallel-immediate",
            "--parallel-max",
        ];
        self.curl(vip, count, &[&parallel[..], &[&count_text]].concat())
    }

    /// SHA-256 of the body at `/body`, in hexadecimal.
    ///
    /// # Errors
    /// When the download fails.
    pub fn body_digest(&self, vip: IpAddr) -> Result<String> {
        let script = "set -o pipefail; curl -gsSf -m 60 \"$0\" | sha256sum";
        let text =
            crate::netns::run(
                self.netns
                    .command("bash")
                    .args(["-c", script, &url(vip, "body")]),
            )?;
        Ok(text.split_whitespace().next().unwrap_or("").to_owned())
    }

    /// Sends `len` bytes of zero to `/upload` and gives how many the server says arrived.
    ///
    /// # Errors
    /// When the upload fails.
    pub fn upload(&self, vip: IpAddr, len: u64) -> Result<u64> {
        // Without the question whether it may (Expect), so that full segments leave at once.
        let script =
            "head -c \"$1\" /dev/zero | curl -gsSf -m 20 -H Expect: --data-binary @- \"$0\"";
        let text = crate::netns::run(self.netns.command("sh").args([
            "-c",
            script,
            &url(vip, "upload"),
            &len.to_string(),
        ]))?;
        text.trim()
            .parse()
            .with_context(|| format!("the server answered {text:?}"))
    }

    /// Sends `count` echo requests, 100 ms apart, and wants all of them answered.
    ///
    /// # Errors
    /// When one is lost.
    pub fn ping(&self, address: IpAddr, count: u32) -> Result<()> {
        let words = format!("ping -n -q -i 0.1 -W 2 -c {count} {address}");
        let text = self.netns.run(&words)?;
        if !text.contains(" 0% packet loss") {
            bail!("{text}");
        }
        Ok(())
    }

    /// Which name server answered each of `count` queries, each from a source port of its own.
    ///
    /// # Errors
    /// When a query stays without an answer.
    pub fn dns_names(&self, vip: IpAddr, count: u32) -> Result<Vec<String>> {
        (0..count)
            .map(|_| {
                let line = format!("dig @{vip} who.lab TXT +short +tries=1 +time=2");
                let text = self.netns.run(&line)?;
                Ok(text.trim().trim_matches('"').to_owned())
            })
            .collect()
    }

    /// Begins to send requests, one after the other, until [`Traffic::stop`]. Some are answered when it
    /// returns.
    pub fn traffic(&self, vip: IpAddr) -> Traffic {
        let client = self.clone();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let seen = is_stopped.clone();
        let (begins, has_begun) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut answers = client.names(vip, 6)?;
            let _ = begins.send(());
            while !seen.load(Ordering::Relaxed) {
                answers.extend(client.names(vip, 20)?);
            }
            Ok(answers)
        });
        // It hangs up when a request fails, which `Traffic::stop` tells.
        let _ = has_begun.recv();
        Traffic { is_stopped, thread }
    }

    fn curl(&self, vip: IpAddr, count: u32, options: &[&str]) -> Result<Vec<String>> {
        // The range is curl's own, so that one process sends all of them; what follows the "#" is not sent.
        let target = format!(
            "{}?[1-{count}]",
            url(vip, "").replace('[', "\\[").replace(']', "\\]")
        );
        let text = crate::netns::run(
            self.netns
                .command("curl")
                .args(["-sSf", "--connect-timeout", REQUEST_TIMEOUT_S])
                .args(options)
                .arg(target),
        )?;
        let names: Vec<String> = text.lines().map(str::to_owned).collect();
        if names.len() != count as usize {
            bail!("{count} requests, {} answers: {names:?}", names.len());
        }
        Ok(names)
    }
}

/// Requests that go on in the background while the director's configuration changes.
#[derive(Debug)]
pub struct Traffic {
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<String>>>,
}

impl Traffic {
    /// Ends it and gives who answered, in order.
    ///
    /// # Errors
    /// When a single request failed.
    pub fn stop(self) -> Result<Vec<String>> {
        self.is_stopped.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(answers) => answers,
            Err(_) => bail!("the traffic thread panicked"),
        }
    }
}

/// How often each name stands in a list.
pub fn tally(names: &[String]) -> BTreeMap<String, usize> {
    names.iter().fold(BTreeMap::new(), |mut counts, name| {
        *counts.entry(name.clone()).or_default() += 1;
        counts
    })
}
