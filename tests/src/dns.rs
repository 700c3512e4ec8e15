//! The real servers' name server: dnsmasq, which tells its name as the text record of `who.lab`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};

use crate::netns::Netns;

/// Writes the configuration of a server's dnsmasq into `dir` and gives its path.
pub(crate) fn write_config(name: &str, dir: &Path) -> Result<PathBuf> {
    let text = format!(
        "keep-in-foreground
user=root
pid-file=
no-resolv
no-hosts
no-poll
txt-record=who.lab,{name}
"
    );
    let path = dir.join(format!("{name}.dnsmasq.conf"));
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Starts dnsmasq in a namespace. The lab's end ends it.
pub(crate) fn start(netns: &Netns, name: &str, dir: &Path) -> Result<()> {
    netns
        .command("dnsmasq")
        .arg("-C")
        .arg(write_config(name, dir)?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("dnsmasq")?;
    Ok(())
}
