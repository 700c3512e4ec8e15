//! What the guest asks its kernel for: a few system calls without a safe face in the standard library.

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// Most bytes of a message or frame.
const MESSAGE_MAX: usize = 1 << 16;

const NANOSECONDS: i64 = 1_000_000_000;

fn done(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("no zero byte in a name")
}

/// mount(2).
pub(crate) fn mount(source: &str, target: &str, kind: &str, data: &str) -> io::Result<()> {
    let (source, target) = (c_string(source), c_string(target));
    let (kind, data) = (c_string(kind), c_string(data));
    // SAFETY: all are strings that live through the call.
    done(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            0,
            data.as_ptr().cast(),
        )
    })
}

/// Loads a module with its parameters; one that is there already is as good.
pub(crate) fn load_module(path: &Path, parameters: &str) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    let parameters = c_string(parameters);
    let (file, parameters) = (file.as_raw_fd(), parameters.as_ptr());
    // SAFETY: a file that is open and a string that lives through the call.
    let result = unsafe { libc::syscall(libc::SYS_finit_module, file, parameters, 0) };
    match done(result as c_int) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

/// This thread gets a network of its own.
pub(crate) fn new_network() -> io::Result<()> {
    // SAFETY: no memory is involved.
    done(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}

/// The index of an interface.
pub(crate) fn interface(name: &str) -> io::Result<u32> {
    let name = c_string(name);
    // SAFETY: a string that lives through the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Power off. Does not come back.
pub(crate) fn power_off() -> ! {
    // SAFETY: no memory is involved.
    unsafe { libc::reboot(libc::RB_POWER_OFF) };
    std::process::exit(1)
}

/// Ticks since the kernel began, as it counts them.
pub(crate) fn ticks() -> u64 {
    // SAFETY: a null pointer says that only the return value is wanted.
    unsafe { libc::times(std::ptr::null_mut()) as u64 }
}

/// Nanoseconds on the monotonic clock.
pub(crate) fn now() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for a write.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * NANOSECONDS + time.tv_nsec
}

/// Sleeps until the monotonic clock shows `until`.
pub(crate) fn sleep_until(until: i64) {
    let time = libc::timespec {
        tv_sec: until / NANOSECONDS,
        tv_nsec: until % NANOSECONDS,
    };
    // SAFETY: `time` is valid; nothing is written with a null pointer. A signal would end the sleep,
    // and nobody sends this process any.
    unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &raw const time,
            std::ptr::null_mut(),
        )
    };
}

/// Sleeps end when they are over, not some microseconds later.
pub(crate) fn sleep_exactly() {
    // SAFETY: no memory is involved.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

/// The segmentation and checksum offloads of an interface are put off: ethtool's commands for
/// receive and transmit checksums, scatter-gather, TSO, GSO and GRO.
pub(crate) fn offloads_off(name: &str) -> io::Result<()> {
    let socket = Socket::new(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    for command in [0x15_u32, 0x17, 0x19, 0x1f, 0x24, 0x2c] {
        let mut value = [command, 0];
        // SAFETY: zeros are a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: the request names an ethtool_value that lives through the call. What an interface
        // cannot switch it does not have.
        unsafe { libc::ioctl(socket.0.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    }
    Ok(())
}

/// A socket.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn new(family: c_int, kind: c_int, protocol: c_int) -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
        done(fd)?;
        // SAFETY: just opened, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// All frames that an interface receives, and a way to send some.
    pub(crate) fn of_interface(name: &str) -> io::Result<Self> {
        let all = (libc::ETH_P_ALL as u16).to_be();
        let socket = Self::new(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        // SAFETY: zeros are a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = all;
        address.sll_ifindex = interface(name)? as c_int;
        let len = size_of_val(&address) as libc::socklen_t;
        // SAFETY: an address of that length that lives through the call.
        done(unsafe { libc::bind(socket.0.as_raw_fd(), (&raw const address).cast(), len) })?;
        Ok(socket)
    }

    /// The firewall mark of what is sent from now on.
    pub(crate) fn set_mark(&self, mark: u32) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_MARK, mark as c_int)
    }

    fn set(&self, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
        let len = size_of_val(&value) as libc::socklen_t;
        // SAFETY: a value of that length that lives through the call.
        done(unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                len,
            )
        })
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let start = bytes.as_ptr().cast::<c_void>();
        // SAFETY: the bytes live through the call.
        done(unsafe { libc::send(self.0.as_raw_fd(), start, bytes.len(), 0) as c_int })
    }

    /// What has come; none when nothing has.
    pub(crate) fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        buffer.resize(MESSAGE_MAX, 0);
        let start = buffer.as_mut_ptr().cast::<c_void>();
        // SAFETY: the buffer is valid for that many bytes.
        let len =
            unsafe { libc::recv(self.0.as_raw_fd(), start, buffer.len(), libc::MSG_DONTWAIT) };
        match done(len as c_int) {
            Ok(()) => Ok(Some(len as usize)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
