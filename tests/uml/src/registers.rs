//! Wide registers: user-mode Linux 6.1 has room for the registers of each process up to AVX-512 and
//! protection keys. The host takes all of them or none (`PTRACE_SETREGSET` says EFAULT), and a
//! processor with AMX has four times as many bytes of them: the guest's first process would end with a
//! segmentation fault. What the guest does not know stays as it is: nobody uses it, because a program has
//! to ask for AMX and cannot in the guest.

use std::cell::UnsafeCell;
use std::ptr;

use libc::{c_long, c_uint, c_void, iovec, pid_t};

/// `NT_X86_XSTATE` of `elf.h`.
const EXTENDED_STATE: usize = 0x202;
/// Bytes, more than any processor has registers.
const ROOM: usize = 1 << 14;

static WHOLE: Whole = Whole(UnsafeCell::new([0; ROOM]));

/// All registers of a process. The kernel's stacks have no room for them.
struct Whole(UnsafeCell<[u8; ROOM]>);

// SAFETY: user-mode Linux traces its processes from one thread, as the host's kernel wants it.
unsafe impl Sync for Whole {}

/// In the place of the C library's.
///
/// # Safety
/// As ptrace(2) wants it of `address` and `data`, from one thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptrace(
    request: c_uint,
    pid: pid_t,
    address: *mut c_void,
    data: *mut c_void,
) -> c_long {
    // SAFETY: ptrace(2) with the caller's arguments, or with what stands in for `data`.
    let ask = |request: c_uint, data: *mut c_void| unsafe {
        libc::syscall(libc::SYS_ptrace, request, pid, address, data)
    };
    match request {
        // The host's kernel writes what the C library returns.
        libc::PTRACE_PEEKTEXT | libc::PTRACE_PEEKDATA | libc::PTRACE_PEEKUSER => {
            let mut word: c_long = 0;
            match ask(request, (&raw mut word).cast()) {
                0 => word,
                failed => failed,
            }
        }
        libc::PTRACE_SETREGSET if address as usize == EXTENDED_STATE => {
            let done = ask(request, data);
            if done == 0 {
                return done;
            }
            let bytes = WHOLE.0.get().cast::<u8>();
            let mut whole = iovec {
                iov_base: bytes.cast(),
                iov_len: ROOM,
            };
            // How many there are, and those that the caller does not know, as they are.
            if ask(libc::PTRACE_GETREGSET, (&raw mut whole).cast()) != 0 {
                return done;
            }
            // SAFETY: the caller promises a vector and as many bytes; nobody else uses `WHOLE`, which has
            // room for `whole.iov_len` bytes.
            unsafe {
                let known = data.cast::<iovec>().read();
                let len = known.iov_len.min(whole.iov_len);
                ptr::copy_nonoverlapping(known.iov_base.cast::<u8>(), bytes, len);
            }
            ask(request, (&raw mut whole).cast())
        }
        _ => ask(request, data),
    }
}
