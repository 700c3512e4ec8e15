//! The real servers' web server: each answers with its own name.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::BODY_LEN;
use crate::lab::{Server, url};
use crate::netns::{Netns, wait_for};
use crate::plan::Family;

/// Where the large body lies. It is made once and kept between runs.
pub(crate) fn body_path() -> PathBuf {
    cache_dir().join("body")
}

/// Makes the large body, if it is not there: numbers of a fixed 64-bit sequence, so that every run has
/// the same digest and no two blocks are alike.
pub(crate) fn make_body() -> Result<()> {
    let path = body_path();
    if fs::metadata(&path).is_ok_and(|meta| meta.len() == BODY_LEN) {
        return Ok(());
    }
    fs::create_dir_all(cache_dir())?;
    let unfinished = path.with_extension(std::process::id().to_string());
    let mut out = BufWriter::new(File::create(&unfinished)?);
    let mut word: u64 = 1;
    for _ in 0..BODY_LEN / 8 {
        // Knuth's MMIX generator.
        word = word
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        out.write_all(&word.to_le_bytes())?;
    }
    out.into_inner()?.sync_all()?;
    fs::rename(&unfinished, &path).with_context(|| path.display().to_string())
}

/// Writes the configuration of a server into `dir` and gives its path. Temporary files go
/// into `temp`, which need not exist on this machine.
///
/// Every answer closes its connection, for connections are what a director balances. `/upload`
/// answers with the number of bytes that arrived; by way of a second server, because nginx's `return`
/// does not wait for the body and a proxied request does.
pub(crate) fn write_config(name: &str, dir: &Path, temp: &Path) -> Result<PathBuf> {
    let (temp, body) = (temp.display(), body_path());
    let text = format!(
        "user root;
daemon off;
master_process off;
pid {temp}/{name}.pid;
error_log {temp}/{name}.error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    keepalive_timeout 0;
    default_type text/plain;
    client_max_body_size 0;
    client_body_buffer_size 16m;
    client_body_temp_path {temp}/{name}.1;
    proxy_temp_path {temp}/{name}.2;
    fastcgi_temp_path {temp}/{name}.3;
    uwsgi_temp_path {temp}/{name}.4;
    scgi_temp_path {temp}/{name}.5;
    server {{
        listen 80 backlog=1024;
        listen [::]:80 backlog=1024;
        location / {{ return 200 \"{name}\\n\"; }}
        location = /client {{ return 200 \"{name} $remote_addr\\n\"; }}
        location = /body {{ alias {body}; }}
        location = /upload {{ proxy_pass http://unix:{temp}/{name}.sock; }}
    }}
    server {{
        listen unix:{temp}/{name}.sock;
        location / {{ return 200 \"$content_length\\n\"; }}
    }}
}}
",
        body = body.display()
    );
    let path = dir.join(format!("{name}.nginx.conf"));
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Starts nginx in a namespace, answering `name` on port 80. The lab's end ends it.
pub(crate) fn start(netns: &Netns, name: &str, dir: &Path) -> Result<()> {
    let config = write_config(name, dir, dir)?;
    let log = File::create(dir.join(format!("{name}.nginx.log")))?;
    netns
        .command("nginx")
        .arg("-e")
        .arg(dir.join(format!("{name}.error.log")))
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("nginx")?;
    Ok(())
}

/// Starts nginx in a namespace, answering `name` in plain HTTP on each of `ports`. The lab's end ends
/// it.
pub(crate) fn start_on(netns: &Netns, name: &str, dir: &Path, ports: &[u16]) -> Result<()> {
    let listen: String = ports.iter().map(|p| format!("listen {p}; ")).collect();
    let dir = dir.display();
    let text = format!(
        "user root; daemon off; master_process off; pid {dir}/{name}.pid;
error_log {dir}/{name}.error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; keepalive_timeout 0; default_type text/plain;
    client_body_temp_path {dir}/{name}.1; proxy_temp_path {dir}/{name}.2;
    fastcgi_temp_path {dir}/{name}.3; uwsgi_temp_path {dir}/{name}.4;
    scgi_temp_path {dir}/{name}.5;
    server {{ {listen} location / {{ return 200 \"{name}\\n\"; }} }}
}}
"
    );
    let path = format!("{dir}/{name}.nginx.conf");
    fs::write(&path, text).with_context(|| path.clone())?;
    netns
        .command("nginx")
        .args(["-e", &format!("{dir}/{name}.error.log"), "-c", &path])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("nginx")?;
    Ok(())
}

/// Waits until servers answer with their names, in both families, when asked from `netns`.
pub(crate) fn wait_until_up(netns: &Netns, servers: &[Server]) -> Result<()> {
    for server in servers {
        for family in Family::ALL {
            wait_until_answers(netns, server.address(family), &server.name)?;
        }
    }
    Ok(())
}

/// Waits until port 80 of an address answers with `name`, when asked from `netns`.
pub(crate) fn wait_until_answers(netns: &Netns, address: IpAddr, name: &str) -> Result<()> {
    let ask = format!("curl -s -m 1 {}", url(address, ""));
    wait_for(
        &format!("nginx of {name} on {address}"),
        Duration::from_secs(20),
        || netns.run(&ask).ok().filter(|answer| answer.trim() == name),
    )?;
    Ok(())
}

/// Beside `target`: what survives a run and is not worth a commit.
fn cache_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lab")
}
