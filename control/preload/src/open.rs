//! The C library's `open` in all its forms, by which programs read that are not `ipvsadm`: `cat`, `grep`,
//! Python. A text of the director's becomes a file in memory, which can be sought in and mapped. Every
//! other path goes on as it is.
//!
//! In C the mode is one of *further* arguments, which is there only with flags that make a file. A
//! further argument is passed as any other on the machines that this is built for, so what is read
//! here when it is not there is a register's old contents, which goes on to who does not look at it.

use std::ffi::{c_char, c_int, c_long};
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd};

use libc::mode_t;

use crate::next::{Next, at_load, errno, fail, set_errno};
use crate::proc;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("how a further argument is passed on this machine has to be looked up first");

type Open = unsafe extern "C" fn(*const c_char, c_int, ...) -> c_int;
type OpenAt = unsafe extern "C" fn(c_int, *const c_char, c_int, ...) -> c_int;
type Checked = unsafe extern "C" fn(*const c_char, c_int) -> c_int;
type CheckedAt = unsafe extern "C" fn(c_int, *const c_char, c_int) -> c_int;

static OPEN: Next = Next::of(c"open");
static OPEN64: Next = Next::of(c"open64");
static OPENAT: Next = Next::of(c"openat");
static OPENAT64: Next = Next::of(c"openat64");
static OPEN_2: Next = Next::of(c"__open_2");
static OPEN64_2: Next = Next::of(c"__open64_2");
static OPENAT_2: Next = Next::of(c"__openat_2");
static OPENAT64_2: Next = Next::of(c"__openat64_2");
at_load!(OPEN OPEN64 OPENAT OPENAT64 OPEN_2 OPEN64_2 OPENAT_2 OPENAT64_2);

/// The director's text of this path, opened with these flags; none when the path is another, or the flags
/// ask for more than reading.
///
/// # Safety
/// `path` is null or ends with a NUL.
unsafe fn text(path: *const c_char, flags: c_int) -> Option<c_int> {
    // SAFETY: as the caller says.
    let name = unsafe { proc::name(path) }?;
    let is_read = flags & libc::O_ACCMODE == libc::O_RDONLY;
    if !is_read || flags & (libc::O_PATH | libc::O_DIRECTORY | libc::O_CREAT) != 0 {
        return None;
    }
    let before = errno();
    Some(match in_memory(name, flags & libc::O_CLOEXEC != 0) {
        Ok(file) => {
            set_errno(before);
            file.into_raw_fd()
        }
        Err(errno) => fail(errno),
    })
}

/// The director's text of this name as a file in memory, to be read from its beginning; else an errno.
fn in_memory(name: &str, is_closed_on_exec: bool) -> Result<OwnedFd, c_int> {
    let socket = proc::ask(name)?;
    let flags = if is_closed_on_exec {
        libc::MFD_CLOEXEC
    } else {
        0
    };
    // SAFETY: the name ends with a NUL.
    let file = unsafe { libc::memfd_create(c"ip_vs".as_ptr(), flags) };
    if file < 0 {
        return Err(errno());
    }
    // SAFETY: it was just opened, and nobody else has it.
    let file = unsafe { OwnedFd::from_raw_fd(file) };
    let mut buffer = [0; 16 * 1024];
    loop {
        // SAFETY: the buffer is there, as long as is said.
        let length =
            unsafe { libc::read(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(length) {
            Ok(0) => break,
            Ok(length) => write_all(&file, &buffer[..length])?,
            Err(_) if errno() == libc::EINTR => {}
            // The text broke off.
            Err(_) => return Err(libc::EIO),
        }
    }
    // SAFETY: no pointer is given.
    match unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_SET) } {
        0 => Ok(file),
        _ => Err(errno()),
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), c_int> {
    while !bytes.is_empty() {
        // SAFETY: the bytes are there, as many as is said.
        let written = unsafe { libc::write(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) if errno() == libc::EINTR => {}
            Err(_) => return Err(errno()),
        }
    }
    Ok(())
}

/// The kernel's own, for a program whose C library has not the function it calls.
///
/// # Safety
/// As `openat(2)`'s.
unsafe fn by_the_kernel(at: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: what we were given goes on as it is.
    let opened: c_long = unsafe { libc::syscall(libc::SYS_openat, at, path, flags, mode) };
    c_int::try_from(opened).unwrap_or(-1)
}

macro_rules! opens {
    ($($name:ident($($at:ident)?; $($mode:ident)?) is $next:ident: $type:ty;)*) => {$(
        /// The C library's function; the texts of IPVS are the director's.
        ///
        /// # Safety
        /// As the C library's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            $($at: c_int,)?
            path: *const c_char,
            flags: c_int,
            $($mode: mode_t,)?
        ) -> c_int {
            // SAFETY: a path ends with a NUL.
            if let Some(file) = unsafe { text(path, flags) } {
                return file;
            }
            // SAFETY: that is its type in fcntl.h, and what we were given goes on as it is.
            match unsafe { $next.get::<$type>() } {
                // SAFETY: as above.
                Some(open) => unsafe { open($($at,)? path, flags $(, $mode)?) },
                None => {
                    let (at, mode) = (libc::AT_FDCWD, 0);
                    $(let at = { let _ = at; $at };)?
                    $(let mode = { let _: mode_t = mode; $mode };)?
                    // SAFETY: as above.
                    unsafe { by_the_kernel(at, path, flags, mode) }
                }
            }
        }
    )*};
}

opens! {
    open(; mode) is OPEN: Open;
    open64(; mode) is OPEN64: Open;
    openat(at; mode) is OPENAT: OpenAt;
    openat64(at; mode) is OPENAT64: OpenAt;
    __open_2(;) is OPEN_2: Checked;
    __open64_2(;) is OPEN64_2: Checked;
    __openat_2(at;) is OPENAT_2: CheckedAt;
    __openat64_2(at;) is OPENAT64_2: CheckedAt;
}
