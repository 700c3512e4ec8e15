//! DPDK's environment (EAL): started once, cleaned up when the last user is gone.
//!
//! EAL likes to own the process: it pins its thread and prints its manual and its troubles. Here
//! it gets one lcore that floats over all processors (our workers are our own threads, registered
//! later), the caller's affinity is put back, and the standard streams are captured meanwhile.

use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dpdk_sys as ffi;

use crate::affinity::Affinity;
use crate::capture::Capture;
use crate::error::{EalError, detail, errno_text};
use crate::{log, runtime_dir};

/// How EAL is started.
#[derive(Clone, Debug, Default)]
pub struct EalConfig {
    /// EAL's command line without the program's name, for instance
    /// `["--no-huge", "-m", "256", "--no-pci", "--file-prefix", "weir0"]`. One lcore that may run
    /// anywhere is added unless `-l`, `-c` or `--lcores` is among them.
    pub args: Vec<String>,
}

/// DPDK's environment. Clones are the same; ports, queue sets and registered threads hold one
/// each. With the last, EAL is cleaned up and its runtime directory removed.
#[derive(Clone, Debug)]
pub struct Eal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    runtime_dir: Option<PathBuf>,
    /// Whether a frame pool exists; there is at most one (see `pool.rs`).
    pool_exists: AtomicBool,
}

/// DPDK's version, as it names itself: `DPDK 22.11.11`.
#[must_use]
pub fn version() -> String {
    // SAFETY: takes nothing; returns a string that lives as long as the process.
    let text = unsafe { CStr::from_ptr(ffi::rte_version()) };
    text.to_string_lossy().into_owned()
}

impl Eal {
    /// Starts EAL. To be called by the main thread before there are others that write to the
    /// standard streams, which are captured meanwhile.
    ///
    /// # Errors
    ///
    /// What is wrong and how to cure it. EAL cannot be started again in this process then; of its
    /// files nothing is left.
    pub fn init(config: &EalConfig) -> Result<Self, EalError> {
        static STARTED: AtomicBool = AtomicBool::new(false);

        let affinity = Affinity::of_this_thread();
        let arguments = command_line(&config.args, &affinity)?;
        if STARTED.swap(true, Ordering::Relaxed) {
            return Err(EalError::StartedBefore);
        }
        let failed = |what: &str, error: std::io::Error| EalError::Other {
            detail: format!("{what}: {error}"),
        };
        log::take_over().map_err(|e| failed("its log cannot be taken over", e))?;
        let capture = Capture::start().map_err(|e| failed("its output cannot be captured", e))?;
        let (result, lines) = log::record(|| start(&arguments));
        let printed = capture.finish();
        affinity.put_back();

        let runtime_dir = runtime_dir::find();
        match result {
            Ok(consumed) => {
                let eal = Self(Arc::new(Inner {
                    runtime_dir,
                    pool_exists: AtomicBool::new(false),
                }));
                // EAL stops at the first word that belongs to no option and ignores the rest.
                match arguments.get(consumed + 1) {
                    None => Ok(eal),
                    Some(stray) => Err(EalError::Argument {
                        argument: stray.to_string_lossy().into_owned(),
                        why: "it belongs to no option".to_string(),
                    }),
                }
            }
            Err(errno) => {
                let error = explain(errno, &lines, &printed, runtime_dir.as_ref());
                if let Some(dir) = &runtime_dir {
                    runtime_dir::remove(dir);
                }
                Err(error)
            }
        }
    }

    /// Makes the calling thread known to DPDK until the result is dropped. It then has a cache of
    /// its own before the frame pool, which spares it most of the pool's contended operations.
    ///
    /// # Errors
    ///
    /// When DPDK has no number left (128 in Debian's build) or a secondary process is attached.
    /// A thread that is not registered works, only slower.
    pub fn register_thread(&self) -> Result<RegisteredThread, EalError> {
        // SAFETY: EAL is initialised as long as `self` lives.
        if unsafe { ffi::rte_thread_register() } == 0 {
            return Ok(RegisteredThread {
                _eal: self.clone(),
                _of_one_thread: PhantomData,
            });
        }
        // SAFETY: reads a number of the calling thread.
        let errno = unsafe { ffi::shim_errno() };
        Err(EalError::Thread {
            detail: errno_text(errno),
        })
    }

    /// Takes the one right to have a frame pool; false when it is taken.
    pub(crate) fn claim_pool(&self) -> bool {
        !self.0.pool_exists.swap(true, Ordering::AcqRel)
    }

    /// Gives that right back: the pool is freed. Without this, EAL's memory stays mapped.
    pub(crate) fn release_pool(&self) {
        self.0.pool_exists.store(false, Ordering::Release);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A pool that was not freed has frames out: unmapping would pull memory from under them.
        if !*self.pool_exists.get_mut() {
            // SAFETY: EAL is initialised and nothing uses it: every port, pool, queue set and
            // registered thread holds an `Eal`, and this runs with the last.
            let (_, _lines) = log::record(|| unsafe { ffi::rte_eal_cleanup() });
        }
        if let Some(dir) = &self.runtime_dir {
            runtime_dir::remove(dir);
        }
    }
}

/// A thread known to DPDK; it stops being so when this is dropped, on the same thread.
#[derive(Debug)]
pub struct RegisteredThread {
    _eal: Eal,
    /// Not `Send`: what is unregistered is the thread that drops it.
    _of_one_thread: PhantomData<*const ()>,
}

impl Drop for RegisteredThread {
    fn drop(&mut self) {
        // SAFETY: EAL is initialised (`_eal`), and this thread registered itself, as the value
        // cannot have left it.
        unsafe { ffi::rte_thread_unregister() };
    }
}

/// EAL's command line, with the program's name and one floating lcore.
fn command_line(args: &[String], affinity: &Affinity) -> Result<Vec<CString>, EalError> {
    if let Some(help) = args.iter().find(|arg| *arg == "-h" || *arg == "--help") {
        // EAL would print its manual and end the process with status 0.
        return Err(EalError::Argument {
            argument: help.clone(),
            why: "EAL only prints its manual for it; remove it".to_string(),
        });
    }
    let chooses_lcores = args
        .iter()
        .any(|arg| arg.starts_with("-l") || arg.starts_with("-c") || arg.starts_with("--lcores"));
    let mut words = vec!["weird".to_string()];
    if !chooses_lcores {
        // EAL numbers only 128 lcores, but lcore 0 may run on any processors.
        words.extend(["--lcores".to_string(), format!("0@({})", affinity.list())]);
    }
    words.extend(args.iter().cloned());
    words
        .into_iter()
        .map(|word| {
            CString::new(word.clone()).map_err(|_| EalError::Argument {
                argument: word.replace('\0', "\\0"),
                why: "it holds a NUL byte; remove it".to_string(),
            })
        })
        .collect()
}

/// Calls `rte_eal_init`; the number of arguments consumed, or `rte_errno`.
fn start(arguments: &[CString]) -> Result<usize, c_int> {
    // EAL keeps pointers into its arguments (the name goes to openlog(3)), so they are given to it
    // for good. This happens once.
    let mut pointers: Vec<*mut c_char> = arguments
        .iter()
        .map(|argument| argument.clone().into_raw())
        .collect();
    let count = c_int::try_from(pointers.len()).map_err(|_| libc::E2BIG)?;
    pointers.push(std::ptr::null_mut());
    let pointers = pointers.leak();
    // SAFETY: `count` pointers to writable C strings and a null behind them, none of which is
    // ever freed; the caller sees to it that this happens once.
    let code = unsafe { ffi::rte_eal_init(count, pointers.as_mut_ptr()) };
    usize::try_from(code).map_err(|_| {
        // SAFETY: reads a number of the calling thread.
        unsafe { ffi::shim_errno() }
    })
}

/// What went wrong, by what EAL logged; its error numbers alone say little (a process without
/// huge pages gets "permission denied", and so does one without permission).
fn explain(errno: c_int, lines: &[String], printed: &str, dir: Option<&PathBuf>) -> EalError {
    let logged = |text: &str| lines.iter().find(|line| line.contains(text)).cloned();
    // getopt(3) prints "NAME: unrecognized option '--x'"; all other lines are EAL's manual.
    let getopt = printed
        .lines()
        .find_map(|line| line.strip_prefix("weird: "));
    if let Some(words) = getopt {
        return EalError::Options {
            detail: words.to_string(),
        };
    }
    if let Some(dir) = dir.filter(|dir| runtime_dir::is_in_use_by_another(dir)) {
        return EalError::PrefixInUse { dir: dir.clone() };
    }
    if logged("Cannot init plugins").is_some() {
        let line = lines.first().cloned().unwrap_or_default();
        let detail = line.trim_start_matches("EAL: ").to_string();
        return EalError::Plugin {
            detail,
            version: version(),
        };
    }
    if logged("hugepage information").is_some() || logged("hugetlbfs").is_some() {
        return EalError::NoHugePages;
    }
    if let Some(line) = logged("Permission denied").or_else(|| logged("not permitted")) {
        return EalError::Permission { detail: line };
    }
    let detail = detail(errno, lines);
    if lines
        .iter()
        .any(|line| line.contains("arse device") || line.contains("probe device"))
    {
        return EalError::Device { detail };
    }
    match errno {
        libc::EACCES | libc::EPERM => EalError::Permission { detail },
        libc::ENOMEM => EalError::Memory { detail },
        libc::EINVAL => EalError::Options { detail },
        libc::ENODEV => EalError::Device { detail },
        _ => EalError::Other { detail },
    }
}
