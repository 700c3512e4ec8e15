//! User-mode Linux (`linux.uml`), which boots from the host's own files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::director::program;

/// What every guest needs: a command that runs `linux.uml` with so many megabytes and keeps its sockets
/// in `dir`, quiet, with its console on standard output.
///
/// # Errors
/// When the library that is preloaded (`tests/uml`) is not built.
pub fn boot_from_here(linux: &mut Command, megabytes: u32, dir: &Path) -> Result<()> {
    let mut uml_dir = OsString::from("uml_dir=");
    uml_dir.push(dir);
    linux
        .arg(format!("mem={megabytes}M"))
        .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"])
        .args(["con=null", "con0=null,fd:1", "quiet", "loglevel=1"])
        .arg(uml_dir)
        .env("LD_PRELOAD", program("libweir_uml.so")?)
        .env("TMPDIR", memory_dir());
    Ok(())
}

/// Where the guest's memory file goes: off the disk, unless programs may not be run from there, which
/// user-mode Linux needs for its memory.
fn memory_dir() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
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
