//! What can go wrong before the first packet, each with its place and its cure.

use std::ffi::{CStr, c_int};
use std::path::PathBuf;

use dpdk_sys as ffi;

/// Why DPDK's environment did not start.
#[derive(Debug, thiserror::Error)]
pub enum EalError {
    /// [`crate::Eal::init`] was called a second time, whatever became of the first.
    #[error("DPDK's environment can be started once per process only; restart the process")]
    StartedBefore,
    /// An argument that EAL would answer with its manual, or cannot be given.
    #[error("EAL argument `{argument}`: {why}")]
    Argument {
        /// The argument as configured.
        argument: String,
        /// What is wrong with it, and the cure.
        why: String,
    },
    /// EAL does not know an option or cannot read its value.
    #[error("EAL does not take its arguments: {detail}; see DPDK's guide, EAL parameters")]
    Options {
        /// EAL's or getopt's words.
        detail: String,
    },
    /// A plug-in given with `-d` cannot be loaded.
    #[error(
        "a driver plug-in of DPDK cannot be loaded: {detail}; \
         check the path after `-d`, that none of its directories is writable for all, and that it \
         was built for {version}"
    )]
    Plugin {
        /// The loader's words, which begin with the path.
        detail: String,
        /// The version this process is linked with.
        version: String,
    },
    /// No huge pages are reserved, or none can be used.
    #[error(
        "DPDK finds no huge pages it can use: reserve some (`sysctl vm.nr_hugepages=512`) and \
         mount hugetlbfs, or give EAL `--no-huge -m MEGABYTES`"
    )]
    NoHugePages,
    /// Another process runs with the same file prefix.
    #[error(
        "another DPDK process uses {}: stop it, or give this one its own name by EAL's \
         `--file-prefix NAME`", dir.display()
    )]
    PrefixInUse {
        /// The runtime directory both want.
        dir: PathBuf,
    },
    /// This user may not do what EAL needs.
    #[error("DPDK may not start as this user: {detail}; run as root or give the capabilities")]
    Permission {
        /// EAL's words.
        detail: String,
    },
    /// The memory asked for is not to be had.
    #[error("EAL cannot get its memory: {detail}; ask for less (`-m`) or reserve more huge pages")]
    Memory {
        /// EAL's words.
        detail: String,
    },
    /// A device given by `--vdev` or `-a` is unknown or does not start.
    #[error("EAL cannot start a device of its arguments: {detail}; check `--vdev` and `-a`")]
    Device {
        /// EAL's words.
        detail: String,
    },
    /// The thread cannot be made known to EAL.
    #[error("EAL takes no more threads: {detail}")]
    Thread {
        /// The error number's text.
        detail: String,
    },
    /// Anything else.
    #[error("DPDK's environment did not start: {detail}")]
    Other {
        /// EAL's words.
        detail: String,
    },
}

/// Why a port did not come up. `device` is the string of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The device string holds a NUL byte, is empty, or names a device twice.
    #[error("port device `{device}`: {why}")]
    Device {
        /// The device string.
        device: String,
        /// What is wrong with it.
        why: String,
    },
    /// No driver takes the device, or its driver fails.
    #[error("port device `{device}` cannot be attached: {detail}; {cure}")]
    Attach {
        /// The device string.
        device: String,
        /// DPDK's words.
        detail: String,
        /// What to try.
        cure: &'static str,
    },
    /// More workers than the device has queues.
    #[error(
        "port device `{device}` has {has} receive and transmit queue pair(s), {asked} worker(s) \
         need one each: use fewer workers or a device with more queues"
    )]
    Queues {
        /// The device string.
        device: String,
        /// Queue pairs wanted.
        asked: u16,
        /// Queue pairs of the device.
        has: u16,
    },
    /// The MTU is outside what the device can do.
    #[error("port device `{device}` does not do mtu {mtu}: it takes {min} to {max} bytes")]
    Mtu {
        /// The device string.
        device: String,
        /// The MTU of the configuration.
        mtu: u16,
        /// The least the device takes.
        min: u16,
        /// The most the device takes.
        max: u16,
    },
    /// A step of the set-up failed.
    #[error("port device `{device}`: {step} failed: {detail}")]
    Step {
        /// The device string.
        device: String,
        /// What was tried, with the values.
        step: String,
        /// DPDK's words.
        detail: String,
    },
    /// The frame pool of earlier ports still exists.
    #[error("the ports of this process are up already; they share one frame pool")]
    UpAlready,
    /// There is not enough memory for the frame pool.
    #[error(
        "the frame pool needs {megabytes} MB ({frames} frames of {frame_bytes} bytes) and EAL has \
         not that much: {detail}; raise EAL's `-m`, reserve more huge pages, or lower \
         descriptors, mtu or the number of ports and workers"
    )]
    PoolMemory {
        /// Frames in the pool.
        frames: u32,
        /// Memory of one frame with its headers.
        frame_bytes: u32,
        /// Their product, rounded up.
        megabytes: u64,
        /// DPDK's words.
        detail: String,
    },
}

/// Lines that only say again that something failed.
const ECHOES: [&str; 4] = [
    "FATAL",
    "Invalid 'command line' arguments",
    "Driver cannot attach the device",
    "Failed to attach device on primary process",
];

/// DPDK's words for a failed call: what it logged, else the text of the error number (which alone
/// says little: an unknown device is a "bad address").
pub(crate) fn detail(code: c_int, lines: &[String]) -> String {
    let is_echo = |line: &&String| ECHOES.iter().any(|echo| line.contains(echo));
    // The cause is logged first, and two lines are what a sentence bears.
    let causes: Vec<&str> = lines
        .iter()
        .filter(|line| !is_echo(line))
        .take(2)
        .map(|line| line.trim())
        .collect();
    if causes.is_empty() {
        errno_text(code)
    } else {
        causes.join("; ")
    }
}

/// The text of an error number, whichever sign DPDK gave it.
pub(crate) fn errno_text(code: c_int) -> String {
    // SAFETY: takes any number; returns a string that stays valid until this thread's next call.
    let text = unsafe { CStr::from_ptr(ffi::rte_strerror(code.abs())) };
    text.to_string_lossy().into_owned()
}
