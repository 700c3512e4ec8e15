//! libnl, as far as it is needed, looked up in the running process.

use std::ffi::{CStr, c_char, c_int, c_uchar, c_void};

use crate::next::any;

/// `struct nl_sock`, libnl's own.
pub(crate) type Socket = c_void;
/// `struct nl_msg`, libnl's own.
pub(crate) type Message = c_void;
/// `struct nl_cb`, libnl's own.
type Callbacks = c_void;

/// What libnl has send a message.
pub(crate) type Send = unsafe extern "C" fn(*mut Socket, *mut Message) -> c_int;
/// What libnl has receive a datagram, into a buffer from `malloc`.
pub(crate) type Receive = unsafe extern "C" fn(
    *mut Socket,
    *mut libc::sockaddr_nl,
    *mut *mut c_uchar,
    *mut *mut libc::ucred,
) -> c_int;

/// `NLE_OBJ_NOTFOUND`: there is no such family.
pub(crate) const NOT_FOUND: c_int = 12;

/// The bytes of a message that is to be sent.
///
/// # Safety
/// `message` is libnl's, and nobody changes it while the bytes are looked at.
pub(crate) unsafe fn bytes<'m>(message: *mut Message) -> Option<&'m [u8]> {
    type Header = unsafe extern "C" fn(*mut Message) -> *mut libc::nlmsghdr;
    // SAFETY: that is its type in netlink/msg.h.
    let header = unsafe { any::<Header>(c"nlmsg_hdr") }?;
    // SAFETY: the message is libnl's.
    let header = unsafe { header(message) };
    if header.is_null() {
        return None;
    }
    // SAFETY: a header of libnl's is followed by as many bytes as it says, itself among them.
    unsafe {
        let length = (*header).nlmsg_len as usize;
        Some(std::slice::from_raw_parts(header.cast::<u8>(), length))
    }
}

/// Has libnl call `send` and `receive` for this socket. False when libnl is not there.
///
/// # Safety
/// `socket` is libnl's.
pub(crate) unsafe fn redirect(socket: *mut Socket, send: Send, receive: Receive) -> bool {
    type GetCallbacks = unsafe extern "C" fn(*mut Socket) -> *mut Callbacks;
    type PutCallbacks = unsafe extern "C" fn(*mut Callbacks);
    type OverwriteSend = unsafe extern "C" fn(*mut Callbacks, Send);
    type OverwriteReceive = unsafe extern "C" fn(*mut Callbacks, Receive);
    // SAFETY: those are their types in netlink/socket.h and netlink/handlers.h.
    let all = unsafe {
        (
            any::<GetCallbacks>(c"nl_socket_get_cb"),
            any::<PutCallbacks>(c"nl_cb_put"),
            any::<OverwriteSend>(c"nl_cb_overwrite_send"),
            any::<OverwriteReceive>(c"nl_cb_overwrite_recv"),
        )
    };
    let (Some(get), Some(put), Some(overwrite_send), Some(overwrite_receive)) = all else {
        return false;
    };
    // SAFETY: the socket is libnl's, the callbacks are the socket's, and are given back.
    unsafe {
        let callbacks = get(socket);
        overwrite_send(callbacks, send);
        overwrite_receive(callbacks, receive);
        put(callbacks);
    }
    true
}

/// True when both are the same text.
///
/// # Safety
/// `text` is null or ends with a NUL.
pub(crate) unsafe fn is(text: *const c_char, wanted: &CStr) -> bool {
    // SAFETY: as the caller says.
    !text.is_null() && unsafe { CStr::from_ptr(text) } == wanted
}
