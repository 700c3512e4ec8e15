//! The C library's own functions, for which this library's stand.
//!
//! They are looked up when the library is loaded, because a program may call them where the loader must not
//! be asked: in the child of a process with threads, or in a signal's handler. Who calls before that has
//! them looked up then. Nothing here allocates: an allocator may open a file before it can allocate.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A function that comes after this library's own of the same name.
pub(crate) struct Next {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Next {
    pub(crate) const fn of(name: &'static CStr) -> Self {
        Self {
            name,
            found: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The function; none when nobody has one.
    ///
    /// # Safety
    /// `F` is the type of a pointer to that function.
    pub(crate) unsafe fn get<F: Copy>(&self) -> Option<F> {
        let mut found = self.found.load(Ordering::Relaxed);
        if found.is_null() {
            found = self.look_up();
        }
        // SAFETY: the caller vouches for the type.
        unsafe { function(found) }
    }

    /// Looks it up, whoever has done it before.
    pub(crate) fn look_up(&self) -> *mut c_void {
        let errno = errno();
        // SAFETY: the name ends with a NUL.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.found.store(found, Ordering::Relaxed);
        set_errno(errno);
        found
    }
}

/// Has functions looked up when the library is loaded.
macro_rules! at_load {
    ($($next:ident)*) => {
        const _: () = {
            extern "C" fn look_up() {
                $($next.look_up();)*
            }
            #[used]
            // SAFETY: what stands there is called once, after the libraries that this one needs are there.
            #[unsafe(link_section = ".init_array")]
            static LOOK_UP: extern "C" fn() = look_up;
        };
    };
}
pub(crate) use at_load;

/// The function called `name` that comes after this library's own, looked up now: that of a library which may
/// come and go.
///
/// # Safety
/// `F` is the type of a pointer to that function.
pub(crate) unsafe fn next<F: Copy>(name: &CStr) -> Option<F> {
    // SAFETY: the name ends with a NUL.
    let symbol = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    // SAFETY: the caller vouches for the type.
    unsafe { function(symbol) }
}

/// The function called `name` of whatever has one.
///
/// # Safety
/// `F` is the type of a pointer to that function.
pub(crate) unsafe fn any<F: Copy>(name: &CStr) -> Option<F> {
    // SAFETY: the name ends with a NUL.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    // SAFETY: the caller vouches for the type.
    unsafe { function(symbol) }
}

/// # Safety
/// A symbol that is not null is a function, and `F` a pointer to such a one.
unsafe fn function<F: Copy>(symbol: *mut c_void) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    if symbol.is_null() {
        return None;
    }
    // SAFETY: pointers to functions are pointers here, of the same size; the caller vouches for `F`.
    Some(unsafe { std::mem::transmute_copy(&symbol) })
}

pub(crate) fn errno() -> c_int {
    // SAFETY: the place of errno is always there.
    unsafe { *libc::__errno_location() }
}

pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: the place of errno is always there.
    unsafe { *libc::__errno_location() = errno };
}

/// What a function returns that fails with this `errno`.
pub(crate) fn fail(errno: c_int) -> c_int {
    set_errno(errno);
    -1
}
