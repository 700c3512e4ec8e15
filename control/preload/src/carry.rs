//! Carries the messages of libnl's sockets that asked for IPVS.

use std::collections::VecDeque;
use std::ffi::{c_char, c_int, c_uchar};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Mutex, MutexGuard};

use weir_ipvs::Errno;
use weir_ipvs::netlink::{acknowledge, messages};
use weir_ipvs::tables::FAMILY_ID;

use crate::next::next;
use crate::nl::{self, Message, Socket};
use crate::place::{NETLINK, REPLY, SHORT, patience};

/// A socket whose messages are carried.
struct Carried {
    /// libnl's socket, by its address.
    socket: usize,
    /// None after it failed, until the next request.
    connection: Option<OwnedFd>,
    /// The last request.
    request: Vec<u8>,
    /// Replies that were made up here.
    made_up: VecDeque<Vec<u8>>,
}

static CARRIED: Mutex<Vec<Carried>> = Mutex::new(Vec::new());

fn carried() -> MutexGuard<'static, Vec<Carried>> {
    // What a thread that panicked left is as good as it was.
    CARRIED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// libnl's function. For the family IPVS: has the director answer, and returns the family's number.
///
/// # Safety
/// As libnl's: `socket` is libnl's and connected, `name` ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn genl_ctrl_resolve(socket: *mut Socket, name: *const c_char) -> c_int {
    // SAFETY: the name ends with a NUL.
    if !unsafe { nl::is(name, c"IPVS") } {
        type Resolve = unsafe extern "C" fn(*mut Socket, *const c_char) -> c_int;
        // SAFETY: that is its type in netlink/genl/ctrl.h.
        let resolve = unsafe { next::<Resolve>(c"genl_ctrl_resolve") };
        // SAFETY: what we were given goes on as it is.
        return resolve.map_or(-nl::NOT_FOUND, |resolve| unsafe { resolve(socket, name) });
    }
    let connection = match NETLINK.connect_within(patience()) {
        Ok(connection) => connection,
        Err(error) => {
            NETLINK.tell(&error);
            return -nl::NOT_FOUND;
        }
    };
    // SAFETY: the socket is libnl's.
    if !unsafe { nl::redirect(socket, send, receive) } {
        return -nl::NOT_FOUND;
    }
    let mut all = carried();
    all.retain(|other| other.socket != socket.addr());
    all.push(Carried {
        socket: socket.addr(),
        connection: Some(connection),
        request: Vec::new(),
        made_up: VecDeque::new(),
    });
    c_int::from(FAMILY_ID)
}

/// libnl's function; forgets the socket first.
///
/// # Safety
/// As libnl's: `socket` is null or libnl's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nl_socket_free(socket: *mut Socket) {
    type Free = unsafe extern "C" fn(*mut Socket);
    carried().retain(|carried| carried.socket != socket.addr());
    // SAFETY: that is its type in netlink/socket.h, and what we were given goes on as it is.
    unsafe {
        if let Some(free) = next::<Free>(c"nl_socket_free") {
            free(socket);
        }
    }
}

/// Sends a message. It always says that it could: if not, receiving tells.
unsafe extern "C" fn send(socket: *mut Socket, message: *mut Message) -> c_int {
    // SAFETY: libnl sends a message of its own, and waits.
    let Some(request) = (unsafe { nl::bytes(message) }) else {
        return 0;
    };
    let mut all = carried();
    if let Some(carried) = all
        .iter_mut()
        .find(|carried| carried.socket == socket.addr())
    {
        carried.send(request);
    }
    c_int::try_from(request.len()).unwrap_or(c_int::MAX)
}

/// Receives a datagram, or makes one up.
unsafe extern "C" fn receive(
    socket: *mut Socket,
    sender: *mut libc::sockaddr_nl,
    buffer: *mut *mut c_uchar,
    credentials: *mut *mut libc::ucred,
) -> c_int {
    const NO_MEMORY: c_int = 5;
    let mut all = carried();
    let found = all
        .iter_mut()
        .find(|carried| carried.socket == socket.addr());
    let Some(carried) = found else {
        return -nl::NOT_FOUND;
    };
    let datagram = carried.receive();
    // SAFETY: libnl gives places for what it wants to know, or null, and frees the buffer with free.
    unsafe {
        let copy = libc::malloc(datagram.len().max(1)).cast::<c_uchar>();
        if copy.is_null() {
            return -NO_MEMORY;
        }
        std::ptr::copy_nonoverlapping(datagram.as_ptr(), copy, datagram.len());
        *buffer = copy;
        if !sender.is_null() {
            // The kernel, as which the director stands here.
            *sender = std::mem::zeroed();
            (*sender).nl_family = libc::AF_NETLINK as libc::sa_family_t;
        }
        if !credentials.is_null() {
            *credentials = std::ptr::null_mut();
        }
    }
    c_int::try_from(datagram.len()).unwrap_or(c_int::MAX)
}

impl Carried {
    fn send(&mut self, request: &[u8]) {
        self.request = request.to_vec();
        self.made_up.clear();
        if let Some(connection) = &self.connection
            && send_all(connection, request).is_ok()
        {
            return;
        }
        // The director was started again, or is about to be.
        let sent = NETLINK.connect_within(SHORT).and_then(|connection| {
            send_all(&connection, request)?;
            Ok(connection)
        });
        match sent {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => {
                NETLINK.tell(&error);
                self.fail();
            }
        }
    }

    fn receive(&mut self) -> Vec<u8> {
        if let Some(datagram) = self.made_up.pop_front() {
            return datagram;
        }
        let received = match &self.connection {
            Some(connection) => receive_one(connection),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        received.unwrap_or_else(|error| {
            NETLINK.tell(&error);
            self.fail();
            self.made_up.pop_front().unwrap_or_default()
        })
    }

    /// The request failed: whoever waits for it is told, and a late reply is nobody's.
    fn fail(&mut self) {
        self.connection = None;
        let errors =
            messages(&self.request).map(|request| acknowledge(&request, Err(Errno::Eagain)));
        self.made_up = errors.collect();
    }
}

fn send_all(connection: &OwnedFd, request: &[u8]) -> io::Result<()> {
    // SAFETY: the bytes are there, as many as is said.
    let sent = unsafe {
        let bytes = request.as_ptr().cast();
        libc::send(
            connection.as_raw_fd(),
            bytes,
            request.len(),
            libc::MSG_NOSIGNAL,
        )
    };
    match sent {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn receive_one(connection: &OwnedFd) -> io::Result<Vec<u8>> {
    wait(connection)?;
    let peek = libc::MSG_PEEK | libc::MSG_TRUNC;
    let length = receive_into(connection, &mut [], peek)?;
    let mut datagram = vec![0; length];
    let length = receive_into(connection, &mut datagram, 0)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    datagram.truncate(length);
    Ok(datagram)
}

fn receive_into(connection: &OwnedFd, buffer: &mut [u8], flags: c_int) -> io::Result<usize> {
    loop {
        // SAFETY: the buffer is there, as long as is said.
        let length = unsafe {
            let bytes = buffer.as_mut_ptr().cast();
            libc::recv(connection.as_raw_fd(), bytes, buffer.len(), flags)
        };
        match usize::try_from(length) {
            Ok(length) => return Ok(length),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

fn wait(connection: &OwnedFd) -> io::Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let mut poll = libc::pollfd {
            fd: connection.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let left = REPLY.saturating_sub(begun.elapsed()).as_millis();
        let left = c_int::try_from(left).unwrap_or(c_int::MAX);
        // SAFETY: one is there, as is said.
        match unsafe { libc::poll(&raw mut poll, 1, left) } {
            0 => return Err(io::ErrorKind::TimedOut.into()),
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            _ => return Ok(()),
        }
    }
}
